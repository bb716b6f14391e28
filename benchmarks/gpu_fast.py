"""How fast is it? The workloads of workloads.py, grids of runs, and the forms that the engine can choose from."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import ours
from gpu_stage import Stage, evaluation_chunk, job_of_bundle, memory, mnist, seconds_of
from ours import blocks_of, bundle_of

from fedpareto.federated.contributions.per_example import clipped_gradient_sum
from fedpareto.federated.engine.evaluation import evaluate
from fedpareto.federated.inputs.setup import measure
from fedpareto.federated.job import Job
from fedpareto.federated.train import train_bundle
from fedpareto.statuses import FINISHED
from fedpareto.sweep.account import account

UNITS = {"W1": ("s a round", 1.0), "W2": ("s a round", 1.0), "W3": ("ms a step", 1e3)}


def fast(stage: Stage) -> None:
    """W1, W2, W3 by the rounds, and W3p, the plain step that W3 is held against."""
    for study in UNITS:
        stage.measure(study, rounds, stage, study)
    stage.measure("W3p", plain, stage)


def rounds(
    stage: Stage, study: str, execution: dict[str, Any] | None = None, most_seconds: float = math.inf
) -> dict[str, Any]:
    """Time of a round between evaluations, accuracy at the end, and what the local steps ask of the card."""
    data, source = mnist()
    changes = stage.of({}, {"rounds": 5, "evaluate_every": 2})
    bundle = bundle_of(study, **changes)
    job = job_of_bundle(bundle, data, execution)
    compiling, times, state = blocks_of(job, most_seconds)
    lengths = np.diff(job.static.evaluation_rounds)
    unit, scale = UNITS[study]
    # Short blocks are mostly evaluation; the first that runs is still warming up.
    whole = [scale * seconds / n for seconds, n in zip(times, lengths, strict=False) if n == max(lengths)]
    each = whole[1:] or whole
    scores = np.asarray(state.metrics["accuracy"])[0]
    return {
        **spread(each, unit),
        "compile_s": round(compiling, 2),
        "accuracy": round(float(scores[np.isfinite(scores)][-1]), 4),
        "data": source,
        "execution": job.layout.to_dict(),
        **rates(job, statistics.median(each) / scale),
    }


def spread(times: list[float], unit: str) -> dict[str, Any]:
    """Median and range of times."""
    low, value, high = (float(f"{f(times):.4g}") for f in (min, statistics.median, max))
    return {"value": value, "unit": unit, "low": low, "high": high}


def rates(job: Job, seconds: float) -> dict[str, float]:
    """Operations and bytes a second that the local steps of a round of so many seconds come to; empty where XLA counts none."""
    try:
        asked = local_cost(job)
    except (KeyError, TypeError, RuntimeError):
        return {}
    return {"tflops": round(asked["flops"] / seconds / 1e12, 4), "gb_s": round(asked["bytes"] / seconds / 1e9, 2)}


def local_cost(job: Job) -> dict[str, float]:
    """Operations and bytes of the local steps of one round, as XLA counts them for one chunk of the cohort."""
    static, params = job.static, job.static.model.init(jax.random.key(0))
    chunk = max(1, static.at_once)
    chunks = math.ceil(static.expected_cohort / chunk)
    shape = job.static.model.example_shape
    if static.unit == "record":
        step = jax.jit(
            lambda p, x, y: (
                clipped_gradient_sum(static.model, static.task.loss, p, x, y, y >= 0, jnp.float32(1)).gradient
            )
        )
        arguments = params, jnp.zeros((chunk, *shape)), jnp.zeros(chunk, jnp.int32)
    else:
        pad, batch = static.examples_pad, static.work.batch_size or static.examples_pad

        def one(p: Any, x: Any, y: Any) -> Any:
            gradient = jax.grad(lambda p: jnp.mean(static.task.loss(static.model.apply(p, x), y)))(p)
            return jax.tree.map(lambda a, g: a - 0.1 * g, p, gradient)

        step = jax.jit(jax.vmap(one))
        chunks *= (static.work.epochs or 1) * math.ceil(pad / batch)
        params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (chunk, *leaf.shape)), params)
        arguments = params, jnp.zeros((chunk, batch, *shape)), jnp.zeros((chunk, batch), jnp.int32)
    counted: Any = step.lower(*arguments).compile().cost_analysis()
    counted = counted[0] if isinstance(counted, list) else counted
    return {"flops": chunks * counted["flops"], "bytes": chunks * counted["bytes accessed"]}


def plain(stage: Stage) -> dict[str, Any]:
    """W3p in chunks of different sizes, the fastest counts."""
    sizes = [16] if jax.default_backend() == "cpu" else [64, 256]
    data, source = mnist()
    images = data.x_train[..., 0], data.y_train
    found = {size: statistics.median(ours.plain_times(size, *images, stage.of(300, 5))) for size in sizes}
    best = min(found, key=found.__getitem__)
    return {"value": float(f"{found[best]:.4g}"), "unit": "ms a step", "chunk": best, "data": source}


def grids(stage: Stage) -> None:
    """W4 with five seeds, a thousand runs at once, and time against the number of runs."""
    stage.measure("W4, 5 seeds", grid, "W4", seeds=stage.of(5, 1), **stage.of({}, {"rounds": 2, "evaluate_every": 2}))
    length = stage.of(50, 2)
    for runs in stage.of((1000, 100, 10, 1), (2,)):
        changes = {"rounds": length, "evaluate_every": length, "clip_norm": clip_norms(runs)}
        stage.measure(f"W1, {runs} runs x {length} rounds", grid, "W1", **changes)


def clip_norms(runs: int) -> list[float]:
    """So many clip norms: runs that differ in them share one proof, and the accountants are not what is timed."""
    return [round(0.2 + 0.01 * i, 2) for i in range(runs)]


def grid(study: str, **changes: Any) -> dict[str, Any]:
    """Trains a grid as a sweep does, files and scores included, and says whether it fits the memory."""
    data, source = mnist()
    bundle = bundle_of(study, **changes)
    accounted = account(bundle, measure(bundle.runs, data))
    started, before = time.perf_counter(), memory()
    with tempfile.TemporaryDirectory() as folder:
        own = {"runs_folder": Path(folder, "runs"), "checkpoints_folder": Path(folder, "checkpoints")}
        results = train_bundle(bundle, accounted, data, **own)
    seconds, running = time.perf_counter() - started, sum(result.wall_s for result in results)
    row = {"value": round(running, 2), "unit": "s of rounds", "whole_s": round(seconds, 2), "runs": len(results)}
    ok, found = sum(result.status in FINISHED for result in results), memory()
    if found.get("peak_gib") == before.get("peak_gib"):
        found.pop("peak_gib", None)  # that of an earlier, larger grid
    fits = found.get("peak_gib", 0.0) <= found.get("limit_gib", math.inf)
    row |= {"ok": ok, "right": ok == len(results) and fits, "data": source}
    return row | {"execution": results[0].execution, **found}


def forms(stage: Stage) -> None:
    """What `federated/devices.py` chooses: forms and precisions of products, clients, records, runs and test examples at once."""
    for study in ("W3", "W2"):
        for convolution in ("patches", "lax"):
            for precision in ("float32", "tensorfloat32"):
                wanted = {"convolution": convolution, "precision": precision}
                name = f"{study} {convolution} {precision}"
                stage.measure(name, rounds, stage, study, wanted, stage.of(8.0, math.inf))
    for study, sizes in {"W1": (16, 32, 64, 128), "W2": (32, 128), "W3": (64, 256, 512)}.items():
        for size in stage.of(sizes, (8,)):
            stage.measure(f"{study} {size} at once", rounds, stage, study, {"at_once": size}, stage.of(6.0, math.inf))
    for size in stage.of((1, 4, 16, 64, 256), (1, 2)):
        stage.measure(f"W1 {size} runs at once", batch, stage, size)
    for size in stage.of((128, 1000, 10_000), (128, 1000)):
        stage.measure(f"evaluation of {size} at once", evaluation, size)


def batch(stage: Stage, runs: int) -> dict[str, Any]:
    """Seconds a round of so many runs of W1 in one batch, and the memory that the compiler sets aside for them."""
    data, source = mnist()
    length = stage.of(20, 2)
    bundle = bundle_of("W1", rounds=2 * length, evaluate_every=length, clip_norm=clip_norms(runs))
    job = job_of_bundle(bundle, data, {"runs_at_once": runs, "devices": 1})
    compiling, times, _ = blocks_of(job)
    temporary = job.program.temporary_bytes(job.data, job.run_params)
    row = {"value": float(f"{1e3 * times[-1] / length / runs:.4g}"), "unit": "ms a round and run", "data": source}
    return row | {"compile_s": round(compiling, 2), "temporary_gib": round(temporary / 2**30, 4), **memory()}


def evaluation(size: int) -> dict[str, Any]:
    """Milliseconds of an evaluation of the 2NN on 10,000 test examples, so many at a time."""
    data, source = mnist()
    job = job_of_bundle(bundle_of("W1", rounds=2), data)
    params, test = job.static.model.init(jax.random.key(0)), job.data.test
    with evaluation_chunk(size):
        client = jnp.zeros(len(test.y), jnp.int32)
        score = jax.jit(lambda p, x, y: evaluate(job.static.model.apply, job.static.task, p, x, y, client, 1))
        seconds = seconds_of(lambda: score(params, test.x, test.y))
    return {"value": float(f"{1e3 * seconds:.4g}"), "unit": "ms", "data": source}


def peers(stage: Stage) -> None:
    """The same work in PyTorch on the same card: a loop over clients, `vmap` over them, and per-example gradients by `vmap`."""
    try:
        import peer_torch
    except ImportError as error:
        stage.emit("torch", skipped=f"PyTorch is not installed ({error})")
        return
    turns, steps = stage.of(12, 3), stage.of(120, 4)
    for precision in ("float32", "tensorfloat32"):
        suffix = "" if precision == "float32" else f" {precision}"
        for name, form in (("W1", "loop"), ("W1", "vmap"), ("W2", "loop"), ("W2", "vmap")):
            work = partial(peer_torch.round_times, name, form, turns)
            stage.measure(f"{name} torch {form}{suffix}", in_torch, peer_torch, precision, work, "s a round")
        for name, made in (("W3 torch vmap", peer_torch.dp_sgd), ("W3p torch", peer_torch.plain_sgd)):
            stage.measure(f"{name}{suffix}", in_torch, peer_torch, precision, partial(made, steps), "ms a step")
        if stage.reduced:
            break


def in_torch(peer_torch: Any, precision: str, work: Callable[[], list[float]], unit: str) -> dict[str, Any]:
    """Times of PyTorch, in the precision of our default or in that of its own convolutions."""
    data, source = mnist()
    peer_torch.w.mnist = lambda: (data.x_train[..., 0], data.y_train.astype(np.int64))
    for library in (peer_torch.torch.backends.cudnn, peer_torch.torch.backends.cuda.matmul):
        library.allow_tf32 = precision == "tensorfloat32"
    return {**spread(work(), unit), "precision": precision, "data": source}
