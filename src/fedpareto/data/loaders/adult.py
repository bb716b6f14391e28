"""Incomes of the US census of 1994 (UCI Adult; Kohavi 1996)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.tabular import encoded

ADULT_COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
)


class Adult:
    """UCI Adult with its own training and test files."""

    NAME: ClassVar = "adult"
    TRAIN: ClassVar = 32_561
    LICENCE: ClassVar = "CC BY 4.0"
    MIRRORS: ClassVar = ("https://archive.ics.uci.edu/ml/machine-learning-databases/adult/",)
    FILES: ClassVar = {
        "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
    }

    def load(self, files: Files) -> Loaded:
        options: dict[str, Any] = {"names": list(ADULT_COLUMNS), "na_values": "?", "skipinitialspace": True}
        parts = [pd.read_csv(files["adult.data"], **options), pd.read_csv(files["adult.test"], skiprows=1, **options)]
        table = pd.concat(parts, ignore_index=True)
        labels = table.pop("income").str.rstrip(".").eq(">50K").to_numpy().astype(np.int64)
        rows = np.arange(len(table))
        cut = len(parts[0])
        return encoded(table, labels, rows[:cut], rows[cut:], class_names=np.array(["<=50K", ">50K"]))
