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
from fedpareto.federated.algorithms.local_sgd import example_losses, local_sgd
from fedpareto.federated.engine.evaluation import example_scores
from fedpareto.federated.execution.chunks import by_chunk
from fedpareto.federated.execution.over_runs import Program, compile_over_runs
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import AloneState
from fedpareto.models.model import Model
from fedpareto.tasks.final_scores import answers

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
    """What the federated run asks of one client in expectation over all its rounds."""
    times = rounds * sampling_rate
    if work.steps is None:
        return LocalWork(max(1, round(times * (work.epochs or 1))), None, work.batch_size)
    return LocalWork(None, max(1, round(times * work.steps)), work.batch_size)


def make_alone_program(static: ProgramConfig, devices: list[jax.Device], runs_at_once: int = 1) -> Program:
    """The program of a bundle of `alone` runs."""
    work = expected_work(static.work, static.rounds, static.sampling_rate)

    def first_params(model: Model, hyper: RunParams) -> PyTree:
        public = jax.random.wrap_key_data(hyper.public_key)
        return model.init(jax.random.fold_in(public, static.rounds + 1))

    def init_run(data: DeviceData, hyper: RunParams) -> AloneState:
        model = static.preprocessed(hyper).model
        unknown = jnp.full((static.clients,), jnp.nan, jnp.float32)
        params = first_params(model, hyper)
        said = jax.eval_shape(lambda p: answers(model.apply(p, data.test.x[:1])), params)
        losses, correct = example_scores(model.apply, params, data.test.x, data.test.y)
        return AloneState(
            block=jnp.int32(0),
            accuracy=unknown,
            loss=unknown,
            answers=jnp.zeros((static.clients, data.test.y.shape[0]), said.dtype),
            first_accuracy=jnp.mean(correct),
            first_loss=jnp.mean(losses),
        )

    def advance_run(data: DeviceData, hyper: RunParams, state: AloneState, stop: jax.Array) -> AloneState:
        public = jax.random.wrap_key_data(hyper.public_key)
        model = static.preprocessed(hyper).model
        params = first_params(model, hyper)

        def train_client(client: jax.Array, state: AloneState) -> AloneState:
            problem = LocalProblem(
                apply=model.apply,
                work=work,
                params=params,
                examples=data.train,
                index=data.train_index[hyper.partition, client],
                count=data.train_count[hyper.partition, client],
                learning_rate=hyper.client_learning_rate,
                key=jax.random.fold_in(public, client),
                client=client,
                augmentation=static.augmentation,
            )
            update = local_sgd(problem)
            own = jax.tree.map(jnp.add, params, update.delta)
            losses, correct, said = by_chunk(
                model.apply,
                own,
                data.test.x,
                data.test.y,
                lambda logits, y: (example_losses(logits, y), jnp.argmax(logits, axis=1) == y, answers(logits)),
            )
            return state._replace(
                block=client + 1,
                accuracy=state.accuracy.at[client].set(jnp.mean(correct.astype(jnp.float32))),
                loss=state.loss.at[client].set(jnp.mean(losses)),
                answers=state.answers.at[client].set(said),
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
