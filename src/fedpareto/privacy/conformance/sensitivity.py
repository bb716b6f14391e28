"""Deterministic checks of the influence of one unit: the divisor, the sensitivity, the buffer of a cohort."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import stats

from fedpareto.privacy.conformance.mechanism import Mechanism, in_words


def check_divisor(mechanism: Mechanism, tolerance: float = 1e-3) -> list[str]:
    """Checks that the sum is divided by a public number: k equal units release k times as much as one, and an empty cohort zero.

    Deterministic. A mean over those who came has no such bound as clip norm / divisor (McMahan et al. 2018, Lemma 1:
    the estimator divides by the expected weight).

    Args:
      mechanism: The mechanism.
      tolerance: Relative error of the arithmetic that is forgiven.
    """
    most = min(len(mechanism.data), mechanism.claim.cohort_limit or len(mechanism.data), 4)
    data = [mechanism.data[0]] * len(mechanism.data)
    single = mechanism.query(data, np.arange(1))
    size = np.linalg.norm(single)
    if not size > 0:
        return ["divisor: the first unit adds nothing, so there is nothing to compare: give another one"]
    violations = []
    for k in (0, *range(2, most + 1)):
        got = mechanism.query(data, np.arange(k))
        if not np.linalg.norm(got - k * single) <= tolerance * max(k, 1) * size:
            times = np.linalg.norm(got) / size
            violations.append(
                f"divisor: {k} equal units release {times:.3g} times what one does: the divisor follows the realised cohort"
            )
    return violations


def check_sensitivity(mechanism: Mechanism, tolerance: float = 1e-4, units: int = 6) -> list[str]:
    """No unit moves the noiseless release by more than is claimed, whatever it hands in (brute force).

    Deterministic. Every extreme is put in the place of a unit, in cohorts with nobody else, half of the others and (as far
    as the program can hold them) all others; then it is left out (add or remove), or swapped for every other extreme.

    Args:
      mechanism: The mechanism.
      tolerance: Relative error of the arithmetic that is forgiven.
      units: How many of the units are tried, spread evenly.
    """
    claim, n = mechanism.claim, len(mechanism.data)
    most = n if claim.cohort_limit is None else min(n, claim.cohort_limit)
    worst, found = 0.0, ""
    for unit in np.unique(np.linspace(0, n - 1, units).astype(int)):
        others = np.delete(np.arange(n), unit)
        for size in sorted({0, (most - 1) // 2, most - 1}):
            base = others[:size]
            tried = [mechanism.data[unit], *mechanism.extremes]
            releases = []
            for value in tried:
                data = list(mechanism.data)
                data[unit] = value
                releases.append(mechanism.query(data, np.append(base, unit)))
            if claim.swapped:
                pairs = list(itertools.combinations(range(len(tried)), 2))
                moves = [
                    (releases[i] - releases[j], f"{in_words(tried[i])} for {in_words(tried[j])}") for i, j in pairs
                ]
            else:
                without = mechanism.query(mechanism.data, base)
                moves = [(release - without, in_words(value)) for release, value in zip(releases, tried, strict=True)]
            for move, name in moves:
                distance = float(np.linalg.norm(move))
                distance = distance if math.isfinite(distance) else math.inf
                if distance > worst:
                    worst, found = distance, f"{name} beside {size} others"
    if worst <= claim.sensitivity * (1 + tolerance):
        return []
    return [
        f"sensitivity: one {claim.unit} ({found}) moves the release by {worst:.4g}, "
        f"more than the claimed {claim.sensitivity:.4g}"
    ]


def check_overflow(mechanism: Mechanism) -> list[str]:
    """A Poisson cohort that may not fit in the program's buffer is paid for: accounted delta + P[overflow] <= delta.

    Deterministic: a union bound over the releases of a run, which are counted. Whoever is left out of a full buffer depends
    on who else came, so nothing is proved for a run in which that happens.
    """
    claim = mechanism.claim
    if claim.cohort_limit is None or claim.sampling != "poisson":
        return []
    steps = len(mechanism.sample(np.random.default_rng(0), len(mechanism.data)))
    overflow = steps * float(stats.binom.sf(claim.cohort_limit, len(mechanism.data), claim.rate))
    accounted = claim.delta if claim.accounted_delta is None else claim.accounted_delta
    if accounted + overflow <= claim.delta * (1 + 1e-9):
        return []
    return [
        f"overflow: a cohort outgrows its limit of {claim.cohort_limit} with probability {overflow:.3g}, which with the "
        f"accounted delta {accounted:.3g} is more than the claimed {claim.delta:.3g}"
    ]
