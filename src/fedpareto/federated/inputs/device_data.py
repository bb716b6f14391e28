"""The data of a bundle on the device: its examples once, and who holds which of them in each partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData
from fedpareto.data.partitions.dealing import Partition, partition
from fedpareto.sweep.run import Run
from fedpareto.tasks import build as tasks


class Examples(NamedTuple):
    """All training examples, one array for all clients: x float32 [n, ...], y int32 [n] or float32 [n, ...] (`Task`)."""

    x: jax.Array
    y: jax.Array


class DeviceData(NamedTuple):
    """Device arrays, passed as arguments and never closed over.

    Attributes:
      train: Training examples of all clients.
      test: Test examples.
      train_index: int32 [partitions, clients, pad].
      train_count: int32 [partitions, clients].
      test_client: int32 [partitions, test examples], numbers without gaps; the number of test examples where the owner is no
        client.
      record_mask: bool [partitions, training examples], whether a record takes part where records are what is drawn (by the
        server, or by its client for itself); None where all do. One that does not contributes nothing, and what is public
        (counts, rates, expected sizes) stays: adding it would make the neighbouring data set.
    """

    train: Examples
    test: Examples
    train_index: jax.Array
    train_count: jax.Array
    test_client: jax.Array
    record_mask: jax.Array | None = None


def partitions_of(runs: Sequence[Run], data: PreparedData) -> dict[int, Partition]:
    """The partition of each seed among the runs.

    Raises:
      DataError: The data are not those that the runs were planned for: cohorts would be drawn of others than are there.
    """
    run = runs[0]
    if run.data.records not in (None, len(data.y_train)):
        raise DataError(
            f"the data hold {len(data.y_train):,} training examples and the plan {run.data.records:,} (run the sweep again: it "
            "makes a new plan)"
        )
    strata = strata_of(run, data)
    return {
        seed: partition(
            *strata,
            scheme=run.data.partition,
            clients=run.data.clients,
            seed=seed,
            client_train=data.client_train,
            client_test=data.client_test,
        )
        for seed in sorted({r.seed for r in runs})
    }


def strata_of(run: Run, data: PreparedData) -> tuple[np.ndarray, np.ndarray]:
    """The strata of training and test examples, int [n] and [m], by which a run's data are dealt to clients."""
    strata = tasks.build(run.task).strata(np.concatenate([data.y_train, data.y_test]))
    return strata[: len(data.y_train)], strata[len(data.y_train) :]


def data_of(data: PreparedData, partitions: Mapping[int, Partition]) -> DeviceData:
    """Device arrays of a bundle: the examples once, and an index matrix for each partition."""
    pad = max(p.train_index.shape[1] for p in partitions.values())
    index = [np.pad(p.train_index, ((0, 0), (0, pad - p.train_index.shape[1]))) for p in partitions.values()]
    return DeviceData(
        train=Examples(jnp.asarray(data.x_train), jnp.asarray(data.y_train)),
        test=Examples(jnp.asarray(data.x_test), jnp.asarray(data.y_test)),
        train_index=jnp.asarray(np.stack(index)),
        train_count=jnp.asarray(np.stack([p.train_count for p in partitions.values()])),
        test_client=jnp.asarray(np.stack([_holders(p) for p in partitions.values()]), jnp.int32),
    )


def _holders(dealt: Partition) -> np.ndarray:
    """Clients that hold test examples, numbered without gaps; the number of test examples where the owner is no client."""
    own = dealt.test_client < len(dealt.train_count)
    numbers = np.full(len(own), len(own))
    numbers[own] = np.unique(dealt.test_client[own], return_inverse=True)[1]
    return numbers
