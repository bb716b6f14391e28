"""What became of a run: its status and the scores of its evaluations, from its final state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedpareto.federated.inputs.state import METRICS, AloneState, State
from fedpareto.statuses import DIVERGED, LEARNED_NOTHING, OK, REFUSED
from fedpareto.sweep.run import Run

ROUNDING = 1e-5  # of scores in float32: by less nothing is better
Values = Sequence[float | None]


def outcome(run: Run, planned: int, state: State | AloneState, y_test: np.ndarray) -> dict[str, Any]:
    """The fields of `store.RunResult` that come from the final state of one run.

    Args:
      run: The run.
      planned: Rounds that its plan has.
      state: Its final state, on the host, without a runs axis.
      y_test: int [n], the labels of the test set.
    """
    if isinstance(state, AloneState):
        return _outcome_alone(run, state, y_test)
    diverged, refused = int(state.diverged_round), int(state.refused_rounds)
    metrics = {name: [number(v) for v in state.metrics[name].tolist()] for name in METRICS}
    if diverged >= 0:
        status = DIVERGED
    elif 0 < planned <= refused:
        status = REFUSED
    else:
        status = OK if learned(metrics["accuracy"], metrics["loss"], y_test) else LEARNED_NOTHING
    return {
        "status": status,
        "diverged_round": None if diverged < 0 else diverged,
        "overflow_rounds": int(state.overflow_rounds),
        "refused_rounds": refused,
        "rounds": list(run.evaluation_rounds),
        "metrics": metrics,
    }


def _outcome_alone(run: Run, state: AloneState, y_test: np.ndarray) -> dict[str, Any]:
    finite = bool(np.isfinite(state.loss).all())
    values = {
        "accuracy": float(state.accuracy.mean()),
        "loss": float(state.loss.mean()),
        "worst_client_accuracy": float(state.accuracy.min()),
        "median_client_accuracy": float(np.median(state.accuracy)),
        "mean_client_accuracy": float(np.mean(state.accuracy)),
    }
    metrics = {name: [number(values.get(name, math.nan))] for name in METRICS}
    # Its only evaluation is after training.
    before = float(state.first_accuracy), number(float(state.first_loss))
    better = learned([before[0], *metrics["accuracy"]], [before[1], *metrics["loss"]], y_test)
    return {
        "status": DIVERGED if not finite else OK if better else LEARNED_NOTHING,
        "diverged_round": None if finite else run.training.rounds,
        "overflow_rounds": 0,
        "refused_rounds": 0,
        "rounds": [run.training.rounds],
        "metrics": metrics,
    }


def learned(accuracy: Values, loss: Values, y_test: np.ndarray) -> bool:
    """Whether a run was ever better, in accuracy or in loss, than predictions that look at no example and than its first model.

    The best of such predictions names the commonest class of the test set, and in loss gives every class its frequency there:
    their entropy. First weights may do better by luck, and keeping them is no learning.

    Args:
      accuracy: At every evaluation, in [0, 1], the first one before training; None where it is not known.
      loss: Likewise, mean cross-entropy in nats.
      y_test: int [n], the labels of the test set.
    """
    share = np.unique(y_test, return_counts=True)[1] / len(y_test)
    by_chance = max(float(share.max()), accuracy[0] or 0.0)
    at_best = min(float(-(share * np.log(share)).sum()), math.inf if loss[0] is None else loss[0])
    return any(value is not None and value > by_chance + ROUNDING for value in accuracy[1:]) or any(
        value is not None and value < at_best - ROUNDING for value in loss[1:]
    )


def number(value: float) -> float | None:
    """A value as JSON has it: None where it is not finite."""
    return value if math.isfinite(value) else None
