"""High-probability bounds on the size of cohorts, whose failure is charged to delta; and participations in a schedule."""

from __future__ import annotations

import math


def binomial_tail(n: int, p: float, k: int) -> float:
    """P[Binomial(n, p) > k]."""
    from scipy.stats import binom

    return float(binom.sf(k, n, p))


def smallest_bound(n: int, p: float, budget: float, times: int = 1) -> int:
    """The smallest k with `times` x P[Binomial(n, p) > k] at most `budget` (by bisection).

    Args:
      n: Number of trials.
      p: Probability of each.
      budget: Probability that may remain.
      times: How often the same thing could happen (a union bound).
    """
    if p >= 1.0:
        return n
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if times * binomial_tail(n, p, middle) <= budget:
            high = middle
        else:
            low = middle + 1
    return low


def scheduled(rounds: int, batches: int) -> int:
    """Participations of one unit after `rounds` rounds of a schedule that uses everybody once in `batches` rounds."""
    return math.ceil(rounds / batches)
