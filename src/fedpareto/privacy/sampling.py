"""Sampling of cohorts on the device."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Cohort(NamedTuple):
    """The clients of one round.

    Attributes:
      clients: int32 [pad], the sampled clients in front, 0 behind.
      size: int32 scalar, how many of `clients` are real.
      overflow: int32 scalar, how many sampled clients found no place. Its probability is charged to delta.
    """

    clients: jax.Array
    size: jax.Array
    overflow: jax.Array


def poisson_cohort(key: jax.Array, population: int, rate: float, pad: int) -> Cohort:
    """Each of `population` clients joins with probability `rate`, independently of all others.

    Args:
      key: A typed PRNG key.
      population: Number of clients.
      rate: Inclusion probability in (0, 1].
      pad: Size of the buffer, static.
    """
    joins = jax.random.uniform(key, (population,)) < rate
    sampled = jnp.sum(joins, dtype=jnp.int32)
    (clients,) = jnp.nonzero(joins, size=pad, fill_value=0)
    size = jnp.minimum(sampled, pad)
    return Cohort(clients.astype(jnp.int32), size, sampled - size)
