"""Finds out everything about a GPU in one call: whether the program is right on it, how fast, how large, and what to choose.

    python benchmarks/gpu.py                     # all stages, ten minutes; again: what is missing
    python benchmarks/gpu.py --stages right fast --minutes 4
    python benchmarks/gpu.py --reduced           # the same, small, on a CPU
    python benchmarks/gpu.py --golden            # makes golden.json anew, on a CPU

Every stage is a process of its own with a budget of seconds, and prints one JSON line when it ends. Its rows are written as they
are measured, so that a stage that is killed or runs out of time loses one. What the same code has measured is not measured again.
Results are in benchmarks/results/<device>.{json,md,svg}. MNIST is read from FEDPARETO_DATA/mnist; elsewhere made-up images of its
shape stand in for it. It needs neither network nor Snakemake.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gpu_rows import read_rows

HERE = Path(__file__).parent
NEEDED = (
    *("jax", "flax", "optax", "orbax", "pandas", "sklearn", "pyarrow", "yaml", "matplotlib"),
    *("dp_accounting", "jax_privacy", "jsonschema", "pooch", "cryptography"),
)
RESERVE_SECONDS = 15.0  # to end a stage and to write and draw the results
LEAST_SECONDS = 8.0  # a process that is given less has not started before it ends


@dataclass(frozen=True)
class TimedStage:
    """A stage: the function that makes its rows, and the seconds that it may take on an H100."""

    module: str
    function: str
    seconds: float


# The most valuable first: what a quarter of an hour with a GPU must not end without.
STAGES = {
    "machine": TimedStage("gpu_machine", "machine", 30),
    "right": TimedStage("gpu_right", "right", 130),
    "fast": TimedStage("gpu_fast", "fast", 70),
    "peers": TimedStage("gpu_fast", "peers", 50),
    "grids": TimedStage("gpu_fast", "grids", 100),
    "large": TimedStage("gpu_large", "large", 110),
    "forms": TimedStage("gpu_fast", "forms", 90),
    "attacks": TimedStage("gpu_attacks", "attacks", 60),
    "resume": TimedStage("gpu_right", "resumed", 40),
}


def environment() -> dict[str, str]:
    """What the stages' processes inherit: this checkout's package, and a cache of compiled programs."""
    paths = [str(HERE.parent / "src"), str(HERE), os.environ.get("PYTHONPATH", "")]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir(), f"fedpareto-gpu-{os.getuid()}-xla"))}
    return {**cache, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def missing() -> list[str]:
    """Packages that the stages import and that are not there."""
    code = "import importlib.util as u, sys; print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"
    found = subprocess.run(
        [sys.executable, "-c", code, *NEEDED], capture_output=True, text=True, check=True, env=environment()
    )
    return found.stdout.split()


def device() -> str:
    """The name of the first device."""
    code = "import jax; d = jax.local_devices()[0]; print(d.device_kind if d.platform != 'cpu' else 'cpu')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        sys.exit(f"JAX finds no device: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


def code() -> str:
    """A hash of all that makes the rows: package, scripts, what they compare with, libraries, and whether MNIST is there."""
    root, endings = HERE.parent, ("*.py", "*.yaml", "golden.json")
    files = {file for folder in (root / "src", HERE) for ending in endings for file in folder.rglob(ending)}
    files |= {root / "config" / "papers" / "de-cifar-wrn.yaml"}
    files = {file for file in files if ".venv" not in file.parts} - {HERE / "gpu_report.py"}
    digest = hashlib.sha256(
        f"{sys.version} {Path(os.environ.get('FEDPARETO_DATA', 'data'), 'mnist').is_dir()}".encode()
    )
    for library in ("jax", "jaxlib", "flax", "numpy"):
        digest.update(f"{library} {metadata.version(library)}".encode())
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def run_stage(name: str, folder: Path, seconds: float, reduced: bool) -> dict[str, Any]:
    """Runs one stage in a process of its own, and says how it ended."""
    command = [
        sys.executable,
        str(HERE / "gpu.py"),
        "--stage",
        name,
        "--folder",
        str(folder),
        "--seconds",
        str(seconds),
    ]
    command += ["--reduced"] if reduced else []
    started = time.monotonic()
    with (folder / f"{name}.log").open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment(), start_new_session=True
        )
        try:
            status = "ok" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:  # it and its children, whatever became of it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = rows(folder, name)
    if status == "ok" and any("failed" in row for row in found):
        status = "failed in part"
    ended = {"stage": name, "status": status, "seconds": round(time.monotonic() - started, 1), "rows": len(found)}
    if status == "failed":
        said = (folder / f"{name}.log").read_bytes()[before:].decode(errors="replace").strip()
        ended["error"] = said.splitlines()[-1][:300] if said else f"its process ended with {process.returncode}"
    wrong = [row["what"] for row in found if row.get("right") is False]
    ended |= {"wrong": wrong} if wrong else {}
    (folder / f"{name}.end").write_text(json.dumps(ended))
    return ended


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a stage."""
    return read_rows(folder / f"{name}.rows")


def write(folder: Path, out: Path, about: dict[str, Any]) -> None:
    """Writes what this code has found so far, in this call and earlier ones: JSON in one step, then text and figure."""
    results = out.with_name(out.name + ".json")
    earlier = json.loads(results.read_text())["stages"] if results.is_file() else {}
    stages = {}
    for name in STAGES:
        end, found = folder / f"{name}.end", rows(folder, name)
        if found or end.is_file():
            ended = json.loads(end.read_text()) if end.is_file() else {}
            stages[name] = {**ended, "code": about["code"], "rows": found}
        elif name in earlier:  # of other code: better than nothing, and marked as what it is
            stages[name] = earlier[name]
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps({**about, "stages": stages}, indent=1) + "\n")
    os.replace(partial, results)
    command = [sys.executable, str(HERE / "gpu_report.py"), str(results)]
    drawn = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if drawn.returncode:
        print(json.dumps({"report": "failed", "error": drawn.stderr.strip().splitlines()[-1]}), flush=True)


def stage(options: argparse.Namespace) -> None:
    """A stage's own process."""
    import importlib

    if options.reduced:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from fedpareto.system.jax_settings import start

    start()
    import jax
    from gpu_stage import Stage

    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    chosen, folder = STAGES[options.stage], options.folder
    made = Stage(folder, folder / f"{options.stage}.rows", options.reduced, options.seconds)
    getattr(importlib.import_module(chosen.module), chosen.function)(made)
    made.finish()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=10.0, help="for all stages together (10)")
    parser.add_argument("--reduced", action="store_true", help="everything small, on a CPU")
    parser.add_argument("--cpu", action="store_true", help="everything in full on a CPU, to compare with")
    parser.add_argument("--again", action="store_true", help="measure also what the same code has measured")
    parser.add_argument("--golden", action="store_true", help="make golden.json anew, on a CPU")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--name", help="name of the result files; default: that of the device")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--slowly", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage(options)
        return 0
    if options.slowly:
        import gpu_right

        gpu_right.train_slowly(Path(options.slowly[0]), int(options.slowly[1]))
        return 0
    if absent := missing():
        sys.exit(f"not installed: {', '.join(absent)} (pip install, or wheels in a folder on PYTHONPATH)")
    if options.golden:
        with tempfile.TemporaryDirectory() as folder:
            call = f"import pathlib, gpu_right; gpu_right.write_golden(pathlib.Path({folder!r}))"
            own = {**environment(), "JAX_PLATFORMS": "cpu"}
            return subprocess.run([sys.executable, "-c", call], check=False, env=own).returncode
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and no stage is left behind
    try:
        return everything(options)
    except KeyboardInterrupt:
        print("interrupted: what was measured is kept, the same call goes on", file=sys.stderr)
        return 130


def everything(options: argparse.Namespace) -> int:
    """Runs the stages, writes after each, and returns how many are not as they should be."""
    started = time.monotonic()
    kind = "cpu" if options.reduced else device()
    if kind == "cpu" and not (options.reduced or options.cpu):
        sys.exit("JAX sees no GPU here (pip install 'jax[cuda13]'; --reduced tries everything small, on a CPU)")
    about = {"device": kind, "reduced": options.reduced, "code": code()}
    name = options.name or re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-") + ("-reduced" if options.reduced else "")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"--out {options.out}: {error.strerror or error} (name a folder that can be written)")
    folder = (options.out / f".{name}-{about['code']}").absolute()
    folder.mkdir(exist_ok=True)
    for stage_name in options.stages if options.again else ():
        for ending in ("rows", "end", "begun"):
            (folder / f"{stage_name}.{ending}").unlink(missing_ok=True)
    ended: dict[str, dict[str, Any]] = {}
    print(json.dumps(about), flush=True)
    for stage_name in options.stages:
        left = 60 * options.minutes - RESERVE_SECONDS - (time.monotonic() - started)
        if left < LEAST_SECONDS:
            ended[stage_name] = {"stage": stage_name, "status": "no time left", "seconds": 0.0}
        else:
            seconds = left if kind == "cpu" else min(left, STAGES[stage_name].seconds)
            ended[stage_name] = run_stage(stage_name, folder, seconds, options.reduced)
        print(json.dumps(ended[stage_name]), flush=True)
        write(folder, options.out / name, about)
    return sum(end["status"] != "ok" or "wrong" in end for end in ended.values())


if __name__ == "__main__":
    sys.exit(main())
