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
    return _in_front(jax.random.bits(key, (population,), jnp.uint32) < jnp.uint32(math.floor(rate * 2**32)), pad)


def last_to_join(rate: float) -> int:
    """The largest 32-bit draw that joins at `rate`, for `poisson_subset`: the realised rate never exceeds it."""
    return min(2**32, math.floor(rate * 2**32)) - 1


def poisson_subset(key: jax.Array, eligible: jax.Array, last: jax.Array, pad: int) -> Cohort:
    """Each eligible one of a client's own records joins independently of all others, at a rate that may be traced.

    Args:
      key: A typed PRNG key.
      eligible: bool [n], which of the client's places hold a record.
      last: uint32 scalar, `last_to_join` of the rate.
      pad: Size of the buffer, static.
    """
    return _in_front(eligible & (jax.random.bits(key, eligible.shape, jnp.uint32) <= last), pad)


def fixed_size_cohort(key: jax.Array, population: int, size: int) -> Cohort:
    """Exactly `size` of `population` units, every such set equally likely."""
    return _whole(jax.random.permutation(key, population)[:size])


def scheduled_cohort(key: jax.Array, population: int, size: int, batch: jax.Array) -> Cohort:
    """Batch number `batch` (int32, from 0) of all units in the random order of `key`, `size` at a time.

    The key is that of a pass (shuffled) or of the whole run (cyclic). Units that are left over by whole batches sit the
    pass out.
    """
    order = jax.random.permutation(key, population)
    return _whole(jax.lax.dynamic_slice(order, (batch * size,), (size,)))


def _in_front(joins: jax.Array, pad: int) -> Cohort:
    """The places where `joins` is true, in front of a buffer of `pad`."""
    # The i-th member is where the count of joins reaches i: faster than jnp.nonzero, which scatters.
    reached = jnp.cumsum(joins, dtype=jnp.int32)
    members = jnp.searchsorted(reached, jnp.arange(1, pad + 1, dtype=jnp.int32))
    size = jnp.minimum(reached[-1], pad)
    members = jnp.where(jnp.arange(pad) < size, members, 0).astype(jnp.int32)
    return Cohort(members, size, reached[-1] - size)


def _whole(members: jax.Array) -> Cohort:
    return Cohort(members.astype(jnp.int32), jnp.int32(members.shape[0]), jnp.int32(0))
