"""The outcome of a run: its status and the scores of its evaluations, from its final state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedpareto.columns.metrics import client_metrics
from fedpareto.federated.inputs.state import AloneState, State, metric_names
from fedpareto.statuses import DIVERGED, LEARNED_NOTHING, OK, REFUSED
from fedpareto.tasks.interface import Task

ROUNDING = 1e-5  # of scores in float32: by less nothing is better
Values = Sequence[float | None]


def outcome(
    rounds: Sequence[int], planned: int, task: Task, state: State | AloneState, y_test: np.ndarray
) -> dict[str, Any]:
    """The fields of `store.RunResult` that come from the final state of one run.

    Args:
      rounds: Rounds at which the run is evaluated, the last of them at its end.
      planned: Rounds that its plan has.
      task: Its task.
      state: Its final state, on the host, without a runs axis.
      y_test: [n] or [n, ...], the targets of the test set.
    """
    if isinstance(state, AloneState):
        return _outcome_alone(rounds[-1], task, state, y_test)
    diverged, refused = int(state.diverged_round), int(state.refused_rounds)
    metrics = {name: [number(v) for v in state.metrics[name].tolist()] for name in metric_names(task)}
    if diverged >= 0:
        status = DIVERGED
    elif 0 < planned <= refused:
        status = REFUSED
    else:
        status = OK if learned(task, metrics, y_test) else LEARNED_NOTHING
    return {
        "status": status,
        "diverged_round": None if diverged < 0 else diverged,
        "overflow_rounds": int(state.overflow_rounds),
        "refused_rounds": refused,
        "rounds": list(rounds),
        "metrics": metrics,
    }


def _outcome_alone(rounds: int, task: Task, state: AloneState, y_test: np.ndarray) -> dict[str, Any]:
    finite = bool(np.isfinite(state.scores["loss"]).all())
    values = {name: float(scores.mean()) for name, scores in state.scores.items()}
    first = task.by_evaluation[0]
    of_clients = state.scores[first.name]
    worst = of_clients.min() if first.better == "higher" else of_clients.max()
    summary = (worst, np.median(of_clients), np.mean(of_clients))
    values |= dict(zip((metric.name for metric in client_metrics(first)), map(float, summary), strict=True))
    metrics = {name: [number(values.get(name, math.nan))] for name in metric_names(task)}
    # Its only evaluation is after training.
    before = {name: number(float(score)) for name, score in state.first_scores.items()}
    better = learned(task, {name: [value, *metrics[name]] for name, value in before.items()}, y_test)
    return {
        "status": DIVERGED if not finite else OK if better else LEARNED_NOTHING,
        "diverged_round": None if finite else rounds,
        "overflow_rounds": 0,
        "refused_rounds": 0,
        "rounds": [rounds],
        "metrics": metrics,
    }


def learned(task: Task, values: Mapping[str, Values], y_test: np.ndarray) -> bool:
    """Whether a run was ever better, in a metric, than predictions that look at no example and than its first model.

    First weights may do better than such predictions by luck, and keeping them is no learning.

    Args:
      task: The task; `Task.constant_scores` are those of the best of such predictions.
      values: Of each metric `task.by_evaluation` its value at every evaluation, the first one before training; None where it is
        not known.
      y_test: [n] or [n, ...], the targets of the test set.
    """
    constant = task.constant_scores(y_test)
    for metric in task.by_evaluation:
        first, *later = values[metric.name]
        bounds = [bound for bound in (constant.get(metric.name), first) if bound is not None]
        if any(
            value is not None and all(metric.improves(value, bound, ROUNDING) for bound in bounds) for value in later
        ):
            return True
    return False


def number(value: float) -> float | None:
    """A value as JSON has it: None where it is not finite."""
    return value if math.isfinite(value) else None
