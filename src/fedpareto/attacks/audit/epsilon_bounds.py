"""Lower bounds on epsilon from guesses at which canaries were there, and what a Gaussian fit would say.

A bound holds with its confidence for every mechanism whose randomness is what the caller says of the trials; an estimate holds
for none. Nothing here knows where the scores come from.

| function        | trials                                            | paper                                              |
|-----------------|---------------------------------------------------|----------------------------------------------------|
| `one_run`       | any that one mechanism joins, each a coin of its own | Steinke, Nasr, Jagielski 2023, arXiv:2305.08846  |
| `many_runs`     | independent runs, one canary each                 | Jagielski et al. 2020; Nasr et al. 2023, arXiv:2302.07956 |
| `gaussian_fit`  | many                                              | Andrew et al. 2023, arXiv:2302.03098               |
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special, stats

from fedpareto.attacks.intervals import clopper_pearson
from fedpareto.attacks.membership.roc import placements

CONFIDENCE = 0.95
LARGEST = 50.0  # epsilon beyond which nothing is looked for
_SHARES = np.geomspace(0.002, 0.5, 16)  # of all trials, that are guessed at on one side


def one_run(
    scores: np.ndarray, present: np.ndarray, delta: float, guesses: tuple[int, int], confidence: float = CONFIDENCE
) -> float:
    """A lower bound on epsilon from the canaries of one mechanism (Steinke et al. 2023, Algorithm 1 and Theorem 5.2).

    The highest scores are guessed to be present, the lowest absent, and nothing is said of the others. How many, must have been
    fixed without a look at `present` and `scores`.

    Independent copies of a mechanism with canaries of their own are one mechanism: a canary changes the output of its own copy
    alone, so that the divergence between neighbours, and with it (epsilon, delta), is that of one copy. Delta enters the
    theorem once for each canary, all copies counted, and that is all that pooling costs.

    Args:
      scores: float [n], the higher, the likelier present.
      present: bool [n], fair coins, independent of each other and of everything else.
      delta: Of the guarantee that is tested.
      guesses: How many of the highest and of the lowest scores are guessed at.
      confidence: Probability with which the bound holds, at least.

    Returns:
      The largest epsilon that is refuted together with `delta`, 0 where none is.
    """
    correct = _correct(scores, present, guesses)
    return _refuted(len(scores), sum(guesses), correct, delta, confidence)


def one_run_p_value(trials: int, guessed: int, correct: int, epsilon: float, delta: float) -> float:
    """Bound on the probability of `correct` right guesses or more among `guessed`, of `trials` canaries in all.

    P[W >= v] <= P[B >= v] + 2 n delta max over i = 1..v of P[v - i <= B < v] / i, with B binomial of r guesses that are each right
    with probability e^epsilon / (1 + e^epsilon) (Steinke et al. 2023, Theorem 5.2 and Appendix D).
    """
    right = special.expit(epsilon)
    beyond = float(special.bdtrc(correct - 1, guessed, right))
    if delta == 0:
        return beyond
    fewer = np.arange(1, correct + 1)
    within = special.bdtrc(correct - fewer - 1, guessed, right) - beyond
    return min(1.0, beyond + 2 * trials * delta * float(np.max(within / fewer, initial=0.0)))


def guess_counts(
    scores: np.ndarray, present: np.ndarray, trials: int, delta: float, confidence: float = CONFIDENCE
) -> tuple[int, int]:
    """How many guesses to make in `one_run`, from scores that were simulated.

    Args:
      scores: float [s], of simulated canaries; how many matters for precision only.
      present: bool [s].
      trials: Number of canaries of the audit.
      delta: Of the guarantee.
      confidence: Of the bound.

    Returns:
      Guesses on the highest and on the lowest scores, that make the bound largest at the simulated rate of right ones.
    """
    order = np.argsort(scores, kind="stable")
    best, found = (0, 0), (-1.0, -math.inf)
    for share in _SHARES:
        simulated, count = max(1, round(share * len(scores))), max(1, round(share * trials))
        high, low = float(present[order[-simulated:]].mean()), float((~present[order[:simulated]]).mean())
        for sides, right in (((1, 0), high), ((0, 1), low), ((1, 1), (high + low) / 2)):
            guessed = sum(sides) * count
            if guessed > trials:
                continue
            bound = _refuted(trials, guessed, math.floor(right * guessed), delta, confidence)
            # Where nothing can be shown of a run that keeps its promise, one that breaks it should still be found out.
            merit = (bound, (right - 0.5) * math.sqrt(guessed))
            if merit > found:
                best, found = (sides[0] * count, sides[1] * count), merit
    return best


def many_runs(scores: np.ndarray, present: np.ndarray, delta: float, confidence: float = CONFIDENCE) -> float:
    """A lower bound on epsilon from one score of each of several independent runs.

    Every other run chooses the threshold, the rest are counted. With upper ends of both error rates that hold together
    (Clopper-Pearson, half of the error probability each), epsilon is at least log((1 - delta - FNR) / FPR), and the same with
    FNR and FPR changed over.

    Args:
      scores: float [n], the higher, the likelier present.
      present: bool [n].
      delta: Of the guarantee that is tested.
      confidence: Probability with which the bound holds, at least.

    Returns:
      The bound, at least 0.
    """
    chosen, counted = slice(0, None, 2), slice(1, None, 2)
    cuts = np.unique(scores[chosen])
    bounds = [_by_error_rates(scores[chosen], present[chosen], cut, delta, confidence) for cut in cuts]
    if not bounds:
        return 0.0
    return _by_error_rates(scores[counted], present[counted], cuts[int(np.argmax(bounds))], delta, confidence)


def gaussian_fit(present: np.ndarray, absent: np.ndarray, delta: float) -> float:
    """The epsilon at `delta` of two Gaussians fitted to the scores: an estimate, and no bound (Andrew et al. 2023, section 3).

    The two have one standard deviation here. They may have two in the paper; with few canaries chance alone makes these differ,
    and at a small delta their ratio decides the epsilon.

    Args:
      present: float [n], scores of canaries that took part, at least 2.
      absent: float [m], scores of those that did not, at least 2.
      delta: In (0, 1).

    Returns:
      The estimate, 0 where absent canaries score higher, at most `LARGEST`; NaN where a side has fewer than two scores.
    """
    if min(len(present), len(absent)) < 2:
        return math.nan
    spread = math.sqrt((float(np.var(present, ddof=1)) + float(np.var(absent, ddof=1))) / 2)
    apart = float(np.mean(present) - np.mean(absent))
    if apart <= 0:
        return 0.0
    return LARGEST if spread == 0 else gaussian_epsilon(apart / spread, delta)


def gaussian_epsilon(apart: float, delta: float) -> float:
    """The epsilon at `delta` between Gaussians `apart` > 0 standard deviations apart (Balle and Wang 2018), at most `LARGEST`."""

    def missed(epsilon: float) -> float:
        near, far = apart / 2 - epsilon / apart, -apart / 2 - epsilon / apart
        return float(special.ndtr(near) - math.exp(epsilon + special.log_ndtr(far))) - delta

    if missed(0.0) <= 0:
        return 0.0
    return LARGEST if missed(LARGEST) > 0 else float(optimize.brentq(missed, 0.0, LARGEST))


def area(scores: np.ndarray, present: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Area under the ROC curve with its interval (DeLong et al. 1988), which takes the trials for independent."""
    inside, outside = scores[present], scores[~present]
    if not (len(inside) and len(outside)):
        return math.nan, math.nan, math.nan
    above, below = placements(inside, outside), 1 - placements(outside, inside)
    value = float(above.mean())
    spread = math.sqrt(sum(float(np.var(part, ddof=1)) / len(part) for part in (above, below) if len(part) > 1))
    half = float(stats.norm.isf((1 - confidence) / 2)) * spread
    return value, max(0.0, value - half), min(1.0, value + half)


def _correct(scores: np.ndarray, present: np.ndarray, guesses: tuple[int, int]) -> int:
    high, low = guesses
    # Ties are broken by the canaries' numbers, which know nothing of the coins.
    order = np.argsort(scores, kind="stable")
    return int(present[order[len(order) - high :]].sum() + (~present[order[:low]]).sum())


def _refuted(trials: int, guessed: int, correct: int, delta: float, confidence: float) -> float:
    error = 1 - confidence

    def margin(epsilon: float) -> float:
        return one_run_p_value(trials, guessed, correct, epsilon, delta) - error

    if guessed == 0 or margin(0.0) > 0:
        return 0.0
    return LARGEST if margin(LARGEST) <= 0 else float(optimize.brentq(margin, 0.0, LARGEST, xtol=1e-4)) - 1e-4


def _by_error_rates(scores: np.ndarray, present: np.ndarray, cut: float, delta: float, confidence: float) -> float:
    inside, outside = scores[present], scores[~present]
    # The upper end of each alone: half of the error probability is for the one, half for the other.
    _, fpr = clopper_pearson(int((outside >= cut).sum()), len(outside), 1 - confidence)
    _, fnr = clopper_pearson(int((inside < cut).sum()), len(inside), 1 - confidence)
    ratios = ((1 - delta - fnr) / fpr, (1 - delta - fpr) / fnr)
    return max([0.0, *(math.log(ratio) for ratio in ratios if ratio > 0)])
