"""From a table of mixed columns to numbers: imputing, scaling and encoding, fitted on training rows only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedpareto.data import DataError
from fedpareto.data.loaders.examples import prepared
from fedpareto.data.loaders.interface import Loaded

FITTED_ON = "training rows, without privacy: fit it on public data in a deployment"


def encode(train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Numbers are imputed by the median and standardised, categories imputed by the commonest and one-hot encoded.

    Args:
      train: Training rows, features only.
      test: Test rows with the same columns.

    Returns:
      Training features float32 [n, features], test features float32 [m, features], and a report: kinds of columns,
      missing values, dropped constant columns, test rows with categories that training has not seen (encoded as zeros).

    Raises:
      DataError: No column tells examples apart, or one does so by less than the arithmetic can tell.
    """
    train, test = train.copy(), test.copy()
    constant = [str(name) for name in train.columns if train[name].nunique(dropna=True) <= 1]
    train, test = train.drop(columns=constant), test.drop(columns=constant)
    if train.shape[1] == 0:
        raise DataError(
            f"no feature column is left: {', '.join(constant) or 'there is none'} (constant columns say nothing)"
        )
    numeric = [name for name in train.columns if pd.api.types.is_numeric_dtype(train[name])]
    categorical = [name for name in train.columns if name not in numeric]
    for frame in (train, test):
        for name in categorical:
            frame[name] = frame[name].astype("object").where(frame[name].notna(), np.nan)
        for name in numeric:
            frame[name] = frame[name].astype("float64")
    unseen = {
        str(name): int((~test[name].isin(train[name].unique()) & test[name].notna()).sum()) for name in categorical
    }
    transformer = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
            (
                "categorical",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
                ),
                categorical,
            ),
        ]
    )
    x_train = transformer.fit_transform(train)
    still = [
        str(name) for name, values in zip(numeric, x_train.T, strict=False) if not np.ptp(values.astype(np.float32))
    ]
    if still:
        raise DataError(
            f"columns {', '.join(still)} differ by too little for float32 (subtract what their values share, or scale them)"
        )
    report = {
        "preprocessing": "median imputation and standardisation of numbers, commonest value and one-hot of categories",
        "fitted_on": FITTED_ON,
        "numeric_columns": [str(name) for name in numeric],
        "categorical_columns": [str(name) for name in categorical],
        "constant_columns_dropped": constant,
        "missing_values": {str(k): int(v) for k, v in pd.concat([train, test]).isna().sum().items() if v},
        "test_rows_with_unseen_categories": {name: count for name, count in unseen.items() if count},
    }
    return x_train.astype(np.float32), transformer.transform(test).astype(np.float32), report


def encoded(
    features: pd.DataFrame,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    class_names: np.ndarray,
    clients: np.ndarray | None = None,
    client_names: np.ndarray | None = None,
) -> Loaded:
    """A table whose rows are divided, encoded.

    Args:
      features: Columns of all rows.
      labels: int [rows].
      train: int [n], rows of the training examples.
      test: int [m], rows of the test examples.
      class_names: unicode [classes].
      clients: int [rows], the natural client of each row, or None.
      client_names: unicode [natural clients], or None.
    """
    x_train, x_test, report = encode(features.iloc[train], features.iloc[test])
    data = prepared(
        x_train,
        labels[train],
        x_test,
        labels[test],
        class_names=class_names,
        client_train=None if clients is None else clients[train],
        client_test=None if clients is None else clients[test],
        client_names=client_names,
    )
    return data, report
