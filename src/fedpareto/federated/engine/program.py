"""A whole bundle as one compiled program that can be stopped and taken up again at any evaluation.

`make_program` returns two compiled functions over a runs axis: `init` and `advance(hypers, state, stop)`. The number
of blocks to run is an argument of the program, so that segments of any length share one compilation, and the numbers
do not depend on how a run was cut into segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fedpareto.federated.engine.evaluation import evaluate
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.execution.cohort_sum import COHORT_AXIS
from fedpareto.federated.inputs.program_inputs import DeviceData, ProgramConfig, RunParams, ServerState
from fedpareto.tasks.interface import Task

PyTree = Any
# Of the last round before an evaluation, beside the scores of the model.
REPORTED = ("cohort_size", "clipped_fraction", "update_norm", "clip_norm", "wrapped_fraction")
RUNS = "runs"


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
      memory: What rounds hand on beside the model.
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
    def model(self) -> PyTree:
        """The parameters that are scored and kept: their moving average where the run has one."""
        return scored(self.params, self.memory)


@dataclass(frozen=True)
class Program:
    """A compiled bundle.

    Attributes:
      init: hypers -> state, both with a leading runs axis.
      advance: (data, hypers, state, stop) -> state after blocks up to `stop`; `state` is donated.
      blocks: Number of blocks to run in all.
      temporary_bytes: (data, hypers) -> what `advance` needs beside its arguments and its result, as compiled.
      shards: Groups of devices; the runs axis must be a multiple of it.
      rounds_after: Rounds done after each number of blocks (for progress).
    """

    init: Callable[[DeviceData, RunParams], PyTree]
    advance: Callable[[DeviceData, RunParams, PyTree, int], PyTree]
    temporary_bytes: Callable[[DeviceData, RunParams], int]
    blocks: int
    shards: int
    rounds_after: tuple[int, ...]


def make_program(static: ProgramConfig, devices: list[jax.Device], runs_at_once: int = 1) -> Program:
    """The program of a bundle on `devices`, `runs_at_once` runs at a time on each group that shares a cohort."""

    def init_run(data: DeviceData, hyper: RunParams) -> State:
        return first_state(static, hyper)

    def advance_run(data: DeviceData, hyper: RunParams, state: State, stop: jax.Array) -> State:
        own = static.preprocessed(hyper)
        return jax.lax.fori_loop(state.block, stop, lambda b, s: _block(own, data, hyper, s), state)

    blocks = len(static.evaluation_rounds)
    return compile_over_runs(
        init_run, advance_run, devices, static.cohort_devices, runs_at_once, blocks, static.evaluation_rounds
    )


def first_state(static: ProgramConfig, hyper: RunParams) -> State:
    """The state of one run before its first round."""
    key = jax.random.fold_in(jax.random.wrap_key_data(hyper.public_key), static.rounds + 1)
    params = static.model.init(key)
    empty = jnp.full((len(static.evaluation_rounds),), jnp.nan, jnp.float32)
    return State(
        block=jnp.int32(0),
        params=params,
        optimizer_state=static.server(hyper.server).init(params),
        metrics=dict.fromkeys(metric_names(static.task), empty),
        diverged_round=jnp.int32(-1),
        overflow_rounds=jnp.int32(0),
        refused_rounds=jnp.int32(0),
        memory=_first_memory(static, hyper, params),
    )


def metric_names(task: Task) -> tuple[str, ...]:
    """All that is taken at an evaluation: the scores of the model, and the report of the last round."""
    return *task.score_names, *REPORTED


def compile_over_runs(
    init_run: Callable[[DeviceData, RunParams], PyTree],
    advance_run: Callable[[DeviceData, RunParams, PyTree, jax.Array], PyTree],
    devices: list[jax.Device],
    cohort_devices: int,
    runs_at_once: int,
    blocks: int,
    rounds_after: tuple[int, ...],
) -> Program:
    """Maps functions of one run over a runs axis that is sharded over groups of `cohort_devices` devices.

    In each group runs go through `jax.lax.map`. One at a time (a CPU), a run's numbers do not depend, to the bit, on
    the other runs of its bundle.
    """
    mesh = Mesh(np.asarray(devices).reshape(-1, cohort_devices), (RUNS, COHORT_AXIS))
    split, whole = PartitionSpec(RUNS), PartitionSpec()
    batch_size = None if runs_at_once == 1 else runs_at_once

    def init(data: DeviceData, hypers: RunParams) -> PyTree:
        return jax.lax.map(lambda hyper: init_run(data, hyper), hypers, batch_size=batch_size)

    def advance(data: DeviceData, hypers: RunParams, state: PyTree, stop: jax.Array) -> PyTree:
        return jax.lax.map(
            lambda pair: advance_run(data, pair[0], pair[1], stop), (hypers, state), batch_size=batch_size
        )

    def sharded(function: Callable[..., PyTree], specs: tuple[PartitionSpec, ...]) -> Callable[..., PyTree]:
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)

    # It runs once: what the compiler saves on it is worth more than what it would gain.
    options = {"xla_backend_optimization_level": 1} if devices[0].platform == "cpu" else {}
    compiled_init = jax.jit(sharded(init, (whole, split)), compiler_options=options)
    compiled_advance = jax.jit(sharded(advance, (whole, split, split, whole)), donate_argnums=2)
    place_runs = NamedSharding(mesh, split)

    def run_advance(data: DeviceData, hypers: RunParams, state: PyTree, stop: int) -> PyTree:
        state = jax.device_put(state, place_runs)
        return compiled_advance(data, jax.device_put(hypers, place_runs), state, jnp.int32(stop))

    def temporary_bytes(data: DeviceData, hypers: RunParams) -> int:
        state = jax.eval_shape(compiled_init, data, hypers)
        memory: Any = compiled_advance.lower(data, hypers, state, jnp.int32(0)).compile().memory_analysis()
        return int(memory.temp_size_in_bytes)

    return Program(
        temporary_bytes=temporary_bytes,
        init=lambda data, hypers: compiled_init(data, jax.device_put(hypers, place_runs)),
        advance=run_advance,
        blocks=blocks,
        shards=len(devices) // cohort_devices,
        rounds_after=rounds_after,
    )


def _block(static: ProgramConfig, data: DeviceData, hyper: RunParams, state: State) -> State:
    """Trains up to the next evaluation round, unless the run has diverged, and scores the model."""
    ends = jnp.asarray(static.evaluation_rounds, jnp.int32)
    stop = jnp.minimum(ends[state.block], hyper.max_rounds)
    start = jnp.minimum(jnp.where(state.block > 0, ends[state.block - 1], 0), stop)

    def body(r: jax.Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        params, optimizer_state, memory, diverged_round, overflow_rounds, refused_rounds, _ = carry
        params, optimizer_state, memory, now = one_round(static, data, hyper, params, optimizer_state, memory, r)
        # Asked of the released model alone: what members hand in or lose may decide nothing that anybody sees.
        finite = jnp.bool_(True)
        for leaf in jax.tree.leaves(params):
            finite &= jnp.all(jnp.isfinite(leaf))
        diverged_round = jnp.where((diverged_round < 0) & ~finite, r + 1, diverged_round)
        overflow_rounds, refused_rounds = overflow_rounds + (now.overflow > 0), refused_rounds + (now.refused > 0)
        report = {name: getattr(now, name) for name in REPORTED}
        return params, optimizer_state, memory, diverged_round, overflow_rounds, refused_rounds, report

    carry = (
        state.params,
        state.optimizer_state,
        state.memory,
        state.diverged_round,
        state.overflow_rounds,
        state.refused_rounds,
        dict.fromkeys(REPORTED, jnp.float32(jnp.nan)),
    )
    # A diverged run has nothing left to learn: its remaining rounds are skipped and cost no other run anything.
    # So are those of one that is as good as was asked for; accuracies that are not known yet are NaN, and no reason to stop.
    ended = state.diverged_round >= 0
    if "accuracy" in state.metrics:
        ended |= jnp.any(state.metrics["accuracy"] >= hyper.target_accuracy)
    start = jnp.where(ended, stop, start)
    carry = jax.lax.fori_loop(start, stop, body, carry)
    params, optimizer_state, memory, diverged_round, overflow_rounds, refused_rounds, report = carry
    scores = evaluate(
        static.model.apply,
        static.task,
        scored(params, memory),
        data.test.x,
        data.test.y,
        data.test_client[hyper.partition],
        static.clients,
        static.cohort_devices,
    )
    diverged_round = jnp.where((diverged_round < 0) & ~jnp.isfinite(scores["loss"]), stop, diverged_round)
    alive = diverged_round < 0
    values = scores | report
    metrics = {
        name: state.metrics[name].at[state.block].set(jnp.where(alive, values[name], jnp.nan))
        for name in metric_names(static.task)
    }
    return State(
        state.block + 1, params, optimizer_state, metrics, diverged_round, overflow_rounds, refused_rounds, memory
    )


def _first_memory(static: ProgramConfig, hyper: RunParams, params: PyTree) -> ServerState:
    """The memory before the first round."""
    memory = ServerState()
    if static.adaptive:
        memory = memory._replace(clip_norm=hyper.clip_norm)
    if hyper.strategy is not None:
        past = jnp.zeros((hyper.strategy.shape[0] - 1, static.model.parameters), jnp.float32)
        memory = memory._replace(past_noise=past)
    if static.algorithm == "scaffold":
        zeros = jax.tree.map(jnp.zeros_like, params)
        all_zeros = jax.tree.map(lambda leaf: jnp.zeros((static.clients, *leaf.shape), leaf.dtype), params)
        memory = memory._replace(control=zeros, client_controls=all_zeros)
    if static.averaging is not None:
        memory = memory._replace(average=params)
    return memory


def scored(params: PyTree, memory: ServerState) -> PyTree:
    """The parameters that are scored and kept of a run."""
    return params if memory.average is None else memory.average
