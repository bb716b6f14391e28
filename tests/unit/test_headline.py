"""The headline epsilon: by PLD where it has a proof, else by RDP, in guarantees, names of runs, tables and answers."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from made_up import bundle

from fedpareto.analysis.tables.build import build_tables
from fedpareto.config.load import ConfigError, checked
from fedpareto.privacy.accounting.guarantee import Guarantee
from fedpareto.sweep.account import DataSizes, account
from fedpareto.sweep.run import Run
from fedpareto.sweep.sweep import plan_sweep

NAN, INF = math.nan, math.inf
STUDY = {
    "dataset": "digits",
    "clients": 20,
    "sampling_rate": 0.5,
    "rounds": 4,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "clip_norm": 1.0,
    "delta": 1e-3,
    "baselines": [],
}
SKELLAM = {"trust": "distributed", "sampling": "shuffled", "mechanism": "skellam"}


def proven(rdp, pld):
    return Guarantee(1, {"rdp": rdp, "pld": pld, "rdp_classic": 1.2 * rdp}, rdp_order=2.0)


@pytest.mark.parametrize(
    ("rdp", "pld", "epsilon", "by"),
    [(2.0, 1.5, 1.5, "pld"), (2.0, NAN, 2.0, "rdp"), (0.0, 0.0, 0.0, "pld"), (INF, INF, INF, None), (INF, NAN, INF, None)],
)  # fmt: skip
def test_pld_is_the_headline_where_it_proves_one(rdp, pld, epsilon, by):
    found = proven(rdp, pld)
    assert (found.epsilon, found.epsilon_by) == (epsilon, by)


def plan_of(**changes):
    return plan_sweep(checked({"studies": {"s": STUDY | changes}}, [("c", {})]))


def test_an_accountant_that_decides_nothing_is_no_part_of_a_run():
    runs = plan_of(noise_multiplier=[0, 1], accountant=["rdp", "pld"], clip_norm=1.0).runs
    assert set(runs) == set(plan_of(noise_multiplier=[0, 1]).runs)
    assert [run.to_dict()["accountant"] for run in runs.values()] == [None, None]


def test_runs_that_nothing_was_calibrated_for_are_found_under_the_name_that_they_had():
    (run,) = plan_of(noise_multiplier=1).runs.values()
    old = Run.from_dict(run.to_dict() | {"accountant": "rdp"})
    assert old == run
    assert old.run_id == run.run_id == "97893d5808f37ec5"


@pytest.mark.parametrize("key", ["target_epsilon", "stop_at_epsilon"])
def test_calibrated_runs_are_named_by_their_accountant_and_pld_is_the_usual_one(key):
    study = {key: 2} if key == "target_epsilon" else {key: 2, "noise_multiplier": 2}
    usual, rdp, pld = (set(plan_of(**study, **who).runs) for who in ({}, {"accountant": "rdp"}, {"accountant": "pld"}))
    assert usual == pld
    assert usual.isdisjoint(rdp)


@pytest.mark.parametrize(
    ("changes", "by"), [({}, "pld"), ({"accountant": "rdp"}, "rdp"), (SKELLAM, "rdp"), (SKELLAM | {"accountant": "pld"}, "rdp")]
)  # fmt: skip
def test_noise_is_calibrated_by_pld_and_by_rdp_where_there_is_no_pld(changes, by):
    (planned,) = plan_of(target_epsilon=2, **changes).bundles.values()
    sizes = DataSizes(parameters=100, records={0: (5,) * 20}) if changes.get("trust") else None
    (found,) = account(planned, sizes).values()
    assert found.final.epsilons[by] == pytest.approx(2, rel=1e-3)
    assert found.final.epsilon <= 2
    assert found.final.epsilon_by == ("rdp" if changes.get("trust") else "pld")


def refusal(**changes):
    with pytest.raises(ConfigError) as error:
        plan_of(**changes)
    return str(error.value)


def test_a_target_below_what_rdp_can_prove_is_refused_where_rdp_decides():
    tiny = {"target_epsilon": 0.002, "delta": 1e-5}
    assert plan_of(**tiny).runs
    assert "target_epsilon = 0.002 must be at least" in refusal(**tiny, accountant="rdp")
    said = refusal(**tiny, **SKELLAM)
    assert "target_epsilon = 0.002 must be at least" in said
    assert "no PLD of skellam is known" in said
    assert plan_of(target_epsilon=2, **SKELLAM).runs


@pytest.fixture
def home(tmp_path):
    return bundle(tmp_path)


def tables_of(home, change):
    """The tables of a bundle whose runs were changed."""
    path = home / "bundles" / ("b" * 16) / "runs.parquet"
    runs = pd.read_parquet(path)
    change(runs)
    runs.to_parquet(path)
    return build_tables(json.loads((home / "plan.json").read_text()), home / "bundles").of_studies(["one"])


def test_the_point_of_seeds_that_prove_different_epsilons_promises_the_worst(home):
    def one_seed_has_no_pld(runs):
        runs[["unit", "trust"]] = ["record", "local"]
        bare = (runs["seed"] == 1) & (runs["noise_multiplier"] > 0)
        runs.loc[bare, "epsilon_pld"] = NAN
        runs.loc[bare, "epsilon"] = runs.loc[bare, "epsilon_rdp"]
        runs.loc[bare, "epsilon_by"] = "rdp"

    points = tables_of(home, one_seed_has_no_pld).tradeoff
    private = points[points["kind"] == "private"]
    assert (private["epsilon"] == private["epsilon_rdp"]).all()
    assert set(private["epsilon_by"]) == {"rdp"}
    # The PLD of the other seeds is no PLD of the point.
    assert private["epsilon_pld"].isna().all()
    bare = points[points["kind"] == "non_private"]
    assert np.isinf(bare["epsilon"]).all()
    assert bare["epsilon_by"].isna().all()


def test_front_and_candidates_are_by_the_headline(home):
    def rdp_has_another_order(runs):
        private = runs["noise_multiplier"] > 0
        runs.loc[private, "epsilon_rdp"] = 10 + runs.loc[private, "noise_multiplier"]

    points = tables_of(home, rdp_has_another_order).tradeoff
    private = points[points["kind"] == "private"].sort_values("epsilon")
    assert private["candidates"].tolist() == [16] * 4 + [32] * 4 + [48] * 4
    front = private[private["on_front"]]
    assert front["accuracy_mean"].is_monotonic_increasing
    assert front["epsilon"].nunique() == 3
