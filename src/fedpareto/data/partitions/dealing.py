"""How examples are dealt to clients, seeded, on the host.

Training examples follow the scheme; test examples follow the clients' training labels, so that a client's own accuracy is
measured on the mix of labels that it has. Every scheme deals every training example to exactly one client, but for shards of
a fixed size: clients draw these, so that several clients may hold an example, or none.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpareto.components import registry
from fedpareto.data import DataError
from fedpareto.data.partitions.interface import is_drawn, is_natural


@dataclass(frozen=True)
class Partition:
    """The examples of each client.

    Attributes:
      train_index: int32 [clients, pad], rows of the training set; the first `train_count` of a row are real.
      train_count: int32 [clients].
      test_client: int32 [test examples], the client that each test example belongs to; `clients` or more if it is none.
    """

    train_index: np.ndarray
    train_count: np.ndarray
    test_client: np.ndarray


def partition(
    y_train: np.ndarray,
    y_test: np.ndarray,
    *,
    scheme: Mapping[str, Any],
    clients: int,
    seed: int,
    client_train: np.ndarray | None = None,
    client_test: np.ndarray | None = None,
) -> Partition:
    """Deals the training examples to the clients, and the test examples after them.

    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> dealt = partition(labels, labels, scheme={"name": "iid"}, clients=3, seed=0)
    >>> dealt.train_count.tolist()
    [2, 2, 2]

    Args:
      y_train: int [n], training labels.
      y_test: int [m], test labels.
      scheme: `name` of a component of the kind `partition` and its arguments. `minimum` is the number of examples that every
        client keeps at least; the natural split is left as it is.
      clients: Number of clients.
      seed: Partitions of different seeds differ; the same arguments give the same partition.
      client_train: int [n], whose each training example is, for a natural partition.
      client_test: int [m], likewise for the test set.

    Raises:
      DataError: More clients or larger shards than examples allow, a natural split of data that has none or another number
        of clients, or a scheme of the user's that deals what is not there.
    """
    rng = np.random.default_rng([seed, clients, zlib.crc32(str(scheme["name"]).encode())])
    minimum = int(scheme.get("minimum", 1))
    dealer = registry.build("partition", {key: value for key, value in scheme.items() if key != "minimum"})
    if is_natural(scheme):
        if client_train is None or client_test is None:
            raise DataError("the natural partition needs data that say whose each example is (use iid or dirichlet)")
        named = int(np.max(client_train)) + 1
        if named != clients:
            raise DataError(
                f"the data name {named} clients and the plan {clients} (run the sweep again: it makes a new plan)"
            )
        owner = _checked(scheme, dealer.deal(np.asarray(client_train), clients, rng), (len(client_train),), clients)
        return _collect(owner, np.asarray(client_test), clients)
    if is_drawn(scheme):
        rows = dealer.deal(y_train, clients, rng)
        index = _checked(scheme, rows, (clients, *np.shape(rows)[-1:]), len(y_train)).astype(np.int32)
        counts = np.full(clients, index.shape[1], np.int32)
        held = label_counts(Partition(index, counts, np.empty(0, np.int32)), y_train, int(y_train.max()) + 1)
        return Partition(index, counts, _deal_test(held, y_test, rng).astype(np.int32))
    if clients * minimum > len(y_train):
        raise DataError(
            f"{clients} clients with at least {minimum} examples each need {clients * minimum:,} training examples, and "
            f"there are {len(y_train):,} (write fewer clients)"
        )
    owner = _checked(scheme, dealer.deal(y_train, clients, rng), (len(y_train),), clients)
    _enforce_minimum(owner, clients, minimum, rng)
    held = np.zeros((clients, int(y_train.max()) + 1), np.int64)
    np.add.at(held, (owner, y_train), 1)
    return _collect(owner, _deal_test(held, y_test, rng), clients)


def _checked(scheme: Mapping[str, Any], dealt: Any, shape: tuple[int, ...], below: int) -> np.ndarray:
    """A copy of the deal of a scheme, int64.

    Raises:
      DataError: It is no array of whole numbers of that shape, from 0 to `below`.
    """
    numbers = np.asarray(dealt)
    whole = numbers.shape == shape and np.issubdtype(numbers.dtype, np.integer)
    if not whole or not numbers.size or numbers.min() < 0 or numbers.max() >= below:
        raise DataError(
            f"partition {scheme['name']} must deal whole numbers from 0 to {below - 1} of shape {shape}, and deals "
            + (f"{numbers.min()} to {numbers.max()}" if whole and numbers.size else f"{numbers.dtype} {numbers.shape}")
        )
    return numbers.astype(np.int64)


def label_counts(partition: Partition, y_train: np.ndarray, classes: int) -> np.ndarray:
    """Training examples by client and label, int64 [clients, classes].

    >>> one_each = Partition(np.array([[0, 0], [1, 2]]), np.array([1, 2]), np.array([]))
    >>> label_counts(one_each, np.array([0, 1, 1]), classes=2).tolist()
    [[1, 0], [0, 2]]
    """
    counts = np.zeros((len(partition.train_count), classes), np.int64)
    for client, count in enumerate(partition.train_count):
        counts[client] = np.bincount(y_train[partition.train_index[client, :count]], minlength=classes)
    return counts


def apportion(shares: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers that add up to `total` in proportion to `shares`, ties and remainders drawn at random."""
    mass = shares.sum()
    shares = shares / mass if mass > 0 else np.full(len(shares), 1 / len(shares))
    ideal = shares * total
    counts = np.floor(ideal).astype(np.int64)
    remainder = ideal - counts
    short = total - int(counts.sum())
    if short > 0:
        # Systematic sampling of the remainders: unbiased, so that small clients are not always the ones left out.
        order = rng.permutation(len(shares))
        ends = np.cumsum(remainder[order])
        points = (np.arange(short) + rng.uniform()) * (ends[-1] / short)
        np.add.at(counts, order[np.minimum(np.searchsorted(ends, points), len(order) - 1)], 1)
    return counts


def _enforce_minimum(owner: np.ndarray, clients: int, minimum: int, rng: np.random.Generator) -> None:
    """Moves examples, one by one from the then largest client, to clients that have fewer than `minimum`."""
    counts = np.bincount(owner, minlength=clients)
    for client in np.flatnonzero(counts < minimum):
        while counts[client] < minimum:
            giver = int(np.argmax(counts))
            owner[rng.choice(np.flatnonzero(owner == giver))] = client
            counts[giver] -= 1
            counts[client] += 1


def _deal_test(held: np.ndarray, y_test: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deals the test examples of each label in proportion to the clients' training examples of it, int64 [clients, labels]."""
    clients, labels = held.shape
    test_owner = np.empty(len(y_test), np.int64)
    for label in np.unique(y_test):
        rows = rng.permutation(np.flatnonzero(y_test == label))
        of_label = held[:, label] if label < labels else np.zeros(clients)
        test_owner[rows] = np.repeat(np.arange(clients), apportion(of_label.astype(float), len(rows), rng))
    return test_owner


def _collect(owner: np.ndarray, test_owner: np.ndarray, clients: int) -> Partition:
    counts = np.bincount(owner, minlength=clients)
    by_client = np.argsort(owner, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    index = np.zeros((clients, int(counts.max())), np.int32)
    for client in range(clients):
        index[client, : counts[client]] = by_client[starts[client] : starts[client] + counts[client]]
    return Partition(index, counts.astype(np.int32), test_owner.astype(np.int32))
