"""The tables that `columns.toml` declares, with the columns that tasks and keys of runs add."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from fedpareto.columns.column import KEY, Accountant, Column, ColumnError, Metric, Table
from fedpareto.columns.metrics import usual

T = TypeVar("T", Metric, Column)
FILE = Path(__file__).with_name("columns.toml")
_DECLARED: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
ACCOUNTANTS = tuple(Accountant(name, **entry) for name, entry in _DECLARED["accountants"].items())
# In the order of a comparison with print: those for comparison alone first, the headline last.
COMPARED = ACCOUNTANTS[::-1]
CALIBRATING = tuple(accountant for accountant in ACCOUNTANTS if accountant.calibrates)
HEADLINE = CALIBRATING[0].name  # calibrates where nobody says with which
CLASSIFICATION = usual()
US, ITS_AUTHOR = "fedpareto", "its author"  # values of `proved_by`


@dataclass(frozen=True)
class Additions:
    """Columns that `columns.toml` cannot know: of a task's metrics, and of further keys of runs.

    Attributes:
      metrics: The metrics of the runs, those of classification where nothing else is said.
      keys: Further columns with the role `key`.
    """

    metrics: tuple[Metric, ...] = CLASSIFICATION
    keys: tuple[Column, ...] = ()

    def union(self, other: Additions) -> Additions:
        """The additions of runs of several tasks.

        Raises:
          ColumnError: Two of them declare one name differently.
        """
        return Additions(
            _union(self.metrics, other.metrics, _same_metric), _union(self.keys, other.keys, Column.__eq__)
        )


def _union(ours: Iterable[T], others: Iterable[T], same: Callable[[T, T], bool]) -> tuple[T, ...]:
    by_name = {entry.name: entry for entry in ours}
    for entry in others:
        if not same(by_name.setdefault(entry.name, entry), entry):
            raise ColumnError(f"column {entry.name} is declared in two ways (give the metric of one task another name)")
    return tuple(by_name.values())


def _same_metric(one: Metric, other: Metric) -> bool:
    """Whether two tasks mean the same by a name; their words for it may differ."""
    return (one.better, one.by_round, one.over_seeds) == (other.better, other.by_round, other.over_seeds)


DEFAULT = Additions()


@cache
def table(name: str, additions: Additions = DEFAULT) -> Table:
    """A declared table.

    >>> [column.name for column in table("rounds").columns][:4]
    ['study', 'run_id', 'round', 'accuracy']

    Args:
      name: Its name in `columns.toml`.
      additions: Further columns.

    Returns:
      The table with all its columns.
    """
    by_name: dict[str, Column] = {}
    for column, entry in _DECLARED[name].items():
        if isinstance(entry, str):
            by_name[column] = table(entry, additions)[column]
        elif "every" in entry:
            by_name |= {one.name: one for one in _every(entry, additions)}
        else:
            by_name[column] = Column(column, **entry)
    return Table(name, columns=tuple(by_name.values()), **_DECLARED["tables"][name])


def _every(entry: Mapping[str, Any], additions: Additions) -> tuple[Column, ...]:
    """The columns that an entry with `every` stands for."""
    group, metrics = entry["every"], additions.metrics
    if group in _DECLARED["tables"]:
        columns = tuple(table(group, additions)[name] for name in entry["names"])
    else:
        columns = {
            "keys": lambda: additions.keys,
            "metrics": lambda: tuple(metric.column for metric in metrics),
            "metrics.by_round": lambda: tuple(metric.column for metric in metrics if metric.by_round),
            "metrics.over_seeds": lambda: tuple(column for metric in metrics for column in metric.point_columns),
            "metrics.interval": lambda: tuple(
                column for metric in metrics if "low" in metric.over_seeds for column in metric.point_columns
            ),
            "accountants": lambda: tuple(accountant.column for accountant in ACCOUNTANTS),
            "accountants.calibrating": lambda: tuple(accountant.column for accountant in CALIBRATING),
            "accountants.compared": lambda: tuple(accountant.column for accountant in COMPARED),
            "runs.key": lambda: tuple(column for column in table("runs", additions).columns if column.role == KEY),
            "attacks.joined": lambda: tuple(column for column in table("attacks", additions).columns if column.joined),
        }[group]()
    return tuple(replace(column, joined=True) for column in columns) if entry.get("joined") else columns


RUNS = table("runs")
NAMES = tuple(_DECLARED["tables"])
TABLES = tuple(name for name in NAMES if table(name).place == "tables")
IN_REPORT = tuple(name for name in TABLES if table(name).in_report)


def of_stage(stage: str) -> tuple[Table, ...]:
    """The tables that a stage writes for a bundle."""
    return tuple(table(name) for name in NAMES if table(name).stage == stage)
