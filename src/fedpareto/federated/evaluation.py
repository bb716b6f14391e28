"""Evaluation on the test set, as a whole and client by client."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.client import Apply, example_losses

PyTree = Any
CHUNK = 2048  # Test examples at a time: bounds the memory of a convolution's activations.


class Scores(NamedTuple):
    """Scores of one model, float32 scalars, accuracies in [0, 1].

    Attributes:
      accuracy: Over all test examples.
      loss: Mean cross-entropy over all test examples, in nats.
      worst_client_accuracy: Smallest over clients that hold test examples.
      median_client_accuracy: Median over clients that hold test examples.
    """

    accuracy: jax.Array
    loss: jax.Array
    worst_client_accuracy: jax.Array
    median_client_accuracy: jax.Array


def evaluate(apply: Apply, params: PyTree, x: jax.Array, y: jax.Array, client: jax.Array, clients: int) -> Scores:
    """Scores of `params` on the test set.

    Args:
      apply: The model.
      params: Its parameters.
      x: float32 [n, ...].
      y: int32 [n].
      client: int32 [n], the client that each test example belongs to.
      clients: Number of clients, static.
    """
    losses, correct = example_scores(apply, params, x, y)
    counts = jax.ops.segment_sum(jnp.ones_like(correct), client, clients)
    by_client = jax.ops.segment_sum(correct, client, clients) / counts  # NaN for a client without test examples
    return Scores(jnp.mean(correct), jnp.mean(losses), jnp.nanmin(by_client), jnp.nanmedian(by_client))


def example_scores(apply: Apply, params: PyTree, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loss and correctness (1.0 or 0.0) of each test example, both float32 [n]."""

    def score(batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        logits = apply(params, batch[0])
        return example_losses(logits, batch[1]), (jnp.argmax(logits, axis=1) == batch[1]).astype(jnp.float32)

    n = x.shape[0]
    if n <= CHUNK:
        return score((x, y))
    chunks = -(-n // CHUNK)
    pad = chunks * CHUNK - n
    xs = jnp.pad(x, ((0, pad), *((0, 0),) * (x.ndim - 1))).reshape(chunks, CHUNK, *x.shape[1:])
    ys = jnp.pad(y, (0, pad)).reshape(chunks, CHUNK)
    losses, correct = jax.lax.map(score, (xs, ys))
    return losses.reshape(-1)[:n], correct.reshape(-1)[:n]
