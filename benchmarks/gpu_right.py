"""Is it right? The small runs of gpu_right.yaml against the numbers of a CPU, in other layouts, and after a kill."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gpu_cases
import jax
import numpy as np
from gpu_cases import Case
from gpu_stage import Stage

from fedpareto.components import provenance
from fedpareto.federated import train
from fedpareto.sweep.run import Bundle

# Relative to a model's norm. Other chunks, batches and forms of convolutions on a CPU stay within 3e-5 (a ReLU or an integer that
# falls on the other side); TensorFloat-32 rounds factors by 5e-4.
TOLERANCE = 2e-4
EPSILON_TOLERANCE = 1e-8  # golden numbers have nine digits
QUICK = ("client_central", "client_distributed", "record_central")  # where everything is made small
ALONE = {"at_once": 1, "runs_at_once": 1, "devices": 1}
TOGETHER = {"at_once": 16, "runs_at_once": 2, "devices": 1}


def write_golden(folder: Path) -> None:
    """Makes golden.json anew on this machine's CPU."""
    found = {}
    for case in gpu_cases.cases(folder):
        runs = gpu_cases.trained(case, folder / case.name, ALONE)
        found[case.name] = {run_id: gpu_cases.rounded(record) for run_id, record in runs.items()}
        print(f"{case.name}: {len(runs)} runs", flush=True)
    made_on = {"machine": platform.machine(), "python": platform.python_version(), **provenance.versions()}
    lines = [f'"made_on": {json.dumps(made_on)}']
    lines += [f"{json.dumps(name)}: {json.dumps(runs)}" for name, runs in found.items()]
    gpu_cases.GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def compared(case: Case, folder: Path, execution: dict[str, Any]) -> dict[str, Any]:
    """Trains a case and holds its runs against the golden numbers; TensorFloat-32 is another rounding, and is not judged."""
    golden = json.loads(gpu_cases.GOLDEN.read_text())[case.name]
    ours = gpu_cases.trained(case, folder, execution)
    if set(ours) != set(golden):
        raise ValueError("golden.json has other runs: make it anew with `python benchmarks/gpu.py --golden`")
    apart = [gpu_cases.difference(ours[run_id], golden[run_id]) for run_id in golden]
    worst = {name: float(f"{np.max([one[name] for one in apart]):.2g}") for name in apart[0]}
    right = bool(max(worst["model"], worst["loss"]) <= TOLERANCE and worst["epsilon"] <= EPSILON_TOLERANCE)
    right = right and all(map(math.isfinite, worst.values()))
    chosen = next(iter(ours.values()))["execution"]
    judged = {} if execution.get("precision") == "tensorfloat32" else {"right": right}
    return {**judged, **worst, "execution": chosen}


def right(stage: Stage) -> None:
    """Every case; then other layouts and TensorFloat-32, whose rounding is shown and not judged."""
    cases = {case.name: case for case in gpu_cases.cases(stage.folder)}
    chosen = stage.of(list(cases), list(QUICK))
    # Compilers work side by side; a GPU does what they make one after another.
    workers = 1 if jax.default_backend() == "cpu" else min(8, os.cpu_count() or 1)

    def attempt(what: str, name: str, **execution: Any) -> None:
        place = stage.folder / what.replace(" ", "_") / str(time.time_ns())
        stage.measure(what, compared, cases[name], place, execution)

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(attempt, name, name) for name in chosen]
        for name in stage.of(("client_central", "client_distributed", "record_central"), ("client_central",)):
            waiting.append(pool.submit(attempt, f"{name}, one at a time", name, **ALONE))
            waiting.append(pool.submit(attempt, f"{name}, all together", name, **TOGETHER))
        for name in stage.of(("record_central", "convolutions"), ("record_central",)):
            waiting.append(pool.submit(attempt, f"{name}, lax", name, convolution="lax"))
            waiting.append(pool.submit(attempt, f"{name}, tensorfloat32", name, precision="tensorfloat32"))
        for one in waiting:
            one.result()


def long_case(folder: Path, rounds: int) -> Case:
    """A case of many rounds, evaluated forty times."""
    case = next(iter(gpu_cases.cases(folder)))
    runs = tuple(run.replace(rounds=rounds, evaluate_every=rounds // 40) for run in case.bundle.runs)
    return Case("long", Bundle(runs), case.data)


def train_slowly(folder: Path, rounds: int) -> None:
    """Trains the long case with a checkpoint after nearly every block, and writes what is kept of its runs."""
    train.SEGMENT_SECONDS = 1e-3
    (folder / "data").mkdir(parents=True, exist_ok=True)
    kept = gpu_cases.trained(long_case(folder / "data", rounds), folder, {})
    (folder / "kept.json").write_text(json.dumps(kept))


def resumed(stage: Stage) -> None:
    """A run that is killed after its first checkpoint and started again ends as one that nobody disturbed."""

    def attempt() -> dict[str, Any]:
        rounds, place = stage.of(2000, 800), stage.folder / str(time.time_ns())

        def command(name: str) -> list[str]:
            return [sys.executable, str(Path(__file__).with_name("gpu.py")), "--slowly", str(place / name), str(rounds)]

        subprocess.run(command("undisturbed"), check=True, stdout=subprocess.DEVNULL)
        killed = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL)
        while killed.poll() is None and not any((place / "killed" / "checkpoints").glob("*/[0-9]*[0-9]")):
            time.sleep(0.02)
        if killed.poll() is not None:
            raise RuntimeError("it ended before it could be killed")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        again = subprocess.run(command("killed"), check=True, capture_output=True, text=True)
        resumption = next((line for line in again.stdout.splitlines() if "resumed after block" in line), "")
        one, other = (json.loads((place / name / "kept.json").read_text()) for name in ("undisturbed", "killed"))
        apart = float(np.max([gpu_cases.difference(other[run_id], one[run_id])["model"] for run_id in one]))
        equal = all(np.array_equal(one[r]["projections"], other[r]["projections"]) for r in one)
        right = bool(resumption) and apart <= TOLERANCE
        return {"right": right, "model": apart, "to_the_bit": equal, "resumed": resumption[9:]}

    stage.measure("killed and resumed", attempt)
