"""Gaussian noise on a pytree, and noise that is correlated over rounds.

The generator is JAX's counter-based threefry in float32: right for simulation, not for a deployment, where the seed
must be secret and floating-point noise is open to the attack of Mironov (2012).
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def gaussian_noise(key: jax.Array, like: PyTree, stddev: jax.Array | float) -> PyTree:
    """Independent N(0, stddev^2) noise for every coordinate of every leaf.

    Args:
      key: A typed PRNG key, never used for anything else.
      like: A pytree of arrays; only shapes and dtypes are read.
      stddev: Standard deviation, scalar, at least 0.

    Returns:
      A pytree like `like`. All coordinates come from one draw: with one key for several draws, leaves of equal shape
      would get the very same noise, which an adversary can subtract.
    """
    leaves, structure = jax.tree.flatten(like)
    ends = list(accumulate(leaf.size for leaf in leaves))
    draw = jax.random.normal(key, (ends[-1],), jnp.float32)
    noise = [
        (stddev * draw[end - leaf.size : end]).reshape(leaf.shape).astype(leaf.dtype)
        for leaf, end in zip(leaves, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, noise)


def correlated_noise(
    white: jax.Array, past: jax.Array, coefficients: jax.Array, round_index: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """The noise of one round: w_t = (z_t - sum over j = 1..b-1 of c_j w_{t-j}) / c_0, one step of C^-1 z.

    Args:
      white: z_t, float32 [n], independent noise. Its standard deviation is what the sensitivity of C x is set against.
      past: float32 [b-1, n], the noise of the last rounds, round i in row i mod (b-1). All 0 before the first round.
      coefficients: c_0..c_{b-1}, float32 [b], c_0 above 0.
      round_index: t, int32 scalar, from 0 and one more each round.

    Returns:
      w_t, float32 [n], and `past` with w_t in the place of its oldest row. One band with c_0 = 1 returns `white` to
      the bit.

    Raises:
      ValueError: `past` has not one row less than there are coefficients.
    """
    kept = past.shape[0]
    if coefficients.shape[0] != kept + 1:
        raise ValueError(f"{coefficients.shape[0]} bands need {coefficients.shape[0] - 1} rows of past, not {kept}")
    if kept == 0:
        return white / coefficients[0], past
    slot = jnp.asarray(round_index, jnp.int32) % kept
    # Row r holds round t - j for j = 1 + (t - 1 - r) mod (b-1). Weights are turned, not rows: rows are large.
    lag = 1 + (slot - 1 - jnp.arange(kept, dtype=jnp.int32)) % kept
    # Accelerators multiply matrices in fewer bits than float32 has, unless told otherwise.
    echo = jnp.matmul(coefficients[lag], past, precision=jax.lax.Precision.HIGHEST)
    noise = (white - echo) / coefficients[0]
    return noise, jax.lax.dynamic_update_index_in_dim(past, noise, slot, axis=0)
