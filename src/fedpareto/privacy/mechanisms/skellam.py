"""The Skellam mechanism (Agarwal, Kairouz and Liu 2021, arXiv 2110.04995)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fedpareto.components.rules import Rule
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
    bits: Annotated[int, Rule(minimum=4, maximum=24)] = 16
    threshold: Annotated[float, Rule(exclusiveMinimum=0.5, maximum=1)] = 0.8
