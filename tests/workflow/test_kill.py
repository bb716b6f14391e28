"""A sweep killed at random moments, with any signal, ends with the same numbers to the bit."""

import random
import signal

import pandas as pd
import pytest
from project import Project

LONG = """\
studies:
  long:
    dataset: digits
    partition: {name: dirichlet, alpha: 0.5}
    clients: 100
    sampling_rate: 0.3
    rounds: 300
    evaluate_every: 10
    model: {name: mlp, hidden: 64}
    local_epochs: 2
    batch_size: 8
    client_learning_rate: 0.1
    clip_norm: [0.5, 1.0]
    noise_multiplier: [1.0, 2.0]
    delta: 1.0e-3
    seeds: 2
"""
COLUMNS = ["run_id", "round", "accuracy", "loss", "worst_client_accuracy", "cohort_size", "update_norm", "epsilon"]


def rounds_of(project):
    return project.table("rounds")[COLUMNS].sort_values(["run_id", "round"]).reset_index(drop=True)


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGTERM, signal.SIGINT))]
)
def test_killed_sweeps_end_with_the_same_numbers(how, tmp_path_factory, uninterrupted):
    project = Project(tmp_path_factory.mktemp("killed"), LONG)
    moments = random.Random(int(how))
    killed = 0
    for _ in range(3):
        killed += project.kill_after(moments.uniform(4, 22), how)
        project.run("--unlock")
    project.tables()
    assert killed > 0
    pd.testing.assert_frame_equal(rounds_of(project), uninterrupted, check_exact=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("uninterrupted"), LONG)
    project.tables()
    return rounds_of(project)
