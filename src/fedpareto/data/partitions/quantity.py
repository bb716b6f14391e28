"""Clients of unequal sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedpareto.components.rules import Rule
from fedpareto.data.partitions.dealing import apportion


@dataclass(frozen=True)
class Quantity:
    """The clients' sizes are a Dirichlet draw; every client holds a random sample."""

    NAME: ClassVar = "quantity"
    alpha: Annotated[float, Rule(exclusiveMinimum=0, hint="small for very unequal sizes")]

    def deal(self, strata: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
        sizes = apportion(rng.dirichlet(np.full(clients, self.alpha)), len(strata), rng)
        return rng.permutation(np.repeat(np.arange(clients), sizes))
