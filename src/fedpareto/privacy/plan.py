"""The one source of privacy truth: sampling, clipping, noise, divisor and accounting.

The trainer and the accountant both read a `PrivacyPlan`, and a plan is built in one place from a run's
configuration. There is no second place to type the sampling rate, the number of rounds, the noise, the clip norm or
the population, because two places that disagree is how wrong epsilons come about.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from fedpareto.components import registry
from fedpareto.privacy.delta_budget import OVERFLOW_SHARE, DeltaBudget, overflow_limit
from fedpareto.privacy.mechanisms.adaptive_clipping import LIMITS, default_count_stddev, update_noise_multiplier
from fedpareto.privacy.participation import binomial_tail, scheduled, smallest_bound
from fedpareto.privacy.setting import VALUES, LocalSteps, PrivacySetting, SecureAggregation, schedule_length
from fedpareto.privacy.soundness import violations

LEAST_RATE = 2.0**-32  # coins have 32 bits


class PrivacyPlanError(ValueError):
    """The requested mechanism has no sound guarantee, or is not defined."""


@dataclass(frozen=True)
class PrivacyPlan:
    """Everything about one run that its privacy guarantee depends on.

    >>> plan = PrivacyPlan(
    ...     PrivacySetting(sampling_rate=0.1),
    ...     population=100,
    ...     rounds=50,
    ...     clip_norm=1.0,
    ...     noise_multiplier=1.0,
    ...     delta=1e-5,
    ... )
    >>> plan.expected_cohort, plan.sensitivity, plan.noise_stddev, plan.amplified
    (10.0, 1.0, 1.0, True)

    Attributes:
      setting: The setting that the soundness table judges. Filled in from the numbers: `min_separation`, `bands`
        and `learns_from_records`.
      population: Number of units that could be sampled: clients, or records where the server (or secure aggregation)
        protects sums over records.
      rounds: Number of rounds T.
      clip_norm: L2 bound C on what one unit contributes to a round, all parameters jointly: a client's whole update, a
        record's gradient. None for no bound. With adaptive clipping, the first one.
      noise_multiplier: Noise standard deviation over `clip_norm`; 0 means no noise. It is the noise on the sum (central,
        and distributed, where just enough clients answer), on one client's update (local), or on one local step (local,
        record). With adaptive clipping, that of the update and the noisy count together.
      delta: Total delta of the guarantee, in (0, 1), or None where nothing is guaranteed.
      mechanism_arguments: Arguments of the setting's mechanism by name, sorted.
      strategy: First column of the strategy matrix of `banded` noise, of L2 norm 1; as many numbers as there are bands.
      count_noise: Standard deviation of the noise on the centred count of units within the clip norm; None for the
        larger of a twentieth of the cohort and twice the noise multiplier.
      sum: Secure aggregation, where trust is `distributed`.
      local: DP-SGD on the clients, where unit is `record` and trust `local`.
      preprocessing_noise_multipliers: Of each release of all records before the first round (a noisy covariance, say), the
        standard deviation of its Gaussian noise over the bound on what one record contributes to it.
      preprocessing_replace_sensitivities: Of each of them, how far a record that replaces another moves it, over that bound;
        empty for twice the bound.

    Raises:
      PrivacyPlanError: A number is out of range, or the soundness table refuses the setting of a private plan.
    """

    setting: PrivacySetting
    population: int
    rounds: int
    clip_norm: float | None
    noise_multiplier: float
    delta: float | None
    mechanism_arguments: tuple[tuple[str, Any], ...] = ()
    strategy: tuple[float, ...] = (1.0,)
    count_noise: float | None = None
    sum: SecureAggregation | None = None
    local: LocalSteps | None = None
    preprocessing_noise_multipliers: tuple[float, ...] = ()
    preprocessing_replace_sensitivities: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        rate = self.setting.sampling_rate
        if self.population < 1 or self.rounds < 0:
            raise PrivacyPlanError(
                f"population = {self.population} and rounds = {self.rounds} must be at least 1 and 0"
            )
        if not LEAST_RATE <= rate <= 1:
            raise PrivacyPlanError(f"sampling_rate = {rate} must be at least {LEAST_RATE} and at most 1")
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise PrivacyPlanError(f"noise_multiplier = {self.noise_multiplier} must be finite and at least 0")
        if self.clip_norm is not None and not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise PrivacyPlanError(f"clip_norm = {self.clip_norm} must be finite and above 0")
        for name, value in (("noise_multiplier", self.noise_multiplier), ("clip_norm", self.clip_norm or 0.0)):
            if value and not LIMITS[0] <= value <= LIMITS[1]:
                raise PrivacyPlanError(
                    f"{name} = {value:g} must be from {LIMITS[0]:g} to {LIMITS[1]:g}: it becomes float32"
                )
        if self.noise_multiplier > 0 and self.clip_norm is None:
            raise PrivacyPlanError("noise without a clip norm guarantees nothing: one client's update has no bound")
        if self.private and (self.delta is None or not 0 < self.delta < 1):
            raise PrivacyPlanError(f"delta = {self.delta} must be in (0, 1)")
        for name, values in VALUES.items():
            if getattr(self.setting, name) not in values:
                raise PrivacyPlanError(
                    f"{name} = {getattr(self.setting, name)} must be {' or '.join(filter(None, values))}"
                )
        try:
            registry.find("mechanism", self.setting.mechanism)
        except registry.ComponentError as error:
            raise PrivacyPlanError(f"mechanism = {error}") from error
        if (self.sum is not None) != (self.setting.summand == "integers"):
            raise PrivacyPlanError("trust distributed, and no other, needs the sizes of secure aggregation")
        if (self.local is not None) != self.setting.trains_records_locally:
            raise PrivacyPlanError("unit record with trust local, and nothing else, needs the clients' local steps")
        if self.setting.clipping == "adaptive" and self.count_stddev <= self.noise_multiplier / 2:
            raise PrivacyPlanError(
                f"count_noise = {self.count_stddev:g} must be above {self.noise_multiplier / 2:g}, half the noise "
                "multiplier: the count alone would give more away than the whole is meant to"
            )
        if not all(math.isfinite(noise) and noise > 0 for noise in self.preprocessing_noise_multipliers):
            raise PrivacyPlanError(
                f"the noise of preliminary releases = {self.preprocessing_noise_multipliers} must be finite and above 0"
            )
        moved = self.preprocessing_replace_sensitivities
        if moved and (
            len(moved) != len(self.preprocessing_noise_multipliers) or not all(0 < one <= 2 for one in moved)
        ):
            raise PrivacyPlanError(
                f"sensitivities of preliminary releases = {moved} must be one for each, above 0 and at most 2"
            )
        setting = replace(
            self.setting,
            min_separation=schedule_length(self.population, rate),
            bands=len(self.strategy),
            learns_from_records=bool(self.preprocessing_noise_multipliers),
        )
        object.__setattr__(self, "setting", setting)
        for fault in violations(setting) if self.private else ():
            raise PrivacyPlanError(f"{fault.key} must {fault.must}: {fault.why}")

    @cached_property
    def noise(self) -> Any:
        """The mechanism: a `fedpareto.privacy.mechanisms.interface.Mechanism`."""
        noise = registry.build("mechanism", {"name": self.setting.mechanism, **dict(self.mechanism_arguments)})
        if not hasattr(noise, "device_params"):
            raise PrivacyPlanError(f"mechanism = {self.setting.mechanism} must inherit from fedpareto.Mechanism")
        return noise

    @property
    def private(self) -> bool:
        """Whether noise is added at all."""
        return self.noise_multiplier > 0

    @property
    def amplified(self) -> bool:
        """Whether the guarantee counts on the adversary not knowing which units a round used."""
        secret = self.setting.effective_participation == "secret" and not self.setting.scheduled
        return secret and self.inclusion_probability < 1

    @property
    def expected_cohort(self) -> float:
        """The divisor of the noisy sum: the public, expected cohort size, never the realised one.

        A whole number where cohorts have a fixed size.
        """
        asked = self.population * self.setting.sampling_rate
        return asked if self.setting.sampling == "poisson" else float(max(1, round(asked)))

    @property
    def inclusion_probability(self) -> float:
        """Probability that a given unit joins a given round: the sampling rate, up to whole cohorts of a fixed size."""
        exact = self.setting.sampling == "poisson"
        return self.setting.sampling_rate if exact else self.expected_cohort / self.population

    @property
    def sensitivity(self) -> float:
        """L2 change of the noiseless release between neighbours; infinite without a clip norm.

        No weight in a sum is above 1, so that the clip norm bounds it.
        """
        if self.clip_norm is None:
            return math.inf
        swapped = 2.0 if self.setting.adjacency == "replace_one" else 1.0
        return swapped * self.clip_norm

    @property
    def count_stddev(self) -> float:
        """Standard deviation of the noise on the centred count of units within the clip norm, in units."""
        if self.count_noise is not None:
            return self.count_noise
        return default_count_stddev(self.expected_cohort, self.noise_multiplier)

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on each coordinate.

        With adaptive clipping at the first clip norm, and larger than `noise_multiplier` says, because the count takes its
        share: 1/z^2 = 1/z_update^2 + 1/(2 count_stddev)^2 (Andrew et al. 2021, Theorem 1; a centred bit has sensitivity 1/2).
        """
        if self.clip_norm is None:
            return 0.0
        if not (self.setting.clipping == "adaptive" and self.private):
            return self.noise_multiplier * self.clip_norm
        return update_noise_multiplier(self.noise_multiplier, self.count_stddev) * self.clip_norm

    @cached_property
    def max_cohort_size(self) -> int:
        """Size of the cohort buffer: at most `overflow_limit` of all runs ever see a larger cohort."""
        if self.setting.sampling != "poisson":
            return int(self.expected_cohort)
        return _places(self.population, self.setting.sampling_rate, overflow_limit(self.delta), self.rounds)

    @cached_property
    def overflow_probability(self) -> float:
        """Bound on the probability that in some round as many others join as `max_cohort_size` has places (union over rounds).

        Until then whether one unit joins moves nobody else out of the buffer, and all find their places.
        """
        if self.setting.sampling != "poisson" or self.max_cohort_size >= self.population:
            return 0.0
        others, rate = self.population - 1, self.setting.sampling_rate
        return min(1.0, self.rounds * binomial_tail(others, rate, self.max_cohort_size - 1))

    def max_batch_size(self, records: int, rate: float) -> int:
        """Size of a client's buffer of its own records: all its steps of the whole run fit, but for `overflow_limit`."""
        steps = self.rounds * (1 if self.local is None else self.local.steps)
        return _places(records, rate, overflow_limit(self.delta), steps)

    @cached_property
    def budget(self) -> DeltaBudget:
        """The parts of delta by event; all are 0 where nothing is guaranteed."""
        delta = self.delta or 0.0
        return DeltaBudget(
            delta=delta,
            overflow=self.overflow_probability,
            client_batches=OVERFLOW_SHARE * delta if self.setting.clients_draw_records else 0.0,
            sampler=float(self.noise.delta_share(self)),
        )

    @property
    def accounted_delta(self) -> float:
        """The delta left for the accountant once all that may go wrong with probability alone is paid for."""
        if self.delta is None:
            raise PrivacyPlanError("a run without noise has no delta")
        return self.budget.accounted

    @property
    def reserved_delta(self) -> float:
        """Delta reserved for failure events (overflow, sampler error)."""
        return 0.0 if not self.private or self.delta is None else self.delta - self.accounted_delta

    @property
    def largest_epsilon(self) -> float:
        """The epsilon up to which the mechanism's sampler is exact enough for the delta set aside for it."""
        return float(self.noise.largest_epsilon(self))

    @property
    def participation_probability(self) -> float:
        """Probability that a given round uses a given unit, where who takes part is drawn.

        1 where a schedule says so, and where rounds are not independent releases: the mean over them is not proved there.
        """
        apart = self.noise.compositions(self, self.rounds) is None and not self.setting.scheduled
        return self.inclusion_probability if apart else 1.0

    def compositions(self, rounds: int) -> float:
        """How many times the guarantee of one round composes over the first `rounds` rounds.

        That of one round is with `participation_probability`; under a schedule it is that of a round which uses the unit. Noise
        that is correlated over rounds composes as its mechanism says.
        """
        composed = self.noise.compositions(self, rounds)
        if composed is not None and self.amplified:
            raise PrivacyPlanError(f"{self.setting.mechanism} noise composes by itself: participation must be seen")
        if composed is not None:
            return float(composed)
        return float(scheduled(rounds, self.setting.min_separation) if self.setting.scheduled else rounds)

    def releases(self, rounds: int) -> float:
        """Noisy releases that may use one unit over the first `rounds` rounds."""
        return self.compositions(rounds) * (1 if self.local is None else self.local.steps)

    def replace(self, **changes: Any) -> PrivacyPlan:
        """The plan with other numbers, or with another setting of the given names."""
        setting = {name: changes.pop(name) for name in tuple(changes) if name in PrivacySetting.__dataclass_fields__}
        return replace(self, setting=replace(changes.pop("setting", self.setting), **setting), **changes)

    def after(self, rounds: int) -> PrivacyPlan:
        """The same plan stopped after `rounds` rounds."""
        return replace(self, rounds=rounds)

    @property
    def relative_noise(self) -> float:
        """Noise standard deviation over sensitivity, of the update and the count together where clipping adapts."""
        if self.clip_norm is None:
            return 0.0
        return self.noise_multiplier * self.clip_norm / self.sensitivity

    @property
    def preprocessing_relative_noise(self) -> tuple[float, ...]:
        """Noise standard deviation over sensitivity of each preliminary release."""
        swapped = self.setting.adjacency == "replace_one"
        moved = self.preprocessing_replace_sensitivities if swapped else ()
        usual = 2.0 if swapped else 1.0
        return tuple(
            noise / (moved[i] if moved else usual) for i, noise in enumerate(self.preprocessing_noise_multipliers)
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan and its derived numbers, for results and logs."""
        return asdict(self) | {
            "adjacency": self.setting.adjacency,
            "amplified": self.amplified,
            "expected_cohort": self.expected_cohort,
            "max_cohort_size": self.max_cohort_size,
            "overflow_probability": self.overflow_probability,
            "sensitivity": None if math.isinf(self.sensitivity) else self.sensitivity,
            "noise_stddev": self.noise_stddev,
        }


def _places(units: int, rate: float, limit: float, times: int) -> int:
    """The smallest buffer that, but for a probability of `limit`, has a place for one unit beside all others, `times` times."""
    return smallest_bound(units - 1, rate, limit, times) + 1
