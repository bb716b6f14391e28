"""Canaries in the engine: their directions, and what each adds to a round."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problem import CLIENTS, MODEL, assert_same_bits, first_run, make_data, make_hypers, make_static

from fedpareto.federated.engine.round import begin, one_round
from fedpareto.federated.inputs.canaries import along, in_place_of, plant, planted_sum
from fedpareto.federated.inputs.state import Carried, ServerState

COUNT, LENGTH, CLIP = 4, 5.0, 0.5
PARAMS = MODEL.init(jax.random.key(0))
RECORDS = 60
CASES = {
    "client": make_static(sampling_rate=1.0, expected_cohort=float(CLIENTS)),
    "record": make_static(unit="record", sampling_rate=0.5, max_cohort_size=RECORDS, expected_cohort=30.0, at_once=8),
}
POPULATION = {"client": CLIENTS, "record": RECORDS}

round_of = jax.jit(one_round, static_argnums=0)


def canaries(present, first=CLIENTS - COUNT, absent=0.0):
    return plant(jax.random.key(3), MODEL.parameters, first, jnp.asarray(present), jnp.float32(LENGTH), absent)


def directions(planted):
    each = [jnp.zeros(COUNT).at[i].set(1 / LENGTH) for i in range(COUNT)]
    members = planted.first + jnp.arange(COUNT)
    return np.stack([ravel_pytree(planted_sum(planted, members, one, PARAMS))[0] for one in each])


def released(unit, run_params, data):
    """The sum of a first round, whose mean the server steps with, and the numbers of the canaries in its cohort."""
    static, number = CASES[unit], jnp.int32(0)
    start = Carried(PARAMS, static.server(run_params.server).init(PARAMS), ServerState())
    mean = round_of(static, data, run_params, start, number).mean_update
    cohort, _ = begin(static, data, run_params, start, number)
    members = np.asarray(cohort.members)[: int(cohort.size)] - (POPULATION[unit] - COUNT)
    return jax.tree.map(lambda leaf: leaf * static.expected_cohort, mean), members[members >= 0]


def test_directions_are_orthonormal_and_read_off():
    planted = canaries([True] * COUNT)
    each = directions(planted)
    np.testing.assert_allclose(each @ each.T, np.eye(COUNT), atol=1e-6)
    assert (np.count_nonzero(each, axis=1) == MODEL.parameters // COUNT).all()
    _, unravel = ravel_pytree(PARAMS)
    np.testing.assert_allclose(along(planted, unravel(jnp.asarray(2 * each[1]))), [0, 2, 0, 0], atol=1e-6)
    assert (directions(planted) != directions(planted._replace(signs=-planted.signs))).any()


def test_only_canaries_are_replaced():
    planted = canaries([True, False, True, True])
    own = jax.tree.map(jnp.ones_like, PARAMS)
    assert_same_bits(in_place_of(planted, planted.first - 1, own), own)
    assert_same_bits(in_place_of(planted, planted.first + 1, own), jax.tree.map(jnp.zeros_like, own))
    sent = ravel_pytree(in_place_of(planted, planted.first + 2, own))[0]
    np.testing.assert_allclose(sent, LENGTH * directions(planted)[2], atol=1e-6)
    opposite = canaries([True, False, True, True], absent=-1.0)
    sent = ravel_pytree(in_place_of(opposite, opposite.first + 1, own))[0]
    np.testing.assert_allclose(sent, -LENGTH * directions(canaries([True] * COUNT))[1], atol=1e-6)


@pytest.mark.parametrize("unit", CASES)
def test_an_absent_canary_adds_exactly_nothing(unit):
    data, first = make_data(), POPULATION[unit] - COUNT
    run_params = first_run(make_hypers(clip=CLIP, noise=0.1))
    seen, members = released(unit, run_params._replace(canaries=canaries([False] * COUNT, first)), data)
    assert len(members) > 0
    if unit == "client":  # A client without records sends nothing either.
        without = data._replace(train_count=data.train_count.at[:, first:].set(0))
    else:
        without = data._replace(record_mask=jnp.ones((1, RECORDS), bool).at[:, first:].set(False))
    expected, _ = released(unit, run_params, without)
    assert_same_bits(seen, expected)


@pytest.mark.parametrize("unit", CASES)
@pytest.mark.parametrize("absent", [0.0, -1.0])
def test_a_canary_adds_the_clip_norm_along_its_direction(unit, absent):
    data, first = make_data(), POPULATION[unit] - COUNT
    run_params = first_run(make_hypers(clip=CLIP, noise=0.0))
    present = np.array([True, False, True, True])
    seen, members = released(unit, run_params._replace(canaries=canaries(present, first, absent)), data)
    nothing, _ = released(unit, run_params._replace(canaries=canaries([False] * COUNT, first)), data)
    assert 0 < len(members) <= COUNT
    more = ravel_pytree(jax.tree.map(jnp.subtract, seen, nothing))[0]
    expected = np.zeros(COUNT)
    expected[members] = CLIP * np.where(present, 1.0, absent)[members]
    np.testing.assert_allclose(more, expected @ directions(canaries([True] * COUNT)), atol=2e-6)
