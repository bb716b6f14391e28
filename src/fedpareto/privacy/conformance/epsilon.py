"""Checks of a claimed epsilon against a lower bound on the spending of the releases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from dp_accounting import pld
from scipy import stats

from fedpareto.privacy.conformance.mechanism import ALARM, Claim, Mechanism, flat, noise_of_leaves


def check_epsilon(mechanism: Mechanism, seed: int = 0, draws: int = 20_000, slack: float = 5e-3) -> list[str]:
    """Checks that the claimed epsilon is not below the spending of the real releases at the real noise.

    The number of releases is counted and the noise measured; adjacency, sampling scheme and clip norm are as claimed (the
    other checks are about them). The comparison is with `least_epsilon`, so that a tighter accountant than any known today
    is never called wrong. False alarm: `ALARM`, from the upper confidence limit of the measured noise.

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      draws: About how many coordinates of noise are measured.
      slack: Relative shortfall of epsilon that is forgiven, for rounding.
    """
    claim = mechanism.claim
    rng = np.random.default_rng(seed)
    cohorts = mechanism.sample(rng, len(mechanism.data))
    cohort = np.arange(min(len(mechanism.data), max(1, round(claim.rate * len(mechanism.data)))))
    noise = flat(noise_of_leaves(mechanism, rng, cohort, draws))
    stddev = math.sqrt(float(np.sum(np.square(noise))) / stats.chi2.ppf(ALARM, noise.size))
    multiplier = stddev * claim.divisor / claim.clip_norm
    if multiplier == 0:
        return [] if math.isinf(claim.epsilon) else ["epsilon: there is no noise"]
    # The measured noise says no more than the claimed one, where they agree.
    if claim.noise_multiplier <= multiplier <= claim.noise_multiplier * (1 + 8 / math.sqrt(noise.size)):
        multiplier = claim.noise_multiplier
    really = replace(claim, steps=len(cohorts), noise_multiplier=multiplier)
    least = least_epsilon(really)
    if claim.epsilon >= least * (1 - slack):
        return []
    return [
        f"epsilon: {len(cohorts)} releases ({claim.steps} claimed) with noise {multiplier:.4g} times the clip norm "
        f"({claim.noise_multiplier:.4g} claimed) under {claim.adjacency} spend at least {least:.4g}, "
        f"not the claimed {claim.epsilon:.4g}"
    ]


def least_epsilon(claim: Claim) -> float:
    """A lower bound on the epsilon of a claim's mechanism at its accounted delta, from one pair of neighbours.

    All other units add nothing, and one adds clip norm times a unit vector. Without it each release is N(0, z^2) along
    that vector (in clip norms), with it the mixture (1 - q) N(0, z^2) + q N(1, z^2) (Mironov, Talwar and Zhang 2019, Section 3);
    swapped for its opposite, with N(-1, z^2). Outcomes are put in bins, which is post-processing, and privacy losses rounded
    down: the result is below the true epsilon, and within a hundredth of it. Shuffled batches have no amplification that
    is proved for the claim to use: one release a pass, of all.
    """
    rate, steps = claim.rate, claim.steps
    if claim.sampling == "shuffled":
        rate, steps = 1.0, math.ceil(claim.steps * claim.rate)
    if steps == 0:
        return 0.0
    sd = claim.noise_multiplier
    if rate == 1:
        sd, steps = sd / math.sqrt(steps), 1
    edges = np.arange(-1 - 9 * sd, 1 + 9 * sd, sd / 100)
    absent, present, opposite = (_masses(edges, centre, sd) for centre in (0.0, 1.0, -1.0))
    upper = (1 - rate) * absent + rate * present
    lower = (1 - rate) * absent + rate * opposite if claim.swapped else absent
    interval = float(np.clip(0.01 * claim.epsilon / steps, 2e-5, 1e-3))
    loss = pld.privacy_loss_distribution.from_two_probability_mass_functions(
        dict(enumerate(np.log(lower))),
        dict(enumerate(np.log(upper))),
        pessimistic_estimate=False,
        value_discretization_interval=interval,
    )
    delta = claim.delta if claim.accounted_delta is None else claim.accounted_delta
    return max(0.0, float(loss.self_compose(steps).get_epsilon_for_delta(delta)))


def _masses(edges: np.ndarray, centre: float, sd: float) -> np.ndarray:
    """Probabilities of the bins between `edges` under N(centre, sd^2), the two open ones at the ends included."""
    z = (edges - centre) / sd
    below, above = stats.norm.cdf(z), stats.norm.sf(z)
    inner = np.where(z[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    return np.concatenate([below[:1], inner, above[-1:]])
