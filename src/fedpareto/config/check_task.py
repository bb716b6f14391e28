"""Checks of the task of a study: the literals of its class, and the targets of its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedpareto.columns.declared import Additions, table
from fedpareto.components import registry
from fedpareto.config.problems import Problems
from fedpareto.config.study import Study, study_key
from fedpareto.data import facts

TARGETS = ("classes", "numbers")
# Columns beside those of scores, whose place a metric would take.
TAKEN = {column.name for name in ("runs", "rounds") for column in table(name, Additions(metrics=())).columns}
# Fields of `columns.column.Metric` that a task fills in, and the types of their values.
FIELDS = {"label": str, "help": str, "unit": str, "better": str, "limits": tuple, "percent": bool, "by_round": bool}


def check_task(study: Study, known: Mapping[str, facts.DatasetInfo], problems: Problems) -> None:
    """Adds every problem of `task`, and of the keys that ask for its metrics.

    Args:
      study: The study.
      known: Facts of its data sets by name.
      problems: Where they are added.
    """
    for i, spec in enumerate(study.axes["task"]):
        key, name = study_key(study, "task", i), spec["name"]
        constants = registry.find("task", name).constants
        targets, metrics = constants.get("TARGETS"), constants.get("METRICS", {})
        if targets not in TARGETS:
            problems.add(
                key, name, "say whether its targets are classes or numbers", 'e.g. TARGETS: ClassVar = "numbers"'
            )
            continue
        if not _are_metrics(metrics):
            hint = 'METRICS: ClassVar = {"mae": {"label": "mean absolute error", "better": "lower"}}, in literals'
            problems.add(key, name, "name its metrics, the first one with a label", hint)
            continue
        if taken := [metric for metric in metrics if metric in TAKEN]:
            must = f"call no metric {taken[0]}, which is another column of the tables"
            problems.add(key, name, must, f"e.g. my_{taken[0]}")
        for dataset, fact in known.items():
            if fact.targets != targets:
                must = f"be a task of {fact.targets}: those are the targets of {dataset}, and it wants {targets}"
                problems.add(key, name, must, "use another task or another data set")
        stops = [stop for stop in study.axes["stop_at_accuracy"] if stop is not None]
        if stops and not metrics.get("accuracy", {"by_round": False}).get("by_round", True):
            must = f"not stand beside task {name}, which takes no accuracy at an evaluation"
            problems.add(study_key(study, "stop_at_accuracy"), stops[0], must, "remove the key")


def _are_metrics(metrics: Any) -> bool:
    """Whether `Metric` can be made of each entry of a task's `METRICS`."""
    return (
        isinstance(metrics, Mapping)
        and any("label" in body for body in [*metrics.values()][:1] if isinstance(body, Mapping))
        and all(
            isinstance(name, str)
            and name.isidentifier()
            and isinstance(body, Mapping)
            and all(isinstance(value, FIELDS.get(field, ())) for field, value in body.items())
            and body.get("better", "higher") in ("higher", "lower")
            for name, body in metrics.items()
        )
    )
