"""Unit `client`: the update of a whole client, clipped as one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.interface import LocalProblem
from fedpareto.federated.contributions.interface import Contribution, Members, Round, Sums
from fedpareto.federated.contributions.members import behaviour, is_clipped, one_by_one, sums_of_one
from fedpareto.federated.inputs.canaries import in_place_of
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.clipping import clip_factor, global_norm, scale

PyTree = Any


@dataclass(frozen=True)
class ClientUpdates(Contribution):
    """The algorithm's update of each client, clipped, and weighted by its number of examples if weights are asked for."""

    def members(self, static: ProgramConfig, data: DeviceData, run_params: RunParams, this: Round) -> Members:
        """The updates of several clients."""
        key_local = jax.random.fold_in(jax.random.wrap_key_data(run_params.public_key), this.number)
        algorithm = static.algorithm_of(run_params)

        def one(client: jax.Array) -> tuple[Sums, PyTree | None]:
            index, count = (
                data.train_index[run_params.partition, client],
                data.train_count[run_params.partition, client],
            )
            responds, share_of_steps = behaviour(static, run_params, this, client)
            problem = LocalProblem(
                apply=static.model.apply,
                loss=static.task.loss,
                work=static.work,
                params=this.params,
                examples=data.train,
                index=index,
                count=count,
                learning_rate=run_params.client_learning_rate,
                key=jax.random.fold_in(key_local, client),
                client=client,
                responds=responds,
                share_of_steps=share_of_steps,
                augmentation=static.augmentation,
            )
            update, kept = algorithm.client(problem, this.memory.algorithm)
            if run_params.canaries is not None:
                update = update._replace(delta=in_place_of(run_params.canaries, client, update.delta))
            norm = global_norm(update.delta)
            clipped = scale(update.delta, _factor(static, norm, this.clip_norm, count))
            noise_key = jax.random.fold_in(this.key_noise, client)
            sent = self.noise.on_member(static, run_params, this, noise_key, clipped)
            return sums_of_one(sent, responds, is_clipped(norm, this.clip_norm), norm), kept

        return one_by_one(one)

    def simulated(self, static: ProgramConfig, run_params: RunParams, params: PyTree, examples: Examples) -> PyTree:
        """The clipped and weighted update of a client with these examples, which it takes in their order."""
        records = len(examples.x)
        problem = LocalProblem(
            apply=static.model.apply,
            loss=static.task.loss,
            work=static.work,
            params=params,
            examples=examples,
            index=jnp.arange(records),
            count=jnp.int32(records),
            learning_rate=run_params.client_learning_rate,
            key=jax.random.key(0),
            client=jnp.int32(0),
            in_order=True,
        )
        update, _ = static.algorithm_of(run_params).client(problem, None)
        return scale(update.delta, _factor(static, global_norm(update.delta), run_params.clip_norm, records))

    def local_steps(self, static: ProgramConfig, records: int) -> int:
        """Steps of local training."""
        return static.work.steps_of(records)


def _factor(static: ProgramConfig, norm: jax.Array, clip_norm: jax.Array, examples: jax.Array | int) -> jax.Array:
    """The clip factor times the client's weight, which is at most 1."""
    factor = clip_factor(norm, clip_norm)
    if static.weight_cap is not None:
        factor = factor * jnp.minimum(examples, static.weight_cap) / static.weight_cap
    return factor
