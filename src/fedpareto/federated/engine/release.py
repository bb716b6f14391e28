"""What is released of a round's contributions, and what the run remembers of it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedpareto.federated.algorithms.scaffold import step_controls
from fedpareto.federated.contributions.contribution import Round, Sums
from fedpareto.federated.contributions.secure_sum import decoded_sum
from fedpareto.federated.inputs.program_inputs import AdaptiveClip, ProgramConfig, RunParams, ServerState
from fedpareto.privacy.mechanisms.gaussian import correlated_noise, gaussian_noise
from fedpareto.privacy.sampling import Cohort

PyTree = Any


def release(
    static: ProgramConfig, hyper: RunParams, this: Round, cohort: Cohort, sums: Sums, kept: PyTree | None
) -> tuple[PyTree, ServerState, jax.Array, jax.Array]:
    """The mean update that the server steps with, and with it all that anybody learns of the round.

    The divisor is the public expected number of answers, never the realised one, which depends on the data: dividing by
    that would break the sensitivity bound.

    Returns:
      The mean update, like the parameters; the memory for the next round; the share of coordinates that wrapped around
      (float32); whether too few answered (bool), and the round is to change nothing.
    """
    memory, none = this.memory, jnp.float32(0)
    divisor = static.expected_cohort * (1 - hyper.dropout) if static.drops else static.expected_cohort
    if static.trust == "local":  # The noise is in the contributions.
        return jax.tree.map(lambda leaf: leaf / divisor, sums.update), memory, none, jnp.bool_(False)
    if static.sum is not None:
        total, wrapped = decoded_sum(static, hyper, this.number, sums.update, this.params)
        refused = sums.answered < static.sum.fewest
        return jax.tree.map(lambda leaf: leaf / divisor, total), memory, wrapped, refused
    key_noise, key_count = jax.random.split(this.key_noise)
    stddev = hyper.noise_stddev
    if hyper.adaptive is not None and memory.clip_norm is not None:
        stddev = stddev * memory.clip_norm / hyper.clip_norm
        count = sums.within + hyper.adaptive.count_stddev * jax.random.normal(key_count)
        memory = memory._replace(clip_norm=_next_clip(hyper.adaptive, memory.clip_norm, count / divisor))
    if hyper.strategy is not None and memory.past_noise is not None:
        noise, past = _correlated(key_noise, sums.update, stddev, memory.past_noise, hyper.strategy, this.number)
        memory = memory._replace(past_noise=past)
    else:
        noise = gaussian_noise(key_noise, sums.update, stddev)
    mean = jax.tree.map(lambda leaf, draw: (leaf + draw) / divisor, sums.update, noise)
    if static.algorithm == "scaffold":
        mean, memory = step_controls(static, hyper, memory, cohort, mean, kept)
    return mean, memory, none, jnp.bool_(False)


def _next_clip(rule: AdaptiveClip, clip_norm: jax.Array, centred: jax.Array) -> jax.Array:
    """The geometric step of Andrew et al. (2021) on a noisy share of updates within the norm, less 1/2."""
    stepped = clip_norm * jnp.exp(-rule.learning_rate * (centred + 0.5 - rule.quantile))
    # An infinite clip norm hides nothing: what it is may never be reached by steps.
    return jnp.minimum(stepped, jnp.finfo(jnp.float32).max)


def _correlated(
    key: jax.Array, like: PyTree, stddev: jax.Array, past: jax.Array, strategy: jax.Array, round_index: jax.Array
) -> tuple[PyTree, jax.Array]:
    white, unravel = ravel_pytree(gaussian_noise(key, like, stddev))
    noise, past = correlated_noise(white, past, strategy, round_index)
    return unravel(noise), past
