"""Representatives of classes look like them where the model was trained, and like nothing where it was not."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from attacked import attack, target

from fedpareto.attacks.target import train
from fedpareto.components.threats import OUTSIDER
from fedpareto.federated.inputs.setup import model_arrays
from fedpareto.federated.inputs.state import first_state

model_inversion = attack("model_inversion")
SPEC = {}


@pytest.fixture(scope="module")
def clients():
    return target(clients=20, rounds=15, noise_multiplier=0, delta=None, clip_norm=None)


def with_model(it, params):
    attacked = replace(it, models={it.runs[0].run_id: model_arrays(params)})
    attacked.__dict__.update(static=it.static, run_params=it.run_params)
    return attacked


def scores_of(evidence):
    return {row.score: row for row in evidence.findings}


def test_a_trained_model_shows_its_classes(clients):
    params = jax.tree.map(lambda leaf: leaf[0], train(clients.static, clients.device_data, clients.run_params))
    evidence = model_inversion(with_model(clients, params), SPEC)
    rows = scores_of(evidence)
    assert rows["recognised"].value >= 0.9
    assert rows["recognised"].low > rows["recognised"].baseline == 0.1
    assert rows["recognised"].success
    assert rows["correlation"].low > 0.5
    assert {row.adversary for row in evidence.findings} == {OUTSIDER}
    kinds = [(picture.kind, picture.number) for picture in evidence.pictures]
    assert kinds == [("true", c) for c in range(10)] + [("rebuilt", c) for c in range(10)]
    again = model_inversion(with_model(clients, params), SPEC)
    np.testing.assert_array_equal(evidence.pictures[-1].pixels, again.pictures[-1].pixels)


def test_an_untrained_model_shows_nothing(clients):
    run_params = jax.tree.map(lambda leaf: leaf[0], clients.run_params)
    rows = scores_of(model_inversion(with_model(clients, first_state(clients.static, run_params).params), SPEC))
    assert rows["recognised"].low <= 0.1 <= rows["recognised"].high
    assert rows["correlation"].low <= 0 <= rows["correlation"].high


def test_a_diverged_model_gives_a_row_that_says_so(clients):
    run_params = jax.tree.map(lambda leaf: leaf[0], clients.run_params)
    params = jax.tree.map(lambda leaf: leaf * np.nan, first_state(clients.static, run_params).params)
    for without in (with_model(clients, params), clients):  # of the second no model was kept
        (row,) = model_inversion(without, SPEC).findings
        assert "no common model whose parameters are finite" in row.reason
        assert np.isnan(row.value)
        assert not row.success
