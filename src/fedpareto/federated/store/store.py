"""Finished runs, kept by their meaning: `results/runs/<run_id>/{result.json, model.npz}`.

A run is found again only if the code and the data that made it are the same, so that adding one noise level to a
study trains the new runs only, and an edit of the training code trains all of them again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedpareto.system import damage
from fedpareto.system.files import whole


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
      run_id: The run.
      fingerprint: Of the code and the data that made it, `fingerprint.fingerprints`: not for publication.
      status: How it ended, one of `statuses.STATUSES`.
      diverged_round: First round after which parameters, or at an evaluation the test loss, were not finite; or None.
      overflow_rounds: Rounds whose cohort did not fit in the padded buffer.
      refused_rounds: Rounds in which too few clients answered for secure aggregation.
      rounds: Rounds at which the metrics were taken.
      metrics: Metric name -> one value a round of `rounds`; None where a diverged run has none.
      final: `Task.final` of the final model by name (`alone`: mean over clients); None where there is none.
      wall_s: Its share of the bundle's training time, in seconds, compilation not counted.
      device: Kind of device.
      execution: How the engine ran it: clients and runs at a time, devices.
      versions: Versions of the numerical libraries.
      parameters: Number of model parameters.
      secure_aggregation: Measured cost of one round of the protocol at the run's size (`secure_aggregation.cost.Cost`), or None.
    """

    run_id: str
    fingerprint: str
    status: str
    diverged_round: int | None
    overflow_rounds: int
    refused_rounds: int
    rounds: list[int]
    metrics: dict[str, list[float | None]]
    final: dict[str, float | None]
    wall_s: float
    device: str
    execution: dict[str, Any]
    versions: dict[str, str]
    parameters: int
    secure_aggregation: dict[str, Any] | None


def load(folder: Path, run_id: str, fingerprint: str) -> RunResult | None:
    """The run from the store `folder`, or None if it is not there, is damaged, or was made by other code or data."""
    kept = folder / run_id / "model.npz"
    try:
        result = latest(folder, run_id)
        if kept.exists() and not damage.is_whole(kept):
            raise damage.DamagedFile(f"{kept} is cut")
    except FileNotFoundError:
        return None
    except damage.DamagedFile as error:
        print(f"{error}; here run {run_id} is trained again at once", flush=True)
        return None
    return result if result.fingerprint == fingerprint else None


def latest(folder: Path, run_id: str) -> RunResult:
    """The run from the store `folder`, whatever code and data made it.

    Raises:
      FileNotFoundError: It is not there.
      DamagedFile: It cannot be read.
    """
    path = folder / run_id / "result.json"
    with damage.reading(path):
        return RunResult(**json.loads(path.read_text(encoding="utf-8")))


def model(folder: Path, run_id: str) -> dict[str, np.ndarray]:
    """The stored parameters of a run, by path, and the learned arrays of its preprocessing.

    Raises:
      FileNotFoundError: The run is not there, or kept none.
      DamagedFile: They cannot be read.
    """
    path = folder / run_id / "model.npz"
    with damage.reading(path), np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def save(folder: Path, result: RunResult, model: dict[str, np.ndarray] | None) -> None:
    """Writes the run, its result last and in one step, so that a killed job leaves no half-written run."""
    home = folder / result.run_id
    if model is not None:
        with whole(home / "model.npz") as path:
            np.savez(path, **model)  # type: ignore[arg-type]
    with whole(home / "result.json") as path:
        path.write_text(json.dumps(asdict(result)), encoding="utf-8")
