"""The one source of privacy truth: what is sampled, clipped, noised, divided and accounted.

The trainer and the accountant both read a `PrivacyPlan`, and a plan is built in one place from a run's
configuration. There is no second place to type the sampling rate, the number of rounds, the noise, the clip norm or
the population, because two places that disagree is how wrong epsilons come about.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dp_accounting

# A Poisson cohort has no largest size, a compiled program has. The pad is chosen so that the cohort outgrows it
# over the whole run with at most this fraction of delta, and that probability is charged to delta.
OVERFLOW_SHARE_OF_DELTA = 1e-3
OVERFLOW_PROBABILITY_NON_PRIVATE = 1e-9


class PrivacyPlanError(ValueError):
    """The requested mechanism has no sound guarantee, or is not defined."""


@dataclass(frozen=True)
class PrivacyPlan:
    """Everything about one run that its privacy guarantee depends on.

    Attributes:
      population: Number of units (clients or records) that could be sampled.
      sampling: `poisson` (each unit joins each round by itself) or `fixed_size` (exactly `expected_cohort` of them).
      sampling_rate: Probability q that a given unit joins a given round, in (0, 1].
      rounds: Number of compositions T.
      clip_norm: L2 bound C on what one unit contributes to a round, all parameters jointly: a client's whole update, a
        record's gradient. None for no bound.
      noise_multiplier: Noise standard deviation over `clip_norm`; 0 means no noise.
      delta: Total delta of the guarantee, in (0, 1), or None where nothing is guaranteed.
      unit: What one neighbouring data set has more or less of.
      trust: Who adds the noise.
    """

    population: int
    sampling_rate: float
    rounds: int
    clip_norm: float | None
    noise_multiplier: float
    delta: float | None
    sampling: str = "poisson"
    unit: str = "client"
    trust: str = "central"

    def __post_init__(self) -> None:
        if self.population < 1 or self.rounds < 0:
            raise PrivacyPlanError(
                f"population = {self.population} and rounds = {self.rounds} must be at least 1 and 0"
            )
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyPlanError(f"sampling_rate = {self.sampling_rate} must be in (0, 1]")
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise PrivacyPlanError(f"noise_multiplier = {self.noise_multiplier} must be finite and at least 0")
        if self.clip_norm is not None and not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise PrivacyPlanError(f"clip_norm = {self.clip_norm} must be finite and above 0")
        if self.noise_multiplier > 0 and self.clip_norm is None:
            raise PrivacyPlanError("noise without a clip norm guarantees nothing: one client's update has no bound")
        if self.private and (self.delta is None or not 0 < self.delta < 1):
            raise PrivacyPlanError(f"delta = {self.delta} must be in (0, 1)")
        if self.sampling not in ("poisson", "fixed_size"):
            raise PrivacyPlanError(f"sampling = {self.sampling} must be poisson or fixed_size")
        if self.unit not in ("client", "record") or self.trust != "central":
            raise PrivacyPlanError(f"unit {self.unit} with trust {self.trust} is not available in this version")

    @property
    def private(self) -> bool:
        """Whether noise is added at all."""
        return self.noise_multiplier > 0

    @property
    def adjacency(self) -> str:
        """Neighbouring data sets: a Poisson cohort may gain or lose a client, a fixed-size one can only swap one."""
        return "add_or_remove_one" if self.sampling == "poisson" else "replace_one"

    @property
    def expected_cohort(self) -> float:
        """The divisor of the noisy sum: the public, expected cohort size, never the realised one."""
        return self.population * self.sampling_rate

    @property
    def client_weight(self) -> float:
        """Weight of every client in the sum. Uniform, so that the clip norm alone bounds the sensitivity."""
        return 1.0

    @property
    def sensitivity(self) -> float:
        """L2 change of the noiseless sum between neighbours; infinite without a clip norm."""
        if self.clip_norm is None:
            return math.inf
        swapped = 2.0 if self.adjacency == "replace_one" else 1.0
        return swapped * self.client_weight * self.clip_norm

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the Gaussian noise added to each coordinate of the sum of clipped updates."""
        return 0.0 if self.clip_norm is None else self.noise_multiplier * self.clip_norm

    @cached_property
    def cohort_pad(self) -> int:
        """Size of the cohort buffer: at most `overflow_budget` of all runs ever see a larger cohort."""
        if self.sampling == "fixed_size":
            return round(self.expected_cohort)
        return _smallest_pad(self.population, self.sampling_rate, self.rounds, self.overflow_budget)

    @property
    def overflow_budget(self) -> float:
        """The probability of overflow that `cohort_pad` may leave over the whole run."""
        return OVERFLOW_PROBABILITY_NON_PRIVATE if self.delta is None else OVERFLOW_SHARE_OF_DELTA * self.delta

    @cached_property
    def overflow_probability(self) -> float:
        """Bound on the probability that some round's cohort does not fit in `cohort_pad` (union over rounds)."""
        if self.sampling == "fixed_size" or self.cohort_pad >= self.population:
            return 0.0
        return min(1.0, self.rounds * _binomial_tail(self.population, self.sampling_rate, self.cohort_pad))

    @property
    def accounted_delta(self) -> float:
        """The delta left for the accountant once the overflow probability is paid for."""
        if self.delta is None:
            raise PrivacyPlanError("a run without noise has no delta")
        return self.delta - self.overflow_probability

    def after(self, rounds: int) -> PrivacyPlan:
        """The same plan stopped after `rounds` rounds, for epsilon by round."""
        return replace(self, rounds=rounds)

    def step_event(self) -> dp_accounting.DpEvent:
        """The `DpEvent` of one round.

        Under `replace_one` the sensitivity is twice the clip norm, which dp-accounting's RDP does not do by itself
        (its noise multiplier is relative to the sensitivity): the multiplier handed over is
        `noise_stddev / sensitivity`, so that RDP is right.
        """
        import dp_accounting

        if not self.private:
            return dp_accounting.NonPrivateDpEvent()
        gaussian = dp_accounting.GaussianDpEvent(self.noise_stddev / self.sensitivity)
        if self.sampling == "poisson":
            return dp_accounting.PoissonSampledDpEvent(self.sampling_rate, gaussian)
        return dp_accounting.SampledWithoutReplacementDpEvent(self.population, round(self.expected_cohort), gaussian)

    def dp_event(self) -> dp_accounting.DpEvent:
        """The `DpEvent` of the whole run."""
        import dp_accounting

        return dp_accounting.SelfComposedDpEvent(self.step_event(), self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """The plan and what follows from it, for results and logs."""
        return asdict(self) | {
            "adjacency": self.adjacency,
            "expected_cohort": self.expected_cohort,
            "cohort_pad": self.cohort_pad,
            "overflow_probability": self.overflow_probability,
            "sensitivity": None if math.isinf(self.sensitivity) else self.sensitivity,
            "noise_stddev": self.noise_stddev,
        }


def _binomial_tail(n: int, p: float, k: int) -> float:
    """P[Binomial(n, p) > k]."""
    from scipy.stats import binom

    return float(binom.sf(k, n, p))


def _smallest_pad(population: int, rate: float, rounds: int, budget: float) -> int:
    """The smallest cohort size exceeded with probability at most `budget` over `rounds` rounds (by bisection)."""
    if rate >= 1.0:
        return population
    low, high = 1, population
    while low < high:
        middle = (low + high) // 2
        if rounds * _binomial_tail(population, rate, middle) <= budget:
            high = middle
        else:
            low = middle + 1
    return low
