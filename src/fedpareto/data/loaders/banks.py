"""Customers of banks: defaults, fraud, and answers to a campaign."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd

from fedpareto.data.loaders.examples import split
from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.tabular import encoded


class CreditDefault:
    """UCI default of credit card clients (Taiwan 2005); a stratified fifth is the test set."""

    NAME: ClassVar = "credit_default"
    TRAIN: ClassVar = 24_000
    LICENCE: ClassVar = "CC BY 4.0"
    FILES: ClassVar = {  # UCI serves a spreadsheet; this is its values as CSV
        "default_of_credit_card_clients.csv.gz": "fc12d2653a5cb0ae7d0ef73aed777e84f836b1e307fe60e8cf16973df1f2993b"
    }

    def load(self, files: Files) -> Loaded:
        table = pd.read_csv(files["default_of_credit_card_clients.csv.gz"])
        labels = table.pop("default payment next month").to_numpy()
        table = table.drop(columns="ID").astype({name: "object" for name in ("SEX", "EDUCATION", "MARRIAGE")})
        train, test = split(labels)
        return encoded(table, labels, train, test, class_names=np.array(["pays", "defaults"]))


class CreditCard:
    """Credit card fraud (ULB; Dal Pozzolo et al. 2015): 29 features, the time dropped; a stratified fifth is the test set."""

    NAME: ClassVar = "creditcard"
    TRAIN: ClassVar = 227_846
    LICENCE: ClassVar = "DbCL 1.0"
    MIRRORS: ClassVar = ("https://storage.googleapis.com/download.tensorflow.org/data/",)
    FILES: ClassVar = {"creditcard.csv": "76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89"}

    def load(self, files: Files) -> Loaded:
        table = pd.read_csv(files["creditcard.csv"]).drop(columns="Time")
        labels = table.pop("Class").to_numpy().astype(np.int64)
        train, test = split(labels)
        data, report = encoded(table, labels, train, test, class_names=np.array(["honest", "fraud"]))
        return data, report | {"notes": ["column Time dropped: seconds since the first transaction of the file"]}


class BankMarketing:
    """UCI bank marketing, `bank-full`; the call's duration is dropped, since it is known only after the answer."""

    NAME: ClassVar = "bank_marketing"
    TRAIN: ClassVar = 36_169
    LICENCE: ClassVar = "CC BY 4.0"
    FILES: ClassVar = {
        "bank-full.csv.gz": {
            "hashes": ("a33820520e31d26b498e31003e99eb0e477690b699a38eade375acf3b3004dcd",),
            "urls": ("https://archive.ics.uci.edu/ml/machine-learning-databases/00222/bank.zip",),
            "member": "bank-full.csv",
            "member_hash": "d1513ec63b385506f7cfce9f2c5caa9fe99e7ba4e8c3fa264b3aaf0f849ed32d",
        }
    }

    def load(self, files: Files) -> Loaded:
        table = pd.read_csv(files["bank-full.csv.gz"], sep=";").drop(columns="duration")
        labels = (table.pop("y") == "yes").to_numpy().astype(np.int64)
        train, test = split(labels)
        data, report = encoded(table, labels, train, test, class_names=np.array(["no", "yes"]))
        return data, report | {"notes": ["column duration dropped: it is known only once the answer is"]}
