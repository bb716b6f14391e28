"""The law of normal noise, its middle and its tail. Seeds are fixed; with another seed a correct map fails each test in `ALARM` of cases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fedpareto.privacy.mechanisms.normal import normal_pairs, random_words, standard_normal

ALARM = 1e-4
DRAWS = 1_000_000
normals = jax.jit(normal_pairs)


def tail(drawn, zeros):
    """The squared radius over 2, less its least value where the uniform number begins with so many zeros: Exp(1) if it is right."""
    x, y = (np.asarray(part, np.float64) for part in drawn)
    return (x**2 + y**2) / 2 - zeros * math.log(2)


def test_a_million_numbers_are_standard_normal():
    drawn = np.asarray(standard_normal(jax.random.key(1), (DRAWS,)), np.float64)
    assert stats.kstest(drawn, "norm").pvalue > ALARM
    # The test sees a scale and a centre that are wrong by one percent.
    assert stats.kstest(1.01 * drawn, "norm").pvalue < ALARM
    assert stats.kstest(0.01 + drawn, "norm").pvalue < ALARM


@pytest.mark.parametrize("zeros", [0, 8, 31, 32, 40, 64])
def test_the_tail_is_exponential_in_the_squared_radius(zeros):
    words = np.array(random_words(jax.random.key(2), 200_000))
    for i in range(3):  # the uniform number is below 2^-zeros
        words[i] &= np.uint32((1 << min(32, max(0, 32 * (i + 1) - zeros))) - 1)
    over = tail(normals(jnp.asarray(words)), zeros)
    assert over.min() > -1e-5
    # Beyond 2^-64 there are 32 bits left: as fine as this number of draws can tell.
    assert stats.kstest(over, "expon").pvalue > ALARM
    assert stats.kstest(1.02 * over, "expon").pvalue < ALARM


def test_the_centre_is_as_fine_as_the_tail():
    words = np.array(random_words(jax.random.key(3), 200_000))
    words[0], words[1] = 2**31, words[1] & 0xFFFF  # the uniform number is above 1 - 2^-48
    x, y = (np.asarray(part, np.float64) for part in normals(jnp.asarray(words)))
    squares = (x**2 + y**2) / 2 * 2.0**48
    assert stats.kstest(squares, "uniform").pvalue > ALARM
    assert np.unique(squares).size > 0.99 * squares.size


def test_the_members_of_a_pair_are_independent():
    x, y = np.asarray(standard_normal(jax.random.key(4), (DRAWS,)), np.float64).reshape(2, -1)
    pairs = {"values": (x, y), "squares": (x**2, y**2), "signs": (np.sign(x), np.sign(y)), "sizes": (abs(x), y)}
    for left, right in (*pairs.values(), (x, y**2)):
        limit = stats.norm.isf(ALARM / 2 / 5) / math.sqrt(x.size)
        assert abs(np.corrcoef(left, right)[0, 1]) < limit
    # The direction is uniform, and tells nothing of the distance.
    angle = np.arctan2(y, x)
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > ALARM
    cells = np.histogram2d(angle, np.exp(-(x**2 + y**2) / 2), bins=(16, 16), range=((-math.pi, math.pi), (0, 1)))[0]
    assert stats.chisquare(cells.ravel()).pvalue > ALARM


def test_neighbours_in_a_draw_are_independent():
    drawn = np.asarray(standard_normal(jax.random.key(5), (DRAWS,)), np.float64)
    limit = stats.norm.isf(ALARM / 2 / 6) / math.sqrt(DRAWS / 2)
    for apart in (1, 2, 3, DRAWS // 4, DRAWS // 2 - 1, DRAWS // 2):
        assert abs(np.corrcoef(drawn[apart:], drawn[:-apart])[0, 1]) < limit
