"""DP-SGD on the clients (Abadi et al. 2016): every hospital noises each of its steps, and sends what came of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.local_sgd import Examples
from fedpareto.federated.contributions.per_example import clipped_gradient_sum
from fedpareto.federated.contributions.secure_sum import Seen
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.mechanisms.gaussian import gaussian_noise
from fedpareto.privacy.sampling import poisson_subset

PyTree = Any


def noisy_update(
    static: ProgramConfig,
    train: Examples,
    hyper: RunParams,
    params: PyTree,
    index: jax.Array,
    count: jax.Array,
    last: jax.Array,
    key_records: jax.Array,
    key_noise: jax.Array,
    share_of_steps: jax.Array | None = None,
    record_mask: jax.Array | None = None,
) -> tuple[PyTree, Seen]:
    """New minus old parameters after noisy local steps; whoever sees it learns no more than the steps' guarantee allows.

    Each step draws a Poisson sample of the client's records, adds up their clipped gradients and noise of
    `hyper.noise_stddev`, and divides by the public expected size of the sample. Fewer steps than planned (a straggler)
    release less than was accounted for.

    Args:
      static: What shapes the program; `local_steps` and `max_batch_size` above all.
      train: All clients' examples.
      hyper: The run's numbers.
      params: Global parameters.
      index: int32 [pad], the client's rows of `train`.
      count: int32 scalar, how many of them are real.
      last: uint32 scalar, `last_to_join` of the client's sampling rate.
      key_records: Key of which records each step draws.
      key_noise: Key of the noise.
      share_of_steps: float32 scalar, or None for all steps.
      record_mask: bool [pad], which of the client's records take part, or None for all. The public size of a batch is that of all.
    """
    eligible = jnp.arange(index.shape[0]) < count
    if record_mask is not None:
        eligible &= record_mask
    expected = jnp.maximum((last.astype(jnp.float32) + 1) * 2.0**-32 * count, 1e-6)
    steps: int | jax.Array = static.local_steps
    if share_of_steps is not None:
        steps = jnp.ceil(share_of_steps * static.local_steps).astype(jnp.int32)

    def step(s: jax.Array, carry: tuple[PyTree, Seen]) -> tuple[PyTree, Seen]:
        local, seen = carry
        drawn = poisson_subset(jax.random.fold_in(key_records, s), eligible, last, static.max_batch_size)
        rows, real = index[drawn.members], jnp.arange(static.max_batch_size) < drawn.size
        total = clipped_gradient_sum(
            static.model, static.task.loss, local, train.x[rows], train.y[rows], real, hyper.clip_norm
        )
        noise = gaussian_noise(jax.random.fold_in(key_noise, s), local, hyper.noise_stddev)
        rate = hyper.client_learning_rate / expected
        local = jax.tree.map(lambda p, g, z: p - rate * (g + z), local, total.gradient, noise)
        long = jnp.sum(real & ~(total.norms <= hyper.clip_norm)).astype(jnp.float32)
        return local, Seen(
            seen.records + drawn.size,
            seen.clipped + long,
            seen.norm + jnp.sum(total.norms),
            seen.overflow + drawn.overflow,
        )

    zero = jnp.float32(0)
    trained, seen = jax.lax.fori_loop(0, steps, step, (params, Seen(zero, zero, zero, zero)))
    # A client without records has nothing to protect and nothing to say.
    return jax.tree.map(lambda new, old: jnp.where(count > 0, new - old, 0.0), trained, params), seen
