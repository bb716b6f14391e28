"""The user's data: a file named in the configuration, read once for plan, checks and data job alike."""

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

from fedpareto.data import unfit
from fedpareto.data.arrays import PreparedData
from fedpareto.data.loaders.tabular import encode
from fedpareto.data.own import npz, summary
from fedpareto.data.own.columns import Column, understood
from fedpareto.data.own.delimited import TABLES, format_of, largest, read_table
from fedpareto.data.own.roles import SelectedRows, choose, roles_of
from fedpareto.data.own.spelling import spelled
from fedpareto.data.own.words import clean, shown

FORMATS = (*TABLES, ".npz")
NAMELESS = re.compile(r"\(column \d+\)")
# As pandas calls a column that has no name, and the one of its row numbers.
ROW_NUMBERS = re.compile(r"\(column \d+\)|Unnamed: \d+(\.\d+)?|__index_level_\d+__")


@dataclass(frozen=True)
class Described:
    """Facts about a user's data that a study needs before anything is trained.

    Attributes:
      train: Training examples.
      shape: Height, width and channels of an example that is an image, else None.
      clients: Natural clients, all of them with training examples, or None.
      report: The report for people (`summary`).
    """

    train: int
    shape: tuple[int, ...] | None
    clients: int | None
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """A table whose rows and columns all have a role."""

    choice: SelectedRows
    features: tuple[Column, ...]
    report: Mapping[str, Any]


def describe(options: Mapping[str, Any]) -> Described:
    """Describes a user's file, without its arrays; reads it once as long as the file stays as it is.

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
    chosen = selection.choice
    features = pd.DataFrame({column.name: _values(column) for column in selection.features})
    x_train, x_test, encoding = encode(features.iloc[chosen.train], features.iloc[chosen.test])
    return chosen.prepared(x_train, x_test), dict(selection.report) | encoding


@lru_cache(maxsize=32)
def _described(options_text: str, modified: int, size: int) -> Described:
    del modified, size  # they are here to read a changed file again
    options = json.loads(options_text)
    path = Path(options["path"])
    if format_of(path) == ".npz":
        data, report = npz.load(path, options)
        shape, clients = data.x_train.shape[1:], None if data.client_names is None else len(data.client_names)
        return Described(len(data.y_train), shape if len(shape) == 3 else None, clients, report)
    selection = _selected(path, options)
    owners = selection.choice.owners
    return Described(len(selection.choice.train), None, None if owners is None else owners.clients, selection.report)


def _existing(options: Mapping[str, Any]) -> Path:
    path = Path(options["path"])
    if not path.is_file():
        what = (
            "it is a folder, a pipe or a device" if path.exists() else "a path relative to the folder of the Snakefile"
        )
        raise unfit(path, "be a file that exists", what)
    if format_of(path) not in FORMATS:
        must = "end in .csv, .csv.gz, .tsv, .parquet or .npz"
        raise unfit(path, must, "save it as one of these")
    return path


def _selected(path: Path, options: Mapping[str, Any]) -> Selection:
    table, first_row = read_table(path, options)
    roles = roles_of(path, table.column_names, options)
    dropped = {clean(str(name)): "dropped" for name in options.get("drop") or ()}
    named = {**{name: role for role, name in roles.items()}, **dropped}
    unused = _without_meaning(path, table, named)
    chosen = choose(path, table, first_row, options)
    rows = pa.array(chosen.rows)
    apart = named | unused
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
    limit = largest(options)
    if number * len(chosen.rows) * 8 > limit:
        must = f"make arrays of at most {limit / 1e9:g} GB"
        raise unfit(
            path,
            must,
            f"it makes {number:,} features of {len(chosen.rows):,} rows: drop columns, or write a larger largest_gb",
        )
    constant = {column.name for column in features} - {column.name for column in varying}
    notes = [note for column in varying for note in _beside_the_label(column, chosen)]
    report = summary.of_table(
        table.column_names, apart=apart, constant=constant, features=features, choice=chosen, number=number, more=notes
    )
    return Selection(chosen, features, report)


def _without_meaning(path: Path, table: pa.Table, named: Mapping[str, str]) -> dict[str, str]:
    """Columns without a name or a role: numbers of rows and empty ones, which are left out; others must be named."""
    found = {}
    for name in table.column_names:
        if not ROW_NUMBERS.fullmatch(name) or name in named:
            continue
        if name.startswith("__"):
            found[name] = "row numbers"
            continue
        texts = spelled(table.column(name))
        if not texts.words:
            found[name] = "empty"
            continue
        if len(texts.words) == table.num_rows and all(word.isdecimal() for word in texts.words):
            found[name] = "row numbers"
        elif NAMELESS.fullmatch(name):
            hint = f"{name.strip('()')} has no name and holds {shown(texts.words[0])}: name it, or drop: ['{name}']"
            raise unfit(path, "name every column", hint)
    return found


def _beside_the_label(column: Column, chosen: SelectedRows) -> list[str]:
    """Notes on a column that says the label in other words, and on categories that only test."""
    if column.words is None:
        assert column.numbers is not None
        words, codes = np.unique(column.numbers, return_inverse=True)
    else:
        words, codes = np.array(column.words.words), column.words.codes
    notes = []
    pairs = np.unique(np.stack([codes, chosen.labels]), axis=1)
    if len(words) == len(chosen.class_names) == pairs.shape[1]:
        notes.append(f"column {column.name} tells the label of every row: drop: [{column.name}] if it is made of it")
    if column.words is not None:
        unseen = np.setdiff1d(codes[chosen.test], [*codes[chosen.train], -1])
        rows = int(np.isin(codes[chosen.test], unseen).sum())
        if rows:
            notes.append(f"column {column.name}: {rows} test rows hold categories that no training row has")
    return notes


def _varies(column: Column, train: np.ndarray) -> bool:
    """Whether it differs between training rows, missing values not counted."""
    if column.words is not None:
        return len(column.words.at(train).words) > 1
    assert column.numbers is not None
    held = column.numbers[train]
    return len(np.unique(held[~np.isnan(held)])) > 1


def _values(column: Column) -> np.ndarray:
    """The column as `encode` takes it: float64, or words with NaN for missing values."""
    if column.words is None:
        assert column.numbers is not None
        return column.numbers
    return np.array([*column.words.words, np.nan], dtype=object)[column.words.codes]
