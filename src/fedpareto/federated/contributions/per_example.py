"""Sums of clipped per-example gradients, at little more than the cost of a plain gradient.

For a layer that multiplies its input a by a matrix, the gradient of one example is the outer product of a and g, the
loss's gradient with respect to the layer's output. One forward and one backward pass give a and g for the whole batch;
then, with c the clip factors,

| layer | per-example norm                              | clipped sum                                   |
|-------|-----------------------------------------------|-----------------------------------------------|
| dense | |a| |g|: never formed (Goodfellow 2015)       | one matrix product, a^T (c g)                 |
| conv  | of its gradient, one batched matrix product   | c times these: they are there already         |

The products that weight what was measured are made in float32 whatever the model's own (`HIGHEST`): a sum of factors rounded to
fewer bits could be longer than the norms that were clipped say.

Clipping costs no second backward pass (book-keeping, Bu et al. 2023). Any other model is differentiated example by
example (`jax.vmap` of `jax.grad`): slower, and always right. So are several views of an example (augmentation
multiplicity, De et al. 2022), whose mean gradient is what is clipped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.interface import Loss
from fedpareto.models.model import Model
from fedpareto.privacy.clipping import TINY, clip_factor, squared_norm

PyTree = Any
HIGHEST = jax.lax.Precision.HIGHEST


class ClippedSum(NamedTuple):
    """The contribution of a batch.

    Attributes:
      gradient: Sum of the clipped per-example gradients, a pytree like the parameters.
      norms: float32 [batch], L2 norms before clipping, over all parameters jointly; 0 for an example that is not real.
    """

    gradient: PyTree
    norms: jax.Array


def clipped_gradient_sum(
    model: Model,
    loss: Loss,
    params: PyTree,
    x: jax.Array,
    y: jax.Array,
    *,
    real: jax.Array,
    clip_norm: jax.Array,
    in_views: bool = False,
) -> ClippedSum:
    """The sum over real examples of the gradient of their loss, each clipped to `clip_norm`.

    Guarantee: adding or removing one example moves the sum by at most `clip_norm` in L2, whatever its gradient: one
    that is not finite contributes zero (unless `clip_norm` is infinite, when nothing is hidden).

    Args:
      model: The model.
      loss: The task's loss of each example.
      params: Its parameters.
      x: float32 [batch, ...]; with `in_views` [batch, views, ...], where an example's loss is the mean over its views.
      y: [batch] or [batch, ...], the targets.
      real: bool [batch]; others contribute nothing.
      clip_norm: float32 scalar, infinite for no clipping.
      in_views: Whether every example comes in several views.
    """
    if model.layers is None or in_views:
        return differentiated(model, loss, params, x, y, real=real, clip_norm=clip_norm, in_views=in_views)
    return _factored(model, loss, params, x, y, real, clip_norm)


def differentiated(
    model: Model,
    loss: Loss,
    params: PyTree,
    x: jax.Array,
    y: jax.Array,
    *,
    real: jax.Array,
    clip_norm: jax.Array,
    in_views: bool = False,
) -> ClippedSum:
    """`clipped_gradient_sum` for a model of any kind: every example's gradient is formed."""
    views = x if in_views else x[:, None]

    def one(x: jax.Array, y: jax.Array) -> PyTree:
        return jax.grad(lambda p: jnp.mean(loss(model.apply(p, x), jnp.broadcast_to(y, (len(x), *y.shape)))))(params)

    gradients = jax.vmap(one)(views, y)
    gradients = jax.tree.map(lambda leaf: mask_rows(real, leaf), gradients)
    squares = sum(squared_norm(leaf.reshape(leaf.shape[0], -1), 1) for leaf in jax.tree.leaves(gradients))
    norms = mask_rows(real, jnp.sqrt(squares))
    # A row that is not real adds nothing, whatever its place holds: 0 times infinity is no number.
    factors = mask_rows(real, clip_factor(norms, clip_norm))
    total = jax.tree.map(
        lambda leaf: jnp.tensordot(factors, mask_rows(factors > 0, leaf), 1, precision=HIGHEST), gradients
    )
    return ClippedSum(total, norms)


def _factored(
    model: Model, loss: Loss, params: PyTree, x: jax.Array, y: jax.Array, real: jax.Array, clip_norm: jax.Array
) -> ClippedSum:
    def total_loss(perturbations: PyTree) -> tuple[jax.Array, PyTree]:
        batch_outputs, inputs = model.observed(params, perturbations, x)
        return jnp.sum(loss(batch_outputs, y)), inputs

    outputs, inputs = jax.grad(total_loss, has_aux=True)(model.perturbations(x.shape[0]))
    parts = {
        path: _dense(inputs[path], outputs[path], "bias" in _leaves_at(params, path))
        if outputs[path].ndim == 2
        else _conv(inputs[path], outputs[path], model.numerics.precision)
        for path in model.layers or ()
    }
    # The product of two squared norms may be too small for float32, like the square of an entry.
    squares = sum(part.squares for part in parts.values()) + len(parts) * TINY
    norms = mask_rows(real, jnp.sqrt(squares))
    factors = mask_rows(real, clip_factor(norms, clip_norm))  # 0 for what is not real, as above
    total = jax.tree.map(jnp.zeros_like, params)
    for path, part in parts.items():
        kernel, bias = part.weighted(factors)
        own = _leaves_at(total, path)
        own["kernel"] = kernel.reshape(own["kernel"].shape)
        if "bias" in own:
            own["bias"] = bias
    return ClippedSum(total, norms)


class _Part(NamedTuple):
    """One layer's share of the per-example gradients: squared norms float32 [batch], and their sum for given weights."""

    squares: jax.Array
    weighted: Any


def _leaves_at(tree: PyTree, path: tuple[str, ...]) -> PyTree:
    """The leaves of one layer."""
    for name in path:
        tree = tree[name]
    return tree


def _dense(a: jax.Array, g: jax.Array, bias: bool) -> _Part:
    """Input [batch, n] and output gradient [batch, features]; a bias is one more input, which is 1.

    Neither factor of the norm may read 0 because its squares are too small for float32: the other may be huge.
    """

    def weighted(factors: jax.Array) -> tuple[jax.Array, jax.Array]:
        clipped = mask_rows(factors > 0, g) * factors[:, None]
        return jnp.matmul(mask_rows(factors > 0, a).T, clipped, precision=HIGHEST), jnp.sum(clipped, axis=0)

    return _Part((squared_norm(a, 1) + bias) * squared_norm(g, 1), weighted)


def _conv(a: jax.Array, g: jax.Array, precision: str) -> _Part:
    """Patches [batch, n, pixels] and output gradient [features, height, width, batch].

    The gradients are formed, so that their norms are those of what is added up, however precisely they were computed.
    """
    g = g.reshape(g.shape[0], -1, g.shape[-1]).transpose(2, 0, 1)
    kernels = jnp.einsum("bnp,bfp->bnf", a, g, precision=precision)
    biases = jnp.sum(g, axis=2)

    def weighted(factors: jax.Array) -> tuple[jax.Array, jax.Array]:
        kept = factors > 0
        kernel, bias = (
            jnp.tensordot(factors, mask_rows(kept, part), 1, precision=HIGHEST) for part in (kernels, biases)
        )
        return kernel, bias

    return _Part(squared_norm(kernels, (1, 2)) + squared_norm(biases, 1), weighted)


def mask_rows(chosen: jax.Array, rows: jax.Array) -> jax.Array:
    """`rows` [batch, ...] with those that are not `chosen` (bool [batch]) replaced by zeros, whatever they held."""
    return jnp.where(chosen.reshape(-1, *(1,) * (rows.ndim - 1)), rows, 0.0)
