"""The files of a trained bundle: runs, metrics by round, partition, epsilons of clients and Rényi curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedpareto.columns.column import KEY, Column, ColumnError, Metric
from fedpareto.columns.declared import ACCOUNTANTS, CALIBRATING, DEFAULT, RUNS, Additions, table
from fedpareto.columns.frames import of_rows, to_parquet, typed
from fedpareto.config.schema import schema
from fedpareto.data.arrays import PreparedData
from fedpareto.data.partitions.dealing import label_counts
from fedpareto.federated.fingerprint import without_data
from fedpareto.federated.inputs.device_data import partitions_of, strata_of
from fedpareto.federated.inputs.setup import algorithm_of
from fedpareto.federated.store.store import RunResult
from fedpareto.privacy.accounting.guarantee import headline
from fedpareto.statuses import FINISHED
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.components import proved_by
from fedpareto.sweep.run import Bundle, Run, describe
from fedpareto.system.files import whole
from fedpareto.tasks.build import build

BYTES_PER_PARAMETER = 4  # updates and models travel as float32
# Keys of a run that no table needs.
NO_COLUMN = ("records", "evaluate_every", "algorithm_arguments")
# Type of a key in the study language -> type of its column.
TYPES = {"number": "number", "integer": "count", "boolean": "flag"}


def write_bundle(
    folder: Path,
    bundle: Bundle,
    accounted: Mapping[str, AccountedRun],
    results: Sequence[RunResult],
    data: PreparedData,
) -> None:
    """Writes the bundle's tables, each in one step.

    Raises:
      ColumnError: A column that is written and its declaration differ.
    """
    by_id = {result.run_id: result for result in results}
    runs = [(run, accounted[run.run_id], by_id[run.run_id]) for run in bundle.runs]
    additions = additions_of(bundle)
    frames = {
        "runs": pd.DataFrame([run_row(bundle.bundle_id, *entry, data=data, additions=additions) for entry in runs]),
        "rounds": pd.concat([metric_rows(*entry) for entry in runs]),
        "partitions": partition_rows(bundle, data),
        "clients": client_rows(bundle, accounted, data),
        "curves": curve_rows(bundle, accounted),
    }
    for name, frame in frames.items():
        declared = table(name, additions).of_bundle
        with whole(folder / f"{declared.file}.parquet") as path:
            to_parquet(frame, declared, path, additions)


def run_row(
    bundle_id: str,
    run: Run,
    accounted: AccountedRun,
    result: RunResult,
    *,
    data: PreparedData,
    additions: Additions = DEFAULT,
) -> dict[str, Any]:
    """One row of the `runs` table, without the columns that the stage `tables` adds."""
    plan, final, keys = accounted.plan, accounted.final, run.to_dict()
    # With records as the unit every client has a part in every round: only it knows whether a record of its was drawn.
    members = float(run.data.clients) if run.setting.sums_records else plan.expected_cohort
    rounds_done = _rounds_done(run, plan.rounds, result)
    vectors = float(members * rounds_done * algorithm_of(run).VECTORS)
    down = vectors * BYTES_PER_PARAMETER * result.parameters
    cost = result.secure_aggregation
    scored = result.status in FINISHED
    return _keys(keys, additions) | {
        "run_id": run.run_id,
        "bundle_id": bundle_id,
        "parameters": result.parameters,
        "partition": _partition(run),
        "algorithm": describe({"name": keys["algorithm"]} | (keys["algorithm_arguments"] or {})),
        "examples": len(data.y_train),
        "participation": plan.setting.effective_participation if plan.private else None,
        "amplified": plan.private and plan.amplified,
        "rounds_done": rounds_done,
        "mechanism": describe(keys["mechanism"] or {"name": "gaussian"}) if plan.private else None,
        "adjacency": plan.setting.adjacency,
        "noise_multiplier": plan.noise_multiplier,
        "seed": run.seed,
        "epsilon": final.epsilon,
        "epsilon_by": final.epsilon_by,
        **{accountant.column.name: final.epsilons[accountant.name] for accountant in ACCOUNTANTS},
        "epsilon_median": final.epsilon_median,
        "releases": final.releases,
        "rdp_order": final.rdp_order,
        "accounting_warnings": "; ".join(final.warnings),
        "proved_by": proved_by(run),
        "numerics": plan.noise.numerics(plan) if plan.private else None,
        **{metric.name: _score(metric, result, scored) for metric in additions.metrics},
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
        "fingerprint": without_data(result.fingerprint),
    }


def additions_of(bundle: Bundle) -> Additions:
    """The columns of a bundle that `columns.toml` does not hold: the metrics of its task, and keys of its runs.

    A key of a run that is declared nowhere else has the type, the default and the description of the study language; there is no
    column for one that none of the runs sets.

    Raises:
      ColumnError: A key of the runs is declared in neither place.
    """
    known = (*RUNS.names, *NO_COLUMN)
    runs = [run.to_dict() for run in bundle.runs]
    keys = [name for name in runs[0] if name not in known and any(run[name] is not None for run in runs)]
    return Additions(build(bundle.runs[0].task).scores_of_runs, tuple(map(_key, keys)))


def _key(name: str) -> Column:
    rule = schema()["study"].get(name)
    if rule is None:
        raise ColumnError(f"table runs: the key {name} of a run is no column (declare it in columns.toml)")
    types = [*rule["type"]] if isinstance(rule.get("type"), list) else [rule.get("type")]
    type_ = next((ours for theirs, ours in TYPES.items() if theirs in types), "text")
    return Column(name, type_, KEY, rule["description"], unset=rule.get("default"))


def _keys(keys: Mapping[str, Any], additions: Additions) -> dict[str, Any]:
    """The cells of a run's keys, as the run has them."""
    columns = [column for column in table("runs", additions).columns if column.role == KEY and column.name in keys]
    return {column.name: _cell(column, keys[column.name]) for column in columns}


def _cell(column: Column, value: Any) -> Any:
    if value is None:
        value = column.unset
    if isinstance(value, Mapping):
        return describe(value)
    return _float(value) if column.type == "number" else value


def _score(metric: Metric, result: RunResult, scored: bool) -> float:
    """A score of the final model: NaN where the run did not finish."""
    if not metric.by_round:
        return _float(result.final[metric.name])
    return _float(result.metrics[metric.name][-1]) if scored else math.nan


def _partition(run: Run) -> str:
    return describe({key: value for key, value in run.data.partition.items() if key != "minimum"})


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
    frame["epsilon"] = [epsilon[r].epsilon for r in result.rounds]
    for accountant in CALIBRATING:
        frame[accountant.column.name] = [epsilon[r].epsilons[accountant.name] for r in result.rounds]
    return frame


def client_rows(bundle: Bundle, accounted: Mapping[str, AccountedRun], data: PreparedData) -> pd.DataFrame:
    """The guarantee that each client proves for its records, where clients add the noise: one row a run and client."""
    runs = [run for run in bundle.runs if accounted[run.run_id].client_epsilons]
    dealt = partitions_of(runs, data) if runs else {}
    rows = [
        {
            "run_id": run.run_id,
            "client": client,
            "records": int(records),
            "epsilon": epsilon,
            "epsilon_by": by,
            **{accountant.column.name: epsilons[accountant.name] for accountant in CALIBRATING},
        }
        for run in runs
        for client, (records, epsilons) in enumerate(
            zip(dealt[run.seed].train_count, accounted[run.run_id].client_epsilons, strict=True)
        )
        for epsilon, by in [headline(epsilons)]
    ]
    return _frame(rows, "clients")


def curve_rows(bundle: Bundle, accounted: Mapping[str, AccountedRun]) -> pd.DataFrame:
    """The Rényi divergence of every private run, one row an order.

    With it go delta, what of delta is spent beside the divergence, and up to which epsilon it holds.
    """
    runs = [(run.run_id, accounted[run.run_id]) for run in bundle.runs if run.privacy is not None]
    rows = [
        {
            "run_id": name,
            "order": order,
            "rdp": rdp,
            "delta": run.plan.delta,
            "delta_aside": run.plan.reserved_delta,
            "largest_epsilon": run.plan.largest_epsilon,
        }
        for name, run in runs
        for order, rdp in zip(*run.curve, strict=True)
    ]
    return _frame(rows, "curves")


def partition_rows(bundle: Bundle, data: PreparedData) -> pd.DataFrame:
    """Training examples by client and label (class, or stratum of the targets), for the first seed of the bundle."""
    run = min(bundle.runs, key=lambda r: r.seed)
    (partition,) = partitions_of([run], data).values()
    strata, _ = strata_of(run, data)
    names = list(map(str, data.class_names)) or [f"stratum {number + 1}" for number in range(int(strata.max()) + 1)]
    counts = label_counts(partition, strata, len(names))
    return pd.DataFrame(
        [
            {
                "dataset": run.data.dataset,
                "partition": _partition(run),
                "clients": run.data.clients,
                "client": client,
                "label": name,
                "count": int(counts[client, label]),
            }
            for client in range(run.data.clients)
            for label, name in enumerate(names)
        ]
    )


def _largest(values: Sequence[float | None]) -> float:
    """The largest of the values that there are."""
    return max((value for value in values if value is not None), default=math.nan)


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _frame(rows: Sequence[Mapping[str, Any]], name: str) -> pd.DataFrame:
    declared = table(name).of_bundle
    return typed(of_rows(rows, declared), declared)
