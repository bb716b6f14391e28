"""This program's side: the very functions that `snakemake sweep` calls.

python benchmarks/ours.py W1|W2|W3|W3p|W4|W5
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import workloads as w
import yaml

from fedpareto.system.jax_settings import available_cores, settle, use_all_cores

settle()
use_all_cores()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from fedpareto.config import load as config  # noqa: E402
from fedpareto.data import arrays  # noqa: E402
from fedpareto.data.prepare import prepare  # noqa: E402
from fedpareto.federated.algorithms.fedavg import FedAvg  # noqa: E402
from fedpareto.federated.algorithms.interface import LocalWork  # noqa: E402
from fedpareto.federated.engine.program import make_program  # noqa: E402
from fedpareto.federated.execution.devices import choose  # noqa: E402
from fedpareto.federated.inputs.device_data import DeviceData, Examples  # noqa: E402
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams  # noqa: E402
from fedpareto.federated.inputs.setup import measure  # noqa: E402
from fedpareto.federated.job import Job, job_of  # noqa: E402
from fedpareto.models.model import build  # noqa: E402
from fedpareto.privacy.mechanisms.gaussian import Gaussian  # noqa: E402
from fedpareto.sweep import sweep as plan  # noqa: E402
from fedpareto.sweep.account import account, to_json  # noqa: E402
from fedpareto.tasks.classification import Classification  # noqa: E402

STUDIES = Path(__file__).with_name("studies.yaml")
POPULATIONS = (10_000, 100_000, 1_000_000)


def bundle_of(study: str, **changes: Any) -> plan.Bundle:
    """The private runs of a study, whose keys may be changed, as one bundle."""
    made = plan.plan_sweep(config.load([STUDIES], {"only": study, **changes}))
    return plan.Bundle(tuple(run for run in made.runs.values() if run.privacy))


def prepared(folder: Path) -> Path:
    """MNIST as the sweep prepares it."""
    file = folder / "mnist.npz"
    prepare("mnist", file, folder / "mnist.json", None)
    return file


def blocks_of(job: Job, most_seconds: float = math.inf) -> tuple[float, list[float], Any]:
    """Runs a job block by block.

    Returns:
      Seconds of the first block, which compiles; seconds of each other block; the final state, or that after `most_seconds`.
    """
    started, times = time.perf_counter(), []
    state = job.program.init(job.data, job.run_params)
    state = jax.block_until_ready(job.program.advance(job.data, job.run_params, state, 1))
    compiling = time.perf_counter() - started
    for block in range(2, job.program.blocks + 1):
        if times and time.perf_counter() - started + times[-1] > most_seconds:
            break
        begun = time.perf_counter()
        state = jax.block_until_ready(job.program.advance(job.data, job.run_params, state, block))
        times.append(time.perf_counter() - begun)
    return compiling, times, state


def rounds(study: str, unit: str) -> None:
    """Times the blocks of rounds between evaluations, the first of which compiles and is left out."""
    with tempfile.TemporaryDirectory() as folder:
        data = arrays.read(prepared(Path(folder)))
    bundle = bundle_of(study)
    plans = {run_id: accounted.plan for run_id, accounted in account(bundle, measure(bundle.runs, data)).items()}
    job = job_of(bundle.runs, plans, data)
    _, seconds, state = blocks_of(job)
    scale = 1e3 if unit.startswith("ms") else 1.0
    # The last block is short, and mostly evaluation.
    times = [scale * took / n for took, n in zip(seconds[:-1], np.diff(job.static.evaluation_rounds), strict=False)]
    accuracy = float(np.asarray(state.metrics["accuracy"])[0, -2])
    w.report("fedpareto", study, times, unit, accuracy=round(accuracy, 4), layout=job.layout.to_dict())


def plain_times(chunk: int, x: np.ndarray, y: np.ndarray, steps: int = 300) -> list[float]:
    """Milliseconds of our plain step: the mean gradient of 256 examples in chunks on all devices, without any privacy."""
    model = build({"name": "dp_cnn"}, (28, 28, 1), 10)
    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.asarray(devices), ("batch",))
    whole, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("batch")

    def gradient(params, x, y):
        def chunk_sum(total, rows):
            loss = lambda p: jnp.sum(Classification().loss(model.apply(p, x[rows]), y[rows]))  # noqa: E731
            return jax.tree.map(jnp.add, total, jax.grad(loss)(params)), None

        zero = jax.tree.map(jnp.zeros_like, params)
        total, _ = jax.lax.scan(chunk_sum, zero, jnp.arange(x.shape[0]).reshape(-1, chunk))
        return jax.lax.psum(total, "batch")

    shared = jax.shard_map(gradient, mesh=mesh, in_specs=(whole, split, split), out_specs=whole, check_vma=False)

    @partial(jax.jit, static_argnums=3)
    def train(params, x, y, steps):
        def step(i, params):
            rows = jax.random.randint(jax.random.fold_in(jax.random.key(0), i), (w.RECORD_BATCH,), 0, w.RECORDS)
            sums = shared(params, x[rows], y[rows])
            return jax.tree.map(lambda p, g: p - w.RECORD_LR / w.RECORD_BATCH * g, params, sums)

        return jax.lax.fori_loop(0, steps, step, params)

    images, labels = jnp.asarray(x)[..., None], jnp.asarray(y, jnp.int32)
    params = jax.block_until_ready(train(model.init(jax.random.key(0)), images, labels, steps))
    times = []
    for _ in range(3):
        started = time.perf_counter()
        params = jax.block_until_ready(train(params, images, labels, steps))
        times.append(1e3 * (time.perf_counter() - started) / steps)
    return times


def plain() -> None:
    """W3p, in the chunks that suit a CPU's cache."""
    w.report("fedpareto", "W3p", plain_times(16, *w.mnist()), "ms a step")


def grid() -> None:
    """W4: the training job of the twelve runs as a process, without and with the compiled program in its cache."""
    bundle = bundle_of("W4")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec, privacy = folder / "spec.json", folder / "privacy.json"
        spec.write_text(bundle.to_json())
        privacy.write_text(to_json(account(bundle)))
        command = [sys.executable, "-m", "fedpareto", "train", "--spec", spec, "--privacy", privacy]
        command += ["--data", prepared(folder)]
        seconds = []
        for attempt in ("cold", "cached"):
            started = time.perf_counter()
            subprocess.run([*command, "--output", folder / attempt], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
            for result in folder.glob("results/runs/*/result.json"):
                result.unlink()  # trained again, not found in the store
    w.report("fedpareto", "W4", seconds[:1], "s in all", cached=round(seconds[1], 2), cores=available_cores())


def scale() -> None:
    """W5: seconds a round of 1,000 clients and peak memory by population, and 10,000 runs from parse to plan."""
    for population in POPULATIONS:
        command = [sys.executable, __file__, "population", str(population)]
        subprocess.run(command, check=True, env={**os.environ, "JAX_NUM_CPU_DEVICES": str(available_cores())})
    with tempfile.TemporaryDirectory() as folder:
        grid = {"noise_multiplier": [0.5 + 0.01 * i for i in range(100)], "clip_norm": [i / 10 for i in range(1, 21)]}
        tree = yaml.safe_load(STUDIES.read_text())
        tree |= {"studies": {"many": tree["studies"]["W4"] | grid | {"seeds": 5, "max_runs": 20_000}}}
        file = Path(folder, "many.json")
        file.write_text(json.dumps(tree).replace("1e-05", "1.0e-5"))
        started = time.perf_counter()
        command = [sys.executable, "-m", "fedpareto", "plan", "--json", "--configfile", str(file)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - started
    w.report("fedpareto", "W5 plan", [seconds], "s in all", runs=len(json.loads(out.stdout)["runs"]))


def population_of(clients: int, examples: int = 4, rounds: int = 20) -> None:
    """One line of W5: clients of four examples of 32 features each."""
    model, cohort = build({"name": "mlp", "hidden": "32"}, (32,), 10), 1000
    rng = np.random.default_rng(0)
    n = clients * examples
    data = DeviceData(
        train=Examples(jnp.asarray(rng.random((n, 32), np.float32)), jnp.asarray(rng.integers(0, 10, n), jnp.int32)),
        test=Examples(jnp.zeros((100, 32)), jnp.zeros(100, jnp.int32)),
        train_index=jnp.arange(n, dtype=jnp.int32).reshape(1, clients, examples),
        train_count=jnp.full((1, clients), examples, jnp.int32),
        test_client=jnp.zeros((1, 100), jnp.int32),
    )
    layout, devices = choose(1, model, cohort, "client")
    static = ProgramConfig(
        model=model,
        task=Classification(),
        algorithm=FedAvg(),
        mechanism=Gaussian(),
        work=LocalWork(1, None, 4),
        clients=clients,
        sampling_rate=cohort / clients,
        max_cohort_size=cohort + math.ceil(8 * math.sqrt(cohort)),
        expected_cohort=float(cohort),
        optimizer="sgd",
        optimizer_flags=(),
        rounds=4 * rounds,
        evaluation_rounds=(0, 1, 1 + rounds, 1 + 2 * rounds, 1 + 3 * rounds),
        at_once=layout.at_once,
        cohort_devices=layout.cohort_devices,
    )
    run_params = RunParams(
        partition=jnp.zeros(1, jnp.int32),
        public_key=jnp.ones((1, 2), jnp.uint32),
        secret_key=jnp.ones((1, 2), jnp.uint32),
        client_learning_rate=jnp.full(1, 0.1),
        server={"learning_rate": jnp.ones(1)},
        clip_norm=jnp.ones(1),
        noise_stddev=jnp.ones(1),
        max_rounds=jnp.full(1, 4 * rounds, jnp.int32),
        target_accuracy=jnp.full(1, jnp.inf),
        algorithm={},
        dropout=jnp.zeros(1),
        stragglers=jnp.zeros(1),
    )
    program = make_program(static, devices)
    state = jax.block_until_ready(program.advance(data, run_params, program.init(data, run_params), 2))
    times = []
    for block in (3, 4, 5):
        started = time.perf_counter()
        state = jax.block_until_ready(program.advance(data, run_params, state, block))
        times.append((time.perf_counter() - started) / rounds)
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(data)) / 2**20
    more = {"population": clients, "peak_mib": round(peak), "data_mib": round(size), "devices": layout.devices}
    w.report("fedpareto", "W5", times, "s a round", **more)


def main(workload: str, *rest: str) -> None:
    if workload == "population":
        population_of(int(rest[0]))
    elif workload in ("W1", "W2"):
        rounds(workload, "s a round")
    elif workload == "W3":
        rounds(workload, "ms a step")
    else:
        {"W3p": plain, "W4": grid, "W5": scale}[workload]()


if __name__ == "__main__":
    main(*sys.argv[1:])
