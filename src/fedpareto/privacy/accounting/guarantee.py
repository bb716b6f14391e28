"""What a run proves."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Guarantee:
    """A proven (epsilon, delta) after some rounds.

    Attributes:
      rounds: Rounds accounted for.
      epsilon_rdp: By Rényi DP; inf for a run without noise.
      epsilon_pld: By privacy loss distributions; NaN where no such proof is implemented, or the bounds on time and memory
        forbid it.
      epsilon_rdp_classic: By the pre-2020 conversion.
      rdp_order: The optimal Rényi order.
      releases: Releases that compose in this guarantee.
      epsilon_median: By Rényi DP, of the client in the middle, where clients prove epsilons of their own; else NaN.
      warnings: One clear line for each thing the reader must know.
    """

    rounds: int
    epsilon_rdp: float
    epsilon_pld: float
    epsilon_rdp_classic: float
    rdp_order: float
    releases: float = 0.0
    epsilon_median: float = math.nan
    warnings: tuple[str, ...] = ()
