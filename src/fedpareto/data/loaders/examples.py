"""Rows of training and test examples: how a registered data set is split, and brought to the types of prepared arrays."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from fedpareto.data.arrays import PreparedData

TEST_FRACTION = 0.2


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of training and test examples, stratified by label, always the same; a rounded fifth is for testing."""
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=round(TEST_FRACTION * len(labels)), random_state=0, stratify=labels)
    return np.sort(train), np.sort(test)


def prepared(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    class_names: np.ndarray,
    client_train: np.ndarray | None = None,
    client_test: np.ndarray | None = None,
    client_names: np.ndarray | None = None,
) -> PreparedData:
    """Arrays of a registered data set, labels and clients as int32."""
    whole = lambda array: None if array is None else np.asarray(array, np.int32)  # noqa: E731
    return PreparedData(
        x_train=x_train,
        y_train=np.asarray(y_train, np.int32),
        x_test=x_test,
        y_test=np.asarray(y_test, np.int32),
        class_names=class_names,
        client_train=whole(client_train),
        client_test=whole(client_test),
        client_names=client_names,
    )
