"""Statistical tests of integer noise shares. Seeds are fixed; the false-alarm rate of each is `ALARM`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fedpareto.privacy.mechanisms.discrete_encoding import DeviceAliasTable, noise_share, wrap
from fedpareto.privacy.mechanisms.discrete_sampler import share_table

ALARM = 1e-3  # probability that a correct implementation, with another seed, would fail a test here
SAMPLES = 100_000
LAWS = pytest.mark.parametrize("distribution", ["discrete_gaussian", "skellam"])
VARIANCES = pytest.mark.parametrize("variance", [0.25, 1.0, 7.3, 400.0, 1e5])
draw = jax.jit(noise_share, static_argnums=2)


def device_table(distribution, variance, size=None):
    table = share_table(distribution, variance, size)
    return DeviceAliasTable(
        *map(jnp.asarray, (table.high, table.middle, table.low, table.alias)), jnp.int32(table.offset)
    )


def mass(distribution, variance, radius):
    """Probabilities of -radius, ..., radius."""
    x = np.arange(-radius, radius + 1)
    if distribution == "skellam":
        return stats.skellam.pmf(x, variance / 2, variance / 2)
    weight = np.exp(-(x.astype(float) ** 2) / (2 * variance))
    return weight / weight.sum()


def p_value(samples, probabilities, bins=40):
    """Chi-square test of integers against probabilities of -R..R, with neighbours pooled into some `bins` bins."""
    radius = len(probabilities) // 2
    observed = np.bincount(np.clip(samples, -radius, radius) + radius, minlength=len(probabilities))
    least = max(10.0, len(samples) / bins)
    edges, filled = [0], 0.0
    for i, expected in enumerate(len(samples) * probabilities):
        filled += expected
        if filled >= least:
            edges.append(i + 1)
            filled = 0.0
    # What is left at the upper end joins the last bin.
    edges = edges[:-1]
    expected = np.add.reduceat(len(samples) * probabilities, edges)
    return stats.chisquare(np.add.reduceat(observed, edges), expected * len(samples) / expected.sum()).pvalue


@LAWS
@VARIANCES
def test_a_share_has_its_law(distribution, variance):
    samples = np.asarray(draw(jax.random.key(1), device_table(distribution, variance), (SAMPLES,)))
    radius = int(8 + 10 * variance**0.5)
    assert p_value(samples, mass(distribution, variance, radius)) > ALARM
    # A share with the wrong variance must fail the very same test.
    for wrong in (2 / 3, 3 / 2):
        assert p_value(samples, mass(distribution, variance * wrong, radius)) < ALARM


@pytest.mark.parametrize("variance", [0.5, 1.0])
def test_the_two_laws_are_told_apart(variance):
    samples = np.asarray(draw(jax.random.key(2), device_table("skellam", variance), (SAMPLES,)))
    assert p_value(samples, mass("discrete_gaussian", variance, 40)) < ALARM


@LAWS
@pytest.mark.parametrize("size", [64, 4096])
def test_a_larger_table_has_the_same_law(distribution, size):
    samples = np.asarray(draw(jax.random.key(3), device_table(distribution, 2.0, size), (SAMPLES,)))
    assert p_value(samples, mass(distribution, 2.0, 40)) > ALARM


@LAWS
@pytest.mark.parametrize("variance", [0.3, 5.0])
def test_sums_of_shares_have_the_law_of_the_convolution(distribution, variance):
    shares = 6
    table = device_table(distribution, variance)
    keys = jax.random.split(jax.random.key(4), shares)
    total = np.asarray(jnp.sum(jax.vmap(lambda key: draw(key, table, (SAMPLES,)))(keys), axis=0))
    one = mass(distribution, variance, 40)
    exact = one
    for _ in range(shares - 1):
        exact = np.convolve(exact, one)
    assert p_value(total, exact) > ALARM
    if distribution == "skellam":  # closed under summation
        assert exact == pytest.approx(mass("skellam", variance * shares, 40 * shares), abs=1e-12)
    for wrong in (2 / 3, 3 / 2):
        assert p_value(total, mass(distribution, variance * shares * wrong, 40 * shares)) < ALARM
    # Each share reduced modulo 2^bits, and the sum again, is the sum reduced.
    reduced = wrap(jnp.sum(jax.vmap(lambda key: wrap(draw(key, table, (SAMPLES,)), 4))(keys), axis=0), 4)
    assert np.array_equal(reduced, (total + 8) % 16 - 8)


@LAWS
def test_shares_are_independent_between_coordinates_and_clients(distribution):
    count = 20_000
    table = device_table(distribution, 3.0)
    shares = [np.asarray(draw(jax.random.fold_in(jax.random.key(5), i), table, (count,)), float) for i in range(6)]
    # Coordinates a step or some apart, and the two words of one coordinate that an error would mix up: all lags of the
    # same share, and equal coordinates of different shares; values and their squares.
    lags = (1, 2, 3, 8, 16, 32, 64, 128, count // 2)
    found = []
    for power in (1, 2):
        columns = [share**power for share in shares]
        found += [np.corrcoef(c[lag:], c[:-lag])[0, 1] * np.sqrt(count - lag) for c in columns for lag in lags]
        found += list(np.corrcoef(columns)[np.triu_indices(len(columns), 1)] * np.sqrt(count))
    assert np.abs(found).max() < stats.norm.isf(ALARM / 2 / len(found))


def test_tables_of_several_runs_are_one_batch():
    variances = (0.5, 20.0, 300.0)
    size = max(len(share_table("skellam", v).alias) for v in variances)
    tables = [device_table("skellam", v, size) for v in variances]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *tables)
    key = jax.random.key(6)
    together = jax.jit(jax.vmap(lambda table: noise_share(key, table, (1000,))))(batch)
    for row, table in zip(together, tables, strict=True):
        assert np.array_equal(row, draw(key, table, (1000,)))
