"""Cheap facts of data sets, for checks before any job starts: the standard library, and a file's header at most.

The counts of registered data sets are those that preparation ends with; a test compares the two.
"""

from __future__ import annotations

import ast
import csv
import gzip
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

SUFFIXES = (".csv", ".gz", ".parquet", ".npz")


@dataclass(frozen=True)
class Facts:
    """What a study must know of a data set.

    Attributes:
      train: Training examples; None where only reading the whole file would tell.
      shape: Height, width and channels of an example that is an image, else None.
      clients: Number of natural clients, or None where it has none.
    """

    train: int | None
    shape: tuple[int, ...] | None = None
    clients: int | None = None


MNIST_SHAPE, CIFAR_SHAPE = (28, 28, 1), (32, 32, 3)
COLOURS = (1, 3)  # channels of a picture; features have more
SQUARES = {"digits": (8, 8, 1)}  # tables that are pictures, row by row
REGISTERED: dict[str, Facts] = {
    "digits": Facts(1438),
    "breast_cancer": Facts(455),
    "mnist": Facts(60_000, MNIST_SHAPE),
    "mnist_scattering": Facts(60_000, (7, 7, 81)),
    "fashion_mnist": Facts(60_000, MNIST_SHAPE),
    "fashion_mnist_scattering": Facts(60_000, (7, 7, 81)),
    "pneumoniamnist": Facts(4708, MNIST_SHAPE),
    "cifar10": Facts(50_000, CIFAR_SHAPE),
    "cifar10_scattering": Facts(50_000, (8, 8, 243)),
    "heart_disease": Facts(735, clients=4),
    "fed_heart_disease": Facts(486, clients=4),
    "credit_default": Facts(24_000),
    "creditcard": Facts(227_846),
    "bank_marketing": Facts(36_169),
    "adult": Facts(32_561),
    "diabetes130": Facts(81_532),
}


class UserFileError(ValueError):
    """A user's file that cannot serve, and why: `key` (and `index` in its list) is the option at fault."""

    def __init__(self, key: str, value: object, must: str, hint: str = "", index: int | None = None) -> None:
        super().__init__(f"{key} = {value} must {must}")
        self.key, self.value, self.must, self.hint, self.index = key, value, must, hint, index


def of_user_file(options: Mapping[str, Any]) -> Facts:
    """Facts of a user's own data set.

    Args:
      options: `path`, and optionally `label`, `client`, `split`, `test_fraction`, `drop`.

    Raises:
      UserFileError: The file or a column is not there, or the file cannot be read.
    """
    path = Path(options["path"])
    if not path.is_file():
        raise UserFileError("path", path, "be a file that exists", "a path relative to the folder of the Snakefile")
    if path.suffix not in SUFFIXES:
        raise UserFileError("path", path, "end in .csv, .csv.gz, .parquet or .npz", "save it as one of these")
    stamp = path.stat().st_mtime_ns
    try:
        return _of_arrays(path, stamp, options) if path.suffix == ".npz" else _of_table(path, stamp, options)
    except UserFileError:
        raise
    except (ValueError, LookupError, SyntaxError, OSError, EOFError, csv.Error, BadZipFile) as error:
        kind = {".npz": "an NPZ file", ".parquet": "a Parquet file"}.get(path.suffix, "a CSV file in UTF-8")
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserFileError("path", path, f"be {kind}", said) from error


def _of_table(path: Path, stamp: int, options: Mapping[str, Any]) -> Facts:
    columns, rows = _header(path, stamp)
    if not columns or not rows:
        raise UserFileError("path", path, "hold a line of column names and rows below it", "it is empty")
    if options.get("label") is None:
        raise UserFileError("label", None, "name the label column", "one of " + ", ".join(columns))
    named = [(key, options[key], None) for key in ("label", "client", "split") if options.get(key) is not None]
    for key, column, index in [*named, *(("drop", column, i) for i, column in enumerate(options.get("drop", ())))]:
        if column not in columns:
            near = get_close_matches(str(column), columns, n=1)
            hint = f"did you mean {near[0]}?" if near else "it has " + ", ".join(columns[:20])
            raise UserFileError(key, column, f"be a column of {path}", hint, index)
    clients = None if options.get("client") is None else len(_values(path, str(options["client"]), stamp))
    if options.get("split") is None:
        return Facts(_left_for_training(rows, options), clients=clients)
    parts = _values(path, str(options["split"]), stamp)
    return Facts(sum(n for part, n in parts.items() if part.strip().lower() == "train"), clients=clients)


def _of_arrays(path: Path, stamp: int, options: Mapping[str, Any]) -> Facts:
    shapes = _shapes(path, stamp)
    if {"x", "y"} <= set(shapes):
        train = _left_for_training(shapes["x"][0], options)
    elif "x_train" in shapes:
        train = shapes["x_train"][0]
    else:
        held = ", ".join(shapes) or "nothing"
        raise UserFileError("path", path, "hold x and y, or x_train, y_train, x_test and y_test", f"it holds {held}")
    owners = [name for name in ("client", "client_train", "client_test") if name in shapes]
    clients = None
    if owners == ["client"] or len(owners) > 1:
        clients = _distinct_owners(path, tuple(owners[-2:]), stamp)
    # The CNNs want images of a certain shape; numpy is not there to ask, but the header says.
    shape = shapes.get("x_train", shapes.get("x", ()))[1:]
    return Facts(train, shape if len(shape) == 3 else None, clients)


def _left_for_training(rows: int, options: Mapping[str, Any]) -> int:
    """What a random split leaves for training; scikit-learn rounds the test set up."""
    return rows - math.ceil(rows * float(options.get("test_fraction", 0.2)))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


@cache
def _header(path: Path, stamp: int) -> tuple[tuple[str, ...], int]:
    """Column names and the number of rows."""
    del stamp
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(path)
        return tuple(file.schema_arrow.names), file.metadata.num_rows
    with _open(path) as file:
        rows = csv.reader(file)
        return tuple(next(rows, ())), sum(1 for row in rows if row)


@cache
def _values(path: Path, column: str, stamp: int) -> Counter[str]:
    """How often each value of a column stands there, as text."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        return Counter(map(str, parquet.read_table(path, columns=[column])[column].to_pylist()))
    place = _header(path, stamp)[0].index(column)
    with _open(path) as file:
        rows: Iterable[list[str]] = csv.reader(file)
        return Counter(row[place] for i, row in enumerate(rows) if i and len(row) > place)


@cache
def _shapes(path: Path, stamp: int) -> dict[str, tuple[int, ...]]:
    """The shape of every array of an NPZ file, from their headers."""
    del stamp
    shapes = {}
    with ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                magic = file.read(8)
                if magic[:6] != b"\x93NUMPY":
                    raise ValueError(f"{name} is not an array")
                length = int.from_bytes(file.read(2 if magic[6] == 1 else 4), "little")
                shapes[name.removesuffix(".npy")] = ast.literal_eval(file.read(length).decode("latin-1"))["shape"]
    return shapes


@cache
def _distinct_owners(path: Path, names: tuple[str, ...], stamp: int) -> int:
    del stamp
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        return len(np.unique(np.concatenate([stored[name].astype(str) for name in names])))
