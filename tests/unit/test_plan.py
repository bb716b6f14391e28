"""From studies to runs and bundles: what is trained, what shares a program, and what a name stands for."""

import json
import time

import numpy as np
import pytest
import yaml

from fedpareto.config.load import load
from fedpareto.sweep.groups import Privacy, TargetEpsilon
from fedpareto.sweep.run import NOT_PRIVATE, Run, describe
from fedpareto.sweep.sweep import Sweep, plan_sweep

STUDY = {
    "dataset": "digits",
    "clients": 100,
    "sampling_rate": 0.2,
    "rounds": 10,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "clip_norm": 1.0,
    "noise_multiplier": 1,
    "delta": 1.0e-4,
}
RUN_IDS = ["2fdd5c7687233913", "d5600f10e8bd3d2f"]


def plan_of(folder, changes=None, without=(), **top):
    study = {k: v for k, v in (STUDY | (changes or {})).items() if k not in without}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"studies": {"s": study}} | top))
    return plan_sweep(load([path]))


def bundle_count(folder, changes):
    """Bundles of the private runs: those of the baselines are others."""
    plan = plan_of(folder, changes)
    return sum(any(run.privacy for run in bundle.runs) for bundle in plan.bundles.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_multiplier": [1, 2]},
        {"clip_norm": [0.5, 1.0]},
        {"client_learning_rate": [0.1, 0.2]},
        {"delta": [1.0e-4, 1.0e-5]},
        {"seeds": 3},
        {"server_optimizer": {"name": "adam", "learning_rate": [0.01, 0.1], "b1": [0.5, 0.9]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_a_program_takes_as_an_argument_shares_it(tmp_path, changes):
    assert bundle_count(tmp_path, changes) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"clients": [50, 100]},
        {"sampling_rate": [0.2, 0.3]},
        {"rounds": [10, 20]},
        {"model": ["logistic", "mlp"]},
        {"model": {"name": "mlp", "hidden": [16, 32]}},
        {"partition": ["iid", {"name": "dirichlet", "alpha": 1}]},
        {"batch_size": [4, 8]},
        {"local_epochs": [1, 2]},
        {"local_steps": [1, 2]},
        {"server_optimizer": ["sgd", "adam"]},
        {"server_optimizer": ["sgd", {"name": "sgd", "momentum": 0.9}]},
        {"server_optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": [True, False]}},
        {"dataset": ["digits", "breast_cancer"]},
    ],
    ids=str,
)
def test_what_shapes_a_program_makes_another_bundle(tmp_path, changes):
    assert bundle_count(tmp_path, changes) == 2


def test_a_run_id_changes_with_every_field_but_the_label(tmp_path):
    run = next(iter(plan_of(tmp_path).runs.values()))
    other = {"clients": 7, "seed": 9, "delta": 1.0e-9, "clip_norm": 9.0, "model": {"name": "mlp"}, "batch_size": 3}
    assert len({run.run_id, *(run.replace(**{key: value}).run_id for key, value in other.items())}) == 1 + len(other)
    assert run.replace(baseline="non_private").run_id == run.run_id


def test_run_ids_stay_what_they_were(tmp_path):
    # Results that users keep are found by these names: a change here retrains everything, and needs a word in the changelog.
    assert sorted(plan_of(tmp_path).runs) == RUN_IDS


def test_every_bundle_is_sorted_and_every_run_in_exactly_one(tmp_path):
    plan = plan_of(tmp_path, {"clients": [50, 100], "seeds": 4, "baselines": ["centralised", "alone"]})
    members = [run.run_id for bundle in plan.bundles.values() for run in bundle.runs]
    assert sorted(members) == sorted(plan.runs)
    assert all([r.run_id for r in b.runs] == sorted(r.run_id for r in b.runs) for b in plan.bundles.values())


def test_a_run_that_two_studies_ask_for_is_trained_once(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({"studies": {"a": STUDY, "b": STUDY | {"noise_multiplier": [1, 2]}}}))
    plan = plan_sweep(load([path]))
    assert len(plan.runs) == 3
    assert set(plan.studies["a"]) < set(plan.studies["b"])


def test_noise_zero_and_target_null_are_runs_without_delta(tmp_path):
    by_noise = plan_of(tmp_path, {"noise_multiplier": [0, 1]}).runs.values()
    assert {r.contribution.clip_norm for r in by_noise if r.privacy is None} == {1.0, None}
    by_target = plan_of(tmp_path, {"target_epsilon": [None, 2]}, ["noise_multiplier"]).runs.values()
    assert [r.privacy for r in by_target if r.privacy] == [Privacy(TargetEpsilon(2.0), delta=1.0e-4)]
    assert {r.contribution.clip_norm for r in by_target if r.privacy is None} == {1.0, None}
    for run in (*by_noise, *by_target):
        if run.privacy is None:
            assert {key: run.to_dict()[key] for key in NOT_PRIVATE} == NOT_PRIVATE


def test_a_study_without_noise_is_plain_fedavg(tmp_path):
    (run,) = plan_of(tmp_path, without=["noise_multiplier", "clip_norm", "delta"]).runs.values()
    assert (run.contribution.clip_norm, run.privacy) == (None, None)


def test_baselines_differ_from_the_cell_in_what_they_stand_for_and_in_nothing_else(tmp_path):
    plan = plan_of(tmp_path, {"baselines": ["alone", "centralised"], "server_optimizer": {"name": "adam"}})
    runs = {run.baseline: run for run in plan.runs.values()}
    assert set(runs) == {None, "non_private", "alone", "centralised"}
    cell = runs["non_private"]
    sgd = {"name": "sgd", "learning_rate": 1.0}
    assert cell == runs[None].replace(baseline="non_private", clip_norm=None, noise_multiplier=0.0, delta=None)
    assert runs["alone"] == cell.replace(baseline="alone", algorithm="alone", server_optimizer=sgd)
    central = runs["centralised"]
    assert (central.training.algorithm, central.data.clients, central.cohort.sampling_rate) == ("fedavg", 1, 1.0)
    assert (central.data.partition, central.training.server_optimizer) == ({"name": "iid", "minimum": 1}, sgd)


def test_centralised_knows_the_size_of_the_users_arrays(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.zeros((1000, 3), np.float32), y=np.arange(1000) % 2)
    study = {"dataset": "own", "clients": 80, "sampling_rate": 0.5, "batch_size": 5, "baselines": ["centralised"]}
    plan = plan_of(tmp_path, study, datasets={"own": {"path": str(tmp_path / "own.npz")}})
    (run,) = [run for run in plan.runs.values() if run.baseline == "centralised"]
    # 40 clients a round, each with 800 / 80 examples in two steps of 5
    assert run.training.local_steps == 40 * 2


@pytest.mark.parametrize(("rounds", "every", "expected"), [(10, 4, (0, 4, 8, 10)), (3, 9, (0, 3)), (40, None, None)])
def test_runs_are_scored_at_the_start_at_the_end_and_between(tmp_path, rounds, every, expected):
    run = next(iter(plan_of(tmp_path, {"rounds": rounds, "evaluate_every": every}).runs.values()))
    assert run.evaluation_rounds == (expected or tuple(range(0, 41, 2)))


def test_the_plan_file_holds_what_the_jobs_need(tmp_path):
    plan = plan_of(tmp_path, {"seeds": 2})
    tree = json.loads(plan.to_json())
    parts = {"studies", "runs", "bundles", "datasets", "execution", "comparisons", "attacks", "policies", "figures"}
    assert set(tree) == parts
    assert tree["studies"]["s"]["runs"] == list(plan.studies["s"])
    assert all(Run.from_dict(entry).run_id == name for name, entry in tree["runs"].items())
    assert Sweep.from_json(plan.to_json()).digest == plan.digest


def test_specs_are_described_in_one_word():
    assert describe({"name": "mlp", "hidden": "64-32"}) == "mlp(hidden=64-32)"
    assert describe({"name": "sgd", "learning_rate": 1.0}) == "sgd(learning_rate=1)"
    assert describe({"name": "logistic"}) == "logistic"


def test_ten_thousand_runs_are_planned_in_seconds(tmp_path):
    start = time.process_time()
    plan = plan_of(tmp_path, {"noise_multiplier": list(range(1, 101)), "clip_norm": [1, 2, 3, 4, 5], "seeds": 20})
    plan.to_json()
    assert len(plan.runs) == 10_020
    # A second here; the bound leaves room for a slow machine.
    assert time.process_time() - start < 4


def test_a_preprocessing_is_noised_in_private_runs_and_named_without_noise_in_others(tmp_path):
    study = {"preprocessing": {"name": "pca", "dimensions": 5, "noise_multiplier": [8, 16]}, "delta": 1.0e-5}
    study |= {"unit": "record", "client_learning_rate": None, "noise_multiplier": [0, 1.0]}
    runs = plan_of(tmp_path, study).runs.values()
    assert {run.training.preprocessing.get("noise_multiplier") for run in runs if run.privacy} == {8.0, 16.0}
    assert {run.training.preprocessing.get("noise_multiplier") for run in runs if run.privacy is None} == {None}
    assert len({run.static_key for run in runs}) == 1
    assert (
        len(
            plan_of(
                tmp_path, study | {"preprocessing": {"name": "pca", "dimensions": [5, 6], "noise_multiplier": 8}}
            ).bundles
        )
        == 2
    )


def test_every_field_of_a_run_is_a_key_that_is_stored_once():
    from dataclasses import fields

    from fedpareto.sweep.groups import GROUPS
    from fedpareto.sweep.run import KEYS

    held = [(group, field.name) for group, class_ in GROUPS.items() for field in fields(class_)]
    assert set(held) - {("privacy", "noise")} <= set(KEYS.values())
    assert len(set(KEYS.values())) == len(KEYS)
