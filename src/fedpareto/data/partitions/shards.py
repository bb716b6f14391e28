"""Clients with few labels each: slices of the examples sorted by label (McMahan et al. 2017; Geyer et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedpareto.components.rules import AT_LEAST_ONE, Rule
from fedpareto.data import DataError


@dataclass(frozen=True)
class Shards:
    """Clients get slices of the examples sorted by label (McMahan et al. 2017), or draw slices of a fixed size (Geyer et al. 2017).

    Attributes:
      shards_per_client: Slices of a client.
      shard_size: Examples a shard; clients then draw shards, which several may hold, or none.
    """

    NAME: ClassVar = "shards"
    DRAWS: ClassVar = "shard_size"
    shards_per_client: Annotated[int, AT_LEAST_ONE] = 2
    shard_size: Annotated[int | None, Rule(minimum=1, hint="null to deal every example to one client", usual=True)] = (
        None
    )

    def deal(self, strata: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
        if self.shard_size is not None:
            return self._drawn(self.shard_size, strata, clients, rng)
        shards = clients * self.shards_per_client
        owner = np.empty(len(strata), np.int64)
        for shard, rows in enumerate(np.array_split(_by_label(strata, rng), shards)):
            owner[rows] = shard
        return rng.permutation(np.arange(shards) % clients)[owner]

    def _drawn(self, size: int, strata: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of each client, int64 [clients, shards_per_client * shard_size].

        All shards are drawn once before any is drawn again, in an order of its own each time, and no client draws one twice. What
        is left over of the sorted examples is less than a shard, and goes to nobody.
        """
        each, shards = self.shards_per_client, len(strata) // size
        if each > shards:
            raise DataError(
                f"clients draw {each} different shards of {size:,} examples, and {len(strata):,} training examples make {shards} "
                "(write fewer shards_per_client or a smaller shard_size)"
            )
        by_label = _by_label(strata, rng)[: shards * size].reshape(shards, size)
        drawn = np.empty(0, np.int64)
        while len(drawn) < clients * each:
            order = rng.permutation(shards)
            unfinished = drawn[len(drawn) - len(drawn) % each :]  # of the client that this pass goes on with
            again = np.isin(order, unfinished)
            drawn = np.concatenate([drawn, order[~again], order[again]])
        return by_label[drawn[: clients * each]].reshape(clients, each * size)


def _by_label(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows sorted by label, in random order within each."""
    rows = rng.permutation(len(strata))
    return rows[np.argsort(strata[rows], kind="stable")]
