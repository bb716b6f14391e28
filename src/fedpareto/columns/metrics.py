"""The scores of a run, from the metrics that its task names in literals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedpareto.columns.column import Metric
from fedpareto.components import registry

USUAL_TASK = "classification"
INTERVAL, MEAN = ("mean", "low", "high"), ("mean",)
LOSS: Mapping[str, Mapping[str, Any]] = {"loss": {"better": "lower", "help": "Mean loss on the test set."}}


def metrics_of(declared: Mapping[str, Mapping[str, Any]]) -> tuple[Metric, ...]:
    """The metrics that the `METRICS` of a task declares, and the loss, which every task has.

    Over seeds, tables have the mean and its interval of the first one, which figures draw, and the mean of the others by round.
    """
    bodies = declared if "loss" in declared else {**declared, **LOSS}
    metrics = [
        Metric(name, **{"help": f"{body.get('label', name)}.", "by_round": True, **body})
        for name, body in bodies.items()
    ]
    spread = [INTERVAL, *(MEAN if metric.by_round else () for metric in metrics[1:])]
    return tuple(replace(metric, over_seeds=statistics) for metric, statistics in zip(metrics, spread, strict=True))


def client_metrics(metric: Metric) -> tuple[Metric, Metric, Metric]:
    """The worst, the median and the mean over clients of a metric on each client's own test examples."""
    noun = f"{metric.name.replace('_', ' ')} over clients that hold test examples."
    worst = "Smallest" if metric.better == "higher" else "Largest"
    kinds = {
        "worst": (worst, MEAN, ""),
        "median": ("Median", MEAN, ""),
        "mean": ("Mean", (), f"{metric.label}, mean over clients"),
    }
    made = [
        replace(metric, name=f"{kind}_client_{metric.name}", help=f"{word} {noun}", over_seeds=statistics, label=label)
        for kind, (word, statistics, label) in kinds.items()
    ]
    return made[0], made[1], made[2]


def scores_of(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """All scores of a run, as columns: of every evaluation, of it client by client, and of the final model."""
    by_round = tuple(metric for metric in metrics if metric.by_round)
    return *by_round, *client_metrics(by_round[0]), *(metric for metric in metrics if not metric.by_round)


def usual() -> tuple[Metric, ...]:
    """The scores of classification, read without running its file."""
    return scores_of(metrics_of(registry.find("task", USUAL_TASK).constants["METRICS"]))
