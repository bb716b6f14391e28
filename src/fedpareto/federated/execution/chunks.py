"""Scores of many examples, a chunk at a time and shared by devices, whatever their number to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.execution.cohort_sum import COHORT_AXIS, LANES

PyTree = Any
CHUNK = 128  # Test examples at a time: what they need of memory fits in a CPU cache.


def by_chunk(
    apply: Callable[[PyTree, jax.Array], jax.Array],
    params: PyTree,
    x: jax.Array,
    y: jax.Array,
    score: Callable[[jax.Array, jax.Array], PyTree],
    *,
    devices: int = 1,
) -> PyTree:
    """`score` of the outputs [batch, outputs] and targets [batch, ...] of all examples: arrays [n, ...] for its [batch, ...]."""

    def one(chunk: jax.Array) -> PyTree:
        rows = jnp.minimum(chunk * CHUNK + jnp.arange(CHUNK), n - 1)
        return score(apply(params, x[rows]), y[rows])

    n = x.shape[0]
    # As many chunks for one device as for several: sums over arrays of other sizes would differ in the last digit.
    share = -(-n // (CHUNK * LANES)) * LANES // devices
    own = 0 if devices == 1 else jax.lax.axis_index(COHORT_AXIS)
    scores = jax.lax.map(one, own * share + jnp.arange(share))
    if devices > 1:
        scores = jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, COHORT_AXIS, tiled=True), scores)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], scores)
