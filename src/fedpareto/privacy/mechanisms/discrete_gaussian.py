"""The distributed discrete Gaussian mechanism (Kairouz, Liu and Steinke 2021, arXiv 2102.06387)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fedpareto.components.rules import Rule
from fedpareto.privacy.mechanisms.lattice_mechanism import LatticeMechanism


@dataclass(frozen=True)
class DiscreteGaussian(LatticeMechanism):
    """Noise shares from the discrete Gaussian, whose sum is nearly one.

    Attributes:
      bits: Bits of a coordinate under secure aggregation.
      threshold: Share of the cohort that must answer; the noise is enough when no more do.
    """

    NAME: ClassVar[str] = "discrete_gaussian"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (("client", "distributed"), ("record", "distributed"))
    bits: Annotated[int, Rule(minimum=4, maximum=24)] = 16
    threshold: Annotated[float, Rule(exclusiveMinimum=0.5, maximum=1)] = 0.8
