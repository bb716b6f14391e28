"""F1 and the areas under curves of final models, for classes of unequal size."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from fedpareto.config.load import load
from fedpareto.data import arrays
from fedpareto.data.prepare import prepare
from fedpareto.federated.inputs.state import AloneState
from fedpareto.federated.store.results import run_row
from fedpareto.federated.train import _final, train_bundle
from fedpareto.sweep.account import account
from fedpareto.sweep.sweep import plan_sweep
from fedpareto.tasks.classification import Classification

TASK = Classification()
FINAL = tuple(metric.name for metric in TASK.final)

STUDY = {
    "dataset": "breast_cancer",
    "clients": 20,
    "rounds": 3,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "noise_multiplier": 0,
    "baselines": ["alone"],
}


def test_the_positive_class_is_the_one_numbered_one():
    logits = jnp.array([[0.0, 3.0], [1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    labels = np.array([1, 1, 0, 0, 0])
    scores = TASK.final_metrics(np.asarray(TASK.predictions(logits)), labels)
    assert scores["f1"] == pytest.approx(
        0.5
    )  # one found, one missed, one accused wrongly; a tie says 0, as argmax does
    assert scores["auroc"] == pytest.approx(4 / 6)  # of six pairs, the tied example and the one below are beaten twice
    assert scores["auprc"] == pytest.approx((1 / 1 + 2 / 4) / 2)


def test_of_more_classes_f1_is_the_mean_of_all():
    labels, predictions = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 1, 1])
    scores = TASK.final_metrics(predictions, labels)
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert np.isnan([scores["auroc"], scores["auprc"]]).all()
    assert TASK.predictions(jnp.eye(3)).tolist() == [0, 1, 2]


def test_one_class_alone_has_no_curve():
    scores = TASK.final_metrics(np.array([1.0, -1.0]), np.array([0, 0]))
    assert scores["f1"] == 0
    assert np.isnan([scores["auroc"], scores["auprc"]]).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    (folder / "c.yaml").write_text(yaml.safe_dump({"studies": {"s": STUDY}}))
    prepare("breast_cancer", folder / "d.npz", folder / "d.json")
    data = arrays.read(folder / "d.npz")
    rows, kept = {}, {}
    for bundle in plan_sweep(load([folder / "c.yaml"])).bundles.values():
        accounted = account(bundle)
        where = {"runs_folder": folder / "runs", "checkpoints_folder": folder / "checkpoints"}
        for run, result in zip(bundle.runs, train_bundle(bundle, accounted, data, **where), strict=True):
            rows[run.training.algorithm] = run_row(bundle.bundle_id, run, accounted[run.run_id], result, data=data)
            kept[run.training.algorithm] = (bundle.bundle_id, run, accounted[run.run_id], result, data)
    return folder, data, rows, kept["fedavg"]


def test_the_table_has_the_scores_of_the_model_that_is_kept(trained):
    folder, data, rows, _ = trained
    row = rows["fedavg"]
    with np.load(folder / "runs" / row["run_id"] / "model.npz") as model:
        logits = data.x_test @ model["Dense_0/kernel"] + model["Dense_0/bias"]
    score = logits[:, 1] - logits[:, 0]
    assert row["accuracy"] == pytest.approx(np.mean((score > 0) == data.y_test))
    assert row["f1"] == pytest.approx(f1_score(data.y_test, score > 0))
    assert row["auroc"] == pytest.approx(roc_auc_score(data.y_test, score))
    assert row["auprc"] == pytest.approx(average_precision_score(data.y_test, score))
    kept = json.loads((folder / "runs" / row["run_id"] / "result.json").read_text())
    assert kept["final"] == {name: row[name] for name in FINAL}


def test_clients_alone_have_the_mean_of_theirs(trained):
    _, data, rows, _ = trained
    assert all(0.5 < rows["alone"][name] < rows["fedavg"][name] for name in FINAL)
    right, wrong = np.where(data.y_test == 1, 1.0, -1.0), np.where(data.y_test == 1, -1.0, 1.0)
    scores = {"accuracy": np.ones(2), "loss": np.ones(2)}
    state = AloneState(2, scores, np.stack([right, wrong]), {"accuracy": 0.5, "loss": 0.7})
    assert _final(TASK, state, None, data) == pytest.approx(
        {"f1": 0.5, "auroc": 0.5, "auprc": (1 + np.mean(data.y_test)) / 2}
    )
    assert _final(TASK, state._replace(scores=scores | {"loss": np.array([1.0, np.nan])}), None, data) == dict.fromkeys(
        FINAL
    )


def test_a_run_that_diverged_has_none(trained):
    _, data, _, (bundle_id, run, accounted, result, _) = trained
    assert _final(TASK, SimpleNamespace(diverged_round=2), None, data) == dict.fromkeys(FINAL)
    lost = replace(result, status="diverged", final=dict.fromkeys(FINAL))
    assert pd.isna(pd.Series(run_row(bundle_id, run, accounted, lost, data=data))[[*FINAL]]).all()
