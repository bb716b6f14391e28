"""Loaders of the registered data sets: files by name to arrays and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from fedpareto.data.arrays import PreparedData
from fedpareto.data.loaders.idx import read_idx, scale
from fedpareto.data.loaders.tabular import encode

Loaded = tuple[PreparedData, dict[str, Any]]
Files = Mapping[str, Path]
TEST_FRACTION = 0.2
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
HEART_COLUMNS = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal"),
    "num",
)
HEART_CATEGORIES = ("sex", "cp", "fbs", "restecg", "exang", "slope", "thal")
ADULT_COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
)


def digits(files: Files) -> Loaded:
    """scikit-learn's 8 x 8 digits, pixels in [0, 1]; a stratified fifth is the test set."""
    del files
    bunch = load_digits()
    x = (bunch.data / 16).astype(np.float32)
    train, test = _split(bunch.target)
    names = np.array([str(digit) for digit in range(10)])
    report = {"preprocessing": "pixels divided by 16", "fitted_on": "nothing"}
    return _prepared(x[train], bunch.target[train], x[test], bunch.target[test], names), report


def breast_cancer(files: Files) -> Loaded:
    """scikit-learn's breast cancer (Wisconsin, diagnostic); a stratified fifth is the test set."""
    del files
    bunch = load_breast_cancer(as_frame=True)
    labels = bunch.target.to_numpy()
    train, test = _split(labels)
    return _table(bunch.data, labels, train, test, np.array([str(name) for name in bunch.target_names]))


def idx_images(names: tuple[str, ...]) -> Callable[[Files], Loaded]:
    """A loader of MNIST's four files."""

    def load(files: Files) -> Loaded:
        arrays = {name.split("-ubyte")[0]: read_idx(path) for name, path in files.items()}
        data = _prepared(
            scale(arrays["train-images-idx3"]),
            arrays["train-labels-idx1"],
            scale(arrays["t10k-images-idx3"]),
            arrays["t10k-labels-idx1"],
            np.array(names),
        )
        return data, {"preprocessing": "pixels divided by 255", "fitted_on": "nothing"}

    return load


def pneumoniamnist(files: Files) -> Loaded:
    """PneumoniaMNIST's own training and test split; its validation part is left out."""
    with np.load(files["pneumoniamnist.npz"]) as stored:
        data = _prepared(
            scale(stored["train_images"]),
            stored["train_labels"].ravel(),
            scale(stored["test_images"]),
            stored["test_labels"].ravel(),
            np.array(["normal", "pneumonia"]),
        )
    return data, {"preprocessing": "pixels divided by 255", "fitted_on": "nothing"}


def heart_disease(files: Files) -> Loaded:
    """UCI heart disease: four hospitals, label `num > 0`, a stratified fifth of each hospital is its test set."""
    frames, train, test, start = [], [], [], 0
    for number, hospital in enumerate(HOSPITALS):
        path = files[f"processed.{hospital}.data"]
        frame = pd.read_csv(path, names=list(HEART_COLUMNS), na_values="?").assign(hospital=number)
        own_train, own_test = _split((frame["num"] > 0).to_numpy())
        train.append(start + own_train)
        test.append(start + own_test)
        start += len(frame)
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    disguised = int((table["chol"] == 0).sum())
    table["chol"] = table["chol"].replace(0, np.nan)  # a cholesterol of 0 is a missing value in disguise
    for name in HEART_CATEGORIES:
        table[name] = table[name].map(lambda v: v if pd.isna(v) else f"{v:g}").astype("object")
    data, report = _table(
        table.drop(columns=["num", "hospital"]),
        (table["num"] > 0).to_numpy().astype(np.int64),
        np.concatenate(train),
        np.concatenate(test),
        np.array(["no disease", "disease"]),
        clients=table["hospital"].to_numpy(),
        client_names=np.array(HOSPITALS),
    )
    return data, report | {"notes": [f"{disguised} cholesterol values of 0 are taken for missing"]}


def fed_heart_disease(files: Files) -> Loaded:
    """UCI heart disease as FLamby prepares it (Ogier du Terrail et al. 2022): 13 features, a third of each hospital for testing.

    Three columns that are mostly missing are dropped, then rows with a missing value; `cp` and `restecg` are one-hot but for
    their first category; every hospital standardises with the mean and deviation of its own training rows.
    """
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
        own_train, own_test = train_test_split(rows, test_size=0.34, train_size=0.66, random_state=43, stratify=strata)
        mean, deviation = x[own_train].mean(axis=0), x[own_train].std(axis=0, ddof=1)
        x[rows] = (x[rows] - mean) / (deviation + 1e-9)
        train.append(own_train)
        test.append(own_test)
    chosen, held = np.concatenate(train), np.concatenate(test)
    data = _prepared(
        x[chosen].astype(np.float32),
        labels[chosen],
        x[held].astype(np.float32),
        labels[held],
        np.array(["no disease", "disease"]),
        client_train=clients[chosen],
        client_test=clients[held],
        client_names=np.array(HOSPITALS),
    )
    return data, {
        "preprocessing": "as FLamby's Fed-Heart-Disease",
        "fitted_on": "each hospital's training rows, without privacy",
    }


def credit_default(files: Files) -> Loaded:
    """UCI default of credit card clients (Taiwan 2005); a stratified fifth is the test set."""
    table = pd.read_csv(files["default_of_credit_card_clients.csv.gz"])
    labels = table.pop("default payment next month").to_numpy()
    table = table.drop(columns="ID").astype({name: "object" for name in ("SEX", "EDUCATION", "MARRIAGE")})
    train, test = _split(labels)
    return _table(table, labels, train, test, np.array(["pays", "defaults"]))


def creditcard(files: Files) -> Loaded:
    """Credit card fraud (ULB; Dal Pozzolo et al. 2015): 29 features, the time dropped; a stratified fifth is the test set."""
    table = pd.read_csv(files["creditcard.csv"]).drop(columns="Time")
    labels = table.pop("Class").to_numpy().astype(np.int64)
    train, test = _split(labels)
    data, report = _table(table, labels, train, test, np.array(["honest", "fraud"]))
    return data, report | {"notes": ["column Time dropped: seconds since the first transaction of the file"]}


def bank_marketing(files: Files) -> Loaded:
    """UCI bank marketing, `bank-full`; the call's duration is dropped, since it is known only after the answer."""
    table = pd.read_csv(files["bank-full.csv.gz"], sep=";").drop(columns="duration")
    labels = (table.pop("y") == "yes").to_numpy().astype(np.int64)
    train, test = _split(labels)
    data, report = _table(table, labels, train, test, np.array(["no", "yes"]))
    return data, report | {"notes": ["column duration dropped: it is known only once the answer is"]}


def adult(files: Files) -> Loaded:
    """UCI Adult with its own training and test files."""
    options: dict[str, Any] = {"names": list(ADULT_COLUMNS), "na_values": "?", "skipinitialspace": True}
    parts = [pd.read_csv(files["adult.data"], **options), pd.read_csv(files["adult.test"], skiprows=1, **options)]
    table = pd.concat(parts, ignore_index=True)
    labels = table.pop("income").str.rstrip(".").eq(">50K").to_numpy().astype(np.int64)
    rows = np.arange(len(table))
    cut = len(parts[0])
    return _table(table, labels, rows[:cut], rows[cut:], np.array(["<=50K", ">50K"]))


def diabetes130(files: Files) -> Loaded:
    """Diabetes 130-US hospitals: readmitted within 30 days or not; all stays of a patient are on one side of the split."""
    table = pd.read_csv(files["diabetic_data.csv.gz"], na_values="?", keep_default_na=False, low_memory=False)
    labels = table.pop("readmitted").eq("<30").to_numpy().astype(np.int64)
    patients = table.pop("patient_nbr").to_numpy()
    ids = ("admission_type_id", "discharge_disposition_id", "admission_source_id")
    table = table.drop(columns=["encounter_id", "diag_1", "diag_2", "diag_3"]).astype({name: "object" for name in ids})
    splitter = GroupShuffleSplit(n_splits=1, test_size=TEST_FRACTION, random_state=0)
    train, test = next(splitter.split(table, labels, patients))
    data, report = _table(table, labels, train, test, np.array(["not within 30 days", "within 30 days"]))
    return data, report | {
        "notes": ["patients are kept on one side of the split; the three diagnosis codes are left out"]
    }


def _split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of training and test examples, stratified by label, always the same; a rounded fifth is for testing."""
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=round(TEST_FRACTION * len(labels)), random_state=0, stratify=labels)
    return np.sort(train), np.sort(test)


def _table(
    features: pd.DataFrame,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    class_names: np.ndarray,
    clients: np.ndarray | None = None,
    client_names: np.ndarray | None = None,
) -> Loaded:
    x_train, x_test, report = encode(features.iloc[train], features.iloc[test])
    data = _prepared(
        x_train,
        labels[train],
        x_test,
        labels[test],
        class_names,
        client_train=None if clients is None else clients[train],
        client_test=None if clients is None else clients[test],
        client_names=client_names,
    )
    return data, report


def _prepared(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    class_names: np.ndarray,
    client_train: np.ndarray | None = None,
    client_test: np.ndarray | None = None,
    client_names: np.ndarray | None = None,
) -> PreparedData:
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
