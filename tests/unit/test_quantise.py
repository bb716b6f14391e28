"""Rotation, conditional rounding, noise tables and modular reduction: what is exact is checked exactly."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import hadamard

from fedpareto.privacy.mechanisms import discrete_encoding as quantise
from fedpareto.privacy.mechanisms.discrete import IntegerEncoding
from fedpareto.privacy.mechanisms.discrete_encoding import (
    DeviceAliasTable,
    noise_share,
    rotate,
    round_conditionally,
    unrotate,
    wrap,
)
from fedpareto.privacy.mechanisms.discrete_sampler import ShareTableError, largest_total_variation, share_table

ALARM = 1e-3  # probability that a correct implementation, with another seed, would fail a statistical test here
KEY = jax.random.key(7)
rounding = jax.jit(round_conditionally)
squared_norm = jax.jit(quantise._squared_norm)
squared_bound = jax.jit(quantise._squared_bound)


def encoding(dimension, bits, clip_norm=1.0):
    return IntegerEncoding("skellam", dimension, bits, 10, 8, 10.0, clip_norm, 1.0)


def whole(words):
    """uint32 [3] in base 2^32 as a Python integer."""
    return sum(int(word) << (32 * i) for i, word in enumerate(words))


def exact_squared_norm(values):
    return sum(int(v) ** 2 for v in np.asarray(values))


# ---------------------------------------------------------------------------------------------------------- rotation


@pytest.mark.parametrize("dimension", [1, 2, 8, 16, 128, 2048])
def test_the_rotation_is_hadamard_times_signs(dimension):
    rows = np.stack([rotate(KEY, row, dimension) for row in jnp.eye(min(dimension, 16), dimension)])
    signs = np.sign(rows[:, 0])
    expected = hadamard(dimension)[: len(rows)] * signs[:, None] / np.sqrt(dimension)
    assert rows == pytest.approx(expected, abs=1e-6)
    if dimension >= 16:
        assert set(signs) == {-1.0, 1.0}


@pytest.mark.parametrize(("size", "dimension"), [(1, 1), (5, 8), (1000, 1024), (2**15 - 3, 2**15), (2**16, 2**17)])
def test_the_rotation_is_orthonormal_and_inverts(size, dimension):
    one, two = np.random.default_rng(0).normal(size=(2, size)).astype(np.float32)
    a, b = rotate(KEY, one, dimension), rotate(KEY, two, dimension)
    assert a.shape == (dimension,)
    assert float(jnp.linalg.norm(a)) == pytest.approx(np.linalg.norm(one), rel=2**-21)
    length = float(np.linalg.norm(one) * np.linalg.norm(two))
    assert float(a @ b) == pytest.approx(float(one @ two), abs=1e-6 * length)
    assert np.asarray(unrotate(KEY, a, size)) == pytest.approx(one, abs=1e-5)


def test_the_rotation_spreads_a_vector_and_depends_on_its_key():
    spike = jnp.zeros(4096).at[17].set(64.0)
    assert np.abs(rotate(KEY, spike, 4096)) == pytest.approx(np.ones(4096))
    vector = jnp.ones(4096)
    signs = rotate(KEY, vector, 4096), rotate(jax.random.key(8), vector, 4096)
    assert abs(np.corrcoef(*signs)[0, 1]) < stats.norm.isf(ALARM / 2) / 64
    assert np.abs(signs[0]).max() < stats.norm.isf(ALARM / 2 / 4096)


def test_the_rotation_of_a_batch_is_the_rotation_of_each():
    batch = np.random.default_rng(1).normal(size=(3, 500)).astype(np.float32)
    together = jax.vmap(lambda row: rotate(KEY, row, 512))(batch)
    for row, found in zip(batch, together, strict=True):
        assert np.asarray(found) == pytest.approx(np.asarray(rotate(KEY, row, 512)), abs=1e-5)


# ---------------------------------------------------------------------------------------------------------- rounding


def test_rounding_is_unbiased():
    draws = 4000
    vector = jnp.array([0.0, 0.01, 0.3, -0.3, 0.5, -0.75, 2.25, -7.9, 1000.125, 3.0, -4.0, 1e-4, -0.999], jnp.float32)
    rounded = np.asarray(jax.vmap(lambda key: rounding(key, vector, 1e6))(jax.random.split(KEY, draws)))
    below = np.floor(vector)
    for i, x in enumerate(np.asarray(vector, float)):
        assert set(rounded[:, i]) <= {below[i], below[i] + 1}
        ups = int((rounded[:, i] - below[i]).sum())
        chance = x - below[i]
        if chance == 0:
            assert ups == 0
        else:
            assert stats.binomtest(ups, draws, chance).pvalue > ALARM / len(vector)
    # Coordinates are rounded independently; those that move often enough for a normal approximation tell.
    correlation = np.corrcoef(rounded[:, [2, 3, 4, 5, 6, 7, 8]].T)[np.triu_indices(7, 1)]
    assert np.abs(correlation).max() < stats.norm.isf(ALARM / 2 / len(correlation)) / np.sqrt(draws)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    dimension=st.sampled_from([1, 4, 64, 1024]),
    bits=st.integers(5, 24),
    share=st.sampled_from([0.0, 1e-3, 0.5, 1.0, 1.0, 1.0, 1 + 2**-21, 1.5, 30.0]),
    shape=st.sampled_from(["normal", "spike", "constant", "few"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_rounded_vector_is_longer_than_the_bound(dimension, bits, share, shape, seed):
    grid = encoding(dimension, bits)
    random = np.random.default_rng(seed)
    vector = {
        "normal": random.normal(size=dimension),
        "spike": np.eye(1, dimension)[0],
        "constant": random.choice([-1.0, 1.0], dimension),
        "few": random.normal(size=dimension) * (random.random(dimension) < 0.05) + np.eye(1, dimension)[0],
    }[shape]
    vector = (vector * share * grid.integer_clip_norm / np.linalg.norm(vector)).astype(np.float32)
    rounded = np.asarray(rounding(jax.random.key(seed), vector, grid.norm_bound))
    assert exact_squared_norm(rounded) <= Fraction(grid.norm_bound) ** 2
    if share <= 1 + 2**-21 and np.abs(vector).max() < 2**30:
        # An honest vector is rounded, not dropped, and hardly ever shortened.
        assert np.abs(rounded - vector).max() <= 1 + np.abs(vector).max() * 2**-18


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24])
def test_a_vector_at_the_clip_norm_is_redrawn_seldom(bits):
    dimension = 4096
    grid = encoding(dimension, bits)
    vectors = np.random.default_rng(2).normal(size=(64, dimension))
    vectors *= grid.integer_clip_norm / np.linalg.norm(vectors, axis=1, keepdims=True)
    at_most = jax.vmap(lambda key, v: rounding(key, v, grid.norm_bound))
    once = jax.vmap(lambda key, v: rounding(key, v, 1e8))
    keys = jax.random.split(KEY, 64)
    vectors = vectors.astype(np.float32)
    same = np.all(np.asarray(at_most(keys, vectors)) == np.asarray(once(keys, vectors)), axis=1)
    assert same.mean() > 1 - np.exp(-0.5)


def test_what_can_not_be_rounded_within_the_bound_is_shortened_or_dropped():
    halves = jnp.full((1024,), 0.5)
    assert not np.any(rounding(KEY, halves, 16.1))
    mixed = halves.at[0].set(-40.7)
    assert np.array_equal(rounding(KEY, mixed, 40.5), np.zeros(1024).astype(int) - 40 * np.eye(1, 1024)[0])
    assert not np.any(rounding(KEY, mixed, 39.9))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 2.0**30, -3e38])
def test_a_vector_that_is_no_vector_adds_nothing(poison):
    assert not np.any(rounding(KEY, jnp.ones(64).at[5].set(poison), 1e6))


def test_rounding_of_a_batch_is_the_rounding_of_each():
    grid = encoding(256, 10)
    vectors = np.random.default_rng(3).normal(size=(20, 256))
    vectors *= grid.integer_clip_norm / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors, keys = vectors.astype(np.float32), jax.random.split(KEY, 20)
    bounds = jnp.linspace(0.97, 1.0, 20) * grid.norm_bound
    together = jax.vmap(rounding)(keys, vectors, bounds)
    for key, vector, bound, found in zip(keys, vectors, bounds, together, strict=True):
        assert np.array_equal(found, rounding(key, vector, bound))


@pytest.mark.parametrize("dimension", [1, 100, 2**16, 2**18])
@pytest.mark.parametrize("largest", [3, 2**16, 2**30])
def test_squared_norms_are_exact(dimension, largest):
    values = np.random.default_rng(4).integers(0, largest + 1, dimension).astype(np.uint32)
    assert whole(squared_norm(values)) == exact_squared_norm(values)
    top = np.full(dimension, largest, np.uint32)
    assert whole(squared_norm(top)) == dimension * largest**2


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(0, 2.0**30))
def test_the_squared_bound_is_below_the_square_and_near_it(bound):
    found = whole(squared_bound(bound))
    assert found <= Fraction(bound) ** 2
    assert found >= Fraction(bound) ** 2 * (1 - Fraction(1, 2**21)) - 2


@given(st.lists(st.integers(0, 2**96 - 1), min_size=2, max_size=2), st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_comparison_of_long_numbers(pair, near):
    left, right = pair if not near else (pair[0], pair[0] ^ (1 << pair[1] % 96))
    words = [jnp.array([(n >> (32 * i)) & 0xFFFFFFFF for i in range(3)], jnp.uint32) for n in (left, right)]
    assert bool(quantise._at_most(*words)) == (left <= right)
    assert bool(quantise._at_most(words[0], words[0]))


# ------------------------------------------------------------------------------------------------------------ tables


def implied(table):
    """The exact probability of every value that the table can give."""
    size = len(table.alias)
    capacity = 2**96 // size
    weights = {}
    for i in range(size):
        threshold = (int(table.high[i]) << 64) | (int(table.middle[i]) << 32) | int(table.low[i])
        assert threshold < capacity
        for index, part in ((i, threshold), (int(table.alias[i]), capacity - threshold)):
            weights[index - table.offset] = weights.get(index - table.offset, 0) + part
    assert sum(weights.values()) == 2**96
    return {value: Fraction(weight, 2**96) for value, weight in weights.items() if weight}


def series(distribution, variance, radius):
    """Probabilities of 0..radius to 60 digits: by exponentials, and by the power series of the Bessel function."""
    with localcontext(Context(prec=70)):
        v = Decimal(variance)
        if distribution == "discrete_gaussian":
            masses = [(-Decimal(x * x) / (2 * v)).exp() for x in range(radius + 1)]
            total = 2 * sum(masses) - 1
            return [mass / total for mass in masses]
        masses, first = [], (-v).exp()
        for x in range(radius + 1):
            first = first * (v / 2) / x if x else first
            term, total, m = first, first, 0
            while term > total * Decimal("1e-60"):
                m += 1
                term = term * (v / 2) ** 2 / (m * (m + x))
                total += term
            masses.append(total)
        return masses


@pytest.mark.parametrize("distribution", ["discrete_gaussian", "skellam"])
@pytest.mark.parametrize("variance", [0.01, 0.25, 1.0, 3.7, 123.4, 2000.0])
@pytest.mark.parametrize("factor", [1, 4])
def test_the_total_variation_of_a_table_is_what_it_says(distribution, variance, factor):
    least = len(share_table(distribution, variance).alias)
    table = share_table(distribution, variance, factor * least)
    found = implied(table)
    assert all(found[value] == found[-value] for value in found)
    exact = series(distribution, variance, 2 * table.offset + 20)
    both = {value: Fraction(p) for x, p in enumerate(exact) for value in (x, -x)}
    assert set(found) <= set(both)
    distance = sum(abs(found.get(value, 0) - p) for value, p in both.items()) / 2
    assert distance <= Fraction(table.total_variation)
    assert table.total_variation <= 2 * distance + Fraction(1, 10**28)
    assert (
        table.total_variation <= largest_total_variation(distribution, variance) < 1e-28 * (100 + 100 * variance**0.5)
    )


@pytest.mark.parametrize("distribution", ["discrete_gaussian", "skellam"])
def test_the_largest_tables_have_the_right_variance(distribution):
    table = share_table(distribution, 1e8)
    found = implied(table)
    assert float(sum(p * value**2 for value, p in found.items())) == pytest.approx(1e8, rel=1e-9)
    assert table.total_variation <= largest_total_variation(distribution, 1e8) < 1e-23


def test_a_sample_is_what_the_bits_say():
    table = share_table("skellam", 2.0)
    size = len(table.alias)
    device = DeviceAliasTable(
        *map(jnp.asarray, (table.high, table.middle, table.low, table.alias)), jnp.int32(table.offset)
    )
    samples = np.asarray(noise_share(KEY, device, (10, 50)))
    key_first, key_rest = jax.random.split(KEY)
    first = np.asarray(jax.random.bits(key_first, (10, 50), jnp.uint32)).astype(object)
    second, third = np.asarray(jax.random.bits(key_rest, (2, 10, 50), jnp.uint32)).astype(object)
    for sample, a, b, c in zip(samples.ravel(), first.ravel(), second.ravel(), third.ravel(), strict=True):
        cell, rest = divmod((a << 64) | (b << 32) | c, 2**96 // size)
        threshold = (int(table.high[cell]) << 64) | (int(table.middle[cell]) << 32) | int(table.low[cell])
        assert sample == (cell if rest < threshold else int(table.alias[cell])) - table.offset


@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_thresholds_are_compared_to_the_last_bit(difference, monkeypatch):
    rest = (5 << 64) + (7 << 32) + 9
    bits = {(1,): jnp.array([(3 << 29) | 5], jnp.uint32), (2, 1): jnp.array([[7], [9]], jnp.uint32)}  # cell 3 of 8
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: bits[shape])
    threshold = rest + difference
    table = DeviceAliasTable(
        jnp.full((8,), threshold >> 64, jnp.uint32),
        jnp.full((8,), threshold >> 32 & 0xFFFFFFFF, jnp.uint32),
        jnp.full((8,), threshold & 0xFFFFFFFF, jnp.uint32),
        jnp.zeros((8,), jnp.int32),
        jnp.int32(0),
    )
    assert int(noise_share(KEY, table, (1,))[0]) == (3 if rest < threshold else 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("laplace", 1.0), "distribution"),
        (("skellam", 0.0), "variance"),
        (("skellam", float("nan")), "variance"),
        (("skellam", 1e12), "coarser grid"),
        (("skellam", 100.0, 64), "size"),
        (("skellam", 1.0, 100), "size"),
    ],
)
def test_tables_that_can_not_be_are_refused(arguments, says):
    with pytest.raises(ShareTableError, match=says):
        share_table(*arguments)


# ---------------------------------------------------------------------------------------------- reduction and the whole


@pytest.mark.parametrize("bits", [2, 8, 16, 20, 24])
def test_reduction_is_exact(bits):
    half = 2 ** (bits - 1)
    edges = [0, 1, -1, half - 1, half, -half, -half - 1, 2 * half, 3 * half, 2**31 - 1, -(2**31)]
    total = np.array(edges + list(np.random.default_rng(5).integers(-(2**31), 2**31, 1000)), np.int64)
    expected = (total + half) % (2 * half) - half
    assert np.array_equal(wrap(jnp.asarray(total, jnp.int32), bits), expected)
    assert np.array_equal(jax.jit(wrap)(jnp.asarray(total, jnp.int32), bits), expected)


@pytest.mark.parametrize("bits", [12, 18])
def test_the_decoded_sum_is_off_by_rounding_and_noise_alone(bits):
    clients, size = 30, 4000
    grid = IntegerEncoding("skellam", 4096, bits, clients, clients, clients, 1.0, 0.5)
    table = share_table("skellam", grid.share_variance)
    device = DeviceAliasTable(
        *map(jnp.asarray, (table.high, table.middle, table.low, table.alias)), jnp.int32(table.offset)
    )
    # All in one direction: the largest sum that the grid must hold.
    vectors = np.tile(np.random.default_rng(6).normal(size=size), (clients, 1))
    vectors = (vectors / np.linalg.norm(vectors[0])).astype(np.float32)

    def message(key, vector):
        round_key, noise_key = jax.random.split(key)
        rotated = rotate(KEY, vector, 4096) / grid.granularity
        rounded = round_conditionally(round_key, rotated, grid.norm_bound)
        return wrap(rounded + noise_share(noise_key, device, (4096,)), bits)

    total = wrap(jnp.sum(jax.vmap(message)(jax.random.split(jax.random.key(9), clients), vectors), axis=0), bits)
    decoded = np.asarray(unrotate(KEY, total * grid.granularity, size))
    error = np.sqrt(np.mean((decoded - vectors.sum(axis=0)) ** 2))
    # Rounding adds between 0 and 1/4 of a step squared per client; a coordinate in 16,000 may leave the range.
    assert 0.45 < error < 1.2 * np.sqrt(0.25 + clients * grid.granularity**2 / 4)
