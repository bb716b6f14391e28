"""From the spec of a task to the task, and checks of the properties that the engine relies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.columns.metrics import USUAL_TASK
from fedpareto.components import registry
from fedpareto.components.registry import ComponentError
from fedpareto.tasks.interface import Task

EXAMPLES = 8  # on which a task is tried before it trains
USUAL = {"name": USUAL_TASK}


def spec_of(spec: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The spec of a run's task, which a run leaves out where it is the usual one."""
    return spec or USUAL


def build(spec: Mapping[str, Any] | None) -> Task:
    """The task that a spec names; classification where there is none.

    Raises:
      ComponentError: The class is no task: it does not inherit from `Task`, lacks a method, or is no frozen dataclass.
    """
    spec = spec_of(spec)
    try:
        task = registry.build("task", spec)
    except TypeError as error:  # an abstract method that is missing
        raise ComponentError(spec["name"], "have all methods of a task", str(error)) from None
    if not isinstance(task, Task):
        raise ComponentError(spec["name"], "be a task", "inherit from fedpareto.tasks.interface.Task")
    parameters = getattr(type(task), "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise ComponentError(spec["name"], "be a frozen dataclass", "runs share a program where their tasks are equal")
    return task


def check(spec: Mapping[str, Any] | None, task: Task, outputs: int, targets: np.ndarray) -> None:
    """Tries a task on a few examples of a data set, with random outputs.

    Args:
      spec: Its spec, for messages.
      task: The task.
      outputs: Number of a model's outputs.
      targets: [n] or [n, ...], those of the training set.

    Raises:
      ComponentError: It has no loss for each example by itself, or not the metrics that it names.
    """
    name, y = (
        spec_of(spec)["name"],
        jnp.asarray(np.concatenate([targets[:EXAMPLES]] * 2)),
    )  # some look for equal targets
    made = jax.random.normal(jax.random.key(0), (len(y), outputs), jnp.float32)
    loss = task.loss(made, y)
    if loss.shape != (len(y),) or loss.dtype != jnp.float32:
        hint = f"for {len(y)} examples it returns {loss.dtype} {list(loss.shape)}"
        raise ComponentError(name, "have a loss float32 [batch], of each example", hint)
    alone = jnp.concatenate([task.loss(made[i : i + 1], y[i : i + 1]) for i in range(len(y))])
    if not np.allclose(loss, alone, rtol=1e-4, atol=1e-6, equal_nan=True):
        hint = "clipping bounds what one record does only where no record is in the loss of another"
        raise ComponentError(name, "have a loss in which each example stands alone", hint)
    means = {"loss": jnp.mean(loss)} | {key: jnp.mean(v) for key, v in task.example_scores(made, y).items()}
    scores = task.scores(means)
    if missing := [metric.name for metric in task.by_evaluation if metric.name not in scores]:
        raise ComponentError(name, f"score {missing[0]}, which it names", "return it from example_scores or scores")
    final = task.final_metrics(np.asarray(task.predictions(made)), np.asarray(y))
    if missing := [metric.name for metric in task.final if metric.name not in final]:
        raise ComponentError(name, f"score {missing[0]}, which it names", "return it from final_metrics")
