"""Checks by attack: nobody tells neighbours apart better than the claim allows; and a check of auditors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from fedpareto.privacy.conformance.events import best_event
from fedpareto.privacy.conformance.mechanism import ALARM, Mechanism


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
    found = [best_event(here[:, [number]], there[:, [number]], claim.delta, ALARM / 2) for number in (0, 1)]
    best, how = max(zip((event.least_epsilon for event in found), ("spread", "direction"), strict=True))
    if best <= claim.epsilon:
        return []
    return [
        f"distinguishing: the {how} of the releases tells whether one {claim.unit} takes part: epsilon is at least "
        f"{best:.3g}, not the claimed {claim.epsilon:.3g}"
    ]


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
