"""The Skellam mechanism (Agarwal, Kairouz and Liu 2021, arXiv 2110.04995)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedpareto.privacy.mechanisms.lattice_mechanism import LatticeMechanism


@dataclass(frozen=True)
class Skellam(LatticeMechanism):
    """Noise shares that are differences of two Poisson variables; their sum is of the same law.

    Attributes:
      bits: Bits of a coordinate under secure aggregation.
      threshold: Share of the cohort that must answer; the noise is enough when no more do.
    """

    NAME: ClassVar[str] = "skellam"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (("client", "distributed"), ("record", "distributed"))
    bits: int = 16
    threshold: float = 0.8
