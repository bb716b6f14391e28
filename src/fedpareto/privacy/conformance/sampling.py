"""Statistical checks of cohorts."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import stats

from fedpareto.privacy.conformance.mechanism import ALARM, Mechanism


def check_sampling(mechanism: Mechanism, seed: int = 0, runs: int = 1000, releases: int = 6) -> list[str]:
    """Cohorts have the claimed law: who joins, how many, together with whom, and in which of a run's releases.

    | claim      | inclusion | size           | two units in a release | one unit in two releases of a run |
    |------------|-----------|----------------|------------------------|-----------------------------------|
    | poisson    | rate      | binomial       | rate^2                 | independent                       |
    | fixed_size | m / n     | m              | m (m-1) / (n (n-1))    | independent                       |
    | shuffled   | m / n     | m              | m (m-1) / (n (n-1))    | never, within a pass              |

    Amplification by sampling is proved for the law that is claimed. Batches of a shuffled order under a Poisson claim can
    spend far more (Chua et al. 2024), and so can a client that is drawn once and then used in several releases.
    False alarm: `ALARM` for all tests together (Bonferroni).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      runs: Runs to look at.
      releases: Releases of each run to look at, from its first.
    """
    claim, n = mechanism.claim, len(mechanism.data)
    rng = np.random.default_rng(seed)
    size = round(claim.rate * n)
    shuffled, poisson = claim.sampling == "shuffled", claim.sampling == "poisson"
    joined = []
    for _ in range(runs):
        cohorts = mechanism.sample(rng, n)
        chosen = np.zeros((min(n // size if shuffled else releases, len(cohorts)), n), bool)
        for release, cohort in enumerate(cohorts[: len(chosen)]):
            chosen[release, cohort] = True
            if chosen[release].sum() != len(cohort):
                return ["sampling: a cohort holds a unit twice"]
            if claim.cohort_limit is not None and len(cohort) > claim.cohort_limit:
                return [f"sampling: a cohort of {len(cohort)} is larger than the claimed limit {claim.cohort_limit}"]
        joined.append(chosen)
    took = np.array(joined)  # [runs, releases, units]
    violations, level, rate = [], ALARM / 4, claim.rate if poisson else size / n
    many = took.shape[0] * took.shape[1]
    flat = took.reshape(many, n).astype(np.float32)
    sizes = took.sum(axis=2)

    # Everybody joins at the claimed rate. In shuffled batches, releases of one run depend on each other: test them apart.
    apart = took.sum(axis=0) if shuffled else took.sum(axis=(0, 1))[None]
    p = _binomial_p(apart, took.shape[0] if shuffled else many, rate)
    if p.min() * p.size < level:
        odd = np.unravel_index(p.argmin(), p.shape)
        share = apart[odd] / (took.shape[0] if shuffled else many)
        violations.append(f"sampling: {claim.unit} {odd[-1]} joins at {share:.4g}, not at the claimed {rate:.4g}")

    if poisson:
        bins = stats.binom.ppf([*np.linspace(0.05, 0.95, 10), 1], n, rate)
        bins = np.unique(bins)
        expected = np.diff(stats.binom.cdf(bins, n, rate), prepend=0) * many
        observed = np.diff(np.searchsorted(np.sort(sizes.ravel()), bins, side="right"), prepend=0)
        if len(bins) > 1 and stats.chisquare(observed, expected).pvalue < level:
            sd = math.sqrt(n * rate * (1 - rate))
            violations.append(f"sampling: cohort sizes have spread {sizes.std():.3g}, a Poisson sample's have {sd:.3g}")
    elif (sizes != size).any():
        violations.append(f"sampling: cohorts of {sizes.min()} to {sizes.max()} where {size} are claimed")

    # Two units in one release: runs are independent, so one release of each for shuffled batches.
    within = took[:, 0].astype(np.float32) if shuffled else flat
    together = (within.T @ within)[np.triu_indices(n, 1)]
    p = _binomial_p(together, len(within), rate**2 if poisson else rate * (size - 1) / max(n - 1, 1))
    if p.size and p.min() * p.size < level:
        violations.append("sampling: units do not join a release independently of each other")

    # One unit in two releases.
    for s, t in itertools.combinations(range(took.shape[1]), 2):
        overlap = float((took[:, s] & took[:, t]).sum())
        if shuffled:
            if overlap:
                violations.append(f"sampling: releases {s} and {t} of one pass share units")
            continue
        mean, variance = n * rate**2, n * rate**2 * (1 - rate**2)
        if not poisson:  # Two independent sets of m of n: hypergeometric.
            variance = n * rate**2 * (1 - rate) ** 2 * n / max(n - 1, 1)
        deviation = abs(overlap - runs * mean)
        wide = stats.norm.isf(level / took.shape[1] ** 2) * math.sqrt(runs * variance)
        if deviation > wide + 1e-6:
            violations.append(
                f"sampling: releases {s} and {t} of a run share {overlap / runs:.3g} units on average, "
                f"independent ones {mean:.3g}"
            )
    return violations


def _binomial_p(counts: np.ndarray, trials: int, rate: float) -> np.ndarray:
    """Two-sided p-values of binomial counts."""
    law = stats.binom(trials, rate)
    return np.minimum(1.0, 2 * np.minimum(law.cdf(counts), law.sf(counts - 1)))
