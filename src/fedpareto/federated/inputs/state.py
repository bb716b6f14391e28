"""The state of a run: from round to round, and from one evaluation to the next."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.tasks.interface import Task

PyTree = Any
# Of the last round before an evaluation, beside the scores of the model.
OF_LAST_ROUND = ("cohort_size", "clipped_fraction", "update_norm", "clip_norm", "wrapped_fraction")
# Those that no mechanism covers: taken of the members without noise, for whoever runs the simulation. They decide nothing else.
NOISELESS = ("cohort_size", "clipped_fraction", "update_norm")


class ServerState(NamedTuple):
    """The server's state from round to round, other than model and optimizer; a field is None where a run has no use for it.

    Attributes:
      clip_norm: float32 scalar, the adaptive clip norm.
      mechanism: State of the mechanism, such as the noise of the last rounds.
      algorithm: State of the algorithm, such as control variates.
      average: Moving average of the parameters, like them.
    """

    clip_norm: jax.Array | None = None
    mechanism: PyTree | None = None
    algorithm: PyTree | None = None
    average: PyTree | None = None


class Carried(NamedTuple):
    """The state that one round hands to the next: parameters, server optimizer, and `ServerState`."""

    params: PyTree
    optimizer_state: PyTree
    memory: ServerState

    @property
    def model(self) -> PyTree:
        """The parameters that are scored and kept: their moving average where the run has one."""
        return self.params if self.memory.average is None else self.memory.average


class State(NamedTuple):
    """The state of one run; every leaf has a leading runs axis outside `jax.lax.map`.

    Attributes:
      block: int32, evaluations done; block b ends at `evaluation_rounds[b]`.
      params: Model parameters.
      optimizer_state: State of the server optimizer.
      metrics: `metric_names` by name, float32 [evaluations], NaN where not yet known.
      diverged_round: int32, the first round after which the parameters, or at an evaluation their loss on the test set, were
        not finite; or -1.
      overflow_rounds: int32, rounds whose cohort did not fit in the buffer.
      refused_rounds: int32, rounds in which too few answered for secure aggregation.
      memory: The server's state between rounds.
    """

    block: jax.Array
    params: PyTree
    optimizer_state: PyTree
    metrics: dict[str, jax.Array]
    diverged_round: jax.Array
    overflow_rounds: jax.Array
    refused_rounds: jax.Array
    memory: ServerState

    @property
    def carried(self) -> Carried:
        """The state that the next round starts from."""
        return Carried(self.params, self.optimizer_state, self.memory)

    @property
    def model(self) -> PyTree:
        """The parameters that are scored and kept."""
        return self.carried.model


class AloneState(NamedTuple):
    """Scores of the clients' own models on the whole test set, with a leading runs axis outside `jax.lax.map`.

    Attributes:
      block: int32, clients done.
      scores: float32 [clients] by name of a metric that is taken at every evaluation, NaN where not yet known.
      predictions: [clients, test examples, ...], `Task.predictions` of each model.
      first_scores: float32 by name, those of the parameters that all of them start from.
    """

    block: jax.Array
    scores: dict[str, jax.Array]
    predictions: jax.Array
    first_scores: dict[str, jax.Array]


def metric_names(task: Task) -> tuple[str, ...]:
    """All that is taken at an evaluation: the scores of the model, and the report of the last round."""
    return *task.score_names, *OF_LAST_ROUND


def first_params(static: ProgramConfig, run_params: RunParams) -> PyTree:
    """The parameters before the first round, from the public key: those of all runs of a seed."""
    key = jax.random.fold_in(jax.random.wrap_key_data(run_params.public_key), static.rounds + 1)
    return static.model.init(key)


def first_state(static: ProgramConfig, run_params: RunParams) -> State:
    """The state of one run before its first round."""
    params = first_params(static, run_params)
    empty = jnp.full((len(static.evaluation_rounds),), jnp.nan, jnp.float32)
    return State(
        block=jnp.int32(0),
        params=params,
        optimizer_state=static.server(run_params.server).init(params),
        metrics=dict.fromkeys(metric_names(static.task), empty),
        diverged_round=jnp.int32(-1),
        overflow_rounds=jnp.int32(0),
        refused_rounds=jnp.int32(0),
        memory=first_memory(static, run_params, params),
    )


def first_memory(static: ProgramConfig, run_params: RunParams, params: PyTree) -> ServerState:
    """The memory before the first round."""
    return ServerState(
        clip_norm=None if run_params.adaptive is None else run_params.clip_norm,
        mechanism=static.mechanism.init(params, run_params.mechanism),
        algorithm=static.algorithm.init(params, static.clients),
        average=None if static.averaging is None else params,
    )
