"""The baseline in which every client trains by itself, on its own examples only, and shares nothing.

A block is one client. Each starts from the run's initial parameters and makes as many passes as it would be asked for
in expectation by the federated run: rounds x sampling rate x local epochs, at least one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.interface import Algorithm, LocalProblem, LocalWork
from fedpareto.federated.algorithms.local_sgd import local_sgd
from fedpareto.federated.engine.evaluation import example_scores
from fedpareto.federated.execution.chunks import by_chunk
from fedpareto.federated.execution.over_runs import Program, compile_over_runs
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import AloneState, first_params
from fedpareto.models.model import Model
from fedpareto.tasks.interface import Task

PyTree = Any


@dataclass(frozen=True)
class LocalOnly(Algorithm):
    """Every client trains by itself; no rounds, no server, nothing to protect."""

    NAME: ClassVar[str] = "alone"
    REFERENCE: ClassVar[bool] = True
    VECTORS: ClassVar[int] = 0

    def program(self, static: ProgramConfig, devices: list[jax.Device], runs_at_once: int) -> Program:
        """A program whose blocks are clients."""
        return make_alone_program(static, devices, runs_at_once)


def expected_work(work: LocalWork, rounds: int, sampling_rate: float) -> LocalWork:
    """The expected work of one client over all rounds of the federated run."""
    times = rounds * sampling_rate
    if work.steps is None:
        return LocalWork(max(1, round(times * (work.epochs or 1))), None, work.batch_size)
    return LocalWork(None, max(1, round(times * work.steps)), work.batch_size)


def _scored(task: Task, model: Model, params: PyTree, data: DeviceData) -> tuple[dict[str, jax.Array], jax.Array]:
    """The metrics of a model on the whole test set, float32 scalars by name, and its predictions."""

    def score(outputs: jax.Array, targets: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        return example_scores(task, outputs, targets), task.predictions(outputs)

    values, predictions = by_chunk(model.apply, params, data.test.x, data.test.y, score)
    scores = task.scores({name: jnp.mean(value) for name, value in values.items()})
    return {metric.name: scores[metric.name] for metric in task.by_evaluation}, predictions


def make_alone_program(static: ProgramConfig, devices: list[jax.Device], runs_at_once: int) -> Program:
    """The program of a bundle of `alone` runs."""
    work, task = expected_work(static.work, static.rounds, static.sampling_rate), static.task

    def init_run(data: DeviceData, run_params: RunParams) -> AloneState:
        model = static.preprocessed(run_params).model
        unknown = jnp.full((static.clients,), jnp.nan, jnp.float32)
        params = first_params(static, run_params)
        first_scores, predictions = _scored(task, model, params, data)
        return AloneState(
            block=jnp.int32(0),
            scores=dict.fromkeys(first_scores, unknown),
            predictions=jnp.zeros((static.clients, *predictions.shape), predictions.dtype),
            first_scores=first_scores,
        )

    def advance_run(data: DeviceData, run_params: RunParams, state: AloneState, stop: jax.Array) -> AloneState:
        public = jax.random.wrap_key_data(run_params.public_key)
        model = static.preprocessed(run_params).model
        params = first_params(static, run_params)

        def train_client(client: jax.Array, state: AloneState) -> AloneState:
            problem = LocalProblem(
                apply=model.apply,
                loss=task.loss,
                work=work,
                params=params,
                examples=data.train,
                index=data.train_index[run_params.partition, client],
                count=data.train_count[run_params.partition, client],
                learning_rate=run_params.client_learning_rate,
                key=jax.random.fold_in(public, client),
                client=client,
                augmentation=static.augmentation,
            )
            update = local_sgd(problem)
            own = jax.tree.map(jnp.add, params, update.delta)
            scores, predictions = _scored(task, model, own, data)
            return state._replace(
                block=client + 1,
                scores={name: values.at[client].set(scores[name]) for name, values in state.scores.items()},
                predictions=state.predictions.at[client].set(predictions),
            )

        return jax.lax.fori_loop(state.block, stop, train_client, state)

    return compile_over_runs(
        init_run,
        advance_run,
        devices,
        cohort_devices=static.cohort_devices,
        runs_at_once=runs_at_once,
        rounds_after=tuple(range(1, static.clients + 1)),
    )
