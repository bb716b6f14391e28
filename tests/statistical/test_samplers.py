"""Who takes part in a round, read off what the engine releases.

Each unit (client or record) alone moves a row of its own of a logistic model, so that a release without noise tells how
often it took part. Seeds are fixed; with another seed, each comparison of a correct implementation with its law fails with
probability `ALARM`.
"""

from fractions import Fraction
from functools import lru_cache, partial, reduce
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problem import make_hypers, make_static
from scipy import stats

from fedpareto.federated.algorithms.interface import LocalWork
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.state import Carried, first_memory
from fedpareto.models.model import build
from fedpareto.privacy.mechanisms.discrete_encoding import DeviceAliasTable
from fedpareto.privacy.mechanisms.discrete_sampler import share_table
from fedpareto.privacy.mechanisms.lattice_mechanism import DeviceEncoding, Skellam
from fedpareto.privacy.sampling import last_to_join, poisson_cohort, poisson_subset

ALARM = 1e-3
UNITS, RATE, ROUNDS = 12, 0.3, 6000
ONE_STEP = LocalWork(epochs=None, steps=1, batch_size=None)
logistic = lru_cache(lambda units: build({"name": "logistic"}, (units,), 2))


def static_for(units=UNITS, **changes):
    sampled = {"clients": units, "sampling_rate": RATE, "max_cohort_size": units, "expected_cohort": 1.0}
    return make_static(model=logistic(units), **sampled | {"work": ONE_STEP} | changes)


def hyper_for(**changes):
    run_params = jax.tree.map(lambda leaf: leaf[0], make_hypers(runs=1, clip=np.inf, noise=0.0, rate=1e-3))
    return run_params._replace(**changes)


def data_for(units, clients):
    """The u-th unit vector for unit u. Clients hold one each, or 1, 2, 3, ..., in buffers with room to spare."""
    counts = np.ones(units, int) if clients == units else np.arange(1, clients + 1)
    index = np.zeros((1, clients, counts.max() + 1), np.int32)
    for client, end in enumerate(np.cumsum(counts)):
        index[0, client, : counts[client]] = np.arange(end - counts[client], end)
    examples = Examples(jnp.eye(units), jnp.zeros(units, jnp.int32))
    counts = jnp.asarray(counts[None], jnp.int32)
    return DeviceData(examples, examples, jnp.asarray(index), counts, jnp.zeros((1, units), jnp.int32))


@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 1})
def rounds_of(static, data, run_params, secrets, numbers):
    """Column 0 of what each round, as if it was a run's first, adds to parameters 0, and its report."""
    params = jax.tree.map(jnp.zeros_like, static.model.init(jax.random.key(0)))
    start = Carried(params, static.server(run_params.server).init(params), first_memory(static, run_params, params))

    def one(draw):
        own = run_params._replace(secret_key=draw[0])
        result = one_round(static, data, own, start, draw[1])
        return result.carried.params["Dense_0"]["kernel"][:, 0], result.report

    return jax.lax.map(one, (secrets, numbers))


def taken(static, run_params, moves, runs=1):
    """How often each unit took part, int [ROUNDS, units] of so many runs, and the reports.

    A unit moves its row by `moves` each time.
    """
    rounds = ROUNDS // runs
    secrets = jnp.stack([jnp.full(runs, 5), jnp.arange(runs)], axis=1).astype(jnp.uint32)
    data = data_for(static.model.example_shape[0], static.clients)
    numbers = jnp.tile(jnp.arange(rounds, dtype=jnp.int32), runs)
    moved, report = rounds_of(static, data, run_params, jnp.repeat(secrets, rounds, axis=0), numbers)
    times = np.asarray(moved) / moves
    assert np.abs(times - np.round(times)).max() < 0.02
    return np.round(times).astype(int), jax.tree.map(np.asarray, report)


def follows(observed, law):
    """Whether counts agree with the probabilities of their cells; rare cells are pooled."""
    law = np.asarray(law) / np.sum(law)
    rare = law * np.sum(observed) < 5
    cells = [np.append(values[~rare], values[rare].sum()) for values in (np.asarray(observed), law * np.sum(observed))]
    observed, expected = (cell[: None if cells[1][-1] > 0 else -1] for cell in cells)
    return stats.chisquare(observed, expected).pvalue > ALARM


def uncorrelated(one, other=None):
    """Whether no two columns of one matrix, or of two, are correlated."""
    scores = [(m - m.mean(axis=0)) / m.std(axis=0) for m in (one, one if other is None else other)]
    found = scores[0].T @ scores[1] / len(one)
    found = found[np.triu_indices(len(found), 1)] if other is None else found.ravel()
    return np.abs(found).max() < stats.norm.isf(ALARM / 2 / len(found)) / np.sqrt(len(one))


def silent_sum():
    """Secure aggregation on a fine grid with noise shares that are always 0: what shapes it, and its numbers."""
    table = share_table("skellam", 1.0)
    nothing = [jnp.zeros(len(table.alias), jnp.uint32)] * 3
    share = DeviceAliasTable(*nothing, jnp.full(len(table.alias), table.offset, jnp.int32), jnp.int32(table.offset))
    return Skellam(bits=31), DeviceEncoding(jnp.float32(2**-12), jnp.float32(2**20), share)


def cohort(pad=UNITS, **changes):
    moves = 0.5 if changes.get("unit") == "record" else 0.5e-3
    return (static_for(max_cohort_size=pad, **changes), hyper_for(), moves), [RATE] * UNITS


OWN = [[0], [1, 2], [3, 4, 5]]  # records of each client


def own_records(trust, pad=3):
    rates = [0.6, 0.3, 0.2]
    shape = {
        "unit": "record",
        "trust": trust,
        "clients": 3,
        "max_cohort_size": 3,
        "max_batch_size": pad,
        "sampling_rate": 1.0,
    }
    run_params = hyper_for(record_draws=jnp.asarray([last_to_join(rate) for rate in rates], jnp.uint32))
    moves = 0.5e-3 / 0.6  # A local step divides by the expected size of its draw.
    if trust == "distributed":
        moves, (shape["mechanism"], grid) = 0.5, silent_sum()
        run_params = run_params._replace(mechanism=grid)
    return (static_for(6, **shape), run_params, moves), np.repeat(rates, [1, 2, 3])


# By pad: arguments of `taken`, and the units' rates; the units that share a buffer; a pad that is too small for them.
POISSON = {
    "clients": (partial(cohort, at_once=5), [range(UNITS)], 4),
    "records": (partial(cohort, unit="record"), [range(UNITS)], 4),
    "own records, noise of one's own": (partial(own_records, "local"), OWN, 1),
    "own records, secure aggregation": (partial(own_records, "distributed"), OWN, 1),
}


@lru_cache
def drawn(kind, **pad):
    return taken(*POISSON[kind][0](**pad)[0], runs=2)


@pytest.mark.parametrize("kind", POISSON)
def test_each_unit_joins_independently_at_its_rate(kind):
    make, buffers, _ = POISSON[kind]
    (_, rates), (times, report) = make(), drawn(kind)
    assert set(np.unique(times)) == {0, 1}
    assert not report.overflow.any()
    if len(buffers) == 1:
        np.testing.assert_array_equal(report.cohort_size, times.sum(axis=1))
    pairs = zip(times.sum(axis=0), rates, strict=True)
    assert min(stats.binomtest(int(n), ROUNDS, rate).pvalue for n, rate in pairs) > ALARM / len(rates)
    for units in [range(len(rates)), *buffers]:
        law = reduce(np.convolve, ([1 - rates[u], rates[u]] for u in units))
        assert follows(np.bincount(times[:, units].sum(axis=1), minlength=len(law)), law)
    # Between units (and so between clients), between rounds that follow each other, and between runs of one seed.
    assert uncorrelated(times)
    for lag in (1, 2):
        assert uncorrelated(times[lag:], times[:-lag])
    assert uncorrelated(*np.split(times, 2))


@pytest.mark.parametrize("kind", POISSON)
def test_units_that_a_buffer_has_no_place_for_are_left_out_and_counted(kind):
    _, buffers, pad = POISSON[kind]
    (whole, _), (times, report) = drawn(kind), drawn(kind, pad=pad)
    lost = np.zeros_like(whole)
    for units in buffers:
        lost[:, units] = whole[:, units] & (np.cumsum(whole[:, units], axis=1) > pad)
    np.testing.assert_array_equal(times, whole - lost)
    np.testing.assert_array_equal(report.overflow, lost.sum(axis=1))
    assert 0 < np.mean(report.overflow > 0) < 1


def test_a_run_counts_the_rounds_in_which_a_unit_was_left_out():
    (static, row, _), _ = cohort(pad=4)
    run_params = jax.tree.map(lambda leaf: leaf[None], row._replace(secret_key=jnp.asarray([5, 0], jnp.uint32)))
    program, data = make_program(static, jax.devices()[:1]), data_for(UNITS, UNITS)
    state = program.advance(data, run_params, program.init(data, run_params), program.blocks)
    sizes = drawn("clients")[0][: static.rounds].sum(axis=1)
    assert 0 < np.sum(sizes > 4) < static.rounds
    assert int(state.overflow_rounds[0]) == np.sum(sizes > 4)


def test_at_a_rate_of_one_everybody_joins():
    key, everybody, last = jax.random.key(0), jnp.ones(7, bool), jnp.uint32(last_to_join(1.0))
    for pad in (4, 7, 9):
        for cohort_ in (poisson_cohort(key, 7, 1.0, pad), poisson_subset(key, everybody, last, pad)):
            members, size, overflow = map(np.asarray, cohort_)
            np.testing.assert_array_equal(members[:size], range(min(pad, 7)))
            assert (size, overflow, len(members)) == (min(pad, 7), max(0, 7 - pad), pad)


@pytest.mark.parametrize("rate", [1e-9, 1e-4, 0.01, 0.1, 1 / 3, 0.5, 0.7, 1 - 1e-12])
def test_no_draw_above_the_claimed_rate_joins_and_none_that_is_needed_stays_out(rate, monkeypatch):
    """Exactly, for all 2^32 draws: they join up to one that is found here."""
    joining = last_to_join(rate) + 1
    assert 0 <= Fraction(rate) - Fraction(joining, 2**32) < Fraction(1, 2**32)
    draws = np.array([0, joining - 1, joining, 2**32 - 1])
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.asarray(draws, dtype))
    expected = np.flatnonzero(draws < joining)
    last, key = jnp.uint32(last_to_join(rate)), jax.random.key(0)
    for members, size, _ in (poisson_cohort(key, 4, rate, 4), poisson_subset(key, jnp.ones(4, bool), last, 4)):
        np.testing.assert_array_equal(members[:size], expected)


def test_every_set_of_the_fixed_size_is_equally_likely_whatever_the_last_one_was():
    times, _ = taken(static_for(5, sampling="fixed_size", max_cohort_size=2), hyper_for(), 0.5e-3)
    assert set(np.unique(times)) == {0, 1}
    assert (times.sum(axis=1) == 2).all()
    sets = np.array([list(combinations(range(5), 2)).index(tuple(np.flatnonzero(row))) for row in times])
    assert follows(np.bincount(sets, minlength=10), np.ones(10))
    assert follows(np.bincount(sets[1:] * 10 + sets[:-1], minlength=100), np.ones(100))


def orders_of(sampling, runs=1):
    """The batch of each of five units in passes of two batches of two, int [passes, 5]; -1 for the one that is left out."""
    static = static_for(5, unit="record", sampling=sampling, max_cohort_size=2, batches=2)
    passes = taken(static, hyper_for(), 0.5, runs)[0].reshape(-1, 2, 5)
    assert set(np.unique(passes.sum(axis=1))) == {0, 1}
    assert (passes.sum(axis=2) == 2).all()
    return np.where(passes.any(axis=1), passes.argmax(axis=1), -1)


def times_of_each(orders):
    """How often each of the 30 ways to deal two batches of two out of five came up."""
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    return np.pad(counts, (0, 30 - len(counts)))


def test_a_shuffled_pass_takes_units_once_in_an_order_that_no_other_pass_tells():
    orders = orders_of("shuffled")
    assert follows(times_of_each(orders), np.ones(30))
    for lag in (1, 2):
        for unit in range(5):
            pairs = np.bincount((orders[lag:, unit] + 1) * 3 + orders[:-lag, unit] + 1, minlength=9)
            assert follows(pairs, np.outer([0.2, 0.4, 0.4], [0.2, 0.4, 0.4]).ravel())


def test_a_cyclic_schedule_repeats_one_order_and_runs_do_not_share_it():
    orders = orders_of("cyclic", runs=1000).reshape(1000, 3, 5)
    # A unit that takes part does so every two rounds: as many as a schedule promises between its participations.
    assert (orders == orders[:, :1]).all()
    assert follows(times_of_each(orders[:, 0]), np.ones(30))
