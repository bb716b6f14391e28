"""The files of a trained bundle: `runs.parquet`, `metrics.parquet` and `partition.parquet`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedpareto.data.arrays import PreparedData
from fedpareto.data.partitions.dealing import label_counts
from fedpareto.federated.inputs.setup import partitions_of
from fedpareto.federated.store.store import RunResult
from fedpareto.statuses import FINISHED
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.run import Bundle, Run, describe
from fedpareto.system.files import whole
from fedpareto.tasks.final_scores import FINAL

BYTES_PER_PARAMETER = 4  # updates and models travel as float32
SCORES = ("accuracy", "loss", "worst_client_accuracy", "median_client_accuracy", "mean_client_accuracy")


def write_bundle(
    folder: Path,
    bundle: Bundle,
    accounted: Mapping[str, AccountedRun],
    results: Sequence[RunResult],
    data: PreparedData,
) -> None:
    """Writes the bundle's tables, each in one step."""
    by_id = {result.run_id: result for result in results}
    runs = [(run, accounted[run.run_id], by_id[run.run_id]) for run in bundle.runs]
    _write(pd.DataFrame([run_row(bundle.bundle_id, *entry, data) for entry in runs]), folder / "runs.parquet")
    _write(pd.concat([metric_rows(*entry) for entry in runs]), folder / "metrics.parquet")
    _write(partition_rows(bundle, data), folder / "partition.parquet")
    _write(client_rows(bundle, accounted, data), folder / "clients.parquet")
    _write(curve_rows(bundle, accounted), folder / "curves.parquet")


def run_row(bundle_id: str, run: Run, accounted: AccountedRun, result: RunResult, data: PreparedData) -> dict[str, Any]:
    """One row of the `runs` table."""
    plan, final, keys = accounted.plan, accounted.final, run.to_dict()
    # With records as the unit every client has a part in every round: only it knows whether a record of its was drawn.
    members = float(run.data.clients) if run.setting.sums_records else plan.expected_cohort
    rounds_done = _rounds_done(run, plan.rounds, result)
    vectors = (
        0.0
        if run.training.algorithm == "alone"
        else members * rounds_done * (2 if run.training.algorithm == "scaffold" else 1)
    )
    down = vectors * BYTES_PER_PARAMETER * result.parameters
    cost = result.secure_aggregation
    scored = result.status in FINISHED
    return {
        "run_id": run.run_id,
        "bundle_id": bundle_id,
        "dataset": run.data.dataset,
        "model": describe(run.model),
        "parameters": result.parameters,
        "partition": describe({k: v for k, v in run.data.partition.items() if k != "minimum"}),
        "clients": run.data.clients,
        "examples": len(data.y_train),
        "sampling_rate": run.cohort.sampling_rate,
        "sampling": run.cohort.sampling,
        "participation": plan.setting.effective_participation if plan.private else None,
        "amplified": plan.private and plan.amplified,
        "rounds": run.training.rounds,
        "rounds_done": rounds_done,
        "local_epochs": run.training.local_epochs,
        "local_steps": run.training.local_steps,
        "batch_size": run.training.batch_size,
        "algorithm": run.training.algorithm,
        "baseline": run.baseline,
        "client_learning_rate": run.training.client_learning_rate,
        "server_optimizer": describe(run.training.server_optimizer),
        "unit": run.contribution.unit,
        "trust": run.contribution.trust,
        "mechanism": describe(keys["mechanism"] or {"name": "gaussian"}) if plan.private else None,
        "clipping": describe(run.contribution.clipping or {"name": "fixed"}),
        "weighting": describe(run.contribution.weighting or {"name": "uniform"}),
        "preprocessing": describe(run.training.preprocessing or {"name": "none"}),
        "augmentation": describe(run.training.augmentation or {"name": "none"}),
        "averaging": describe(run.training.averaging or {"name": "none"}),
        "client_learning_rate_decay": run.training.client_learning_rate_decay or 1.0,
        "proximal": _float(run.training.proximal),
        "dropout": run.cohort.dropout or 0.0,
        "stragglers": run.cohort.stragglers or 0.0,
        "adjacency": plan.setting.adjacency,
        "clip_norm": _float(run.contribution.clip_norm),
        "noise_multiplier": plan.noise_multiplier,
        "target_epsilon": _float(keys["target_epsilon"]),
        "delta": _float(keys["delta"]),
        "accountant": keys["accountant"],
        "stop_at_epsilon": _float(keys["stop_at_epsilon"]),
        "stop_at_accuracy": _float(run.evaluation.stop_at_accuracy),
        "seed": run.seed,
        "epsilon_rdp": final.epsilon_rdp,
        "epsilon_pld": final.epsilon_pld,
        "epsilon_rdp_classic": final.epsilon_rdp_classic,
        "epsilon_median": final.epsilon_median,
        "releases": final.releases,
        "rdp_order": final.rdp_order,
        "accounting_warnings": "; ".join(final.warnings),
        **{name: _float(result.metrics[name][-1]) if scored else math.nan for name in SCORES},
        **{name: _float(result.final[name]) for name in FINAL},
        "bytes_up": vectors * cost["bytes_up"] if cost else down,
        "bytes_down": down + vectors * cost["bytes_down"] if cost else down,
        "bits_per_parameter": 8 * BYTES_PER_PARAMETER if plan.sum is None else plan.sum.bits,
        "secagg_client_s": cost["client_seconds"] if cost else math.nan,
        "secagg_server_s": cost["server_seconds"] if cost else math.nan,
        "wall_s": result.wall_s,
        "device": result.device,
        "execution": json.dumps(result.execution),
        "status": result.status,
        "diverged_round": _float(result.diverged_round),
        "overflow_rounds": result.overflow_rounds,
        "refused_rounds": result.refused_rounds,
        "wrapped_fraction": _largest(result.metrics["wrapped_fraction"]),
        "overflow_probability": plan.overflow_probability,
        "versions": json.dumps(result.versions),
        "fingerprint": result.fingerprint,
    }


def _rounds_done(run: Run, planned: int, result: RunResult) -> int:
    """Rounds that were trained: fewer than planned where the run was to stop at an accuracy, and reached it."""
    if run.evaluation.stop_at_accuracy is None:
        return planned
    scores = zip(result.rounds, result.metrics["accuracy"], strict=True)
    # The program compares in float32.
    target_accuracy = float(np.float32(run.evaluation.stop_at_accuracy))
    return next((after for after, score in scores if score is not None and score >= target_accuracy), planned)


def metric_rows(run: Run, accounted: AccountedRun, result: RunResult) -> pd.DataFrame:
    """The rows of one run in the metrics table, one an evaluation."""
    epsilon = dict(zip(run.evaluation_rounds, accounted.guarantees, strict=True))
    frame = pd.DataFrame({name: pd.array(values, "float64") for name, values in result.metrics.items()})
    frame.insert(0, "run_id", run.run_id)
    frame.insert(1, "round", result.rounds)
    frame["epsilon_rdp"] = [epsilon[r].epsilon_rdp for r in result.rounds]
    frame["epsilon_pld"] = [epsilon[r].epsilon_pld for r in result.rounds]
    return frame


def client_rows(bundle: Bundle, accounted: Mapping[str, AccountedRun], data: PreparedData) -> pd.DataFrame:
    """What each client proves for its own records, where clients do: one row a run and client."""
    runs = [run for run in bundle.runs if accounted[run.run_id].client_epsilons]
    dealt = partitions_of(runs, data) if runs else {}
    rows = [
        {"run_id": run.run_id, "client": client, "records": int(records), "epsilon_rdp": epsilon}
        for run in runs
        for client, (records, epsilon) in enumerate(
            zip(dealt[run.seed].train_count, accounted[run.run_id].client_epsilons, strict=True)
        )
    ]
    kinds = {"run_id": "object", "client": "int64", "records": "int64", "epsilon_rdp": "float64"}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def curve_rows(bundle: Bundle, accounted: Mapping[str, AccountedRun]) -> pd.DataFrame:
    """The Rényi divergence of every private run, one row an order.

    With it go delta, what of delta is spent beside the divergence, and up to which epsilon it holds.
    """
    runs = [(run.run_id, accounted[run.run_id]) for run in bundle.runs if run.privacy is not None]
    rows = [
        (name, order, rdp, run.plan.delta, run.plan.reserved_delta, run.plan.largest_epsilon)
        for name, run in runs
        for order, rdp in zip(*run.curve, strict=True)
    ]
    kinds = {"run_id": "object"} | dict.fromkeys(("order", "rdp", "delta", "delta_aside", "largest_epsilon"), "float64")
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def partition_rows(bundle: Bundle, data: PreparedData) -> pd.DataFrame:
    """Training examples by client and label, for the first seed of the bundle."""
    run = min(bundle.runs, key=lambda r: r.seed)
    (partition,) = partitions_of([run], data).values()
    counts = label_counts(partition, data.y_train, len(data.class_names))
    return pd.DataFrame(
        [
            {
                "dataset": run.data.dataset,
                "partition": describe({k: v for k, v in run.data.partition.items() if k != "minimum"}),
                "clients": run.data.clients,
                "client": client,
                "label": str(name),
                "count": int(counts[client, label]),
            }
            for client in range(run.data.clients)
            for label, name in enumerate(data.class_names)
        ]
    )


def _largest(values: Sequence[float | None]) -> float:
    """The largest of the values that there are."""
    return max((value for value in values if value is not None), default=math.nan)


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _write(frame: pd.DataFrame, path: Path) -> None:
    with whole(path) as partial:
        frame.to_parquet(partial, index=False)
