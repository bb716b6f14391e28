"""Features shifted and scaled by public constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax

from fedpareto.components.rules import POSITIVE
from fedpareto.federated.preprocessings.interface import Arrays


@dataclass(frozen=True)
class Rescale:
    """Every feature is shifted and scaled by public constants.

    Attributes:
      mean: Taken from every feature.
      deviation: Every feature is divided by it then. Both are public constants.
    """

    NAME: ClassVar = "rescale"
    mean: float = 0.0
    deviation: Annotated[float, POSITIVE] = 1.0

    def output_shape(self, example_shape: tuple[int, ...]) -> tuple[int, ...]:
        return example_shape

    def transformed(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        del arrays
        return (x - self.mean) / self.deviation
