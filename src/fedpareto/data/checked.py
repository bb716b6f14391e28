"""Invariants of every prepared data set, checked once, after preparation and before any training."""

from __future__ import annotations

import numpy as np

from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData


def check(name: str, data: PreparedData) -> None:
    """Examples are finite float32, and so are targets that are numbers; labels and owners are int32 within their names.

    All parts are as long as each other.

    Args:
      name: The data set, for messages.
      data: The prepared data of a loader.

    Raises:
      DataError: They are not; array, example and feature are named.
    """
    for part, x, y, owner in (
        ("train", data.x_train, data.y_train, data.client_train),
        ("test", data.x_test, data.y_test, data.client_test),
    ):
        if x.dtype != np.float32 or x.ndim < 2 or not x.size:
            raise DataError(
                f"{name}: x_{part} is {x.dtype} {x.shape}, and must be float32 [examples, ...] with an example at least"
            )
        if x.shape[1:] != data.x_train.shape[1:]:
            raise DataError(f"{name}: test examples are {x.shape[1:]} and training examples {data.x_train.shape[1:]}")
        odd = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        if len(odd):
            feature = np.flatnonzero(~np.isfinite(x[odd[0]].ravel()))[0]
            raise DataError(
                f"{name}: feature {feature} of {part} example {odd[0]} is {x[odd[0]].ravel()[feature]} once it is prepared"
            )
        if data.targets == "numbers":
            _check_targets(f"{name}: y_{part}", y, data.y_train.shape[1:], len(x))
        else:
            _check_numbers(f"{name}: y_{part}", y, len(x), len(data.class_names))
        if (owner is None) != (data.client_names is None):
            raise DataError(f"{name}: client_{part} and client_names must both be there, or neither")
        if owner is not None and data.client_names is not None:
            # Whoever has test examples only is no client, and has a number behind theirs.
            most = len(data.client_names) if part == "train" else 2**31
            _check_numbers(f"{name}: client_{part}", owner, len(x), most)


def _check_targets(what: str, y: np.ndarray, shape: tuple[int, ...], examples: int) -> None:
    if y.dtype != np.float32 or y.shape != (examples, *shape):
        raise DataError(f"{what} is {y.dtype} {y.shape}, and must be float32 {(examples, *shape)}")
    if not np.isfinite(y).all():
        odd = np.flatnonzero(~np.isfinite(y).reshape(examples, -1).all(axis=1))[0]
        raise DataError(f"{what} holds {y[odd]} for example {odd}, and must be finite")


def _check_numbers(what: str, numbers: np.ndarray, examples: int, most: int) -> None:
    if numbers.dtype != np.int32 or numbers.shape != (examples,):
        raise DataError(f"{what} is {numbers.dtype} {numbers.shape}, and must be int32 ({examples},)")
    if numbers.min() < 0 or numbers.max() >= most:
        raise DataError(f"{what} holds {numbers.min()} to {numbers.max()}, and must be from 0 to {most - 1}")
