"""The update that a client with given records would send, as a differentiable function of them, and the noise on what is seen.

This is what an adversary computes who knows all that is public of a run: model, hyper-parameters, protocol. It assumes what
it cannot know. Where a client holds more records than go in a batch, the order in which it takes them is private: the order
given is used. Where a client draws its records by Poisson sampling, each step is taken for one on all of them, in proportion.
Random views of images are left out.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components.threats import PARTICIPANTS
from fedpareto.federated.algorithms.local_sgd import masked_loss
from fedpareto.federated.contributions.per_example import clipped_gradient_sum
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.clipping import clip_factor, global_norm, scale

PyTree = Any
NO_CLIP = 1e12  # stands for an infinite clip norm, through which no gradient could be taken


def update_of(static: ProgramConfig, hyper: RunParams, params: PyTree, x: jax.Array, y: jax.Array) -> PyTree:
    """What a client with records `x` (float32 [records, ...]) and `y` (int32 [records]) sends, before any noise.

    Args:
      static: The run's program, whose model takes examples as they are (`ProgramConfig.preprocessed`).
      hyper: Its hyper-parameters.
      params: Parameters at the start of the round.
      x: The records.
      y: Their labels.
    """
    clip_norm = jnp.minimum(hyper.clip_norm, NO_CLIP)
    if static.unit == "record":
        steps = static.local_steps if static.trust == "local" else 1
        return _clipped_gradients(static, hyper, params, x, y, clip_norm, steps)
    delta = _local_sgd(static, hyper, params, x, y)
    factor = clip_factor(global_norm(delta), clip_norm)
    if static.weight_cap is not None:
        factor = factor * min(len(x), static.weight_cap) / static.weight_cap
    return scale(delta, factor)


def steps_of(static: ProgramConfig, records: int) -> int:
    """Gradient steps behind a client's update, where it holds `records` records."""
    if static.unit == "record":
        return static.local_steps if static.trust == "local" else 1
    batch = records if static.work.batch_size is None else min(static.work.batch_size, records)
    return (static.work.epochs or 0) * -(-records // batch) if static.work.steps is None else static.work.steps


def _local_sgd(static: ProgramConfig, hyper: RunParams, params: PyTree, x: jax.Array, y: jax.Array) -> PyTree:
    """New minus old parameters after the client's steps, as in `federated.client`."""
    records = len(x)
    batch = records if static.work.batch_size is None else min(static.work.batch_size, records)
    batches = -(-records // batch)
    proximal = hyper.proximal if static.algorithm == "fedprox" else None
    gradient = jax.grad(lambda p, rows, labels, real: masked_loss(static.model.apply(p, rows), labels, real))

    def step(local: PyTree, s: jax.Array) -> tuple[PyTree, None]:
        rows, labels, real = x, y, jnp.ones(records, bool)
        if batches > 1:
            places = (s % batches) * batch + jnp.arange(batch)
            real = places < records
            rows, labels = x[jnp.minimum(places, records - 1)], y[jnp.minimum(places, records - 1)]
        grads = gradient(local, rows, labels, real)
        if proximal is not None:
            grads = jax.tree.map(lambda g, p, q: g + proximal * (p - q), grads, local, params)
        return jax.tree.map(lambda p, g: p - hyper.client_learning_rate * g, local, grads), None

    trained, _ = jax.lax.scan(step, params, jnp.arange(steps_of(static, records)))
    return jax.tree.map(jnp.subtract, trained, params)


def _clipped_gradients(
    static: ProgramConfig,
    hyper: RunParams,
    params: PyTree,
    x: jax.Array,
    y: jax.Array,
    clip_norm: jax.Array,
    steps: int,
) -> PyTree:
    """Sums of records' clipped gradients, negated; of several steps with the client's learning rate under local trust."""
    real = jnp.ones(len(x), bool)

    def gradient(local: PyTree) -> PyTree:
        return clipped_gradient_sum(static.model, local, x, y, real, clip_norm).gradient

    if static.trust != "local":
        return jax.tree.map(jnp.negative, gradient(params))
    rate = hyper.client_learning_rate / len(x)

    def step(local: PyTree, _: None) -> tuple[PyTree, None]:
        return jax.tree.map(lambda p, g: p - rate * g, local, gradient(local)), None

    trained, _ = jax.lax.scan(step, params, None, length=steps)
    return jax.tree.map(jnp.subtract, trained, params)


def noise_of(static: ProgramConfig, hyper: RunParams, adversary: str, records: int) -> float:
    """Standard deviation of the noise on each coordinate that an adversary sees in the first round; it knows that.

    Args:
      static: The run's program.
      hyper: Its hyper-parameters (without a runs axis).
      adversary: `server` or `participants`.
      records: Records that the client holds.
    """
    own = float(hyper.noise_stddev)
    if static.trust == "local":
        if static.unit == "record":
            assert hyper.record_draws is not None
            expected = max(1e-6, records * (float(np.max(hyper.record_draws)) + 1) * 2.0**-32)
            own *= float(hyper.client_learning_rate) * static.local_steps**0.5 / expected
        return own * static.expected_cohort**0.5 if adversary == PARTICIPANTS else own
    if static.trust == "central" and adversary != PARTICIPANTS:
        return 0.0
    if hyper.strategy is not None:  # correlated noise: the first round's is white noise over the strategy's first entry
        return own / float(hyper.strategy[0])
    return own
