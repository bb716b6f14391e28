"""Epsilon of Gaussian releases that nothing secret amplifies, in closed form: one Gaussian for each number of participations.

Who takes part is drawn without looking at data. The pair of who took part and what was released is (epsilon, delta_k(epsilon))
given k participations, hence (epsilon, E_k delta_k(epsilon)) as a whole (docs/proofs.md, Theorem 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import binom

from fedpareto.privacy.participation import smallest_bound

NEGLECTED = 1e-9  # of delta, in each tail of the number of participations; what is neglected above is paid for
ROUNDING = 1e-9  # of delta: more than the closed form loses in float64, for any epsilon and delta in use
BISECTIONS = 100


class Participations(NamedTuple):
    """How often one unit takes part: numbers float64 [k], and an upper bound on the distribution of the larger, float64 [k]."""

    numbers: np.ndarray
    probabilities: np.ndarray
    neglected: float


def participations(rounds: float, probability: float, delta: float) -> Participations:
    """The number of participations in `rounds` rounds, each with `probability`.

    Args:
      rounds: Number of rounds; any positive number where `probability` is 1.
      probability: That a round uses the unit.
      delta: The delta of the guarantee, which says how unlikely a number may be left out. Few participations that are left out are
        counted as the least that is not, which costs more; many of them are `neglected`, and taken from delta.
    """
    if probability == 1:
        return Participations(np.array([float(rounds)]), np.ones(1), 0.0)
    law, unlikely = binom(int(rounds), probability), NEGLECTED * delta
    low, high = int(law.ppf(unlikely)), smallest_bound(int(rounds), probability, unlikely)
    numbers = np.arange(low, high + 1)
    probabilities = law.pmf(numbers)
    probabilities[0] = law.cdf(low)
    return Participations(numbers.astype(np.float64), probabilities, float(law.sf(high)))


def delta_of(epsilon: float, shifts: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean over numbers of participations of a Gaussian's delta (Balle and Wang 2018, Theorem 8).

    Args:
      epsilon: At least 0.
      shifts: Distance of neighbours over the noise standard deviation, float64 [k]; 0 tells nothing.
      probabilities: Of each, float64 [k].
    """
    moved = shifts > 0
    mu = shifts[moved]
    missed = np.exp(log_ndtr(mu / 2 - epsilon / mu)) - np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))
    return float(np.dot(probabilities[moved], np.maximum(missed, 0.0)))


def epsilon_of(shifts: np.ndarray, taken_part: Participations, delta: float) -> float:
    """The least epsilon, up to 1e-9 of itself, at which `delta_of` is at most `delta`.

    Args:
      shifts: Distance of neighbours over the noise standard deviation for each of the numbers, float64 [k].
      taken_part: How often the unit takes part.
      delta: Above 0.
    """
    allowed = delta * (1 - ROUNDING) - taken_part.neglected
    return _least(lambda epsilon: delta_of(epsilon, shifts, taken_part.probabilities) <= allowed)


def _least(enough: Callable[[float], bool]) -> float:
    """The least number that is enough, by bisection: 0, or the upper end of the last interval."""
    if enough(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 4 * high
    for _ in range(BISECTIONS):
        if high - low <= 1e-9 * high:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
