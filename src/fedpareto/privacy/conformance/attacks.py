"""Checks by attack: nobody tells neighbours apart better than the claim allows; and a check of auditors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from fedpareto.privacy.conformance.mechanism import ALARM, Mechanism, in_words


def check_distinguishing(mechanism: Mechanism, seed: int = 0, runs: int = 600) -> list[str]:
    """Nobody who sees a run's releases tells neighbours apart better than the claim allows (an attack, hence one-sided).

    The last unit takes part or does not (is swapped for the first extreme under `replace_one`). The attacker looks at how
    far the releases spread and at where they point. Its threshold is chosen on half of the runs; on the other half,
    P[true alarm] <= e^epsilon P[false alarm] + delta must hold, with Clopper-Pearson limits (Jagielski et al. 2020).
    False alarm: `ALARM` (Bonferroni over two scores, both neighbours and both directions).

    Args:
      mechanism: The mechanism. The more coordinates it has, the more the spread of the noise tells.
      seed: Of the generator.
      runs: Runs with each of the neighbours.
    """
    claim, data = mechanism.claim, list(mechanism.data)
    neighbour = [*data[:-1], mechanism.extremes[0]] if claim.swapped else data[:-1]
    alone = mechanism.query(data, np.array([len(data) - 1]))
    rng = np.random.default_rng(seed)

    def scores(of: Sequence[Any]) -> np.ndarray:
        releases = (mechanism.release(of, rng) for _ in range(runs))
        return np.array([(np.sum(np.square(r)), np.sum(r @ alone)) for r in releases])

    here, there = scores(data), scores(neighbour)
    found = [_least_told(here[:, number], there[:, number], claim.delta, ALARM / 2) for number in (0, 1)]
    best, how = max(zip(found, ("spread", "direction"), strict=True))
    if best <= claim.epsilon:
        return []
    return [
        f"distinguishing: the {how} of the releases tells whether one {claim.unit} takes part: epsilon is at least "
        f"{best:.3g}, not the claimed {claim.epsilon:.3g}"
    ]


def check_released(mechanism: Mechanism, seed: int = 0, runs: int = 200) -> list[str]:
    """Checks that a run's releases, and their number, depend on its units through the noisy releases alone.

    Every extreme takes the place of the last unit, and whole runs (`Mechanism.run`) are made with it and without it (with the
    unit as it is under `replace_one`). Counted are the releases that move (differ from the one before) and those that are
    finite. A run may end early because of what it has released, which is post-processing; one that ends, skips or freezes
    because of what a unit handed in, or what it lost, tells of it with no noise at all. Both counts are outcomes of a run:
    P[more than a threshold] <= e^epsilon P[the same with the neighbour] + delta must hold, with the thresholds and limits of
    `check_distinguishing`. False alarm: `ALARM` (Bonferroni over extremes, counts and directions).

    What ends a run does not ask how large the noise is, and the smaller the claimed epsilon the more a count says: hand in a
    mechanism with much noise. With n runs no count disproves an epsilon above log(n / 30).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      runs: Runs with each of the units.
    """
    claim, rng = mechanism.claim, np.random.default_rng(seed)
    run = mechanism.release if mechanism.run is None else mechanism.run

    def counts(units: Sequence[Any]) -> np.ndarray:
        released = [np.asarray(run(units, rng)) for _ in range(runs)]
        return np.array([(_moves(rows), np.isfinite(rows).all(axis=1).sum()) for rows in released])

    others = list(mechanism.data[:-1])
    neighbour, violations = counts(list(mechanism.data) if claim.swapped else others), []
    for extreme in mechanism.extremes:
        with_it = counts([*others, extreme])
        for number, name in enumerate(("move", "are finite")):
            here, there = with_it[:, number], neighbour[:, number]
            least = _least_told(here, there, claim.delta, ALARM / 2 / len(mechanism.extremes))
            if least > claim.epsilon:
                violations.append(
                    f"released: {here.mean():.3g} releases of a run {name} with a {claim.unit} that hands in {in_words(extreme)}, "
                    f"{there.mean():.3g} with its neighbour: epsilon is at least {least:.3g}, not the claimed {claim.epsilon:.3g}"
                )
    return violations


def check_audit(
    auditor: Callable[[np.ndarray, np.ndarray], float],
    share: float,
    seed: int = 0,
    runs: int = 200,
    canaries: int = 200,
) -> list[str]:
    """An auditor's lower bound on epsilon is 0 in all but the stated share of null audits, and above 0 for open secrets.

    Null: the scores of canaries inside and outside are draws of one N(0, 1). Open: those inside are higher by 10.
    False alarm: `ALARM` (binomial test of the number of bounds above 0 at `share`).

    Args:
      auditor: (scores of canaries inside, scores of those outside) -> lower bound on epsilon.
      share: Share of audits whose bound may be wrong: 1 - confidence.
      seed: Of the scores.
      runs: Null audits.
      canaries: Canaries inside, and as many outside.
    """
    rng = np.random.default_rng(seed)
    bounds = [auditor(rng.normal(size=canaries), rng.normal(size=canaries)) for _ in range(runs)]
    wrong = sum(bound > 0 for bound in bounds)
    violations = []
    if stats.binom.sf(wrong - 1, runs, share) < ALARM:
        violations.append(
            f"audit: {wrong} of {runs} null audits find a positive epsilon (the largest {max(bounds):.3g}), "
            f"where {share:.3g} of them may"
        )
    if not auditor(rng.normal(size=canaries) + 10, rng.normal(size=canaries)) > 0:
        violations.append("audit: the auditor finds nothing where there is no privacy at all")
    return violations


def _least_told(here: np.ndarray, there: np.ndarray, delta: float, level: float) -> float:
    """A lower bound on epsilon from a score of runs on two sides, 0 where it tells nothing; wrong with probability `level`.

    A threshold is chosen on half of the runs of each side, in both directions, and counted on the other half.
    """
    best, half = 0.0, len(here) // 2
    tried = len(here) - half
    for a, b in ((here, there), (there, here)):
        for sign in (1, -1):
            with_, without = sign * a, sign * b
            cut = _best_threshold(with_[:half], without[:half])
            hits, false = int((with_[half:] > cut).sum()), int((without[half:] > cut).sum())
            least = stats.beta.ppf(level / 8, hits, tried - hits + 1) if hits else 0.0
            most = stats.beta.isf(level / 8, false + 1, tried - false) if false < tried else 1.0
            best = max(best, math.log((least - delta) / most) if least > delta else 0.0)
    return best


def _moves(rows: np.ndarray) -> int:
    """How many releases of a run, [released, d], differ from the one before; the first is one that does."""
    same = ((rows[1:] == rows[:-1]) | (np.isnan(rows[1:]) & np.isnan(rows[:-1]))).all(axis=1)
    return len(rows) - int(same.sum())


def _best_threshold(with_: np.ndarray, without: np.ndarray) -> float:
    """The threshold with the largest ratio of hits to false alarms, counting half a false alarm more than were seen."""
    cuts = np.unique(np.concatenate([with_, without]))
    hits = len(with_) - np.searchsorted(np.sort(with_), cuts, side="right")
    false = len(without) - np.searchsorted(np.sort(without), cuts, side="right")
    score = np.where(hits >= max(5, len(with_) // 20), hits / (false + 3.0), 0)
    return float(cuts[int(np.argmax(score))])
