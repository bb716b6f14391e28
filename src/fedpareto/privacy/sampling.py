"""Sampling of cohorts on the device."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Cohort(NamedTuple):
    """The units (clients or records) of one round.

    Attributes:
      members: int32 [pad], the sampled units in front, 0 behind.
      size: int32 scalar, how many of `members` are real.
      overflow: int32 scalar, how many sampled units found no place. Its probability is charged to delta.
    """

    members: jax.Array
    size: jax.Array
    overflow: jax.Array


def poisson_cohort(key: jax.Array, population: int, rate: float, pad: int) -> Cohort:
    """Each of `population` units joins with probability `rate`, independently of all others.

    The comparison is made on 32 random bits: the realised rate is below `rate` by less than 2^-32, and never above it.
    (A float32 uniform has 23 bits: the rate of 1 in 10,000 would be off by a thousandth of itself, upwards.)

    Args:
      key: A typed PRNG key.
      population: Number of units.
      rate: Inclusion probability in (0, 1].
      pad: Size of the buffer, static.
    """
    if rate >= 1:
        everyone = jnp.arange(population, dtype=jnp.int32)[:pad]
        fitting = everyone.shape[0]
        return Cohort(jnp.pad(everyone, (0, pad - fitting)), jnp.int32(fitting), jnp.int32(population - fitting))
    joins = jax.random.bits(key, (population,), jnp.uint32) < jnp.uint32(math.floor(rate * 2**32))
    # The i-th member is where the count of joins reaches i: faster than jnp.nonzero, which scatters.
    reached = jnp.cumsum(joins, dtype=jnp.int32)
    members = jnp.searchsorted(reached, jnp.arange(1, pad + 1, dtype=jnp.int32))
    size = jnp.minimum(reached[-1], pad)
    members = jnp.where(jnp.arange(pad) < size, members, 0).astype(jnp.int32)
    return Cohort(members, size, reached[-1] - size)
