"""Local SGD on one client's examples (McMahan et al. 2017): the loop that all built-in algorithms share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.interface import ClientUpdate, LocalProblem, Loss
from fedpareto.federated.augmentation import keys_of

PyTree = Any
Adjust = Callable[[PyTree, PyTree], PyTree]  # (gradient, local parameters) -> the gradient that a step follows
Step = Callable[[PyTree, jax.Array, jax.Array, jax.Array], PyTree]
VIEWS = 2**31 - 1  # folded into a client's key for its augmentations: a number that no epoch has


def local_sgd(problem: LocalProblem, adjust: Adjust | None = None) -> ClientUpdate:
    """Local SGD from the global parameters on the client's examples; zeros from a client without any.

    Args:
      problem: The client's part of the round.
      adjust: Function of each gradient before the step; None for none.
    """
    gradient = jax.grad(lambda p, x, y, real: masked_loss(problem.loss, problem.apply(p, x), y, real))

    def step(local: PyTree, x: jax.Array, y: jax.Array, real: jax.Array) -> PyTree:
        grads = gradient(local, x, y, real)
        if adjust is not None:
            grads = adjust(grads, local)
        return jax.tree.map(lambda p, g: p - problem.learning_rate * g, local, grads)

    return _in_order(problem, step) if problem.in_order else _shuffled(problem, step)


def _shuffled(problem: LocalProblem, step: Step) -> ClientUpdate:
    """The steps of a run: in a random order, afresh for each pass, and as many as the client's examples and its share ask for."""
    work, examples, count, pad = problem.work, problem.examples, problem.count, problem.index.shape[0]
    batch = pad if work.batch_size is None else min(work.batch_size, pad)
    rows = -(-pad // batch) * batch
    steps_per_epoch = (count + batch - 1) // batch
    if work.steps is None:
        total_steps = (work.epochs or 0) * steps_per_epoch
        epochs = jnp.where(count > 0, work.epochs or 0, 0)
    else:
        total_steps = jnp.where(count > 0, work.steps, 0)
        epochs = (total_steps + steps_per_epoch - 1) // jnp.maximum(steps_per_epoch, 1)
    if problem.share_of_steps is not None:
        total_steps = jnp.ceil(problem.share_of_steps * total_steps).astype(jnp.int32)
        epochs = (total_steps + steps_per_epoch - 1) // jnp.maximum(steps_per_epoch, 1)
    key_views = jax.random.fold_in(problem.key, VIEWS)

    def epoch(e: jax.Array, local: PyTree) -> PyTree:
        order = _shuffle(jax.random.fold_in(problem.key, e), problem.index, count, rows)

        def one(s: jax.Array, local: PyTree) -> PyTree:
            chosen = jax.lax.dynamic_slice(order, (s * batch,), (batch,))
            real = s * batch + jnp.arange(batch) < count
            x = examples.x[chosen]
            if problem.augmentation is not None:
                key_step = jax.random.fold_in(jax.random.fold_in(key_views, e), s)
                x = problem.augmentation.views(keys_of(key_step, jnp.arange(batch)), x)
            return step(local, x, examples.y[chosen], real)

        return jax.lax.fori_loop(0, jnp.minimum(steps_per_epoch, total_steps - e * steps_per_epoch), one, local)

    trained = jax.lax.fori_loop(0, epochs, epoch, problem.params)
    return ClientUpdate(jax.tree.map(jnp.subtract, trained, problem.params), jnp.asarray(total_steps, jnp.int32))


def _in_order(problem: LocalProblem, step: Step) -> ClientUpdate:
    """The steps on all examples in their order, as a loop that can be differentiated with respect to the examples."""
    x, y = problem.examples
    records = len(x)
    batch = records if problem.work.batch_size is None else min(problem.work.batch_size, records)
    batches, steps = -(-records // batch), problem.work.steps_of(records)

    def one(local: PyTree, s: jax.Array) -> tuple[PyTree, None]:
        rows, targets, real = x, y, jnp.ones(records, bool)
        if batches > 1:
            places = (s % batches) * batch + jnp.arange(batch)
            real = places < records
            rows, targets = x[jnp.minimum(places, records - 1)], y[jnp.minimum(places, records - 1)]
        return step(local, rows, targets, real), None

    trained, _ = jax.lax.scan(one, problem.params, jnp.arange(steps))
    return ClientUpdate(jax.tree.map(jnp.subtract, trained, problem.params), jnp.int32(steps))


def masked_loss(loss: Loss, outputs: jax.Array, targets: jax.Array, real: jax.Array) -> jax.Array:
    """Mean loss over the examples marked `real`; 0 where there are none.

    Args:
      loss: The task's loss of each example.
      outputs: float32 [batch, outputs].
      targets: [batch] or [batch, ...].
      real: bool [batch].
    """
    losses = loss(outputs, targets)
    return jnp.sum(jnp.where(real, losses, 0.0)) / jnp.maximum(jnp.sum(real), 1)


def _shuffle(key: jax.Array, index: jax.Array, count: jax.Array, rows: int) -> jax.Array:
    """The client's real examples in random order, then padding: int32 [rows]."""
    pad = index.shape[0]
    draw = jnp.where(jnp.arange(pad) < count, jax.random.uniform(key, (pad,)), jnp.inf)
    return jnp.pad(index[jnp.argsort(draw)], (0, rows - pad))
