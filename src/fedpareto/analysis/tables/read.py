"""Reads the files of declared tables, and holds them against the declaration."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.columns.column import ColumnError
from fedpareto.columns.declared import Additions, table
from fedpareto.columns.frames import additions_of, typed
from fedpareto.system import damage

REMEDY = {"train": "train its bundle again with this version", "attack": "attack its bundle again with this version"}


def read_of_bundle(folder: Path, name: str) -> tuple[pd.DataFrame, Additions]:
    """One table of a bundle, each column with its type, and its columns that `columns.toml` does not declare.

    Args:
      folder: The folder of the bundle.
      name: The table.

    Raises:
      TableError: The file is not there, or its columns are not the declared ones.
      DamagedFile: It cannot be read.
    """
    declared = table(name)
    path = folder / f"{declared.file}.parquet"
    if not path.is_file():
        raise TableError(f"{path}: is not there ({declared.stage} its bundle first)")
    return _read(path, name, True, REMEDY[declared.stage])


def read_of_study(path: Path, name: str) -> tuple[pd.DataFrame, Additions]:
    """One table of all bundles, and its columns that `columns.toml` does not declare; raises as `read_of_bundle`."""
    if not path.is_file():
        raise TableError(f"{path}: is not there (make the tables first)")
    return _read(path, name, False, "make the tables again with this version")


def _read(path: Path, name: str, of_bundle: bool, remedy: str) -> tuple[pd.DataFrame, Additions]:
    with damage.reading(path):
        frame, additions = pd.read_parquet(path), additions_of(path)
    declared = table(name, additions)
    try:
        if of_bundle:
            return typed(frame, declared.of_bundle, str(path), remedy), additions
        declared.check(frame.columns, str(path), remedy)
    except ColumnError as error:
        raise TableError(str(error)) from None
    return frame, additions
