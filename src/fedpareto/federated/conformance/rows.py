"""Checks that no example is in the output, or in the loss, of another one of its batch.

Per-example clipping bounds what one record does for no other reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components.registry import ComponentError
from fedpareto.models.model import build
from fedpareto.tasks import build as tasks
from fedpareto.tasks.interface import CLASSES, Task

BATCH, OUTPUTS = 6, 3
WILD = (0.0, 1e4, -1e30, np.inf, np.nan)
Rows = Callable[[np.ndarray], np.ndarray]


def check_model(spec: Mapping[str, Any], example_shape: Sequence[int]) -> list[str]:
    """An example's outputs are float32 [OUTPUTS] and depend on no other example.

    Args:
      spec: `name` and arguments.
      example_shape: Shape of an example.
    """
    try:
        model = build(spec, tuple(example_shape), OUTPUTS)
    except ComponentError as error:
        return [f"shape: it must {error.must} ({error.hint})"]
    rng = np.random.default_rng(0)
    params = model.init(jax.random.key(0))
    # Layers that begin with zeros would hide what goes through them.
    params = jax.tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), params)
    x = rng.normal(size=(BATCH, *example_shape)).astype(np.float32)
    outputs = jax.jit(lambda x: model.apply(params, x))
    return list(_mixed(lambda rows: np.asarray(outputs(rows)), x, "outputs"))


def check_task(spec: Mapping[str, Any]) -> list[str]:
    """An example's loss is a float32 and depends on no other example's outputs or target; metrics are those that it names."""
    try:
        task = tasks.build(spec)
    except ComponentError as error:
        return [f"form: it must {error.must} ({error.hint})"]
    rng = np.random.default_rng(0)
    targets = _targets(task, rng)
    outputs = int(task.outputs(targets, OUTPUTS if task.TARGETS == CLASSES else 0))
    made = rng.normal(size=(BATCH, outputs)).astype(np.float32)
    try:
        tasks.check(spec, task, outputs, targets)
    except ComponentError as error:
        return [f"loss: it must {error.must} ({error.hint})"]
    loss = jax.jit(task.loss)
    violations = list(_mixed(lambda rows: np.asarray(loss(rows, targets)), made, "loss, by its outputs,"))
    other = _targets(task, np.random.default_rng(1))
    wild = (other[0], np.full_like(targets[0], np.nan)) if targets.dtype == np.float32 else (other[0],)
    return violations + list(
        _mixed(lambda rows: np.asarray(loss(jnp.asarray(made), rows)), targets, "loss, by its target,", wild)
    )


def _targets(task: Task, rng: np.random.Generator) -> np.ndarray:
    if task.TARGETS == CLASSES:
        return rng.permutation(np.arange(BATCH) % OUTPUTS).astype(np.int32)
    return rng.normal(size=BATCH).astype(np.float32)


def _mixed(function: Rows, rows: np.ndarray, name: str, wild: Sequence[Any] = WILD) -> Iterator[str]:
    """The first example that is in the values of others; nothing where none is."""
    values = function(rows)
    for value in wild:
        for row in range(len(rows)):
            changed = rows.copy()
            changed[row] = value
            others = np.arange(len(rows)) != row
            if not np.allclose(function(changed)[others], values[others], rtol=1e-4, atol=1e-5, equal_nan=True):
                what = f"all of {value:g}" if np.ndim(value) == 0 else "another one"
                yield f"alone: example {row}, made {what}, changes the {name} of other examples of its batch"
                return
    alone = np.concatenate([function(rows[i : i + 1]) for i in range(len(rows))]) if name == "outputs" else values
    if not np.allclose(alone, values, rtol=1e-3, atol=1e-4, equal_nan=True):
        yield f"alone: the {name} of an example by itself are not those in a batch"
