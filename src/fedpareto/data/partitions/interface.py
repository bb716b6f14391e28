"""The interface of a partition scheme: it deals training examples to clients.

A configuration is checked by these literal constants of the class:

| constant  | meaning                                                                                                      |
|-----------|--------------------------------------------------------------------------------------------------------------|
| `NATURAL` | True: the clients are those of the data; `strata` are the numbers of the examples' clients and not labels    |
| `DRAWS`   | name of the argument with which clients draw examples that several may hold, or none; True where they always |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from fedpareto.components import registry

if TYPE_CHECKING:
    import numpy as np


class Scheme(Protocol):
    """A way of dealing examples to clients."""

    def deal(self, strata: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
        """Deals the training examples.

        Args:
          strata: int [n], labels of the training examples.
          clients: Number of clients.
          rng: All that is random comes from it, so that a seed gives one partition.

        Returns:
          int [n], the client that each example belongs to; or, of a scheme that `DRAWS`, int [clients, k], the rows that each
          client holds.

        Raises:
          DataError: The examples cannot be dealt so.
        """


def is_natural(spec: Mapping[str, Any]) -> bool:
    """Whether the clients of a partition are those of the data."""
    return bool(registry.constant("partition", spec, "NATURAL", False))


def is_drawn(spec: Mapping[str, Any]) -> bool:
    """Whether clients draw examples, so that several may hold one, or none."""
    draws = registry.constant("partition", spec, "DRAWS", False)
    return spec.get(draws) is not None if isinstance(draws, str) else bool(draws)
