"""An edit trains the runs again whose numbers it can change, and no others."""

from pathlib import Path

import pytest

from fedpareto.components import provenance
from fedpareto.config.load import checked
from fedpareto.federated.fingerprint import fingerprints, without_data
from fedpareto.sweep.account import privacy_plan
from fedpareto.sweep.sweep import plan_sweep

STUDY = {
    "dataset": "digits",
    "clients": 20,
    "sampling_rate": 0.5,
    "rounds": 2,
    "local_steps": 1,
    "client_learning_rate": 0.1,
}
PRIVATE = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-4, "baselines": []}
OWN = """
import flax.linen as nn
import helper


class Net(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(x)
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """One run by name, each with its plan."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(OWN)
    (tmp_path / "helper.py").write_text("X = 1\n")
    studies = {
        "logistic": {"model": "logistic"},
        "mlp": {"model": "mlp"},
        "own": {"model": "./net.py:Net"},
        "prox": {"model": "logistic", "algorithm": {"name": "fedprox", "proximal": 0.1}},
        "banded": {"model": "logistic", "sampling": "cyclic", "mechanism": {"name": "banded", "bands": 2}},
        "group": {"model": "logistic", "preprocessing": {"name": "rescale", "mean": 1.0}},
    }
    tree = {"studies": {name: STUDY | PRIVATE | more for name, more in studies.items()}}
    sweep = plan_sweep(checked(tree, [("test", tree)]))
    chosen = {name: sweep.runs[members[0]] for name, members in sweep.studies.items()}
    return {name: (run, privacy_plan(run)) for name, run in chosen.items()}


def taken(runs, content="data"):
    plans = {run.run_id: plan for run, plan in runs.values()}
    made = fingerprints([run for run, _ in runs.values()], plans, content)
    return {name: made[run.run_id] for name, (run, _) in runs.items()}


@pytest.fixture
def edited(runs, monkeypatch):
    """The names of the runs that an edit of a file trains again."""
    before, meaning = taken(runs), provenance._meaning

    def names(file):
        path = provenance.PACKAGE / file
        assert path.is_file()
        monkeypatch.setattr(provenance, "_meaning", lambda p, at: meaning(p, at) + ("x" if p == path else ""))
        try:
            return {name for name, value in taken(runs).items() if value != before[name]}
        finally:
            monkeypatch.setattr(provenance, "_meaning", meaning)

    return names


ALL = {"logistic", "mlp", "own", "prox", "banded", "group"}


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("models/mlp.py", ALL - {"own"}),  # logistic regression and the networks of one family share a file
        ("models/wide_resnet.py", set()),
        ("models/layers.py", ALL),
        ("federated/algorithms/fedprox.py", {"prox"}),
        ("federated/algorithms/fedavg.py", ALL - {"prox"}),
        ("privacy/mechanisms/banded.py", {"banded"}),
        ("privacy/mechanisms/gaussian.py", ALL),
        ("federated/engine/round.py", ALL),
        ("tasks/classification.py", ALL),
        ("federated/train.py", set()),  # lines of the log
        ("privacy/secure_aggregation/cost.py", set()),
        ("privacy/accounting/epsilon.py", set()),
        ("attacks/stage.py", set()),
        ("attacks/membership/attack.py", set()),
        ("analysis/figures/pareto.py", set()),
        ("config/load.py", set()),
        ("components/registry.py", set()),
    ],
)
def test_an_edit_trains_the_runs_that_it_changes(file, again, edited):
    assert edited(file) == again


def test_an_edit_of_a_users_file_or_its_neighbour_trains_its_runs(runs, tmp_path):
    before = taken(runs)
    (tmp_path / "helper.py").write_text("X = 2\n")
    assert {name for name, value in taken(runs).items() if value != before[name]} == {"own"}
    (tmp_path / "helper.py").write_text("X = 1  # as it was\n")
    assert taken(runs) == before
    (tmp_path / "net.py").write_text(OWN.replace("(x)", "(x + 1)"))
    assert {name for name, value in taken(runs).items() if value != before[name]} == {"own"}


def test_other_data_or_another_plan_trains_again(runs):
    before = taken(runs)
    others = taken(runs, "other data")
    assert all(value != before[name] for name, value in others.items())
    # What tables show of it is the same for all data.
    assert {name: without_data(value) for name, value in others.items()} == {
        name: without_data(value) for name, value in before.items()
    }
    run, plan = runs["mlp"]
    louder = plan.replace(noise_multiplier=2.0)
    assert without_data(fingerprints([run], {run.run_id: louder}, "data")[run.run_id]) != without_data(before["mlp"])


def test_every_file_of_the_list_is_there():
    from fedpareto.federated.fingerprint import BY_VALUE

    assert [name for name in BY_VALUE if not Path(provenance.PACKAGE, name).exists()] == []
