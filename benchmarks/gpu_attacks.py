"""How long do attacks take? Shadow runs and gradient inversion on MNIST."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_stage import Stage, memory, mnist
from ours import bundle_of

from fedpareto.attacks.stage import ATTACKS
from fedpareto.attacks.target import Target
from fedpareto.federated.inputs.setup import measure
from fedpareto.federated.store import store
from fedpareto.federated.train import train_bundle
from fedpareto.sweep.account import account

SHADOWS, VICTIMS = 64, 64


def attacks(stage: Stage) -> None:
    """Membership by 64 shadows of a run of twenty rounds; 64 images from 64 updates by the angle between gradients."""
    membership = {"name": "membership", "shadows": stage.of(SHADOWS, 4)}
    inversion = {"name": "gradient_inversion", "method": "cosine", "records": 1, "victims": stage.of(VICTIMS, 2)}
    inversion |= {"restarts": stage.of(2, 1), "steps": stage.of(300, 3), "total_variation": None}
    stage.measure(f"membership, {membership['shadows']} shadows", attacked, stage, membership)
    stage.measure(f"gradient inversion, {inversion['victims']} images", attacked, stage, inversion)


def attacked(stage: Stage, spec: dict[str, Any]) -> dict[str, Any]:
    data, source = mnist()
    rounds = stage.of(20, 2)
    bundle = bundle_of("W1", rounds=rounds, evaluate_every=rounds)
    accounted = account(bundle, measure(bundle.runs, data))
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "runs")
        train_bundle(bundle, accounted, data, runs_folder=runs, checkpoints_folder=Path(folder, "checkpoints"))
        models = {run.run_id: store.model(runs, run.run_id) for run in bundle.runs}
    started = time.perf_counter()
    evidence = ATTACKS[spec["name"]](Target(bundle.runs, accounted, data, models), spec)
    row = {"value": round(time.perf_counter() - started, 2), "unit": "s", "findings": len(evidence.findings)}
    return row | {"data": source, **memory()}
