"""Sums over a cohort, in an order that does not depend on how many devices share the work.

Chunk i of the cohort belongs to lane i mod `LANES`; a lane adds up its chunks one after another, and the lanes are
added in their order at the end. One device works through all lanes, two take every other lane each, and so on: the
same additions in the same order, hence the same numbers to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.privacy.sampling import Cohort

PyTree = Any
LANES = 4
COHORT_AXIS = "cohort"


def sum_over_cohort(
    contribution: Callable[[jax.Array, jax.Array], tuple[PyTree, PyTree | None]],
    cohort: Cohort,
    at_once: int,
    devices: int,
) -> tuple[PyTree, PyTree | None]:
    """Sums `contribution` over the realised cohort; the pad costs nothing but the rest of the last chunk.

    Args:
      contribution: (members int32 [at_once], real bool [at_once]) -> the sum over the real ones, a pytree of arrays; and
        what each member leaves behind, [at_once, ...], or None.
      cohort: The sampled members.
      at_once: Size of a chunk, static.
      devices: Size of the mesh axis `COHORT_AXIS`, which divides `LANES`; 1 where there is no such axis.

    Returns:
      The sum, and what the members left behind in the order of `cohort.members`, [buffer, ...] (its length rounded up;
      what stands behind the last member means nothing), or None.
    """
    size = cohort.members.shape[0]
    members = jnp.pad(cohort.members, (0, -size % at_once))
    chunks = (cohort.size + at_once - 1) // at_once
    some, left = jax.eval_shape(contribution, members[:at_once], jnp.ones(at_once, bool))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), some)
    turns = -(-(members.shape[0] // at_once) // LANES)
    nothing = jax.tree.map(lambda leaf: jnp.zeros((turns, *leaf.shape), leaf.dtype), left)

    def partial_sum(number: jax.Array) -> tuple[PyTree, PyTree]:
        def add(step: jax.Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
            total, kept = carry
            first = (number + step * LANES) * at_once
            chosen = jax.lax.dynamic_slice(members, (first,), (at_once,))
            more, left = contribution(chosen, first + jnp.arange(at_once) < cohort.size)
            kept = jax.tree.map(lambda all_, new: all_.at[step].set(new), kept, left)
            return jax.tree.map(jnp.add, total, more), kept

        return jax.lax.fori_loop(0, (chunks - number + LANES - 1) // LANES, add, (zero, nothing))

    own = 0 if devices == 1 else jax.lax.axis_index(COHORT_AXIS)
    lanes = jax.lax.map(partial_sum, own + devices * jnp.arange(LANES // devices, dtype=jnp.int32))
    if devices > 1:
        # [device, lane of it, ...] -> [lane, ...]: device d holds the lanes d, d + devices, ...
        lanes = jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, COHORT_AXIS, axis=1), lanes)
        lanes = jax.tree.map(lambda leaf: leaf.reshape(LANES, *leaf.shape[2:]), lanes)
    totals, kept = lanes
    # [lane, turn, at_once, ...] -> chunk i is turn i // LANES of lane i mod LANES.
    kept = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[3:]), kept)
    return jax.tree.map(_in_order, totals), kept


def _in_order(leaf: jax.Array) -> jax.Array:
    """Sum over the leading axis, first to last."""
    total = leaf[0]
    for i in range(1, leaf.shape[0]):
        total = total + leaf[i]
    return total
