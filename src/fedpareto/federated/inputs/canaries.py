"""Canaries: members of the population whose contribution is planted, so that an audit can look for it in the releases.

The last members of the population (clients, or records where the server draws them) are canaries. Each has a direction of its own,
and sends it, longer than the clip norm, whenever it is sampled: clipping, weights, noise, sum and release are those of the run.
A canary that is absent sends nothing; where neighbouring data sets swap a member instead of dropping one, it may send the
opposite, which is as far as two members can be apart.
The directions are random and exactly orthogonal (random signs on a random part of the coordinates each), so that thousands
cost one pass over the parameters and none hides another (Andrew et al. 2023, arXiv:2302.03098, take random unit vectors).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

PyTree = Any


class Canaries(NamedTuple):
    """The canaries of one run; every leaf has a leading runs axis outside `jax.lax.map`.

    Attributes:
      first: int32 scalar; members from here to the end of the population are canaries 0, 1, ...
      present: bool [canaries], whether each takes part.
      owner: int32 [parameters], the canary whose direction has this coordinate; `canaries` where none has.
      signs: float32 [parameters], the coordinates' values in their canary's direction, whose L2 norm is 1.
      length: float32 scalar, L2 norm of what a canary sends, before clipping.
      absent: float32 scalar, what a canary that does not take part sends instead, in terms of what it would: 0 for exactly
        nothing, -1 for the opposite.
    """

    first: jax.Array
    present: jax.Array
    owner: jax.Array
    signs: jax.Array
    length: jax.Array
    absent: jax.Array


def plant(
    key: jax.Array, parameters: int, first: int, *, present: jax.Array, length: jax.Array, absent: float = 0.0
) -> Canaries:
    """Canaries with random directions.

    Args:
      key: A typed PRNG key for the directions.
      parameters: Number of model parameters, at least the number of canaries.
      first: The first canary's number in the population.
      present: bool [canaries].
      length: float32 scalar.
      absent: Factor of an absent canary's vector, 0 or -1.
    """
    count = present.shape[0]
    each = parameters // count
    key_order, key_signs = jax.random.split(key)
    place = jax.random.permutation(key_order, parameters)
    owner = jnp.minimum(place // each, count).astype(jnp.int32)
    signs = jnp.where(owner < count, jax.random.rademacher(key_signs, (parameters,), jnp.float32), 0.0)
    signs /= jnp.sqrt(jnp.float32(each))
    return Canaries(jnp.int32(first), present, owner, signs, jnp.float32(length), jnp.float32(absent))


def in_place_of(canaries: Canaries, member: jax.Array, update: PyTree) -> PyTree:
    """The update of `member` (int32 scalar), or the planted vector if it is a canary."""
    number = member - canaries.first
    weights = jnp.zeros(canaries.present.shape, jnp.float32).at[number].set(canaries.length, mode="drop")
    planted = _update_of(canaries, jnp.where(number >= 0, weights, 0.0), update)
    return jax.tree.map(lambda own, other: jnp.where(number >= 0, other, own), update, planted)


def planted_sum(canaries: Canaries, members: jax.Array, factors: jax.Array, like: PyTree) -> PyTree:
    """The sum of the vectors of canaries among `members` (int32 [k]), each times its factor (float32 [k]); like `like`."""
    numbers = jnp.where(members >= canaries.first, members - canaries.first, canaries.present.shape[0])
    weights = jnp.zeros(canaries.present.shape, jnp.float32).at[numbers].add(factors * canaries.length, mode="drop")
    return _update_of(canaries, weights, like)


def along(canaries: Canaries, update: PyTree) -> jax.Array:
    """The inner products of an update with every canary's direction, float32 [canaries]."""
    flat, _ = ravel_pytree(update)
    count = canaries.present.shape[0]
    return jax.ops.segment_sum(flat * canaries.signs, canaries.owner, num_segments=count + 1)[:count]


def _update_of(canaries: Canaries, weights: jax.Array, like: PyTree) -> PyTree:
    """The sum of all canaries' vectors at their weights (float32 [canaries]), like `like`."""
    _, unravel = ravel_pytree(like)
    of_owner = jnp.append(jnp.where(canaries.present, weights, canaries.absent * weights), 0.0)
    return unravel(of_owner[canaries.owner] * canaries.signs)
