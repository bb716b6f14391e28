"""Record-level privacy from the configuration to the tables."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from fedpareto.config.load import load
from fedpareto.data import arrays
from fedpareto.data.prepare import prepare
from fedpareto.federated.store.results import write_bundle
from fedpareto.federated.train import train_bundle
from fedpareto.privacy.mechanisms.normal import NUMERICS
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import PrivacySetting
from fedpareto.sweep.account import account, privacy_plan
from fedpareto.sweep.sweep import plan_sweep

STUDY = {
    "dataset": "digits",
    "clients": 5,
    "unit": "record",
    "sampling_rate": 0.05,
    "rounds": 80,
    "model": {"name": "mlp", "hidden": 32},
    "server_optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    "clip_norm": 1.0,
    "noise_multiplier": 2.0,
    "delta": 1.0e-4,
    "seeds": 2,
}


def bundle_of(folder, **changes):
    file = folder / "records.yaml"
    file.write_text(yaml.safe_dump({"studies": {"s": STUDY | changes}}))
    (bundle,) = plan_sweep(load([file])).bundles.values()
    return bundle


def test_the_plan_is_that_of_dp_sgd(tmp_path):
    private = next(run for run in bundle_of(tmp_path).runs if run.privacy)
    assert privacy_plan(private) == PrivacyPlan(
        PrivacySetting(unit="record", sampling_rate=0.05, min_separation=19),
        population=1438,
        rounds=80,
        clip_norm=1.0,
        noise_multiplier=2.0,
        delta=1.0e-4,
    )
    assert privacy_plan(private).expected_cohort == pytest.approx(71.9)


def test_records_are_trained_and_tabled(tmp_path):
    bundle = bundle_of(tmp_path)
    prepare("digits", tmp_path / "digits.npz", tmp_path / "digits.json")
    data = arrays.read(tmp_path / "digits.npz")
    accounted = account(bundle)
    folders = {"runs_folder": tmp_path / "runs", "checkpoints_folder": tmp_path / "checkpoints"}
    results = train_bundle(bundle, accounted, data, **folders)
    write_bundle(tmp_path / "out", bundle, accounted, results, data)

    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet").set_index("run_id")
    assert (runs["status"] == "ok").all()
    assert set(runs["unit"]) == {"record"}
    private = runs[runs["noise_multiplier"] > 0]
    # Five seeds of the exact values would agree: epsilon of DP-SGD at q = 0.05, T = 80, z = 2, delta = 1e-4.
    assert private["epsilon_rdp"].nunique() == 1
    assert private["epsilon_pld"].iloc[0] < private["epsilon_rdp"].iloc[0] < 3
    assert set(private["numerics"]) == {NUMERICS}
    reference = runs[runs["noise_multiplier"] == 0]
    assert reference["numerics"].isna().all()
    # 40 seeds: mean 0.914, standard deviation 0.028, smallest 0.80.
    assert (reference["accuracy"] > 0.78).all()
    assert (private["accuracy"] > 0.6).all()
    assert (private["accuracy"] < reference["accuracy"].min()).all()
    # Every round goes to every client, whose records may have been drawn.
    assert (runs["bytes_up"] == 5 * 80 * 4 * runs["parameters"]).all()
    assert json.loads(runs["execution"].iloc[0])["at_once"] >= 16

    metrics = pd.read_parquet(tmp_path / "out" / "metrics.parquet")
    cohorts = metrics[metrics["round"] > 0]["cohort_size"]
    # 80 draws of Binomial(1438, 0.05), mean 71.9, standard deviation 8.3: nine standard errors of their mean.
    assert abs(cohorts.mean() - 71.9) < 9 * 8.3 / np.sqrt(len(cohorts))


def test_other_data_than_planned_for_are_refused(tmp_path):
    bundle = bundle_of(tmp_path)
    prepare("breast_cancer", tmp_path / "other.npz", tmp_path / "other.json")
    data = arrays.read(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="455 training records, and the plan was made for 1438"):
        train_bundle(bundle, account(bundle), data, runs_folder=tmp_path, checkpoints_folder=tmp_path)
