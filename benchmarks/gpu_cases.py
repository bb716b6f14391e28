"""The small runs of gpu_right.yaml on made-up data, and what is kept of them to compare machines by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fedpareto.config import load as config
from fedpareto.data import arrays
from fedpareto.data.arrays import PreparedData
from fedpareto.data.prepare import prepare
from fedpareto.federated.inputs.setup import measure
from fedpareto.federated.store import store
from fedpareto.federated.train import train_bundle
from fedpareto.sweep import sweep as plan
from fedpareto.sweep.account import account
from fedpareto.sweep.run import Bundle

STUDIES = Path(__file__).with_name("gpu_right.yaml")
GOLDEN = Path(__file__).with_name("golden.json")
SHAPES = {"table": (20,), "grey": (28, 28, 1), "colour": (32, 32, 3)}
RECORDS = {"table": (480, 96), "grey": (240, 60), "colour": (120, 40)}  # for training, for testing
CLASSES = 10
PROJECTIONS = 32  # of a model's parameters: their differences have a model's relative error, within an eighth of it


@dataclass(frozen=True)
class Case:
    """One study of gpu_right.yaml: its bundle and its data."""

    name: str
    bundle: Bundle
    data: PreparedData


def made_up(name: str) -> dict[str, np.ndarray]:
    """Examples of a shape of `SHAPES`: a pattern for each class, under uniform noise. No random bit depends on the machine."""
    rng, (train, test) = np.random.default_rng(0), RECORDS[name]
    y = np.arange(train + test) % CLASSES
    patterns = rng.random((CLASSES, *SHAPES[name]))
    x = ((patterns[y] + rng.random((len(y), *SHAPES[name]))) / 2).astype(np.float32)
    return {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}


def cases(folder: Path) -> Iterator[Case]:
    """The cases, their data written to `folder`, by name."""
    options = {}
    for name in SHAPES:
        np.savez(folder / f"made_up_{name}.npz", **made_up(name))
        options[name] = {"path": str(folder / f"made_up_{name}.npz")}
    overlay = folder / "datasets.json"
    overlay.write_text(json.dumps({"datasets": options}))
    made = plan.plan_sweep(config.load([STUDIES, overlay]))

    @cache
    def prepared(name: str) -> PreparedData:
        prepare(name, folder / f"{name}.npz", folder / f"{name}.json", options[name])
        return arrays.read(folder / f"{name}.npz")

    for name, run_ids in made.studies.items():
        bundle = Bundle(tuple(made.runs[run_id] for run_id in sorted(run_ids)))
        yield Case(name, bundle, prepared(bundle.dataset))


def trained(case: Case, folder: Path, execution: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Trains a case from nothing, and says what is kept of each of its runs, by run id.

    Returns:
      `epsilon`, `loss`, `accuracy`, `update_norm` at every evaluation (None where not a number), `projections` of the final
      parameters, and under `execution` how it was laid out.
    """
    own = {"runs_folder": folder / "runs", "checkpoints_folder": folder / "checkpoints"}
    accounted = account(case.bundle, measure(case.bundle.runs, case.data))
    results = train_bundle(case.bundle, accounted, case.data, **own, execution=execution)
    kept = {}
    for result in results:
        model = store.model(own["runs_folder"], result.run_id)
        parameters = np.concatenate([model[key].ravel() for key in sorted(model)]).astype(np.float64)
        kept[result.run_id] = {
            "epsilon": accounted[result.run_id].final.epsilon,
            **{name: result.metrics[name] for name in ("loss", "accuracy", "update_norm")},
            "projections": projections(parameters).tolist(),
            "execution": result.execution,
        }
    return kept


def projections(parameters: np.ndarray) -> np.ndarray:
    """Inner products with fixed vectors of random signs, float64 [`PROJECTIONS`]."""
    rng = np.random.default_rng(1)
    signs = (rng.integers(0, 2, len(parameters)) * 2 - 1 for _ in range(PROJECTIONS))
    return np.array([sign @ parameters for sign in signs])


def difference(ours: Mapping[str, Any], golden: Mapping[str, Any]) -> dict[str, float]:
    """How far two records of `trained` are apart, relative to the second: model, loss and epsilon."""
    return {
        name: _apart(ours[key], golden[key])
        for name, key in (("model", "projections"), ("loss", "loss"), ("epsilon", "epsilon"))
    }


def _apart(ours: Any, golden: Any) -> float:
    a, b = np.atleast_1d(np.array(ours, float)), np.atleast_1d(np.array(golden, float))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def rounded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record for the golden file, with as many digits as a comparison of float32 can use."""
    keep = {key: value for key, value in record.items() if key != "execution"}

    def digits(value: Any) -> Any:
        if isinstance(value, list):
            return [digits(each) for each in value]
        return value if value is None else float(f"{value:.9g}")

    return {key: digits(value) for key, value in keep.items()}
