"""Evaluation on the test set, as a whole and client by client."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.columns.metrics import client_metrics
from fedpareto.federated.algorithms.interface import Apply
from fedpareto.federated.execution.chunks import by_chunk
from fedpareto.tasks.interface import Task

PyTree = Any


def evaluate(
    apply: Apply,
    task: Task,
    params: PyTree,
    x: jax.Array,
    y: jax.Array,
    *,
    client: jax.Array,
    clients: int,
    devices: int = 1,
) -> dict[str, jax.Array]:
    """The scores of `params` on the test set, `task.score_names`, float32 scalars.

    Metrics are taken over all test examples; the first of them also over each client's own, of which the worst, the median and the
    mean count every client that holds test examples alike, however many it holds.

    Args:
      apply: The model.
      task: Its loss and scores.
      params: Its parameters.
      x: float32 [n, ...].
      y: [n] or [n, ...], the targets.
      client: int32 [n], the client that each test example belongs to, numbered without gaps among those that hold any; n where
        it belongs to none.
      clients: Number of clients, static.
      devices: Size of the mesh axis `COHORT_AXIS`, over which the chunks are dealt; 1 where there is no such axis.
    """
    values = by_chunk(apply, params, x, y, partial(example_scores, task), devices=devices)
    holders = min(clients, client.shape[0])  # of a million clients, few hold test examples
    counts = jax.ops.segment_sum(jnp.ones(client.shape, jnp.float32), client, holders)
    # NaN where nobody has this number.
    by_client = {name: jax.ops.segment_sum(value, client, holders) / counts for name, value in values.items()}
    first = task.by_evaluation[0]
    of_clients = task.scores(by_client)[first.name]
    worst = jnp.nanmin(of_clients) if first.better == "higher" else jnp.nanmax(of_clients)
    names = [metric.name for metric in client_metrics(first)]
    summary = dict(zip(names, (worst, jnp.nanmedian(of_clients), jnp.nanmean(of_clients)), strict=True))
    return task.scores({name: jnp.mean(value) for name, value in values.items()}) | summary


def example_scores(task: Task, outputs: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
    """The scores of each example, its loss among them: float32 [batch] by name."""
    return task.example_scores(outputs, targets) | {"loss": task.loss(outputs, targets)}
