"""Stays of patients with diabetes at 130 US hospitals (UCI; Strack et al. 2014)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from fedpareto.data.loaders.examples import TEST_FRACTION
from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.tabular import encoded


class Diabetes130:
    """Diabetes 130-US hospitals: readmitted within 30 days or not; all stays of a patient are on one side of the split."""

    NAME: ClassVar = "diabetes130"
    TRAIN: ClassVar = 81_532
    LICENCE: ClassVar = "CC BY 4.0"
    FILES: ClassVar = {
        "diabetic_data.csv.gz": {
            "hashes": ("16209e462b906f828e2423f7a9f783f4c4472ad81abd7d653f4e19b46da76e82",),
            "urls": ("https://archive.ics.uci.edu/ml/machine-learning-databases/00296/dataset_diabetes.zip",),
            "member": "dataset_diabetes/diabetic_data.csv",
            "member_hash": "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97",
        }
    }

    def load(self, files: Files) -> Loaded:
        table = pd.read_csv(files["diabetic_data.csv.gz"], na_values="?", keep_default_na=False, low_memory=False)
        labels = table.pop("readmitted").eq("<30").to_numpy().astype(np.int64)
        patients = table.pop("patient_nbr").to_numpy()
        ids = ("admission_type_id", "discharge_disposition_id", "admission_source_id")
        table = table.drop(columns=["encounter_id", "diag_1", "diag_2", "diag_3"]).astype(
            {name: "object" for name in ids}
        )
        splitter = GroupShuffleSplit(n_splits=1, test_size=TEST_FRACTION, random_state=0)
        train, test = next(splitter.split(table, labels, patients))
        data, report = encoded(
            table, labels, train, test, class_names=np.array(["not within 30 days", "within 30 days"])
        )
        return data, report | {
            "notes": ["patients are kept on one side of the split; the three diagnosis codes are left out"]
        }
