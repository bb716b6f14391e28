"""What is said of how a run ended."""

import numpy as np
import pytest
from attacked import STUDY, digits

from fedpareto.config.load import checked
from fedpareto.federated.inputs.setup import measure
from fedpareto.federated.store.outcome import learned
from fedpareto.federated.store.results import run_row
from fedpareto.federated.train import train_bundle
from fedpareto.statuses import FINISHED, STATUSES
from fedpareto.sweep.account import account
from fedpareto.sweep.run import Bundle
from fedpareto.sweep.sweep import plan_sweep
from fedpareto.tasks.classification import Classification

LABELS = np.repeat([0, 1, 2], [5, 3, 2])
COMMONEST, ENTROPY = 0.5, -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))


@pytest.mark.parametrize(
    ("accuracy", "loss", "better"),
    [
        ([0.2, COMMONEST], [1.2, ENTROPY], False),
        ([0.2, COMMONEST + 1e-7], [1.2, ENTROPY - 1e-7], False),  # float32
        ([0.2, 0.6], [1.2, 1.3], True),
        ([0.2, 0.3], [1.2, ENTROPY - 0.01], True),
        ([0.2, 0.6, 0.1], [1.2, 1.1, 9.0], True),  # once is enough
        ([0.6, 0.4], [1.0, 1.2], False),  # before training
        ([0.6, 0.6], [1.0, 1.0], False),  # first weights that are lucky, and kept
        ([0.6, 0.7], [1.0, 1.0], True),
        ([None, 0.6], [None, 1.2], True),
        ([None, None], [None, None], False),
    ],
)
def test_learning_is_being_better_than_what_looks_at_no_example(accuracy, loss, better):
    assert learned(Classification(), {"accuracy": accuracy, "loss": loss}, LABELS) is better


def test_nothing_is_better_than_the_only_class():
    assert not learned(Classification(), {"accuracy": [0.0, 1.0], "loss": [1.0, 0.0]}, np.zeros(4, int))


def trained(folder, **changes):
    """Runs and their results, of every bundle of a small study."""
    study = {key: value for key, value in (STUDY | changes).items() if value is not None}
    found = []
    for bundle in plan_sweep(checked({"studies": {"s": study}}, [("study", {})])).bundles.values():
        accounted = account(bundle, measure(bundle.runs, digits()))
        results = train_bundle(bundle, accounted, digits(), runs_folder=folder / "r", checkpoints_folder=folder / "c")
        found += zip(bundle.runs, results, strict=True)
    return found


def test_a_run_whose_steps_are_too_small_learned_nothing(tmp_path, capsys):
    found = trained(tmp_path, client_learning_rate=[1e-9, 0.5], noise_multiplier=0, delta=None, baselines=["alone"])
    status = {(run.training.algorithm, run.training.client_learning_rate): result.status for run, result in found}
    assert status == {
        ("fedavg", 1e-9): "learned_nothing",
        ("fedavg", 0.5): "ok",
        ("alone", 1e-9): "learned_nothing",
        ("alone", 0.5): "ok",
    }
    said = capsys.readouterr().out
    assert said.count("1 of 2 runs learned nothing (first ") == 2
    for _, result in found:
        assert result.metrics["accuracy"][-1] is not None
        assert result.final["f1"] is not None


def test_a_run_whose_every_round_was_refused_says_so(tmp_path, capsys):
    mechanism = {"name": "skellam", "threshold": 0.8}
    found = trained(tmp_path, trust="distributed", sampling="fixed_size", dropout=0.5, mechanism=mechanism)
    ((run, result),) = found
    assert (result.status, result.refused_rounds) == ("refused", 3)
    accuracy = result.metrics["accuracy"]
    assert accuracy == accuracy[:1] * len(accuracy)
    assert "1 of 1 runs refused" in capsys.readouterr().out
    bundle = Bundle((run,))
    row = run_row(
        bundle.bundle_id, run, account(bundle, measure(bundle.runs, digits()))[run.run_id], result, data=digits()
    )
    assert (row["status"], row["accuracy"], row["refused_rounds"]) == ("refused", accuracy[-1], 3)
    assert (row["epsilon"], row["epsilon_by"]) == (row["epsilon_rdp"], "rdp")  # of Skellam noise there is no PLD
    assert np.isfinite(row["epsilon"])


def test_whatever_ended_has_a_model_unless_it_diverged():
    assert set(STATUSES) - set(FINISHED) == {"diverged"}
