"""The user's own data: what a file named in the configuration holds, read once for plan, checks and data job alike."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fedpareto.data import npz, summary, unfit
from fedpareto.data.arrays import PreparedData
from fedpareto.data.columns import Column, understood
from fedpareto.data.delimited import TABLES, format_of, read_table
from fedpareto.data.roles import Choice, choose, roles_of
from fedpareto.data.spelling import spelled
from fedpareto.data.tabular import encode
from fedpareto.data.words import shown

FORMATS = (*TABLES, ".npz")
NAMELESS = re.compile(r"\(column \d+\)")
ROW_NUMBERS = re.compile(r"\(column \d+\)|Unnamed: \d+")  # as pandas calls a column that has no name


@dataclass(frozen=True)
class Described:
    """What a study must know of a user's data before anything is trained.

    Attributes:
      train: Training examples.
      shape: Height, width and channels of an example that is an image, else None.
      clients: Natural clients, all of them with training examples, or None.
      report: What was read, for people (`summary`).
    """

    train: int
    shape: tuple[int, ...] | None
    clients: int | None
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """A table whose rows and columns all have a role."""

    choice: Choice
    features: tuple[Column, ...]
    report: Mapping[str, Any]


def describe(options: Mapping[str, Any]) -> Described:
    """What a file of the user's holds, and no arrays of it; read once as long as the file stays as it is.

    Args:
      options: `path`, and the other keys of a data set in the configuration.

    Raises:
      UserFileError: The file cannot serve; the key at fault is named.
    """
    path = _existing(options)
    stamp = path.stat()
    return _described(json.dumps(dict(options), sort_keys=True, default=str), stamp.st_mtime_ns, stamp.st_size)


def load_user_file(options: Mapping[str, Any]) -> tuple[PreparedData, dict[str, Any]]:
    """Arrays and a report from a file of the user's.

    Args:
      options: `path`, and the other keys of a data set in the configuration.

    Raises:
      DataError: One line that names what is wrong, and the way out.
    """
    path = _existing(options)
    if format_of(path) == ".npz":
        return npz.load(path, options)
    selection = _selected(path, options)
    chosen, owners = selection.choice, selection.choice.owners
    features = pd.DataFrame({column.name: _values(column) for column in selection.features})
    x_train, x_test, encoding = encode(features.iloc[chosen.train], features.iloc[chosen.test])
    data = PreparedData(
        x_train=x_train,
        y_train=chosen.labels[chosen.train],
        x_test=x_test,
        y_test=chosen.labels[chosen.test],
        class_names=chosen.class_names,
        client_train=None if owners is None else owners.codes[chosen.train],
        client_test=None if owners is None else owners.codes[chosen.test],
        client_names=None if owners is None else owners.names[: owners.clients],
    )
    return data, dict(selection.report) | encoding


@lru_cache(maxsize=32)
def _described(options_text: str, modified: int, size: int) -> Described:
    del modified, size  # they are here to read a changed file again
    options = json.loads(options_text)
    path = Path(options["path"])
    if format_of(path) == ".npz":
        outline = npz.outline(path, options)
        clients = None if outline.owners is None else outline.owners.clients
        return Described(len(outline.train), outline.shape, clients, npz.report_of(outline))
    selection = _selected(path, options)
    owners = selection.choice.owners
    return Described(len(selection.choice.train), None, None if owners is None else owners.clients, selection.report)


def _existing(options: Mapping[str, Any]) -> Path:
    path = Path(options["path"])
    if not path.is_file():
        raise unfit(path, "be a file that exists", "a path relative to the folder of the Snakefile")
    if format_of(path) not in FORMATS:
        must = "end in .csv, .csv.gz, .tsv, .parquet or .npz"
        raise unfit(path, must, "save it as one of these")
    return path


def _selected(path: Path, options: Mapping[str, Any]) -> Selection:
    table, first_row = read_table(path, options)
    roles = roles_of(path, table.column_names, options)
    unused = _without_meaning(path, table)
    chosen = choose(path, table, first_row, options)
    rows = pa.array(chosen.rows)
    dropped = {str(name): "dropped" for name in options.get("drop") or ()}
    apart = {**{name: role for role, name in roles.items()}, **dropped, **unused}
    features = tuple(
        understood(path, name, table.column(name).take(rows), chosen.rows + first_row, options)
        for name in table.column_names
        if name not in apart
    )
    varying = [column for column in features if _varies(column, chosen.train)]
    if not varying:
        hint = "constant columns say nothing" if features else "all have another role"
        raise unfit(path, "hold a feature column that differs between training rows", hint)
    number = sum(1 if column.words is None else len(column.words.at(chosen.train).words) for column in varying)
    limit = (options.get("largest_gb") or 4.0) * 1e9
    if number * len(chosen.rows) * 8 > limit:
        must = f"make arrays of at most {limit / 1e9:g} GB"
        raise unfit(
            path,
            must,
            f"it makes {number:,} features of {len(chosen.rows):,} rows: drop columns, or write a larger largest_gb",
        )
    constant = {column.name for column in features} - {column.name for column in varying}
    report = summary.of_table(table.column_names, apart, constant, features, chosen, number)
    return Selection(chosen, features, report)


def _without_meaning(path: Path, table: pa.Table) -> dict[str, str]:
    """Columns without a name: numbers of rows and empty ones, which are left out; others must be named."""
    found = {}
    for name in table.column_names:
        if not ROW_NUMBERS.fullmatch(name):
            continue
        texts = spelled(table.column(name))
        if not texts.words:
            found[name] = "empty"
            continue
        values = [int(word) for word in texts.words if word.isdecimal()]
        if len(values) == table.num_rows and max(values) - min(values) == table.num_rows - 1:
            found[name] = "row numbers"
        elif NAMELESS.fullmatch(name):
            raise unfit(path, "name every column", f"{name.strip('()')} has no name and holds {shown(texts.words[0])}")
    return found


def _varies(column: Column, train: np.ndarray) -> bool:
    """Whether it differs between training rows, missing values not counted."""
    if column.words is not None:
        return len(column.words.at(train).words) > 1
    assert column.numbers is not None
    held = column.numbers[train]
    return len(np.unique(held[~np.isnan(held)])) > 1


def _values(column: Column) -> np.ndarray:
    """The column as `encode` takes it: float64, or words with NaN for what is missing."""
    if column.words is None:
        assert column.numbers is not None
        return column.numbers
    return np.array([*column.words.words, np.nan], dtype=object)[column.words.codes]
