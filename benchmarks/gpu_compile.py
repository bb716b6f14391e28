"""Compiles the programs for an H100 that is not there, and says what memory XLA sets aside for them.

    pip install 'jax[cuda13]'
    python benchmarks/gpu_compile.py [--only TEXT] [--out benchmarks/results/h100-compiled.md]

XLA's CUDA plugin compiles for a described device (h100.txtpb) without a driver. It tunes nothing and runs nothing: what it
finds are programs that do not compile, and the sizes of their temporary memory, which `federated/batching.py` goes by.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # versions of libraries that only a card needs
os.environ["JAX_PLATFORMS"] = "cpu,cuda"
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import gpu_cases  # noqa: E402
import jax  # noqa: E402
from gpu_stage import made_up, plans_of  # noqa: E402
from jax.experimental import topologies  # noqa: E402
from ours import bundle_of  # noqa: E402

from fedpareto.config import load as config  # noqa: E402
from fedpareto.config.papers import FOLDER  # noqa: E402
from fedpareto.federated.engine.program import make_program  # noqa: E402
from fedpareto.federated.execution.devices import (  # noqa: E402
    GPU_CLIENTS_AT_ONCE,
    GPU_RECORDS_AT_ONCE,
    MEMORY_OF_A_CHUNK,
    records_in,
)
from fedpareto.federated.inputs.setup import model_of  # noqa: E402
from fedpareto.federated.job import job_of  # noqa: E402
from fedpareto.sweep import sweep as plan  # noqa: E402

MEMORY = 0.75 * 80 * 2**30  # of a card of 80 GB, what JAX takes for itself unless told otherwise


def described() -> list[jax.Device]:
    """The device of h100.txtpb."""
    text = (HERE / "h100.txtpb").read_text()
    return topologies.get_topology_desc("h100", "cuda", target_config=text, topology="1x1x1").devices


def programs() -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Name, bundle, data and layout of everything that is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        for case in gpu_cases.cases(Path(folder)):
            yield case.name, case.bundle, case.data, {"runs_at_once": 2}
    images = made_up((28, 28, 1), 60_000, 10_000)
    for study in ("W1", "W2", "W3"):
        for runs in (1, 2, 16):
            noise = [0.5 + 0.1 * i for i in range(runs)]
            yield (
                f"{study}, {runs} runs at once",
                bundle_of(study, noise_multiplier=noise),
                images,
                {"runs_at_once": runs},
            )
    for study in ("W2", "W3"):
        yield f"{study}, lax", bundle_of(study), images, {"runs_at_once": 1, "convolution": "lax"}
    papers = HERE.parent / FOLDER
    for name in ("de-cifar-wrn", "tb-cifar", "fedavg-cifar"):
        run = next(iter(plan.plan_sweep(config.load([papers / f"{name}.yaml"])).runs.values()))
        yield name, plan.Bundle((run,)), made_up((32, 32, 3), 50_000, 10_000), {"runs_at_once": 1}


def compiled(bundle: Any, data: Any, wanted: dict[str, Any], where: list[jax.Device]) -> dict[str, Any]:
    """Compiles a bundle's program for `where`, laid out by the rules for a GPU."""
    run, views = bundle.runs[0], 1
    plans = plans_of(bundle, data)
    if run.training.augmentation is not None:
        views = int(run.training.augmentation["multiplicity"])
    if run.contribution.unit == "record":
        at_once = records_in(MEMORY_OF_A_CHUNK * MEMORY, model_of(run, data), views, GPU_RECORDS_AT_ONCE)
    else:
        at_once = GPU_CLIENTS_AT_ONCE
    cohort = plans[run.run_id].expected_cohort
    own = {"devices": 1, "cohort_devices": 1, "at_once": min(at_once, max(1, round(cohort))), **wanted}
    job = job_of(bundle.runs, plans, data, own)
    program = make_program(job.static, where, job.layout.runs_at_once)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (job.data, job.run_params))
    started = time.perf_counter()
    size = program.temporary_bytes(*shapes)
    return {"at_once": job.static.at_once, "gib": size / 2**30, "seconds": time.perf_counter() - started}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="programs whose names hold this text")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    options = parser.parse_args()
    try:
        where = described()
    except (NotImplementedError, RuntimeError) as error:
        sys.exit(f"XLA's CUDA plugin is not there or cannot compile without a card: {str(error).splitlines()[0]}")
    lines = ["| program | at once | temporary memory, GiB | seconds to compile |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    failed = 0
    for name, bundle, data, wanted in programs():
        if options.only not in name:
            continue
        try:
            found = compiled(bundle, data, wanted, where)
            lines.append(f"| {name} | {found['at_once']} | {found['gib']:.3g} | {found['seconds']:.0f} |")
        except Exception as error:  # the others are still worth compiling
            failed += 1
            lines.append(f"| {name} | | does not compile: {str(error).splitlines()[0][:200]} | |")
        print(lines[-1], flush=True)
    if options.out:
        by = f"jaxlib {jax.lib.__version__} (`python benchmarks/gpu_compile.py`)"
        about = f"Compiled for a described H100, which was not there, by {by}.\n\n"
        options.out.write_text(about + "\n".join(lines) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
