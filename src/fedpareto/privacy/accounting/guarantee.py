"""The guarantee that a run proves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


def headline(epsilons: Mapping[str, float]) -> tuple[float, str | None]:
    """The epsilon that speaks for all, by privacy loss distributions where they prove one, else by Rényi DP; and who proves it.

    Args:
      epsilons: Epsilon by the name of its accountant, NaN where it has no proof.

    Returns:
      Epsilon, and its accountant: None where it is infinite, which nobody has to prove.
    """
    by = "rdp" if math.isnan(epsilons["pld"]) else "pld"
    return epsilons[by], None if math.isinf(epsilons[by]) else by


@dataclass(frozen=True)
class Guarantee:
    """A proven (epsilon, delta) after some rounds.

    Attributes:
      rounds: Rounds accounted for.
      epsilons: Epsilon by the name of each of `columns.declared.ACCOUNTANTS`; NaN where it has no proof.
      rdp_order: The optimal Rényi order.
      releases: Releases that compose in this guarantee.
      epsilon_median: The headline of the client in the middle, where clients prove epsilons of their own; else NaN.
      warnings: One clear line for each thing the reader must know.
    """

    rounds: int
    epsilons: Mapping[str, float]
    rdp_order: float
    releases: float = 0.0
    epsilon_median: float = math.nan
    warnings: tuple[str, ...] = ()

    @property
    def epsilon(self) -> float:
        """The headline: by privacy loss distributions where they prove one, else by Rényi DP; inf for a run without noise."""
        return headline(self.epsilons)[0]

    @property
    def epsilon_by(self) -> str | None:
        """The accountant that proves `epsilon`, `pld` or `rdp`; None where it is infinite, which nobody has to prove."""
        return headline(self.epsilons)[1]

    @property
    def epsilon_rdp(self) -> float:
        """By Rényi DP; inf for a run without noise."""
        return self.epsilons["rdp"]

    @property
    def epsilon_pld(self) -> float:
        """By privacy loss distributions; NaN where no such proof is implemented, or bounds on time and memory forbid it."""
        return self.epsilons["pld"]

    @property
    def epsilon_rdp_classic(self) -> float:
        """By the conversion in use before 2020."""
        return self.epsilons["rdp_classic"]
