"""How large may it be? A wide residual network with sixteen views of every image, and ten thousand clients a round."""

from __future__ import annotations

import statistics
from typing import Any

import gpu_cases
from gpu_stage import Stage, job_of_bundle, made_up, memory, plans_of
from ours import blocks_of, bundle_of

from fedpareto.config import load as config
from fedpareto.federated.job import job_of
from fedpareto.sweep import sweep as plan

PAPER = gpu_cases.STUDIES.parents[1] / "config" / "papers" / "de-cifar-wrn.yaml"


def large(stage: Stage) -> None:
    """WRN-16-4 of De et al. (2022) in each precision, then a round of ten thousand clients."""
    network = stage.of("WRN-16-4, 16 views", "WRN-10-1, 2 views")
    for precision in ("float32", "tensorfloat32"):
        stage.measure(f"{network}, {precision}", wide_network, stage, precision)
    clients = stage.of(10_000, 20)
    stage.measure(f"2NN, {clients:,} clients a round", many_clients, clients)


def wide_network(stage: Stage, precision: str) -> dict[str, Any]:
    """Steps of 4,096 expected images in 16 views each: the first, and as many of a hundred as there is time for."""
    studies = plan.plan_sweep(config.load([PAPER])).runs.values()
    run = next(run for run in studies if run.training.rounds == 875)
    records = stage.of(50_000, 64)
    run = run.replace(
        rounds=101, evaluate_every=1, records=records, sampling_rate=stage.of(run.cohort.sampling_rate, 0.1)
    )
    if stage.reduced:
        run = run.replace(rounds=2, model={**run.model, "depth": 10, "width": 1})
        run = run.replace(augmentation={**(run.training.augmentation or {}), "multiplicity": 2})
    data = made_up((32, 32, 3), records, 128)
    bundle = plan.Bundle((run,))
    job = job_of(bundle.runs, plans_of(bundle, data), data, {"precision": precision})
    compiling, times, _ = blocks_of(job, stage.left / 2)
    images = (run.training.augmentation or {})["multiplicity"] * run.cohort.sampling_rate * records
    rest = times[1:] or times
    return {
        "value": round(images / statistics.median(rest)),
        "unit": "images a second",
        "first_step_s": round(times[0], 3),
        "step_s": round(statistics.median(rest), 4),
        "steps": len(times),
        "compile_s": round(compiling, 2),
        "execution": job.layout.to_dict(),
        **memory(),
    }


def many_clients(clients: int) -> dict[str, Any]:
    """A round of all clients, six images each."""
    data = made_up((28, 28, 1), 6 * clients, 100)
    changes = {"clients": clients, "sampling_rate": 1.0, "rounds": 10, "evaluate_every": 5, "delta": 1e-5}
    bundle = bundle_of("W1", **changes)
    runs = tuple(run.replace(records=None) for run in bundle.runs)
    job = job_of_bundle(plan.Bundle(runs), data)
    compiling, times, _ = blocks_of(job)
    row = {"value": float(f"{times[-1] / 5:.4g}"), "unit": "s a round", "compile_s": round(compiling, 2)}
    return row | {"execution": job.layout.to_dict(), **memory()}
