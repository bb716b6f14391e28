"""Log-likelihood ratios of a canary, and their simulated distribution under a plan.

The adversary knows the plan (rates, clip norm, noise), the canaries' directions and nothing of the coins. Its scores take each
round for a Gaussian of the plan's noise around what a canary adds, which is what the proof compares. Where rounds are otherwise
(what honest members add along a direction, discrete noise, weights below 1, a clip norm that adapts) they are less sharp, and no
bound that is made of them is less sound: any function of what was released is a valid score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedpareto.privacy.plan import PrivacyPlan

_ELEMENTS = 2**23  # numbers in one piece of work
SIMULATED = 2**14  # canaries whose scores are simulated, at most


@dataclass(frozen=True)
class CanaryLaw:
    """The law of the released sum along a canary's direction under a plan, in clip norms.

    Attributes:
      rounds: Number of rounds.
      noise: Standard deviation of the noise.
      inclusion_probability: Probability that the canary is in a round's cohort, or 1 over the rounds from one turn to the next.
      response_probability: Probability that a member of a cohort answers.
      seen: Whether the adversary sees who is in a cohort.
      scheduled: Whether turns come at regular distances.
      absent: Contribution of an absent canary: 0, or -1 where neighbours swap a member.
      strategy: First column of the strategy matrix of correlated noise, (1,) for independent noise.
    """

    rounds: int
    noise: float
    inclusion_probability: float
    response_probability: float
    seen: bool
    scheduled: bool
    absent: float
    strategy: tuple[float, ...]


def canary_law(plan: PrivacyPlan, dropout: float) -> CanaryLaw:
    """The law of a canary's score under a private plan."""
    if plan.clip_norm is None:
        raise ValueError("canaries are bounded by a clip norm, and the plan has none")
    # Noise shares are strong enough for the fewest answers that are summed; more of them make more noise.
    shares = 1.0 if plan.sum is None else max(1.0, plan.sum.participants * (1 - dropout) / plan.sum.fewest)
    return CanaryLaw(
        rounds=plan.rounds,
        noise=plan.noise_stddev / plan.clip_norm * shares**0.5,
        inclusion_probability=plan.inclusion_probability,
        response_probability=1 - dropout,
        seen=plan.setting.effective_participation == "seen",
        scheduled=plan.setting.scheduled,
        absent=-1.0 if plan.setting.adjacency == "replace_one" else 0.0,
        strategy=plan.strategy,
    )


def log_likelihood_ratio(released: np.ndarray, sampled: np.ndarray, law: CanaryLaw) -> np.ndarray:
    """The log of how much likelier all rounds together are with a canary present than absent.

    With secret cohorts the sum over rounds of log(1 - q + q e^((2x - 1) / 2 z^2)), of independent noise z and inclusion q, less the
    same for what an absent canary adds. With cohorts that are seen, only rounds with the canary count, and q is the probability
    that it answers. Correlated noise is turned into independent noise first.

    Args:
      released: float [..., rounds, n], in clip norms; rounds of NaN are left out.
      sampled: bool [..., rounds, n]; read only where the law says that cohorts are seen.
      law: The plan's.

    Returns:
      float64 [..., n].
    """
    x = released.astype(np.float64)
    if len(law.strategy) > 1:
        adds = (
            np.broadcast_to(sampled, x.shape).astype(np.float64)
            if law.seen
            else np.full(x.shape, law.inclusion_probability)
        )
        y, v = _whitened(np.nan_to_num(x), law.strategy), _whitened(adds, law.strategy)
        each = (2 * (1 - law.absent) * y * v - (1 - law.absent**2) * v**2) / (2 * law.noise**2)
    else:
        rate = law.response_probability * (1.0 if law.seen else law.inclusion_probability)
        each = _mixture(x, 1.0, rate, law.noise) - _mixture(x, law.absent, rate, law.noise)
        if law.seen:
            each = np.where(sampled, each, 0.0)
    return np.nan_to_num(np.nansum(each, axis=-2))


def simulated_scores(law: CanaryLaw, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of canaries in a run that does what its plan says and has no other members.

    Returns:
      Log-likelihood ratios of the rounds, float64 [n]; sums over the rounds, float64 [n], which is what a final model holds of
      them; and which canaries were present, bool [n].
    """
    count = int(min(SIMULATED, max(512, _ELEMENTS // max(1, law.rounds))))
    present = rng.random(count) < 0.5
    shape = (law.rounds, count)
    if law.scheduled:
        turn = max(1, round(1 / law.inclusion_probability))
        sampled = (np.arange(law.rounds)[:, None] - rng.integers(turn, size=count)) % turn == 0
    else:
        sampled = rng.random(shape) < law.inclusion_probability
    adds = sampled & (rng.random(shape) < law.response_probability)
    x = adds * np.where(present, 1.0, law.absent) + law.noise * _correlated(rng.normal(size=shape), law.strategy)
    return log_likelihood_ratio(x, sampled, law), x.sum(axis=0), present


def _mixture(x: np.ndarray, adds: float, rate: float, noise: float) -> np.ndarray:
    """The logarithm of (1 - rate) + rate N(x; adds, noise) / N(x; 0, noise)."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a rate of 1, and rounds of NaN
        return np.logaddexp(np.log1p(-rate), np.log(rate) + adds * (2 * x - adds) / (2 * noise**2))


def _whitened(x: np.ndarray, strategy: tuple[float, ...]) -> np.ndarray:
    """C x along the axis of rounds, C the lower triangular Toeplitz matrix of the strategy."""
    total = strategy[0] * x
    for lag, coefficient in enumerate(strategy[1 : x.shape[-2]], 1):
        total[..., lag:, :] += coefficient * x[..., :-lag, :]
    return total


def _correlated(white: np.ndarray, strategy: tuple[float, ...]) -> np.ndarray:
    """C^-1 z of white noise z, likewise."""
    noise = np.zeros_like(white)
    for t in range(len(white)):
        echo = sum(c * noise[t - lag] for lag, c in enumerate(strategy[1:], 1) if lag <= t)
        noise[t] = (white[t] - echo) / strategy[0]
    return noise
