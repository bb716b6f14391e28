"""What one client does in one round: local SGD on its own examples (McMahan et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.augmentation import Augmentation, keys_of

PyTree = Any
Apply = Callable[[PyTree, jax.Array], jax.Array]
VIEWS = 2**31 - 1  # folded into a client's key for its augmentations: a number that no epoch has


@dataclass(frozen=True)
class LocalWork:
    """How long a client trains in a round. Exactly one of `epochs` and `steps` is set.

    Attributes:
      epochs: Passes over the client's examples, reshuffled for each.
      steps: SGD steps, running on into a reshuffled next pass where the examples are used up.
      batch_size: Examples a step, or None for all of them.
    """

    epochs: int | None
    steps: int | None
    batch_size: int | None


class Examples(NamedTuple):
    """All training examples, one array for all clients: x float32 [n, ...], y int32 [n]."""

    x: jax.Array
    y: jax.Array


class ClientUpdate(NamedTuple):
    """What a client hands over: new minus old parameters, and how many steps it made."""

    delta: PyTree
    steps: jax.Array


def client_update(
    apply: Apply,
    work: LocalWork,
    params: PyTree,
    examples: Examples,
    index: jax.Array,
    count: jax.Array,
    learning_rate: jax.Array,
    key: jax.Array,
    *,
    proximal: jax.Array | None = None,
    correction: PyTree | None = None,
    share_of_steps: jax.Array | None = None,
    augmentation: Augmentation | None = None,
) -> ClientUpdate:
    """Local SGD from `params` on the client's examples.

    Args:
      apply: The model, (parameters, x) -> logits.
      work: Epochs or steps, and batch size; static.
      params: The global parameters.
      examples: All clients' examples.
      index: int32 [pad], rows of `examples` that are the client's, the first `count` of them real.
      count: int32 scalar. A client without examples returns zeros.
      learning_rate: float32 scalar.
      key: A typed PRNG key for shuffling.
      proximal: float32 scalar mu, for the term mu/2 |local - global|^2 of FedProx (Li et al. 2020); None for 0.
      correction: What is added to every gradient (SCAFFOLD: server's less client's control variate); None for nothing.
      share_of_steps: float32 scalar in [0, 1], the share of its steps that the client finishes, rounded up; None for all.
      augmentation: How each step sees its images, in one view each; None as they are.
    """
    pad = index.shape[0]
    batch = pad if work.batch_size is None else min(work.batch_size, pad)
    rows = -(-pad // batch) * batch
    steps_per_epoch = (count + batch - 1) // batch
    if work.steps is None:
        total_steps = (work.epochs or 0) * steps_per_epoch
        epochs = jnp.where(count > 0, work.epochs or 0, 0)
    else:
        total_steps = jnp.where(count > 0, work.steps, 0)
        epochs = (total_steps + steps_per_epoch - 1) // jnp.maximum(steps_per_epoch, 1)
    if share_of_steps is not None:
        total_steps = jnp.ceil(share_of_steps * total_steps).astype(jnp.int32)
        epochs = (total_steps + steps_per_epoch - 1) // jnp.maximum(steps_per_epoch, 1)
    gradient = jax.grad(lambda p, x, y, real: masked_loss(apply(p, x), y, real))
    key_views = jax.random.fold_in(key, VIEWS)

    def epoch(e: jax.Array, local: PyTree) -> PyTree:
        order = _shuffle(jax.random.fold_in(key, e), index, count, rows)

        def step(s: jax.Array, local: PyTree) -> PyTree:
            chosen = jax.lax.dynamic_slice(order, (s * batch,), (batch,))
            real = s * batch + jnp.arange(batch) < count
            x = examples.x[chosen]
            if augmentation is not None:
                key_step = jax.random.fold_in(jax.random.fold_in(key_views, e), s)
                x = augmentation.views(keys_of(key_step, jnp.arange(batch)), x)
            grads = gradient(local, x, examples.y[chosen], real)
            if proximal is not None:
                grads = jax.tree.map(lambda g, p, q: g + proximal * (p - q), grads, local, params)
            if correction is not None:
                grads = jax.tree.map(jnp.add, grads, correction)
            return jax.tree.map(lambda p, g: p - learning_rate * g, local, grads)

        return jax.lax.fori_loop(0, jnp.minimum(steps_per_epoch, total_steps - e * steps_per_epoch), step, local)

    trained = jax.lax.fori_loop(0, epochs, epoch, params)
    return ClientUpdate(jax.tree.map(jnp.subtract, trained, params), jnp.asarray(total_steps, jnp.int32))


def masked_loss(logits: jax.Array, labels: jax.Array, real: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy over the examples marked `real`; 0 where there are none.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch].
      real: bool [batch].
    """
    losses = example_losses(logits, labels)
    return jnp.sum(jnp.where(real, losses, 0.0)) / jnp.maximum(jnp.sum(real), 1)


def example_losses(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy of each example, float32 [batch], from logits [batch, classes] and labels int32 [batch]."""
    # A comparison with the class numbers: picking the label's entry by index would scatter in the gradient.
    chosen = jnp.where(labels[:, None] == jnp.arange(logits.shape[1]), logits, 0.0).sum(axis=1)
    return jax.nn.logsumexp(logits, axis=1) - chosen


def _shuffle(key: jax.Array, index: jax.Array, count: jax.Array, rows: int) -> jax.Array:
    """The client's real examples in random order, then padding: int32 [rows]."""
    pad = index.shape[0]
    draw = jnp.where(jnp.arange(pad) < count, jax.random.uniform(key, (pad,)), jnp.inf)
    return jnp.pad(index[jnp.argsort(draw)], (0, rows - pad))
