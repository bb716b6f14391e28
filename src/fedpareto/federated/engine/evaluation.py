"""Evaluation on the test set, as a whole and client by client."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.interface import Apply
from fedpareto.federated.algorithms.local_sgd import example_losses
from fedpareto.federated.execution.chunks import by_chunk

PyTree = Any


class Scores(NamedTuple):
    """Scores of one model, float32 scalars, accuracies in [0, 1].

    Attributes:
      accuracy: Over all test examples.
      loss: Mean cross-entropy over all test examples, in nats.
      worst_client_accuracy: Smallest over clients that hold test examples.
      median_client_accuracy: Median over clients that hold test examples.
      mean_client_accuracy: Mean over clients that hold test examples, however many each holds.
    """

    accuracy: jax.Array
    loss: jax.Array
    worst_client_accuracy: jax.Array
    median_client_accuracy: jax.Array
    mean_client_accuracy: jax.Array


def evaluate(
    apply: Apply, params: PyTree, x: jax.Array, y: jax.Array, client: jax.Array, clients: int, devices: int = 1
) -> Scores:
    """Scores of `params` on the test set.

    Args:
      apply: The model.
      params: Its parameters.
      x: float32 [n, ...].
      y: int32 [n].
      client: int32 [n], the client that each test example belongs to, numbered without gaps among those that hold any; n where
        it belongs to none.
      clients: Number of clients, static.
      devices: Size of the mesh axis `COHORT_AXIS`, over which the chunks are dealt; 1 where there is no such axis.
    """
    losses, correct = example_scores(apply, params, x, y, devices)
    holders = min(clients, client.shape[0])  # of a million clients, few hold test examples
    counts = jax.ops.segment_sum(jnp.ones_like(correct), client, holders)
    by_client = jax.ops.segment_sum(correct, client, holders) / counts  # NaN where nobody has this number
    worst, median, mean = jnp.nanmin(by_client), jnp.nanmedian(by_client), jnp.nanmean(by_client)
    return Scores(jnp.mean(correct), jnp.mean(losses), worst, median, mean)


def example_scores(
    apply: Apply, params: PyTree, x: jax.Array, y: jax.Array, devices: int = 1
) -> tuple[jax.Array, jax.Array]:
    """Loss and correctness (1.0 or 0.0) of each test example, both float32 [n], whatever the number of devices."""

    def score(logits: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return example_losses(logits, y), (jnp.argmax(logits, axis=1) == y).astype(jnp.float32)

    losses, correct = by_chunk(apply, params, x, y, score, devices)
    return losses, correct
