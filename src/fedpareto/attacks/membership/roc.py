"""ROC curves of membership scores: the area under one, true positive rates at small false positive rates, and intervals.

Trials are pooled over target models. They depend on each other: those of one unit share its reference runs, and those of one
target model share its noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from fedpareto.attacks.intervals import clopper_pearson
from fedpareto.attacks.membership.scores import InOut

POINTS = 56  # of a thinned curve, before its ends


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes:
      value: The number.
      low: Lower end of the interval.
      high: Upper end.
      realised_fpr: The false positive rate really reached, NaN where there is none to reach.
    """

    value: float
    low: float
    high: float
    realised_fpr: float = np.nan


def trials(scores: InOut) -> tuple[np.ndarray, np.ndarray]:
    """The scores of members and of others, float [n] and [m], without those that are not known."""
    inside, outside = (part[~np.isnan(part)] for part in scores)
    return inside, outside


def curve(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold that changes them, from 0 to 1: float [k] each."""
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    rates = (
        np.concatenate([[0.0], 1 - np.searchsorted(np.sort(part), thresholds, side="left") / len(part)])
        for part in (negatives, positives)
    )
    fpr, tpr = rates
    return fpr, tpr


def thinned(fpr: np.ndarray, tpr: np.ndarray, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve nearest below a logarithmic grid of false positive rates, and its ends."""
    grid = np.concatenate([[0.0], np.geomspace(1 / max(2, negatives), 1.0, POINTS)])
    # A hair above: a rate that is meant to be on the grid must not be missed by its last digit.
    places = np.unique(np.searchsorted(fpr, grid * (1 + 1e-9), side="right") - 1)
    return fpr[places], tpr[places]


def area(scores: InOut, runs: InOut, confidence: float = 0.95) -> Estimate:
    """Area under the ROC curve: the probability that a member scores above another, ties counting half.

    Interval: each trial's placement among those of the other kind is its influence on the area (DeLong et al. 1988). The variance
    is that of the influences summed by unit, plus by target model, less by trial (clustered two ways, Cameron et al. 2011),
    with Student quantiles for the number of clusters. A single unit's trials share their references: its variance is taken
    twice, which is what pairs of independent scores come to. The interval is never smaller than Clopper and Pearson's for as
    many independent pairs as there are trials of the rarer kind, whose variance none exceeds (Birnbaum and Klose 1957). Where there
    is nothing to find, the area of pooled scores that were made by leaving out leans below 1/2, by about a quarter of its
    standard error.

    Args:
      scores: float [pairs, units], NaN where not known.
      runs: int [pairs, units], the target model of each.
      confidence: Of the interval.
    """
    known = InOut(*(~np.isnan(part) for part in scores))
    inside, outside = trials(scores)
    above = placements(inside, outside)
    below = 1 - placements(outside, inside)
    value = float(above.mean())
    influence = np.concatenate([(above - value) / len(inside), (below - value) / len(outside)])
    units = np.broadcast_to(np.arange(scores.inside.shape[1]), scores.inside.shape)
    unit = np.concatenate([units[known.inside], units[known.outside]])
    run = np.concatenate([runs.inside[known.inside], runs.outside[known.outside]])
    (by_unit, n_units), (by_run, n_runs) = _clustered(influence, unit), _clustered(influence, run)
    by_trial = float(np.square(influence).sum())
    if n_units == 1:
        variance, freedom = 2 * by_run, n_runs - 1
    else:
        variance, freedom = max(by_unit, by_run, by_unit + by_run - by_trial), min(n_units, n_runs) - 1
    half = float(stats.t.ppf((1 + confidence) / 2, max(1, freedom)) * np.sqrt(variance))
    fewest = min(len(inside), len(outside))
    low, high = clopper_pearson(value * fewest, fewest, 1 - confidence)
    return Estimate(value, max(0.0, min(low, value - half)), min(1.0, max(high, value + half)))


def tpr_at(scores: InOut, level: float, confidence: float = 0.95) -> Estimate:
    """The true positive rate at the largest false positive rate not above `level` that the trials allow.

    With fewer than 1 / `level` negatives that is a false positive rate of 0. The interval is for the true positive rate at
    exactly `level`: a quarter of what may go wrong is spent on a threshold that is surely as strict, a quarter on one that is
    surely as lenient (both exact: ranks among the negatives), and a quarter each on the counts of positives beyond them
    (Clopper and Pearson). Its lower end is 0 where negatives are too few to know such a threshold. It takes trials as independent.

    Args:
      scores: float [pairs, units], NaN where not known.
      level: The false positive rate.
      confidence: Of the interval.
    """
    inside, outside = trials(scores)
    quarter, count = (1 - confidence) / 4, len(outside)
    ranked = np.sort(outside)[::-1]
    allowed = int(np.floor(level * count * (1 + 1e-9)))
    threshold = ranked[allowed] if allowed < count else -np.inf
    value, realised = float((inside > threshold).mean()), float((outside > threshold).mean())
    low, high = 0.0, 1.0
    # The rate of negatives beyond the (k+1)-th of them is Beta(k + 1, count - k); beyond and at the k-th, Beta(k, count - k + 1).
    ranks = np.arange(min(count, 10 + int(level * count + 10 * np.sqrt(level * count))))
    strict = np.flatnonzero(stats.beta.sf(level, ranks + 1, count - ranks) <= quarter)
    if strict.size:
        hits = int((inside > ranked[strict[-1]]).sum())
        low, _ = clopper_pearson(hits, len(inside), 2 * quarter)
    lenient = np.flatnonzero(stats.beta.cdf(level, ranks + 1, count - ranks) <= quarter)
    if lenient.size:
        hits = int((inside >= ranked[lenient[0]]).sum())
        _, high = clopper_pearson(hits, len(inside), 2 * quarter)
    return Estimate(value, low, high, realised)


def placements(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The share of `among` below each of `of`, ties counting half."""
    ranked = np.sort(among)
    return (np.searchsorted(ranked, of, side="left") + np.searchsorted(ranked, of, side="right")) / (2 * len(ranked))


def _clustered(influence: np.ndarray, cluster: np.ndarray) -> tuple[float, int]:
    """Variance of the sum of influences, those of one cluster moving together; and the number of clusters."""
    _, number = np.unique(cluster, return_inverse=True)
    sums = np.bincount(number, influence)
    return float(np.square(sums).sum() * len(sums) / max(1, len(sums) - 1)), len(sums)
