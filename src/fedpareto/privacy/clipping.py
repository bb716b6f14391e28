"""Joint L2 clipping of a pytree (Abadi et al. 2016; McMahan et al. 2018 for whole client updates)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
TINY = float(jnp.finfo(jnp.float32).tiny)  # the smallest normal float32, 2^-126


def squared_norm(array: jax.Array, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Sum of squares along `axis` (of all by default), float32; where float32 cannot hold it, no less than the true one.

    A square below 2^-126 may count as 0, so each entry is charged for that much. Without it a vector with entries of 1e-20 would
    have the norm 0, and whatever is multiplied with that norm would be clipped to nothing, or not at all. To a sum that is above
    2^-102 an entry it changes no bit. A sum that is too large for float32 is infinite: what it is of is not finite either.

    >>> float(squared_norm(jnp.array([3.0, 4.0])))
    25.0
    >>> bool(squared_norm(jnp.array([3e-30])) > 0)
    True
    """
    squares = jnp.sum(jnp.square(array.astype(jnp.float32)), axis=axis)
    return squares + (array.size // max(1, squares.size)) * TINY


def global_norm(tree: PyTree) -> jax.Array:
    """L2 norm over all leaves jointly, float32 scalar.

    It is right to float32 rounding for norms from 1e-16 sqrt(entries) to 1e19. A smaller one may read up to
    1.1e-19 sqrt(entries) too large, never too small; a larger one is infinite.

    >>> float(global_norm({"kernel": jnp.array([3.0]), "bias": jnp.array([4.0])}))
    5.0
    """
    return jnp.sqrt(sum(squared_norm(leaf) for leaf in jax.tree.leaves(tree)))


def clip_factor(norm: jax.Array, clip_norm: jax.Array | float) -> jax.Array:
    """The factor that brings a vector of L2 norm `norm` to at most `clip_norm`, up to float32 rounding.

    Guarantee: `factor * norm <= clip_norm (1 + 2^-23)` for every finite `clip_norm`, and 0 for a norm that is not finite. A
    client whose update overflowed must not reach the sum: NaN would break the bound on everybody's sensitivity. A factor is a
    normal number or 0: a smaller one has lost digits, and could leave a vector longer than `clip_norm`.

    | norm                | factor, clip_norm finite | factor, clip_norm inf |
    |---------------------|--------------------------|-----------------------|
    | 0                   | 1                        | 1                     |
    | <= clip_norm        | 1                        | 1                     |
    | >  clip_norm        | clip_norm / norm         |                       |
    | >  clip_norm 2^126  | 0                        |                       |
    | inf or nan          | 0                        | 1: nothing is hidden  |

    >>> float(clip_factor(jnp.float32(4.0), clip_norm=1.0))
    0.25
    """
    factor = jnp.minimum(1.0, clip_norm / jnp.maximum(norm, TINY))
    factor = jnp.where(factor >= TINY, factor, 0.0)
    return jnp.where(jnp.isfinite(norm), factor, jnp.where(jnp.isinf(clip_norm), 1.0, 0.0))


def scale(tree: PyTree, factor: jax.Array) -> PyTree:
    """Every leaf times `factor`; a factor of 0 gives exact zeros, also for leaves that are not finite."""
    return jax.tree.map(lambda leaf: jnp.where(factor > 0, leaf, 0.0) * factor, tree)
