"""Groups of channels standardised within each example (Wu and He 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from fedpareto.components.rules import Rule
from fedpareto.federated.preprocessings.interface import STABILISER, Arrays


@dataclass(frozen=True)
class GroupNorm:
    """Groups of an example's channels are standardised (Wu and He 2018).

    Attributes:
      groups: Groups of channels that are standardised within each example.
    """

    NAME: ClassVar = "group_norm"
    DIVIDES_CHANNELS: ClassVar = "groups"
    groups: Annotated[int, Rule(minimum=1, hint="e.g. 27")]

    def output_shape(self, example_shape: tuple[int, ...]) -> tuple[int, ...]:
        return example_shape

    def transformed(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        del arrays
        grouped = x.reshape(x.shape[0], -1, self.groups, x.shape[-1] // self.groups)
        mean = jnp.mean(grouped, axis=(1, 3), keepdims=True)
        variance = jnp.mean(jnp.square(grouped - mean), axis=(1, 3), keepdims=True)
        return ((grouped - mean) * jax.lax.rsqrt(variance + STABILISER)).reshape(x.shape)
