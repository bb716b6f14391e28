"""A copy of the project in a temporary folder, with a tiny study, to run the real workflow in."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "src", "profiles", "environment.yml")

TINY = """\
studies:
  tiny:
    dataset: digits
    partition: iid
    clients: [20, 40]
    sampling_rate: 0.5
    rounds: 6
    evaluate_every: 2
    model: logistic
    local_epochs: 1
    batch_size: 16
    client_learning_rate: 0.5
    clip_norm: [0.5, 1.0]
    noise_multiplier: [1.0, 2.0]
    delta: 1.0e-3
    seeds: 2
"""


class Project:
    """One temporary copy of the project."""

    def __init__(self, folder: Path, config: str = TINY) -> None:
        self.folder = folder
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)
        self.write(config)

    def write(self, config: str) -> None:
        """Replaces the configuration."""
        path = self.folder / "config" / "config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(config, encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *arguments]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `snakemake` to its end, in a shell with these variables."""
        own = environment() | variables
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=own, capture_output=True, text=True, timeout=600
        )

    def sweep(self, *arguments: str) -> str:
        """Runs `snakemake sweep`, which must succeed; returns what it printed."""
        return self._made("sweep", *arguments)

    def tables(self, *arguments: str) -> str:
        """Runs `snakemake tables`, a sweep that draws nothing, which must succeed; returns what it printed."""
        return self._made("tables", *arguments)

    def _made(self, target: str, *arguments: str) -> str:
        done = self.run(target, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def kill_after(self, seconds: float, how: signal.Signals) -> bool:
        """Starts a sweep and kills it with all its jobs; returns whether it was still running."""
        process = subprocess.Popen(
            self.command("sweep"),
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(seconds)
        running = process.poll() is None
        if running:
            os.killpg(process.pid, how)
        process.wait(timeout=120)
        return running

    def trained(self) -> int:
        """How many runs the training jobs have said to train, over all logs."""
        logs = (self.folder / "results" / "logs" / "train").glob("*.log")
        return sum(
            int(line.split(",")[1].split()[0])
            for log in logs
            for line in log.read_text().splitlines()
            if " to train" in line
        )

    def table(self, name: str) -> pd.DataFrame:
        """One of the tables."""
        return pd.read_parquet(self.folder / "results" / "tables" / f"{name}.parquet")


def environment() -> dict[str, str]:
    """The environment of a user's shell, without what the test runner added to it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PYTEST_", "FEDPARETO_TEST"))} | {
        "JAX_PLATFORMS": "cpu"
    }
