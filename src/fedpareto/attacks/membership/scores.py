"""Scores of membership: how likely it is that a unit (a record, or a client) was among those that trained a model.

Every unit is in half of the shadow runs. Each run that has it is paired, unit by unit at random, with one that lacks it; when
either is the target, both are left out of its references. So a target that has the unit and one that lacks it are scored
against equally many runs of each kind, and a score that knows nothing is distributed alike for both: if only the target were
left out, the size of either group would tell which kind it is of (with 16 runs and LiRA the AUC of pure noise would be 0.49).

The signal of a record is phi = log(p / (1 - p)) for the probability p of its true label (Carlini et al. 2022, section IV-C).

| score            | reads of the target | of its references           | paper                                    |
|------------------|---------------------|-----------------------------|------------------------------------------|
| `loss_threshold` | the loss            | nothing                     | Yeom et al. 2018, arXiv:1709.01604       |
| `lira_online`    | phi                 | runs with and without it    | Carlini et al. 2022, arXiv:2112.03570    |
| `lira_offline`   | phi                 | runs without it             | the same, section V-C                    |
| `rmia`           | p, of others too    | runs without it             | Zarifzadeh et al. 2024, arXiv:2312.03262 |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ENOUGH_SHADOWS = 64  # from which a unit has a variance of its own (Carlini et al. 2022, section VI-C)
LEAST_VARIANCE = 1e-12  # of runs that are all alike
LEAST_PROBABILITY = 1e-30  # so that ratios are defined
CHUNK = 2**20  # pairs of a unit and a record of the population at a time


class InOut(NamedTuple):
    """A number for each unit and each of its pairs of shadow runs, both [pairs, units]; NaN where there is none.

    Attributes:
      inside: Of the run of the pair that has the unit.
      outside: Of the one that lacks it.
    """

    inside: np.ndarray
    outside: np.ndarray


def loss_threshold(signals: InOut) -> InOut:
    """The negative loss, log p, in nats: one threshold for all units and all targets.

    Args:
      signals: phi, float [pairs, units].
    """
    with np.errstate(invalid="ignore"):
        return InOut(*(-np.logaddexp(0.0, -phi) for phi in whole_pairs(signals)))


def lira_online(signals: InOut) -> InOut:
    """The log-likelihood ratio of phi under one Gaussian for the runs with the unit and one for those without.

    What a handful of runs say of one unit is mostly noise, and a ratio made of it is beaten by the loss alone. So below
    `ENOUGH_SHADOWS` runs one variance stands for all units and both Gaussians, taken about each unit's own means; and the
    difference of a unit's means is drawn to the mean difference of all units, the more so the less these differ beyond
    what noise explains (empirical Bayes, Efron and Morris 1973). The paper pools the variance only.

    Args:
      signals: phi, float [pairs, units].
    """
    signals = whole_pairs(signals)
    (with_it, spread_with), (without, spread_without) = (_references(phi) for phi in signals)
    if 2 * len(signals.inside) < ENOUGH_SHADOWS:
        spread_with = spread_without = (spread_with + spread_without) / 2
    middle = (with_it + without) / 2
    noise = (spread_with + spread_without) / _others(signals.inside)[2]
    half = _shrunk(with_it - without, noise) / 2

    def score(phi: np.ndarray) -> np.ndarray:
        surprise_with = np.square(phi - middle - half) / spread_with + np.log(spread_with)
        surprise_without = np.square(phi - middle + half) / spread_without + np.log(spread_without)
        return (surprise_without - surprise_with) / 2

    return InOut(*map(score, signals))


def lira_offline(signals: InOut) -> InOut:
    """How many standard deviations phi is above its mean over the runs without the unit; nothing else is read of references.

    The paper's score is the Gaussian distribution function of it, which orders the same and ends in ties at 1.

    Args:
      signals: phi, float [pairs, units].
    """
    signals = whole_pairs(signals)
    mean, variance = _references(signals.outside)
    return InOut(*((phi - mean) / np.sqrt(variance) for phi in signals))


def rmia(signals: InOut, runs: InOut, population: np.ndarray, gamma: float = 1.0, share: float = 1.0) -> InOut:
    """The share of a population over which the unit's likelihood ratio towers `gamma` times; the ratio itself breaks ties.

    With p(x) the probability that the target gives the label of x, and q(x) the mean of it over the runs that lack the unit,
    the ratio of x to z is (p(x) / q'(x)) / (p(z) / q(z)), where q' = ((1 + share) q + (1 - share)) / 2 stands for the mean over
    runs with the unit and without (the paper's offline form).

    Args:
      signals: phi, float [pairs, units].
      runs: int [pairs, units], which run each signal is of.
      population: phi of records that no run has trained on, float [runs, population].
      gamma: How many times. The paper takes 2 for models that have learned much by heart; at 1, the default, models that
        have not are told apart as well, whose ratios never reach 2 and would all score 0.
      share: The paper's `a`: 1 where being trained on moves p little.
    """
    signals = whole_pairs(signals)
    # Of runs that diverged nothing is known, and they are no unit's references. One bit of 24 decides no rank of a population.
    probability = np.nan_to_num(_probability(population)).astype(np.float32)
    own = InOut(*map(_probability, signals))
    whole = np.isfinite(signals.outside)
    scores = InOut(*(np.full(phi.shape, np.nan) for phi in signals))
    size = max(1, CHUNK // probability.shape[1])
    for start in range(0, whole.shape[1], size):
        some = slice(start, start + size)
        # Which of the runs lack each unit, [units, runs].
        lacking = np.zeros((whole[:, some].shape[1], len(population)), np.float32)
        np.put_along_axis(lacking, runs.outside[:, some].T, whole[:, some].T.astype(np.float32), axis=1)
        for pair in range(len(whole)):
            references = lacking.copy()
            np.put_along_axis(references, runs.outside[pair, some, None], 0.0, axis=1)
            references /= np.maximum(references.sum(axis=1, keepdims=True), 1)
            q_others = np.maximum(references @ probability, LEAST_PROBABILITY)
            elsewhere = np.arange(len(whole)) != pair
            q = np.where(whole[elsewhere, some], own.outside[elsewhere, some], 0.0).sum(axis=0)
            q /= np.where(whole[elsewhere, some].any(axis=0), whole[elsewhere, some].sum(axis=0), np.nan)
            for kind in (0, 1):
                ratio = own[kind][pair, some] / (((1 + share) * q + (1 - share)) / 2)
                own_of_others = probability[runs[kind][pair, some]]
                towers = ((ratio / gamma).astype(np.float32)[:, None] * q_others >= own_of_others).mean(axis=1)
                finer = ratio / (1 + ratio) / (2 * probability.shape[1])
                scores[kind][pair, some] = np.where(np.isfinite(ratio), towers + finer, np.nan)
    return scores


def whole_pairs(signals: InOut) -> InOut:
    """The signals as float64, NaN in both runs of a pair where either is not finite."""
    inside, outside = (np.asarray(phi, np.float64) for phi in signals)
    whole = np.isfinite(inside) & np.isfinite(outside)
    return InOut(np.where(whole, inside, np.nan), np.where(whole, outside, np.nan))


def _others(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sum of squared deviations from it, and number of the values of all other pairs of a unit, each [pairs, units].

    NaN where there is no other pair.
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    middle = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    centred = np.where(known, values - middle, 0.0)  # so that no digits are lost in the squares
    others = np.where(known, count - 1, count).astype(float)
    others[others == 0] = np.nan
    mean = -centred / others
    squares = np.square(centred).sum(axis=0) - np.square(centred) - others * np.square(mean)
    return middle + mean, np.maximum(squares, 0.0), others


def _references(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance, [pairs, units], of the values of all other pairs of a unit."""
    mean, squares, others = _others(values)
    freedom = np.maximum(others - 1, 0)
    if 2 * len(values) < ENOUGH_SHADOWS:
        squares, freedom = (np.nansum(part, axis=1, keepdims=True) for part in (squares, freedom))
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.broadcast_to(squares / freedom, mean.shape)
    return mean, np.where(np.isfinite(variance), np.maximum(variance, LEAST_VARIANCE), np.nan)


def _shrunk(differences: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Differences [pairs, units], whose noise has variances `noise`, drawn to their mean over units."""
    known = np.isfinite(differences) & np.isfinite(noise)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, differences, 0.0).sum(axis=1, keepdims=True) / count
    excess = np.where(known, np.square(differences - mean) - noise, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.maximum(excess, 0.0)
    return mean + (differences - mean) * spread / (spread + noise)


def _probability(phi: np.ndarray) -> np.ndarray:
    """The logistic function, never 0; NaN stays."""
    return np.maximum(np.exp(loss_threshold(InOut(phi, phi)).inside), LEAST_PROBABILITY)
