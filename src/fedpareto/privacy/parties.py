"""The sizes of what clients do together or each by itself, as far as a guarantee depends on them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SecureAggregation:
    """How secure aggregation adds: what `PrivacyPlan` needs to know of the integers.

    Attributes:
      dimension: Number of model parameters.
      participants: Clients asked for a contribution in each round.
      bits: Bits a coordinate.
      threshold: Share of the participants that must answer, above 1/2.
    """

    dimension: int
    participants: int
    bits: int
    threshold: float

    @property
    def fewest(self) -> int:
        """Answers below which nothing is released."""
        return min(self.participants, max(1, math.ceil(self.threshold * self.participants)))


@dataclass(frozen=True)
class LocalSteps:
    """DP-SGD on the clients: what each of them does in a round that it joins.

    Attributes:
      steps: Steps a round.
      record_rates: Poisson sampling rate of its own records at every step, for each client.
    """

    steps: int
    record_rates: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest of the rates, whose client has the largest epsilon."""
        return max(self.record_rates)
