"""Cheap facts of data sets, for checks before any job starts: the standard library, and a file's header at most.

The counts of registered data sets are those that preparation ends with; a test compares the two.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What a study must know of a data set.

    Attributes:
      train: Training examples; None where only reading the whole file would tell.
      image: Whether examples are 28 x 28 x 1 images.
      clients: Number of natural clients, or None where it has none.
    """

    train: int | None
    image: bool = False
    clients: int | None = None


REGISTERED: dict[str, Facts] = {
    "digits": Facts(1438),
    "breast_cancer": Facts(455),
    "mnist": Facts(60_000, image=True),
    "fashion_mnist": Facts(60_000, image=True),
    "pneumoniamnist": Facts(4708, image=True),
    "heart_disease": Facts(735, clients=4),
    "credit_default": Facts(24_000),
    "bank_marketing": Facts(36_169),
    "adult": Facts(32_561),
    "diabetes130": Facts(81_532),
}


class UserFileError(ValueError):
    """A user's file that cannot serve, and why: `key` is the option at fault, `must` and `hint` say what to do."""

    def __init__(self, key: str, value: object, must: str, hint: str = "") -> None:
        super().__init__(f"{key} = {value} must {must}")
        self.key, self.value, self.must, self.hint = key, value, must, hint


def of_user_file(options: Mapping[str, Any]) -> Facts:
    """Facts of a user's own data set.

    Args:
      options: `path`, and optionally `label`, `client`, `split`, `test_fraction`.

    Raises:
      UserFileError: The file or a column is not there.
    """
    path = Path(options["path"])
    if not path.is_file():
        raise UserFileError("path", path, "be a file that exists", "a path relative to the folder of the Snakefile")
    if path.suffix == ".npz":
        return Facts(None, clients=None)
    stamp = path.stat().st_mtime_ns
    if path.suffix == ".parquet":
        columns, rows = _parquet_header(path, stamp)
    else:
        columns, rows = _csv_header(path, stamp)
    from difflib import get_close_matches

    for key in ("label", "client", "split"):
        column = options.get(key)
        if key == "label" and column is None:
            raise UserFileError("label", None, "name the label column", "one of " + ", ".join(columns))
        if column is not None and column not in columns:
            near = get_close_matches(str(column), columns, n=1)
            hint = f"did you mean {near[0]}?" if near else "it has " + ", ".join(columns[:20])
            raise UserFileError(key, column, f"be a column of {path}", hint)
    clients = None
    if options.get("client") is not None:
        clients = _distinct(path, str(options["client"]), stamp)
    held_out = 0.0 if options.get("split") else float(options.get("test_fraction", 0.2))
    return Facts(int(rows * (1 - held_out)), clients=clients)


@cache
def _csv_header(path: Path, stamp: int) -> tuple[tuple[str, ...], int]:
    del stamp
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        columns = tuple(next(rows, ()))
        return columns, sum(1 for row in rows if row)


@cache
def _parquet_header(path: Path, stamp: int) -> tuple[tuple[str, ...], int]:
    del stamp
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(path)
    return tuple(file.schema_arrow.names), file.metadata.num_rows


@cache
def _distinct(path: Path, column: str, stamp: int) -> int:
    del stamp
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        return len(parquet.read_table(path, columns=[column])[column].unique())
    with path.open(newline="", encoding="utf-8-sig") as file:
        return len({row[column] for row in csv.DictReader(file)})
