"""The parts of delta reserved for failure events: unlikely events that void the guarantee."""

from __future__ import annotations

import math
from dataclasses import dataclass

# A Poisson cohort has no largest size, a compiled program has. The pad is chosen so that the cohort outgrows it
# over the whole run with at most this fraction of delta, and that probability is charged to delta.
OVERFLOW_SHARE = 1e-3
OVERFLOW_PROBABILITY_NON_PRIVATE = 1e-9
# The same for the sampler of discrete noise.
SAMPLER_SHARE = 1e-3


@dataclass(frozen=True)
class DeltaBudget:
    """How a run's delta is spent.

    Attributes:
      delta: Total delta of the guarantee.
      overflow: Bound on the probability that one unit finds no place in some round's buffer, or takes another's.
      client_batches: The probability that some batch that a client draws of its records does not fit in its buffer.
      sampler: The part set aside for the sampler of the noise, see `Mechanism.delta_share`: the distance of discrete noise from its
        law, the probability of a release that is impossible for the neighbour with continuous noise, which ends. The latter may be
        delta and more, where there is little noise: then nothing is guaranteed.
    """

    delta: float
    overflow: float
    client_batches: float
    sampler: float

    @property
    def accounted(self) -> float:
        """The delta left for the accountant."""
        return self.delta - self.overflow - self.client_batches - self.sampler

    def largest(self) -> str:
        """The event that the largest part is reserved for, in words."""
        parts = {
            "a cohort that outgrows its buffer": self.overflow,
            "a client's batch that outgrows its buffer": self.client_batches,
            "noise beyond the draws of its sampler": self.sampler,
        }
        name = max(parts, key=parts.__getitem__)
        return f"{name}: {parts[name]:.2g}"


def overflow_limit(delta: float | None) -> float:
    """The probability of overflow that a buffer may leave over the whole run; delta is None where nothing is guaranteed."""
    return OVERFLOW_PROBABILITY_NON_PRIVATE if delta is None else OVERFLOW_SHARE * delta


def largest_epsilon(budget: float, error: float) -> float:
    """The epsilon up to which a sampler within total variation `error` of its law costs no more than `budget` of delta.

    Such a sampler turns (epsilon, delta) into (epsilon, delta + (1 + e^epsilon) error).
    """
    return math.inf if error == 0 else math.log(max(math.exp(-700.0), budget / error - 1))
