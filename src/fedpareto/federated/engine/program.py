"""The program of a bundle of federated runs: rounds up to each evaluation round, and the evaluation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.engine.evaluation import evaluate
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.execution.over_runs import Program, compile_over_runs
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import OF_LAST_ROUND, State, first_state, metric_names

PyTree = Any


def make_program(static: ProgramConfig, devices: list[jax.Device], runs_at_once: int = 1) -> Program:
    """The program of a bundle on `devices`, `runs_at_once` runs at a time on each group that shares a cohort."""

    def init_run(data: DeviceData, run_params: RunParams) -> State:
        return first_state(static, run_params)

    def advance_run(data: DeviceData, run_params: RunParams, state: State, stop: jax.Array) -> State:
        own = static.preprocessed(run_params)
        return jax.lax.fori_loop(state.block, stop, lambda b, s: _block(own, data, run_params, s), state)

    return compile_over_runs(
        init_run,
        advance_run,
        devices,
        cohort_devices=static.cohort_devices,
        runs_at_once=runs_at_once,
        rounds_after=static.evaluation_rounds,
    )


def _block(static: ProgramConfig, data: DeviceData, run_params: RunParams, state: State) -> State:
    """Trains up to the next evaluation round, unless the run has diverged, and scores the model."""
    ends = jnp.asarray(static.evaluation_rounds, jnp.int32)
    stop = jnp.minimum(ends[state.block], run_params.max_rounds)
    start = jnp.minimum(jnp.where(state.block > 0, ends[state.block - 1], 0), stop)

    def body(r: jax.Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        carried, diverged_round, overflow_rounds, refused_rounds, _ = carry
        carried, now, _ = one_round(static, data, run_params, carried, r)
        # Asked of the released model alone: what members hand in or lose may decide nothing that anybody sees.
        finite = jnp.bool_(True)
        for leaf in jax.tree.leaves(carried.params):
            finite &= jnp.all(jnp.isfinite(leaf))
        diverged_round = jnp.where((diverged_round < 0) & ~finite, r + 1, diverged_round)
        overflow_rounds, refused_rounds = overflow_rounds + (now.overflow > 0), refused_rounds + (now.refused > 0)
        report = {name: getattr(now, name) for name in OF_LAST_ROUND}
        return carried, diverged_round, overflow_rounds, refused_rounds, report

    carry = (
        state.carried,
        state.diverged_round,
        state.overflow_rounds,
        state.refused_rounds,
        dict.fromkeys(OF_LAST_ROUND, jnp.float32(jnp.nan)),
    )
    # A diverged run has nothing left to learn: its remaining rounds are skipped and cost no other run anything.
    # So are those of one that is as good as was asked for; accuracies that are not known yet are NaN, and no reason to stop.
    ended = state.diverged_round >= 0
    if "accuracy" in state.metrics:
        ended |= jnp.any(state.metrics["accuracy"] >= run_params.target_accuracy)
    start = jnp.where(ended, stop, start)
    carry = jax.lax.fori_loop(start, stop, body, carry)
    carried, diverged_round, overflow_rounds, refused_rounds, report = carry
    scores = evaluate(
        static.model.apply,
        static.task,
        carried.model,
        data.test.x,
        data.test.y,
        data.test_client[run_params.partition],
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
        block=state.block + 1,
        params=carried.params,
        optimizer_state=carried.optimizer_state,
        metrics=metrics,
        diverged_round=diverged_round,
        overflow_rounds=overflow_rounds,
        refused_rounds=refused_rounds,
        memory=carried.memory,
    )
