"""Joint L2 clipping of a pytree (Abadi et al. 2016; McMahan et al. 2018 for whole client updates)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def global_norm(tree: PyTree) -> jax.Array:
    """L2 norm over all leaves jointly, float32 scalar.

    >>> float(global_norm({"kernel": jnp.array([3.0]), "bias": jnp.array([4.0])}))
    5.0
    """
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def clip_factor(norm: jax.Array, clip_norm: jax.Array | float) -> jax.Array:
    """The factor that brings a vector of L2 norm `norm` to at most `clip_norm`.

    Guarantee: `factor * norm <= clip_norm` for every finite `clip_norm`, and 0 for a norm that is not finite. A client
    whose update overflowed must not reach the sum: NaN would break the bound on everybody's sensitivity.

    | norm          | factor, clip_norm finite | factor, clip_norm inf |
    |---------------|--------------------------|-----------------------|
    | 0             | 1                        | 1                     |
    | <= clip_norm  | 1                        | 1                     |
    | >  clip_norm  | clip_norm / norm         |                       |
    | inf or nan    | 0                        | 1: nothing is hidden  |

    >>> float(clip_factor(jnp.float32(4.0), clip_norm=1.0))
    0.25
    """
    factor = jnp.minimum(1.0, clip_norm / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny))
    return jnp.where(jnp.isfinite(norm), factor, jnp.where(jnp.isinf(clip_norm), 1.0, 0.0))


def scale(tree: PyTree, factor: jax.Array) -> PyTree:
    """Every leaf times `factor`; a factor of 0 gives exact zeros, also for leaves that are not finite."""
    return jax.tree.map(lambda leaf: jnp.where(factor > 0, leaf, 0.0) * factor, tree)
