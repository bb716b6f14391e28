"""Trains a bundle: in segments, with progress, checkpoints and a store of finished runs."""

from __future__ import annotations

import bisect
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedpareto.components import provenance
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.execution.chunks import by_chunk
from fedpareto.federated.execution.over_runs import Program
from fedpareto.federated.fingerprint import fingerprints
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.inputs.program_inputs import RunParams
from fedpareto.federated.inputs.setup import model_arrays
from fedpareto.federated.inputs.state import AloneState, State
from fedpareto.federated.job import job_of
from fedpareto.federated.store import store
from fedpareto.federated.store.checkpoint import Checkpoints
from fedpareto.federated.store.outcome import number, outcome
from fedpareto.federated.store.store import RunResult
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import SecureAggregation
from fedpareto.statuses import OK, STATUSES
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.run import Bundle, Run
from fedpareto.tasks.interface import Task

SEGMENT_SECONDS = 10.0
PREPROCESSING = "preprocessing"  # before the names of what a run has learned of the records, in the file of its model
PyTree = Any


def train_bundle(
    bundle: Bundle,
    accounted: Mapping[str, AccountedRun],
    data: PreparedData,
    *,
    runs_folder: Path,
    checkpoints_folder: Path,
    execution: Mapping[str, int | str] | None = None,
) -> list[RunResult]:
    """Trains the runs of a bundle that the store lacks, and returns all of them in the bundle's order.

    Killed at any moment and started again, it loses at most its last segment and ends with the same numbers.

    Args:
      bundle: The runs.
      accounted: Plan and guarantees by run id; the plans train the runs.
      data: The prepared data set.
      runs_folder: The store of finished runs.
      checkpoints_folder: Where half-trained bundles are kept.
      execution: Fields of `devices.Layout` that the user has set.
    """
    plans = {run.run_id: accounted[run.run_id].plan for run in bundle.runs}
    made_by = fingerprints(bundle.runs, plans, data.content_sha256)
    kept = {name: store.load(runs_folder, name, made_by[name]) for name in made_by}
    missing = [run for run in bundle.runs if kept[run.run_id] is None]
    log(f"bundle {bundle.bundle_id}: {len(bundle.runs)} runs, {len(missing)} to train")
    for line in sorted(
        {
            _stop(run, accounted[run.run_id])
            for run in missing
            if accounted[run.run_id].plan.rounds < run.training.rounds
        }
    ):
        log(line)
    if missing:
        names = " ".join(f"{run.run_id} {made_by[run.run_id]}" for run in missing)
        checkpoints = Checkpoints(checkpoints_folder / hashlib.sha256(names.encode()).hexdigest()[:16])
        for result in _train(missing, accounted, data, made_by, checkpoints, runs_folder, execution):
            kept[result.run_id] = result
        checkpoints.clear()
    return [result for result in kept.values() if result is not None]


def _stop(run: Run, accounted: AccountedRun) -> str:
    plan = accounted.plan
    return (
        f"noise multiplier {plan.noise_multiplier:.4g} stops after round {plan.rounds} of {run.training.rounds}: "
        f"one more would spend more than epsilon {run.to_dict()['stop_at_epsilon']:g}"
    )


def log(line: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _train(
    runs: Sequence[Run],
    accounted: Mapping[str, AccountedRun],
    prepared: PreparedData,
    made_by: Mapping[str, str],
    checkpoints: Checkpoints,
    runs_folder: Path,
    execution: Mapping[str, int | str] | None,
) -> list[RunResult]:
    plans = {run.run_id: accounted[run.run_id].plan for run in runs}
    job = job_of(runs, plans, prepared, execution)
    program, data = job.program, job.data
    state = program.init(data, job.run_params)
    block = 0
    restored = checkpoints.restore(state)
    if restored is not None:
        block, state = restored
        log(f"resumed after block {block} of {program.blocks}")
    best = max((accounted[run.run_id].final.epsilon for run in runs if plans[run.run_id].private), default=math.inf)
    task = job.static.task
    shown = task.by_evaluation[0].name
    state, seconds = _run_segments(
        program, data, job.run_params, state, block, checkpoints=checkpoints, epsilon=best, metric=shown
    )

    state, run_params = jax.device_get((state, job.run_params))
    costs = _secure_aggregation(plans)

    @jax.jit
    def answered(row: RunParams, test: Examples, params: PyTree) -> jax.Array:
        """Predictions of a model for the test set, in chunks and on the device; they are scored on the host."""
        own = job.static.preprocessed(row).model
        found: jax.Array = by_chunk(own.apply, params, test.x, test.y, lambda outputs, _: task.predictions(outputs))
        return found

    results = []
    for i, run in enumerate(runs):
        own, row = (jax.tree.map(lambda leaf, i=i: leaf[i], tree) for tree in (state, run_params))
        result = RunResult(
            run_id=run.run_id,
            fingerprint=made_by[run.run_id],
            wall_s=seconds / len(runs),
            device=job.layout.kind,
            execution=job.layout.to_dict(),
            versions=provenance.versions(),
            parameters=job.static.model.parameters,
            secure_aggregation=costs.get(plans[run.run_id].sum),
            **outcome(run.evaluation_rounds, plans[run.run_id].rounds, task, own, prepared.y_test),
            final=_final(task, own, partial(answered, row, data.test), prepared),
        )
        kept = {f"{PREPROCESSING}/{name}": array for name, array in (job.learned or {}).get(run.run_id, {}).items()}
        store.save(runs_folder, result, kept | model_arrays(own.model) if isinstance(own, State) else None)
        results.append(result)
    for line in _endings(results):
        log(line)
    return results


def _endings(results: Sequence[RunResult]) -> list[str]:
    """A line for each status but `ok`: how many runs have it, an example, and its message."""
    lines = []
    for status, says in STATUSES.items():
        own = [result.run_id for result in results if result.status == status]
        if own and status != OK:
            lines.append(f"{len(own)} of {len(results)} runs {status.replace('_', ' ')} (first {own[0]}): {says}")
    return lines


def _secure_aggregation(plans: Mapping[str, PrivacyPlan]) -> dict[SecureAggregation | None, dict[str, Any]]:
    """The cost of the real protocol to a client and the server, from one session for each size of sum among the plans."""
    from fedpareto.privacy.secure_aggregation.cost import measure

    costs: dict[SecureAggregation | None, dict[str, Any]] = {}
    for size, mechanism in {plan.sum: plan.noise for plan in plans.values() if plan.sum is not None}.items():
        cost = measure(size.participants, mechanism.dimension(size.dimension), size.bits, size.fewest)
        log(
            f"secure aggregation of {size.participants} clients measured: {cost.client_seconds:.3f} s a client, "
            f"{cost.server_seconds:.3f} s the server, {cost.bytes_up / 1e6:.2f} MB up a client and round"
        )
        costs[size] = asdict(cost)
    return costs


def _run_segments(
    program: Program,
    data: Any,
    run_params: Any,
    state: PyTree,
    block: int,
    *,
    checkpoints: Checkpoints,
    epsilon: float,
    metric: str,
) -> tuple[PyTree, float]:
    """Runs the rest of the blocks in segments of about `SEGMENT_SECONDS`.

    The first segment is one block and includes compilation; the rate is measured on the others, by rounds (or clients that
    train alone): the first block may have none, and the last fewer than others.

    Returns:
      The final state, and the seconds that all blocks take, compilation not counted, also those before a resumption.
    """
    done = (0, *program.rounds_after)
    timed_seconds, timed_rounds, compiling, rate = 0.0, 0, True, 0.0
    while block < program.blocks:
        ahead = SEGMENT_SECONDS / rate if rate else 0.0
        stop = max(block + 1, bisect.bisect_right(done, done[block] + ahead) - 1)
        started = time.perf_counter()
        state = jax.block_until_ready(program.advance(data, run_params, state, stop))
        took = time.perf_counter() - started
        if compiling:
            log(f"compiled, first block in {took:.1f} s")
        else:
            timed_seconds, timed_rounds = timed_seconds + took, timed_rounds + done[stop] - done[block]
            rate = timed_seconds / max(1, timed_rounds)
        block = stop
        _report(program, state, block, rate * (done[-1] - done[block]), epsilon, metric)
        # A quick segment is not worth a checkpoint. Nor is the first: it is the evaluation before any training (or one
        # client alone), and what it compiled is in a cache already.
        if block < program.blocks and not compiling and took > SEGMENT_SECONDS / 4:
            checkpoints.save(block, state)
        compiling = False
    return state, rate * done[-1]


def _report(program: Program, state: PyTree, block: int, seconds: float, epsilon: float, metric: str) -> None:
    left = "" if seconds == 0 and block < program.blocks else f", {seconds:.0f} s left"
    if isinstance(state, State):
        mean = float(np.nanmean(np.asarray(state.metrics[metric])[:, block - 1]))
        score = f"mean {metric.replace('_', ' ')} {mean:.3f}"
        what = f"round {program.rounds_after[block - 1]}/{program.rounds_after[-1]}, {score}"
    else:
        what = f"client {block}/{program.blocks} trained alone"
    log(f"{what}, largest epsilon of the bundle at its end {epsilon:.3g}{left}")


def _final(
    task: Task, state: State | AloneState, answered: Callable[[PyTree], jax.Array], prepared: PreparedData
) -> dict[str, float | None]:
    """`Task.final` of the final state of one run; all None where it diverged."""
    models: Sequence[np.ndarray]
    if isinstance(state, AloneState):
        models = list(state.predictions) if np.isfinite(state.scores["loss"]).all() else []
    else:
        models = [np.asarray(answered(state.model))] if state.diverged_round < 0 else []
    scores = [task.final_metrics(predictions, prepared.y_test) for predictions in models]
    return {
        metric.name: number(float(np.mean([score[metric.name] for score in scores]))) if scores else None
        for metric in task.final
    }
