"""A column, a table and a metric as `columns.toml` declares them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

TYPES = ("text", "count", "integer", "number", "flag", "pixels")
ID, KEY, PER_SEED, METRIC, DERIVED, PROVENANCE = ROLES = ("id", "key", "per_seed", "metric", "derived", "provenance")


class ColumnError(ValueError):
    """A table and its declaration differ; the message is one line that names both."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
      name: Its name, in every file.
      type: One of `TYPES`: a `count` is a whole number that may be missing, an `integer` one that never is; `pixels` are arrays
        of float32, which only Parquet has.
      role: One of `ROLES`: `id` names a row, or what it belongs to; `key` tells points of a grid (or rows) apart; `per_seed`
        came of one run; `metric` is a score of one run, which its task names; `derived` follows from the rest; `provenance`
        says how and where it was made.
      help: One line for the documentation.
      unit: Unit of the values, empty where they have none.
      unset: Value where a run leaves this key out.
      joined: Whether the stage `tables` adds the column: the file of a bundle does not have it.
    """

    name: str
    type: str
    role: str
    help: str
    unit: str = ""
    unset: str | float | None = None
    joined: bool = False

    def __post_init__(self) -> None:
        """Raises `ColumnError` for a type or a role that does not exist."""
        for what, value, known in (("type", self.type, TYPES), ("role", self.role, ROLES)):
            if value not in known:
                raise ColumnError(f"column {self.name}: {what} = {value} must be one of {', '.join(known)}")


@dataclass(frozen=True)
class Metric:
    """A score of a model, by which a task is judged.

    Attributes:
      name: Its name, and that of its column.
      help: One line for the documentation.
      unit: `share` where it is from 0 to 1.
      label: Its name in figures, empty where none draws it.
      by_round: Whether it is known at every evaluation, and not of the final model alone.
      over_seeds: What `tradeoff` says of it over the seeds of a point: `mean`, or `mean`, `low` and `high` (95 % interval).
      better: Whether the `higher` or the `lower` value is the better one.
      limits: The smallest and the largest possible value; None where there is none.
      percent: Whether figures show it in percent.
    """

    name: str
    help: str
    unit: str = ""
    label: str = ""
    by_round: bool = False
    over_seeds: tuple[str, ...] = ()
    better: str = "higher"
    limits: tuple[float | None, float | None] = (None, None)
    percent: bool = False

    def improves(self, value: float, bound: float, margin: float = 0.0) -> bool:
        """Whether a value is better than `bound` by more than `margin`."""
        return value > bound + margin if self.better == "higher" else value < bound - margin

    @property
    def column(self) -> Column:
        """The score of one run."""
        return Column(self.name, "number", METRIC, self.help, self.unit)

    @property
    def point_columns(self) -> tuple[Column, ...]:
        """The columns of `tradeoff`, `<name>_<statistic>` each."""
        words = {"mean": "Mean over seeds", "low": "Lower end of the 95 % interval", "high": "Upper end of it"}
        return tuple(
            Column(f"{self.name}_{statistic}", "number", DERIVED, f"{words[statistic]}: {self.help}", self.unit)
            for statistic in self.over_seeds
        )


@dataclass(frozen=True)
class Accountant:
    """A way to compute epsilon.

    Attributes:
      name: Its name; the column is `epsilon_<name>`.
      label: Its name in figures.
      marker: Its marker there.
      help: One line for the documentation.
      calibrates: Whether noise can be calibrated with it; the others stand for comparison with old papers.
    """

    name: str
    label: str
    marker: str
    help: str
    calibrates: bool = False

    @property
    def column(self) -> Column:
        """The epsilon of one run."""
        return Column(f"epsilon_{self.name}", "number", DERIVED, self.help)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
      name: Its name.
      help: Meaning of a row.
      columns: Its columns, in their order.
      place: `tables` (results/tables), `bundles` (only in the folder of each bundle) or `reproduce`.
      stage: The stage that writes it for a bundle: `train`, `attack` or empty.
      file: Name of the file in the folder of a bundle, without ending.
      in_report: Whether the report holds it.
    """

    name: str
    help: str
    columns: tuple[Column, ...]
    place: str
    stage: str = ""
    file: str = ""
    in_report: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def of_bundle(self) -> Table:
        """The table as the file of a bundle has it: without the columns that the stage `tables` adds."""
        return replace(self, columns=tuple(column for column in self.columns if not column.joined))

    def __getitem__(self, name: str) -> Column:
        """The column of that name; `KeyError` where there is none."""
        return {column.name: column for column in self.columns}[name]

    def having(self, *roles: str, joined: bool | None = None) -> tuple[str, ...]:
        """The names of the columns with these roles (all where none is named), in their order."""
        return tuple(
            column.name
            for column in self.columns
            if (not roles or column.role in roles) and joined in (None, column.joined)
        )

    def check(self, names: Iterable[str], where: str, remedy: str = "") -> None:
        """Holds the columns of a table that is written or read against the declared ones, whatever their order.

        Args:
          names: The columns that are there.
          where: File or table of the message.
          remedy: The way out, for a reader's file.

        Raises:
          ColumnError: One is missing, or nobody declared it.
        """
        names = list(names)
        missing = [name for name in self.names if name not in names]
        unknown = [name for name in names if name not in self.names]
        way_out = f" ({remedy})" if remedy else ""
        if missing:
            raise ColumnError(f"{where}: lacks {', '.join(missing)}{way_out}")
        if unknown:
            declare = remedy or "declare it in columns.toml"
            raise ColumnError(f"{where}: {', '.join(unknown)} is no column of the table {self.name} ({declare})")
