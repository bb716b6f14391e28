"""Noise on a round's sum: added by the server, by every member to its message, or by all members in shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedpareto.federated.contributions.interface import NoisySum, Round, Sums
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.mechanisms.adaptive_clipping import next_clip, noisy_count
from fedpareto.privacy.mechanisms.interface import IntegerMechanism, NoiseParams

PyTree = Any


@dataclass(frozen=True)
class CentralNoise:
    """The server adds noise to the sum, and steps the clip norm where it adapts."""

    HIDES_MEMBERS: ClassVar[bool] = False

    def on_member(
        self, static: ProgramConfig, run_params: RunParams, this: Round, key: jax.Array, clipped: PyTree
    ) -> PyTree:
        """The clipped vector as it is."""
        return clipped

    def release(self, static: ProgramConfig, run_params: RunParams, this: Round, sums: Sums) -> NoisySum:
        """The sum with the mechanism's noise, and the noisy count of adaptive clipping."""
        key_noise, key_count = jax.random.split(this.key_noise)
        memory, stddev = this.memory, run_params.noise_stddev
        if run_params.adaptive is not None and memory.clip_norm is not None:
            stddev = stddev * memory.clip_norm / run_params.clip_norm
            count = noisy_count(key_count, run_params.adaptive, sums.within)
            clip_norm = next_clip(run_params.adaptive, memory.clip_norm, count / static.public_divisor(run_params))
            memory = memory._replace(clip_norm=clip_norm)
        params = NoiseParams(stddev, this.number, run_params.mechanism)
        noisy, state = static.mechanism.privatize(key_noise, sums.update, memory.mechanism, params)
        return NoisySum(noisy, memory._replace(mechanism=state), jnp.float32(0), None)

    def first_stddev(self, static: ProgramConfig, run_params: RunParams, of_member: float, by_server: bool) -> float:
        """The server sees members without noise, others the noisy sum."""
        return 0.0 if by_server else static.mechanism.first_stddev(of_member, run_params.mechanism)


@dataclass(frozen=True)
class LocalNoise:
    """Every member adds the full noise to its message."""

    HIDES_MEMBERS: ClassVar[bool] = False

    def on_member(
        self, static: ProgramConfig, run_params: RunParams, this: Round, key: jax.Array, clipped: PyTree
    ) -> PyTree:
        """The clipped vector with the mechanism's noise."""
        params = NoiseParams(run_params.noise_stddev, this.number, run_params.mechanism)
        return static.mechanism.privatize(key, clipped, None, params)[0]

    def release(self, static: ProgramConfig, run_params: RunParams, this: Round, sums: Sums) -> NoisySum:
        """The sum, whose noise is in the contributions."""
        return NoisySum(sums.update, this.memory, jnp.float32(0), None)

    def first_stddev(self, static: ProgramConfig, run_params: RunParams, of_member: float, by_server: bool) -> float:
        """The server sees one member's noise, others the sum of that of all."""
        return of_member if by_server else of_member * static.expected_cohort**0.5


@dataclass(frozen=True)
class DistributedNoise:
    """Every member rounds its vector to integers and adds a share of the noise; secure aggregation shows their sum alone."""

    HIDES_MEMBERS: ClassVar[bool] = True

    def on_member(
        self, static: ProgramConfig, run_params: RunParams, this: Round, key: jax.Array, clipped: PyTree
    ) -> PyTree:
        """The clipped vector as integers with a noise share: int32 [dimension], not yet reduced."""
        key_round, key_share = jax.random.split(key)
        flat, _ = ravel_pytree(clipped)
        mechanism = integers(static)
        rounded = mechanism.encode(key_round, signs_key(run_params, this.number), clipped, run_params.mechanism)
        return rounded + mechanism.share(key_share, flat.shape[0], run_params.mechanism)

    def release(self, static: ProgramConfig, run_params: RunParams, this: Round, sums: Sums) -> NoisySum:
        """The modular sum decoded; refused where too few shares are in it."""
        signs = signs_key(run_params, this.number)
        total, wrapped = integers(static).decode(signs, sums.update, this.params, run_params.mechanism)
        return NoisySum(total, this.memory, wrapped, sums.answered < static.fewest_answers)

    def first_stddev(self, static: ProgramConfig, run_params: RunParams, of_member: float, by_server: bool) -> float:
        """All see the sum with all noise shares."""
        return of_member


def integers(static: ProgramConfig) -> IntegerMechanism:
    """The mechanism of a program under secure aggregation, which the table of sound settings makes sure of."""
    return cast(IntegerMechanism, static.mechanism)


def signs_key(run_params: RunParams, round_index: jax.Array) -> jax.Array:
    """The public key of a round's rotation: everybody turns their vector the same way."""
    public = jax.random.fold_in(jax.random.wrap_key_data(run_params.public_key), 2**31 - 1)
    return jax.random.fold_in(public, round_index)
