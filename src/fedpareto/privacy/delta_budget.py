"""The parts of delta reserved for failure events: unlikely events that void the guarantee."""

from __future__ import annotations

import math
from dataclasses import dataclass

# A Poisson cohort has no largest size, a compiled program has. The pad is chosen so that the cohort outgrows it
# over the whole run with at most this fraction of delta, and that probability is charged to delta.
OVERFLOW_SHARE = 1e-3
OVERFLOW_PROBABILITY_NON_PRIVATE = 1e-9
# The same for how often one unit takes part, where that is what composes, and for the sampler of discrete noise.
PARTICIPATION_SHARE = 1e-3
SAMPLER_SHARE = 1e-3


@dataclass(frozen=True)
class DeltaBudget:
    """How a run's delta is spent.

    Attributes:
      delta: Total delta of the guarantee.
      overflow: Bound on the probability that some round's cohort does not fit in its buffer.
      participations: The probability that one unit takes part more often than is accounted for; 0 where nothing is drawn.
      client_batches: The probability that some batch that a client draws of its records does not fit in its buffer.
      sampler: The part set aside for the sampler of the noise, see `Mechanism.delta_share`: the distance of discrete noise from its
        law, the probability of a release that is impossible for the neighbour with continuous noise, which ends. The latter may be
        delta and more, where there is little noise: then nothing is guaranteed.
    """

    delta: float
    overflow: float
    participations: float
    client_batches: float
    sampler: float

    @property
    def accounted(self) -> float:
        """The delta left for the accountant."""
        return self.delta - self.overflow - self.participations - self.client_batches - self.sampler


def overflow_limit(delta: float | None) -> float:
    """The probability of overflow that a buffer may leave over the whole run; delta is None where nothing is guaranteed."""
    return OVERFLOW_PROBABILITY_NON_PRIVATE if delta is None else OVERFLOW_SHARE * delta


def largest_epsilon(budget: float, error: float) -> float:
    """The epsilon up to which a sampler within total variation `error` of its law costs no more than `budget` of delta.

    Such a sampler turns (epsilon, delta) into (epsilon, delta + (1 + e^epsilon) error).
    """
    return math.inf if error == 0 else math.log(max(math.exp(-700.0), budget / error - 1))
