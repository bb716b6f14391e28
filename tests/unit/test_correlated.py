"""Noise that is correlated over rounds: the mechanism, its sensitivity, and what it gains."""

import math
import subprocess
import sys
from itertools import combinations, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_privacy.matrix_factorization import sensitivity, toeplitz
from scipy.linalg import solve_triangular

from fedpareto.privacy.mechanisms.banded import band_coefficients, correlated_noise, participation_sensitivity

ROUNDS, BANDS = 40, 5
COEFFICIENTS = band_coefficients(ROUNDS, BANDS)


def strategy(coefficients, rounds):
    """C, float64 [rounds, rounds]."""
    return sum(c * np.eye(rounds, k=-lag) for lag, c in enumerate(coefficients))


def white(rounds=ROUNDS, size=7, seed=0):
    return np.random.default_rng(seed).standard_normal((rounds, size)).astype(np.float32)


def streamed(z, coefficients):
    """w, float32 [rounds, n], one jitted step a round."""
    c = jnp.asarray(coefficients, jnp.float32)
    step = jax.jit(correlated_noise)
    past, rows = jnp.zeros((len(coefficients) - 1, z.shape[1]), jnp.float32), []
    for t, row in enumerate(z):
        noise, past = step(row, past, c, t)
        rows.append(noise)
    return np.stack(rows)


@pytest.mark.parametrize("bands", [1, 2, BANDS, ROUNDS])
def test_the_strategy_matrix_whitens_the_streamed_noise(bands):
    z, coefficients = white(), band_coefficients(ROUNDS, bands)
    w = streamed(z, coefficients)
    assert w.dtype == np.float32
    np.testing.assert_allclose(strategy(coefficients, ROUNDS) @ w, z, atol=3e-6)


def test_streamed_noise_is_that_of_jax_privacy():
    z = white()
    inverse = toeplitz.inverse_as_streaming_matrix(jnp.asarray(COEFFICIENTS, jnp.float32))
    np.testing.assert_allclose(streamed(z, COEFFICIENTS), inverse @ jnp.asarray(z), atol=3e-6)


def test_one_band_is_independent_noise_to_the_bit():
    assert band_coefficients(ROUNDS, 1) == (1.0,)
    np.testing.assert_array_equal(streamed(white(), (1.0,)), white())


def test_noise_of_several_runs_in_one_scan():
    z, c = np.stack([white(seed=1), white(seed=2)]), jnp.asarray(COEFFICIENTS, jnp.float32)

    def run(rows):
        def step(past, given):
            noise, past = correlated_noise(given[0], past, c, given[1])
            return past, noise

        return jax.lax.scan(step, jnp.zeros((BANDS - 1, rows.shape[1])), (rows, jnp.arange(len(rows))))[1]

    for rows, w in zip(z, jax.jit(jax.vmap(run))(z), strict=True):
        np.testing.assert_allclose(w, streamed(rows, COEFFICIENTS), atol=1e-6)


def test_a_buffer_of_another_size_is_refused():
    with pytest.raises(ValueError, match="5 bands need 4 rows of past, not 5"):
        correlated_noise(jnp.zeros(3), jnp.zeros((5, 3)), jnp.asarray(COEFFICIENTS), 0)


@pytest.mark.parametrize(("rounds", "bands"), [(ROUNDS, 2), (ROUNDS, BANDS), (ROUNDS, ROUNDS)])
def test_coefficients_have_norm_one_and_never_increase(rounds, bands):
    coefficients = band_coefficients(rounds, bands)
    assert len(coefficients) == bands
    assert math.hypot(*coefficients) == pytest.approx(1, abs=1e-15)
    assert all(isinstance(c, float) and c > 0 for c in coefficients)
    assert sorted(coefficients, reverse=True) == list(coefficients)
    assert participation_sensitivity(coefficients, rounds, rounds) == pytest.approx(1, abs=1e-15)


def test_coefficients_are_the_same_each_time_and_those_of_jax_privacy():
    again = band_coefficients.__wrapped__(ROUNDS, BANDS)
    assert again == COEFFICIENTS
    np.testing.assert_allclose(again, toeplitz.optimize_banded_toeplitz(ROUNDS, BANDS), atol=1e-6)


def test_two_bands_are_the_best_of_a_search():
    circle = [(math.cos(angle), math.sin(angle)) for angle in np.arange(0, math.pi / 4, 1e-3)]
    best = min(circle, key=lambda coefficients: squared_error(coefficients, ROUNDS))
    np.testing.assert_allclose(band_coefficients(ROUNDS, 2), best, atol=1e-3)


@pytest.mark.parametrize(("rounds", "bands"), [(0, 1), (10, 0), (10, 11)])
def test_impossible_bands_are_refused(rounds, bands):
    with pytest.raises(ValueError, match="bands"):
        band_coefficients(rounds, bands)


def test_devices_can_still_be_chosen_and_precision_is_untouched():
    code = """
import jax
from fedpareto.privacy.correlated import band_coefficients, participation_sensitivity
participation_sensitivity(band_coefficients(3, 2), 3, 2)
jax.config.update("jax_num_cpu_devices", 3)
print(len(jax.devices("cpu")), jax.config.jax_enable_x64, jax.numpy.ones(1).dtype)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["3", "False", "float32"]


def participations(rounds, min_separation):
    """All sets of rounds at least `min_separation` apart, by trying all sets."""
    for count in range(1, rounds + 1):
        for chosen in combinations(range(rounds), count):
            if all(later - earlier >= min_separation for earlier, later in pairwise(chosen)):
                yield list(chosen)


@pytest.mark.parametrize("coefficients", [(1.0,), (0.8, 0.6), COEFFICIENTS], ids=len)
@pytest.mark.parametrize("rounds", [1, 2, 3, 5, 9, 12])
@pytest.mark.parametrize("spare", [0, 1, 3, 20])
def test_sensitivity_is_the_largest_of_all_participations(coefficients, rounds, spare):
    min_separation = len(coefficients) + spare
    c = strategy(coefficients, rounds)
    # Units may contribute vectors of any directions: the worst is the sum over pairs of columns in absolute value.
    worst = max(np.abs(c[:, chosen].T @ c[:, chosen]).sum() for chosen in participations(rounds, min_separation))
    assert participation_sensitivity(coefficients, rounds, min_separation) == pytest.approx(math.sqrt(worst), rel=1e-12)


@pytest.mark.parametrize("rounds", [1, 3, 4, 5, 17, ROUNDS, 100])
@pytest.mark.parametrize("min_separation", [BANDS, 7, 10, 200])
def test_sensitivity_is_that_of_jax_privacy(rounds, min_separation):
    ours = participation_sensitivity(COEFFICIENTS, rounds, min_separation)
    with jax.enable_x64():
        squared = toeplitz.minsep_sensitivity_squared(jnp.asarray(COEFFICIENTS), min_separation, n=rounds)
        assert ours == pytest.approx(math.sqrt(squared), rel=1e-12)
        if min_separation <= rounds:
            dense = sensitivity.get_sensitivity_banded(jnp.asarray(strategy(COEFFICIENTS, rounds)), min_separation)
            assert ours == pytest.approx(dense, rel=1e-12)


def test_a_cyclic_schedule_is_the_worst_one():
    c = strategy(COEFFICIENTS, 23)
    cyclic = max(np.linalg.norm(c[:, first::6].sum(axis=1)) for first in range(6))
    assert participation_sensitivity(COEFFICIENTS, 23, 6) == pytest.approx(cyclic, rel=1e-12)


def test_no_rounds_have_no_sensitivity_and_more_rounds_never_less():
    values = [participation_sensitivity(COEFFICIENTS, rounds, 6) for rounds in range(ROUNDS)]
    assert values[0] == 0
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("coefficients", "rounds", "min_separation", "reason"),
    [
        (COEFFICIENTS, ROUNDS, BANDS - 1, "separation = 4 is below bands = 5"),
        (COEFFICIENTS, 1, BANDS - 1, "separation = 4 is below bands = 5"),
        ((1.0,), 10, 0, "separation = 0 is below bands = 1"),
        ((), 10, 1, "coefficients"),
        ((1.0,), -1, 1, "rounds"),
    ],
)
def test_what_has_no_such_sensitivity_is_refused(coefficients, rounds, min_separation, reason):
    with pytest.raises(ValueError, match=reason):
        participation_sensitivity(coefficients, rounds, min_separation)


def squared_error(coefficients, rounds, min_separation=None):
    """Total expected squared error of all prefix sums, at noise multiplier 1 against the whole run's sensitivity."""
    prefix_sums = np.tri(rounds)
    factor = solve_triangular(strategy(coefficients, rounds).T, prefix_sums.T, lower=False).T
    return participation_sensitivity(coefficients, rounds, min_separation or rounds) ** 2 * np.sum(factor**2)


def test_prefix_sums_are_less_noisy_than_with_independent_noise_at_equal_privacy():
    # 100 rounds, a unit in every tenth: independent noise has 10 x (1 + 2 + ... + 100).
    independent = squared_error((1.0,), 100, min_separation=10)
    assert independent == pytest.approx(50_500)
    assert squared_error(band_coefficients(100, 10), 100, min_separation=10) == pytest.approx(8_682, abs=1)


def test_the_error_is_that_of_simulated_noise():
    sums = np.cumsum(streamed(white(size=4000), COEFFICIENTS), axis=0)
    simulated = np.sum(np.mean(sums.astype(np.float64) ** 2, axis=1))
    assert simulated == pytest.approx(squared_error(COEFFICIENTS, ROUNDS), rel=0.05)
