"""Heart disease at four hospitals (UCI; Detrano et al. 1989)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from fedpareto.data.loaders.examples import prepared, split
from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.tabular import encoded

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
HEART_COLUMNS = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal"),
    "num",
)
HEART_CATEGORIES = ("sex", "cp", "fbs", "restecg", "exang", "slope", "thal")


class HeartDisease:
    """UCI heart disease: four hospitals, label `num > 0`, a stratified fifth of each hospital is its test set."""

    NAME: ClassVar = "heart_disease"
    TRAIN: ClassVar = 735
    CLIENTS: ClassVar = 4
    LICENCE: ClassVar = "CC BY 4.0"
    FOLDER: ClassVar = "heart_disease"
    MIRRORS: ClassVar = ("https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/",)
    FILES: ClassVar = {
        "processed.cleveland.data": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
        "processed.hungarian.data": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
        "processed.switzerland.data": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
        "processed.va.data": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
    }

    def load(self, files: Files) -> Loaded:
        frames, train, test, start = [], [], [], 0
        for number, hospital in enumerate(HOSPITALS):
            path = files[f"processed.{hospital}.data"]
            frame = pd.read_csv(path, names=list(HEART_COLUMNS), na_values="?").assign(hospital=number)
            own_train, own_test = split((frame["num"] > 0).to_numpy())
            train.append(start + own_train)
            test.append(start + own_test)
            start += len(frame)
            frames.append(frame)
        table = pd.concat(frames, ignore_index=True)
        disguised = int((table["chol"] == 0).sum())
        table["chol"] = table["chol"].replace(0, np.nan)  # a cholesterol of 0 is a missing value in disguise
        for name in HEART_CATEGORIES:
            table[name] = table[name].map(lambda v: v if pd.isna(v) else f"{v:g}").astype("object")
        data, report = encoded(
            table.drop(columns=["num", "hospital"]),
            (table["num"] > 0).to_numpy().astype(np.int64),
            np.concatenate(train),
            np.concatenate(test),
            class_names=np.array(["no disease", "disease"]),
            clients=table["hospital"].to_numpy(),
            client_names=np.array(HOSPITALS),
        )
        return data, report | {"notes": [f"{disguised} cholesterol values of 0 are taken for missing"]}


class FedHeartDisease(HeartDisease):
    """UCI heart disease as FLamby prepares it (Ogier du Terrail et al. 2022): 13 features, a third of each hospital for testing.

    Three columns that are mostly missing are dropped, then rows with a missing value; `cp` and `restecg` are one-hot but for
    their first category; every hospital standardises with the mean and deviation of its own training rows.
    """

    NAME: ClassVar = "fed_heart_disease"
    TRAIN: ClassVar = 486

    def load(self, files: Files) -> Loaded:
        frames = []
        for number, hospital in enumerate(HOSPITALS):
            frame = pd.read_csv(files[f"processed.{hospital}.data"], names=list(HEART_COLUMNS), na_values="?")
            frames.append(frame.drop(columns=["slope", "ca", "thal"]).dropna().assign(hospital=number))
        table = pd.concat(frames, ignore_index=True)
        labels, clients = (table.pop("num") > 0).to_numpy().astype(np.int64), table.pop("hospital").to_numpy()
        x = pd.get_dummies(table, columns=["cp", "restecg"], drop_first=True).to_numpy(np.float64)
        train, test = [], []
        for number in range(len(HOSPITALS)):
            rows = np.flatnonzero(clients == number)
            # One hospital keeps a single patient without the disease, who cannot stand on both sides.
            strata = labels[rows] if np.bincount(labels[rows], minlength=2).min() > 1 else None
            own_train, own_test = train_test_split(
                rows, test_size=0.34, train_size=0.66, random_state=43, stratify=strata
            )
            mean, deviation = x[own_train].mean(axis=0), x[own_train].std(axis=0, ddof=1)
            x[rows] = (x[rows] - mean) / (deviation + 1e-9)
            train.append(own_train)
            test.append(own_test)
        chosen, held = np.concatenate(train), np.concatenate(test)
        data = prepared(
            x[chosen].astype(np.float32),
            labels[chosen],
            x[held].astype(np.float32),
            labels[held],
            class_names=np.array(["no disease", "disease"]),
            client_train=clients[chosen],
            client_test=clients[held],
            client_names=np.array(HOSPITALS),
        )
        return data, {
            "preprocessing": "as FLamby's Fed-Heart-Disease",
            "fitted_on": "each hospital's training rows, without privacy",
        }
