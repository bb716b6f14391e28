"""Data sets: what is loaded, what is refused, and that nothing of the test set reaches training."""

import csv
import json

import numpy as np
import pandas as pd
import pooch
import pytest

from fedpareto.components import registry
from fedpareto.data import DataError, arrays, facts, fetch
from fedpareto.data.fetch import RemoteFile, remote_files
from fedpareto.data.loaders.banks import CreditCard
from fedpareto.data.prepare import prepare

COUNTS = {  # training examples, test examples, classes, natural clients
    "digits": (1438, 359, 10, None),
    "breast_cancer": (455, 114, 2, None),
    "mnist": (60_000, 10_000, 10, None),
    "mnist_scattering": (60_000, 10_000, 10, None),
    "fashion_mnist": (60_000, 10_000, 10, None),
    "fashion_mnist_scattering": (60_000, 10_000, 10, None),
    "pneumoniamnist": (4708, 624, 2, None),
    "cifar10": (50_000, 10_000, 10, None),
    "cifar10_scattering": (50_000, 10_000, 10, None),
    "heart_disease": (735, 185, 2, 4),
    "fed_heart_disease": (486, 254, 2, 4),
    "credit_default": (24_000, 6_000, 2, None),
    "creditcard": (227_846, 56_961, 2, None),
    "bank_marketing": (36_169, 9_042, 2, None),
    "adult": (32_561, 16_281, 2, None),
    "diabetes130": (81_532, 20_234, 2, None),
}
# A gigabyte each; test_scattering prepares a few of their images.
HEAVY = ("mnist_scattering", "fashion_mnist_scattering", "cifar10_scattering")


def prepared(name, folder, options=None):
    prepare(name, folder / f"{name}.npz", folder / f"{name}.json", options)
    return arrays.read(folder / f"{name}.npz"), json.loads((folder / f"{name}.json").read_text())


def test_every_registered_set_is_counted_here():
    assert set(COUNTS) == set(facts.registered())


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in HEAVY)) for n in COUNTS])
def test_registered_sets(name, tmp_path, request):
    files = remote_files(registry.find("dataset", name).constants)
    if files:
        request.getfixturevalue("data_folder")
    if not fetch.is_complete(name, files):
        pytest.skip("its files are not at hand")
    data, report = prepared(name, tmp_path)
    train, test, classes, clients = COUNTS[name]
    assert (len(data.y_train), len(data.y_test), len(data.class_names)) == (train, test, classes)
    assert set(np.unique(data.y_train)) == set(range(classes))
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert np.isfinite(data.x_train).all()
    assert np.isfinite(data.x_test).all()
    assert (None if data.client_names is None else len(data.client_names)) == clients
    shape = data.x_train.shape[1:]
    assert facts.of_class(name) == facts.DatasetInfo(train, shape if len(shape) == 3 else None, clients)
    assert report["content_sha256"] == data.content_sha256
    assert set(report["sources_sha256"]) == {file.name for file in files}


def test_mnist_is_scaled_and_labelled_as_published(data_folder, tmp_path):
    data, _ = prepared("mnist", tmp_path)
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.x_train.mean() == pytest.approx(0.1307, abs=1e-4)


def test_heart_disease_keeps_its_hospitals(data_folder, tmp_path):
    data, report = prepared("heart_disease", tmp_path)
    assert data.client_names.tolist() == ["cleveland", "hungarian", "switzerland", "va"]
    assert np.bincount(data.client_test).tolist() == [61, 59, 25, 40]
    assert "cholesterol" in report["notes"][0]


def test_flambys_heart_disease_has_its_counts_and_standardised_hospitals(data_folder, tmp_path):
    data, _ = prepared("fed_heart_disease", tmp_path)
    assert data.x_train.shape[1] == 13
    assert np.bincount(data.client_train).tolist() == [199, 172, 30, 85]  # as FLamby prints them
    assert np.bincount(data.client_test).tolist() == [104, 89, 16, 45]
    for hospital in range(4):
        own = data.x_train[data.client_train == hospital]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-5)
        assert set(np.round(own.std(axis=0, ddof=1), 4)) <= {0.0, 1.0}


def test_credit_card_fraud_has_29_features_and_a_rare_class(tmp_path):
    rng = np.random.default_rng(0)
    made_up = pd.DataFrame(rng.normal(size=(500, 28)), columns=[f"V{i}" for i in range(1, 29)])
    made_up.insert(0, "Time", np.arange(500.0))
    made_up["Amount"] = rng.lognormal(3, 1, 500)
    made_up["Class"] = (np.arange(500) % 50 == 0).astype(int).astype(str)
    made_up.to_csv(
        tmp_path / "creditcard.csv", index=False, quoting=csv.QUOTE_NONNUMERIC
    )  # "0" and "1", as in the file
    data, report = CreditCard().load({"creditcard.csv": tmp_path / "creditcard.csv"})
    assert data.x_train.shape == (400, 29)
    assert (data.y_train.sum(), data.y_test.sum()) == (8, 2)
    assert data.class_names[1] == "fraud"
    assert report["numeric_columns"][-1] == "Amount"


def test_an_altered_local_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "adult.data").write_text("altered")
    monkeypatch.setenv("FEDPARETO_DATA", str(tmp_path))
    with pytest.raises(DataError, match="was expected"):
        prepare("adult", tmp_path / "a.npz", tmp_path / "a.json")
    assert not (tmp_path / "a.npz").exists()


def test_mirrors_are_tried_in_turn_and_a_finished_file_is_not_fetched_again(tmp_path, monkeypatch):
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append(url)
        if "broken" in url:
            raise ConnectionError("no route")
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_text("content")
        return str(path / fname)

    monkeypatch.delenv("FEDPARETO_DATA", raising=False)
    monkeypatch.setenv("FEDPARETO_CACHE", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    known = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # sha256 of "content"
    file = RemoteFile("file.txt", (known,), ("https://broken.example/file.txt", "https://works.example/file.txt"))
    assert fetch.fetch("some", file).read_text() == "content"
    assert fetch.fetch("some", file).read_text() == "content"
    assert asked == ["https://broken.example/file.txt", "https://works.example/file.txt"]
    broken = RemoteFile("other.txt", (known,), ("https://broken.example/other.txt",))
    with pytest.raises(DataError, match="FEDPARETO_DATA"):
        fetch.fetch("some", broken)
