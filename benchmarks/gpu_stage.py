"""What the stages of gpu.py share: their size, where their rows go, data, and how work is timed."""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import ours
from gpu_rows import read_rows

from fedpareto.data import arrays
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.inputs.setup import measure
from fedpareto.federated.job import Job, job_of
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.sweep import sweep as plan
from fedpareto.sweep.account import privacy_plan

T = TypeVar("T")


@dataclass
class Stage:
    """A stage that is under way.

    Attributes:
      folder: Where it may write; kept from one attempt to the next.
      rows: The file of its rows, one JSON object a line.
      reduced: Whether it is made small, for a CPU: everything is done, and little of it.
      seconds: What is left of its budget when it starts.
    """

    folder: Path
    rows: Path
    reduced: bool
    seconds: float

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        # What an earlier attempt began and did not end comes last: it may never end, and others would not be reached.
        self.begun = self.rows.with_suffix(".begun")
        self.unfinished = set(self.begun.read_text().splitlines()) if self.begun.is_file() else set()
        self.postponed: list[Callable[[], None]] = []
        self.known = {row["what"] for row in read_rows(self.rows) if "failed" not in row}

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.seconds - (time.perf_counter() - self.started)

    def of(self, full: T, reduced: T) -> T:
        """The size of something."""
        return reduced if self.reduced else full

    def emit(self, what: str, **row: Any) -> None:
        """Writes a row; it is there whatever becomes of the stage. Numbers that are none are null."""
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        line = json.dumps({"what": what, **finite}, allow_nan=False)
        with self.rows.open("a") as file:
            file.write("\n" + line + "\n")  # whatever a killed process left half-written stays a line of its own
        print(line, flush=True)

    def measure(self, what: str, function: Callable[..., dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        """Emits what `function` returns, unless an earlier attempt has: a measurement that fails is a row that says so."""
        if what in self.known:
            return
        if what in self.unfinished:
            self.unfinished.discard(what)
            self.postponed.append(lambda: self.measure(what, function, *args, **kwargs))
            return
        with self.begun.open("a") as file:
            file.write(what + "\n")
        started = time.perf_counter()
        try:
            row = function(*args, **kwargs)
        except Exception as error:  # one measurement that does not fit on a card must not cost the others
            row = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"}
        self.emit(what, **row, took=round(time.perf_counter() - started, 2))
        self.known.add(what)

    def finish(self) -> None:
        """Measures what was postponed."""
        while self.postponed:
            self.postponed.pop(0)()


def mnist() -> tuple[PreparedData, str]:
    """MNIST and `mnist`; made-up arrays of its shape and `made up` where `FEDPARETO_DATA` has none."""
    if Path(os.environ.get("FEDPARETO_DATA", "data"), "mnist").is_dir():
        return _prepared_mnist(), "mnist"
    return made_up((28, 28, 1), 60_000, 10_000), "made up"


@cache
def _prepared_mnist() -> PreparedData:
    with tempfile.TemporaryDirectory() as folder:
        return arrays.read(ours.prepared(Path(folder)))


@cache
def made_up(shape: tuple[int, ...], train: int, test: int) -> PreparedData:
    """Images of ten patterns under uniform noise."""
    rng = np.random.default_rng(0)
    y = (np.arange(train + test) % 10).astype(np.int32)
    x = rng.random((train + test, *shape), np.float32)
    x += rng.random((10, *shape), np.float32)[y]
    x /= 2
    return PreparedData(x[:train], y[:train], x[train:], y[train:], np.array([str(i) for i in range(10)]))


def plans_of(bundle: plan.Bundle, data: PreparedData) -> dict[str, PrivacyPlan]:
    """The plans of a bundle's runs: all that shapes their program. What they prove takes accountants longer than a card trains."""
    measured = measure(bundle.runs, data)
    return {run.run_id: privacy_plan(run, measured) for run in bundle.runs}


def job_of_bundle(bundle: plan.Bundle, data: PreparedData, execution: dict[str, Any] | None = None) -> Job:
    """A bundle made ready to train, by the functions that `snakemake sweep` calls."""
    return job_of(bundle.runs, plans_of(bundle, data), data, execution)


def seconds_of(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds of a call, whose first is left out."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def memory() -> dict[str, float]:
    """The first device's memory in GiB: its limit, and the most that was in use since the process began; empty on a CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_limit": "limit_gib", "peak_bytes_in_use": "peak_gib"}
    return {short: round(stats[name] / 2**30, 3) for name, short in names.items() if name in stats}


@contextmanager
def evaluation_chunk(size: int) -> Iterator[None]:
    """Test examples at a time, other than the engine's."""
    from fedpareto.federated.execution import chunks

    usual, chunks.CHUNK = chunks.CHUNK, size
    try:
        yield
    finally:
        chunks.CHUNK = usual
