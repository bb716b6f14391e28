"""The user's own data: a CSV, Parquet or NPZ file named in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData
from fedpareto.data.tabular import encode

SPLITS = ("train", "test", "validation")


def load_user_file(name: str, options: Mapping[str, Any]) -> tuple[PreparedData, dict[str, Any]]:
    """Arrays and a report from a file of the user's.

    Args:
      name: Its name in the configuration, for messages.
      options: `path`, `label`, and optionally `client`, `split`, `test_fraction`, `drop`.

    Raises:
      DataError: One line that names the file, what is wrong, and the way out.
    """
    path = Path(options["path"])
    if not path.is_file():
        raise DataError(f"{path}: no such file (datasets.{name}.path)")
    if path.suffix == ".npz":
        return _load_npz(path, options)
    if path.suffix not in (".csv", ".parquet", ".gz"):
        raise DataError(f"{path}: must end in .csv, .csv.gz, .parquet or .npz")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, na_values=["?"])
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    return _load_table(path, table, options)


def _load_table(path: Path, table: pd.DataFrame, options: Mapping[str, Any]) -> tuple[PreparedData, dict[str, Any]]:
    label = _column(path, table, options, "label")
    client = _column(path, table, options, "client")
    split = _column(path, table, options, "split")
    if label is None:
        raise DataError(f"{path}: needs a label column (name it with label)")
    unlabelled = int(table[label].isna().sum())
    if unlabelled:
        raise DataError(f"{path}: column {label} has {unlabelled} rows without a label (remove these rows)")
    names, labels = np.unique(table[label].to_numpy().astype(str), return_inverse=True)
    if not 2 <= len(names) <= max(2, len(table) // 2):
        raise DataError(f"{path}: column {label} has {len(names)} different labels (it must hold two or more classes)")
    train, test, report = _rows(path, table, labels, split, options)
    drop = [*options.get("drop", ())]
    for name in drop:
        if name not in table.columns:
            raise DataError(f"{path}: has no column {name} to drop{_near(name, table.columns)}")
    features = table.drop(columns=[c for c in (label, client, split, *drop) if c is not None])
    x_train, x_test, encoding = encode(features.iloc[train], features.iloc[test])
    owners: np.ndarray | None = None
    client_names: np.ndarray | None = None
    if client is not None:
        if table[client].isna().any():
            raise DataError(f"{path}: column {client} has rows that name no client (fill them in or remove them)")
        client_names, owners = np.unique(table[client].to_numpy().astype(str), return_inverse=True)
    data = PreparedData(
        x_train=x_train,
        y_train=labels[train].astype(np.int32),
        x_test=x_test,
        y_test=labels[test].astype(np.int32),
        class_names=names,
        client_train=None if owners is None else owners[train].astype(np.int32),
        client_test=None if owners is None else owners[test].astype(np.int32),
        client_names=client_names,
    )
    return data, report | encoding


def _rows(
    path: Path, table: pd.DataFrame, labels: np.ndarray, split: str | None, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Row numbers for training and testing, and how they were chosen."""
    if split is not None:
        part = table[split].astype(str).str.strip().str.lower().to_numpy()
        odd = sorted(set(part) - set(SPLITS))
        if odd:
            raise DataError(f"{path}: column {split} holds {odd[0]!r} (it must hold train, test or validation)")
        train, test = np.flatnonzero(part == "train"), np.flatnonzero(part == "test")
        if not len(train) or not len(test):
            raise DataError(f"{path}: column {split} must mark rows of both train and test")
        return train, test, {"split": f"column {split}", "validation_rows_left_out": int((part == "validation").sum())}
    fraction = float(options.get("test_fraction", 0.2))
    try:
        train, test = train_test_split(np.arange(len(table)), test_size=fraction, random_state=0, stratify=labels)
    except ValueError as error:
        raise DataError(f"{path}: cannot be split for testing: {error} (name a split column)") from error
    return np.sort(train), np.sort(test), {"split": f"a stratified {fraction:g} of the rows is the test set"}


def _load_npz(path: Path, options: Mapping[str, Any]) -> tuple[PreparedData, dict[str, Any]]:
    """Arrays `x_train, y_train, x_test, y_test`, or `x, y` to be split; `client_train, client_test` or `client`."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if {"x", "y"} <= set(arrays):
        fraction = float(options.get("test_fraction", 0.2))
        rows = np.arange(len(arrays["y"]))
        train, test = train_test_split(rows, test_size=fraction, random_state=0, stratify=np.ravel(arrays["y"]))
        arrays |= {f"{k}_train": arrays[k][np.sort(train)] for k in ("x", "y", "client") if k in arrays}
        arrays |= {f"{k}_test": arrays[k][np.sort(test)] for k in ("x", "y", "client") if k in arrays}
    missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in arrays]
    if missing:
        raise DataError(f"{path}: has no array {missing[0]} (it needs x and y, or x_train, y_train, x_test and y_test)")
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        with np.errstate(over="ignore"):
            usable = np.issubdtype(x.dtype, np.number) and np.isfinite(x.astype(np.float32)).all()
        if not usable:
            raise DataError(
                f"{path}: x_{part} must hold numbers that are finite in float32 (encode text and fill gaps first)"
            )
        if len(x) != np.ravel(y).shape[0]:
            raise DataError(f"{path}: x_{part} has {len(x)} examples and y_{part} {np.ravel(y).shape[0]}")
    names, labels = np.unique(
        np.concatenate([np.ravel(arrays["y_train"]), np.ravel(arrays["y_test"])]), return_inverse=True
    )
    cut = np.ravel(arrays["y_train"]).shape[0]
    owners: dict[str, np.ndarray] = {}
    client_names = None
    if "client_train" in arrays and "client_test" in arrays:
        both = np.concatenate([arrays["client_train"], arrays["client_test"]]).astype(str)
        client_names, numbers = np.unique(both, return_inverse=True)
        owners = {"client_train": numbers[:cut].astype(np.int32), "client_test": numbers[cut:].astype(np.int32)}
    data = PreparedData(
        x_train=arrays["x_train"].astype(np.float32),
        y_train=labels[:cut].astype(np.int32),
        x_test=arrays["x_test"].astype(np.float32),
        y_test=labels[cut:].astype(np.int32),
        class_names=names.astype(str),
        client_names=client_names,
        **owners,
    )
    return data, {"preprocessing": "none: arrays are taken as they are", "fitted_on": "nothing"}


def _column(path: Path, table: pd.DataFrame, options: Mapping[str, Any], key: str) -> str | None:
    name = options.get(key)
    if name is not None and name not in table.columns:
        raise DataError(f"{path}: has no column {name} for {key}{_near(name, table.columns)}")
    return None if name is None else str(name)


def _near(name: str, columns: Any) -> str:
    near = get_close_matches(str(name), [str(column) for column in columns], n=1)
    return f" (did you mean {near[0]}?)" if near else f" (it has {', '.join(map(str, list(columns)[:20]))})"
