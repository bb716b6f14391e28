"""The event that tells two samples of runs apart best, and the epsilon that it disproves."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

LEAST_HITS = 5  # of a threshold, on the half of the runs that it is chosen on


class Event(NamedTuple):
    """An event about a run: one of its scores is above (or below) a threshold.

    Attributes:
      least_epsilon: Lower bound on epsilon that its frequencies prove, 0 where they prove nothing.
      score: Number of the score.
      above: Whether the score is above the threshold and not below it.
      threshold: The threshold.
      here: Share of the runs of the first sample in which it happens, among those that it was not chosen on.
      there: The same of the second.
    """

    least_epsilon: float
    score: int
    above: bool
    threshold: float
    here: float
    there: float


def best_event(here: np.ndarray, there: np.ndarray, delta: float, level: float) -> Event:
    """The event whose frequencies on two sides prove the largest epsilon; the proof is wrong with probability `level`.

    Score and threshold are chosen on half of the runs of each side, in both directions, and counted on the other half:
    P[event] <= e^epsilon P[event on the other side] + delta, with Clopper-Pearson limits (Jagielski et al. 2020).

    Args:
      here: float [runs, scores] of the first sample, none of them NaN.
      there: The same of the second, with as many runs.
      delta: Delta of the claim.
      level: Probability of proving an epsilon that is too large.
    """
    half = len(here) // 2
    tried = len(here) - half
    found = []
    for swapped in (False, True):
        with_, without = (there, here) if swapped else (here, there)
        for sign in (1, -1):
            score, cut = _chosen(sign * with_[:half], sign * without[:half])
            hits, false = (int((sign * side[half:, score] > cut).sum()) for side in (with_, without))
            least = stats.beta.ppf(level / 8, hits, tried - hits + 1) if hits else 0.0
            most = stats.beta.isf(level / 8, false + 1, tried - false) if false < tried else 1.0
            epsilon = max(0.0, math.log((least - delta) / most)) if least > delta else 0.0
            shares = (false / tried, hits / tried) if swapped else (hits / tried, false / tried)
            found.append(Event(epsilon, score, sign > 0, sign * cut, *shares))
    return max(found)


def _chosen(with_: np.ndarray, without: np.ndarray) -> tuple[int, float]:
    """The score, and the threshold of it, with the largest ratio of hits to false alarms, counting three more than were seen."""
    best = (-1.0, 0, 0.0)
    for number in range(with_.shape[1]):
        cuts = np.unique(np.concatenate([with_[:, number], without[:, number]]))
        hits = len(with_) - np.searchsorted(np.sort(with_[:, number]), cuts, side="right")
        false = len(without) - np.searchsorted(np.sort(without[:, number]), cuts, side="right")
        ratio = np.where(hits >= max(LEAST_HITS, len(with_) // 20), hits / (false + 3.0), 0)
        at = int(np.argmax(ratio))
        best = max(best, (float(ratio[at]), -number, float(cuts[at])))
    return -best[1], best[2]
