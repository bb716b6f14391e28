"""The map from random words to normal numbers, and the charge for its end."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ncx2

from fedpareto.columns.declared import ITS_AUTHOR
from fedpareto.privacy.mechanisms.gaussian import Gaussian, gaussian_noise
from fedpareto.privacy.mechanisms.interface import Mechanism
from fedpareto.privacy.mechanisms.normal import NUMERICS, normal_pairs, random_words, standard_normal
from fedpareto.privacy.mechanisms.normal_tail import LARGEST_RADIUS, MOST_PAIRS, impossible_release
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import LocalSteps, PrivacySetting

ONES = 2**32 - 1
UPPER = 2**31  # the first bit of the first word: the upper end of the uniform number
OLD_END = 5.22  # of jax.random.normal
PLAN = PrivacyPlan(
    PrivacySetting(sampling_rate=0.2),
    population=100,
    rounds=60,
    clip_norm=1.0,
    noise_multiplier=0.5,
    delta=1e-4,
)


normals = jax.jit(normal_pairs)


def words_of(*columns):
    return jnp.asarray(np.array(columns, np.uint32).T)


def radius(*columns):
    x, y = (np.asarray(part, np.float64) for part in normals(words_of(*columns)))
    return np.hypot(x, y)


def exact_radius(words):
    """In float64, from the first three words: relatively precise at both ends."""
    first, second, third, _ = words.astype(np.float64)
    upper = first >= UPPER
    distance = ((first - UPPER * upper) + (second + (third + 0.5) / 2**32) / 2**32) / 2**32
    return np.sqrt(-2 * np.where(upper, np.log1p(-distance), np.log(distance)))


def words_of_all_magnitudes(n=200_000, seed=0):
    """Words whose uniform number is as often near 2^-96 from an end as near 1/2."""
    rng = np.random.default_rng(seed)
    zeros = rng.integers(0, 96, n)
    words = rng.integers(0, 2**32, (4, n), dtype=np.uint32)
    for i in range(3):
        words[i] &= (2 ** np.clip(32 * (i + 1) - zeros, 0, 32) - 1).astype(np.uint32)
    words[0] |= np.uint32(UPPER) * rng.integers(0, 2, n, dtype=np.uint32)
    return words


def test_the_largest_radius_is_that_of_words_of_zeros():
    assert radius((0, 0, 0, 0)) == pytest.approx(LARGEST_RADIUS, rel=1e-6)
    assert pytest.approx(math.sqrt(2 * 97 * math.log(2))) == LARGEST_RADIUS
    assert radius(*words_of_all_magnitudes().T).max() <= LARGEST_RADIUS * (1 + 1e-6)


def test_the_smallest_radius_is_above_zero_and_as_precise():
    # The upper end is as far from 1 as the lower one from 0: log(1 - 2^-97) = -2^-97.
    assert radius((UPPER, 0, 0, 0)) == pytest.approx(math.sqrt(2 * 2.0**-97), rel=1e-6, abs=0)
    # Both ends meet in the middle.
    below, above = radius((UPPER - 1, ONES, ONES, 0), (ONES, ONES, ONES, 0))
    assert below == above == pytest.approx(math.sqrt(2 * math.log(2)), rel=1e-6)


def test_the_radius_is_precise_over_96_bits_of_tail():
    words = words_of_all_magnitudes()
    found, exact = radius(*words.T), exact_radius(words)
    assert np.abs(found / exact - 1).max() < 1e-6
    assert exact.max() > 11
    assert exact.min() < 1e-12


def test_the_radius_falls_from_the_lower_end_to_the_upper_one():
    words = words_of_all_magnitudes()
    order = np.argsort(exact_radius(words))
    found = radius(*words[:, order].T)
    assert (np.diff(found) >= -1e-6 * found[1:]).all()  # but for rounding


def test_the_angle_goes_once_around_the_circle():
    last = np.arange(2**13, 2**32, 2**14, dtype=np.uint64).astype(np.uint32)
    words = jnp.stack([jnp.full(last.shape, 12345, jnp.uint32)] * 3 + [jnp.asarray(last)])
    x, y = (np.asarray(part, np.float64) for part in normals(words))
    np.testing.assert_allclose(np.hypot(x, y), exact_radius(np.asarray(words)), rtol=1e-6)
    step = 2 * math.pi / last.size
    np.testing.assert_allclose(np.diff(np.sort(np.arctan2(y, x))), step, atol=1e-6)
    # A word and that of the same angle to the other axis, or of the other direction.
    for word, x, y in ((0, 1, 0), (1 << 30, 0, 1), (2 << 30, -1, 0), (3 << 30, 0, -1)):
        at = np.ravel(normals(words_of((0, 0, 0, word))))
        np.testing.assert_allclose(at, LARGEST_RADIUS * np.array([x, y]), atol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (7,), (3, 5), (0,), (2, 0)])
def test_numbers_have_the_shape_that_is_asked_for(shape):
    drawn = standard_normal(jax.random.key(0), shape)
    assert drawn.shape == shape
    assert drawn.dtype == jnp.float32
    assert np.unique(drawn).size == drawn.size  # both members of a pair are used, and none twice


def test_draws_are_the_same_alone_together_and_in_a_program():
    keys = jax.random.split(jax.random.key(1), 5)
    draw, words = lambda key: standard_normal(key, (1001,)), lambda key: random_words(key, 501)
    together = np.asarray(jax.jit(jax.vmap(draw))(keys))
    for key, drawn, bits in zip(keys, together, jax.vmap(words)(keys), strict=True):
        np.testing.assert_allclose(drawn, draw(key), rtol=1e-6)
        np.testing.assert_array_equal(bits, words(key))


def test_no_word_is_drawn_twice():
    words = np.asarray(random_words(jax.random.key(2), 50_000))
    assert words.size - np.unique(words).size < 20  # 200,000 of 2^32: 4.7 are expected to repeat
    first, *others = np.asarray(random_words(jax.random.key(2), 3)).T
    assert not any((first == other).any() for other in others)


def test_a_key_or_a_size_whose_words_would_repeat_is_refused():
    with pytest.raises(ValueError, match="threefry"):
        standard_normal(jax.random.key(0, impl="rbg"), (2,))
    with pytest.raises(ValueError, match="at most"):
        random_words(jax.random.key(0), MOST_PAIRS + 1)
    with pytest.raises(ValueError, match="at most"):
        jax.eval_shape(lambda key: standard_normal(key, (2**16, 2**15 + 1)), jax.random.key(0))


def test_noise_of_leaves_is_one_draw_in_their_order():
    like = {"a": jnp.zeros(3), "b": jnp.zeros((2, 5)), "c": jnp.zeros(()), "d": jnp.zeros((0, 4))}
    noise = jax.jit(gaussian_noise)(jax.random.key(3), like, 0.5)
    assert jax.tree.map(jnp.shape, noise) == jax.tree.map(jnp.shape, like)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(noise)])
    np.testing.assert_allclose(flat, 0.5 * standard_normal(jax.random.key(3), (14,)), rtol=1e-6)


# --- the charge ---------------------------------------------------------------------------------------------------------


def test_the_charge_covers_every_impossible_release_that_is_simulated():
    """Shifted by s, noise of a small end leaves the circle of what is possible unshifted no more often than is charged."""
    rng = np.random.default_rng(0)
    n, end = 400_000, 4.0
    pairs = rng.normal(size=(4, n, 2))
    pairs = pairs[:, (np.hypot(*np.moveaxis(pairs, 2, 0)) <= end).all(axis=0)]
    for shift in (0.5, 1.5, 3.0):
        charged = impossible_release(shift, end, pairs=4)
        for spread in ((1, 0, 0, 0), (0.5, 0.5, 0.5, 0.5), (0.8, 0.6, 0, 0)):
            moved = pairs + shift * np.array(spread)[:, None, None] * np.array([0.6, 0.8])
            impossible = np.mean((np.hypot(*np.moveaxis(moved, 2, 0)) > end).any(axis=0))
            assert impossible < charged
            if spread[0] == 1 and shift == 3:  # the worst, and the bound is then not far off
                assert impossible > 0.9 * charged


@pytest.mark.parametrize("end", [5.0, LARGEST_RADIUS, 20.0])
def test_one_pair_is_the_worst_as_the_survival_function_is_convex(end):
    squares = np.linspace(1e-9, (end - 1) ** 2, 4000)
    slope = ncx2.pdf(end**2, 4, squares)
    assert (np.diff(slope) > 0).all()
    h = 1e-4 * squares[2000]
    rise = (ncx2.sf(end**2, 2, squares[2000] + h) - ncx2.sf(end**2, 2, squares[2000] - h)) / (2 * h)
    assert rise == pytest.approx(slope[2000], rel=1e-3, abs=0)


def test_the_charge_grows_with_the_shift_and_is_all_where_nothing_is_hidden():
    charges = [impossible_release(shift) for shift in np.linspace(0, 15, 100)]
    assert charges == sorted(charges)
    assert charges[0] < 1e-19
    assert charges[-1] == impossible_release(LARGEST_RADIUS - 0.9) == 1.0


@pytest.mark.parametrize(
    ("noise", "rounds", "rate", "delta"),
    [(0.5, 60, 0.2, 1e-4), (1, 60, 0.2, 1e-4), (0.5, 1, 1, 1e-5), (0.7, 1, 1, 1e-5), (1, 1, 1, 1e-5), (2, 1, 1, 1e-6)],
)
def test_the_end_of_normal_noise_costs_next_to_nothing(noise, rounds, rate, delta):
    plan = PLAN.replace(noise_multiplier=float(noise), rounds=rounds, sampling_rate=float(rate), delta=delta)
    assert 0 < plan.budget.sampler < 1e-10 * delta
    assert plan.budget.sampler == rounds * impossible_release(1 / noise)
    # Noise that ends where that of jax.random.normal does would cost delta and more, on one pair alone.
    assert rounds * impossible_release(1 / noise, OLD_END, pairs=1) > delta


def test_every_release_of_a_run_is_charged():
    once = impossible_release(2.0)
    assert PLAN.after(1).budget.sampler == once
    assert PLAN.after(0).budget.sampler == 0
    swapped = PLAN.replace(sampling="fixed_size")
    assert swapped.budget.sampler == 60 * impossible_release(4.0)
    local = PLAN.replace(unit="record", trust="local", sampling_rate=1.0, local=LocalSteps(7, (0.1,)))
    assert local.budget.sampler == 60 * 7 * once
    learning = PLAN.replace(unit="record", preprocessing_noise_multipliers=(0.25, 1.0))
    paid = 60 * once + impossible_release(4.0) + impossible_release(1.0)
    assert learning.budget.sampler == pytest.approx(paid, rel=1e-9, abs=0)
    banded = PLAN.replace(mechanism="banded", sampling="cyclic", strategy=(0.8, 0.6))
    assert banded.budget.sampler == 60 * impossible_release(4.0)
    assert PLAN.replace(noise_multiplier=0.0, delta=None).budget.sampler == 0


def test_white_noise_under_bands_costs_no_more_than_a_release_a_participation():
    for strategy in ((1.0,), (0.8, 0.6), (0.5,) * 4):
        rounds_of_one = sum(impossible_release(4.0 * c) for c in strategy)
        assert rounds_of_one <= impossible_release(4.0) + (len(strategy) - 1) * impossible_release(0.0)


def test_little_noise_leaves_nothing_of_delta():
    assert PLAN.replace(noise_multiplier=0.1).budget.sampler == 1.0
    assert PLAN.replace(noise_multiplier=0.1).budget.accounted < 0


def test_a_mechanism_says_how_its_noise_is_drawn():
    assert Gaussian().numerics(PLAN) == NUMERICS
    assert f"tail to {LARGEST_RADIUS:.1f} sigma" in NUMERICS
    assert Mechanism().numerics(PLAN) == ITS_AUTHOR
