"""Statistical checks of noise: its law, and that it is drawn afresh."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import stats

from fedpareto.privacy.conformance.mechanism import ALARM, Mechanism, flat, noise_of_leaves


def check_noise_scale(mechanism: Mechanism, seed: int = 0, draws: int = 20_000) -> list[str]:
    """Checks that noise is normal with the claimed standard deviation, in every leaf and jointly, for every cohort.

    Kolmogorov-Smirnov for each leaf and all together, and the chi-square law of the sum of squares, each for an empty
    cohort, half of all units and all that the program can hold. False alarm: `ALARM` for all tests together (Bonferroni).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      draws: About how many coordinates are looked at for each cohort.
    """
    sd, n = mechanism.claim.noise_stddev, len(mechanism.data)
    most = n if mechanism.claim.cohort_limit is None else min(n, mechanism.claim.cohort_limit)
    rng = np.random.default_rng(seed)
    violations = []
    for size in (0, most // 2, most):
        leaves = noise_of_leaves(mechanism, rng, np.arange(size), draws)
        level = ALARM / 3 / (len(leaves) + 2)
        joint = flat(leaves)
        if not np.isfinite(joint).all():
            violations.append(f"noise scale: not finite with {size} units")
            continue
        squares = stats.chi2(joint.size)
        at = float(np.sum(np.square(joint / sd)))
        found = float(np.std(joint))
        if 2 * min(squares.cdf(at), squares.sf(at)) < level:
            violations.append(
                f"noise scale: standard deviation {found:.4g} with {size} units, not the claimed {sd:.4g}"
            )
        for name, values in [*((f"leaf {i}", leaf) for i, leaf in enumerate(leaves)), ("all leaves", joint)]:
            if stats.kstest(np.ravel(values), stats.norm(0, sd).cdf).pvalue < level:
                violations.append(f"noise scale: {name} with {size} units is not N(0, {sd:.4g}^2)")
    return violations


def check_noise_independence(mechanism: Mechanism, seed: int = 0, draws: int = 20_000) -> list[str]:
    """Noise is drawn afresh for every leaf (or client's share), coordinate, release and run.

    Sample correlations against their normal law. False alarm: `ALARM` for all together (Bonferroni). Shared draws have a
    correlation of 1. Noise that is correlated by design (matrix mechanisms) is not what this check is for.

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      draws: About how many coordinates are looked at.
    """
    cohort = np.arange(min(len(mechanism.data), mechanism.claim.cohort_limit or len(mechanism.data)))
    rng = np.random.default_rng(seed)
    leaves = noise_of_leaves(mechanism, rng, cohort, draws)  # each [releases, size]
    again = noise_of_leaves(mechanism, rng, cohort, draws)
    releases = leaves[0].shape[0]
    run, other = np.concatenate(leaves, axis=1), np.concatenate(again, axis=1)
    pairs = []
    for i, j in itertools.combinations(range(len(leaves)), 2):
        both = min(leaves[i].shape[1], leaves[j].shape[1])
        pairs.append((f"leaves {i} and {j}", leaves[i][:, :both], leaves[j][:, :both]))
    pairs += [(f"releases that are {k} apart", run[k:], run[:-k]) for k in range(1, min(5, releases - 1) + 1)]
    if run.shape[1] > 1:
        pairs.append(("neighbouring coordinates", run[:, 1:], run[:, :-1]))
    pairs.append(("two runs", run, other))
    violations = []
    for name, a, b in pairs:
        a, b = np.ravel(a), np.ravel(b)
        correlation = float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))
        if not abs(correlation) < stats.norm.isf(ALARM / 2 / len(pairs)) / math.sqrt(a.size):
            violations.append(f"noise independence: the noise of {name} has correlation {correlation:.3g}")
    return violations
