"""Clients with labels of their own mix (Hsu et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedpareto.components.rules import Rule
from fedpareto.data.partitions.dealing import apportion


@dataclass(frozen=True)
class Dirichlet:
    """The clients' shares of each label are a Dirichlet draw (Hsu et al. 2019)."""

    NAME: ClassVar = "dirichlet"
    alpha: Annotated[float, Rule(exclusiveMinimum=0, hint="0.1 is very skewed, 100 nearly iid")]

    def deal(self, strata: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
        owner = np.empty(len(strata), np.int64)
        for label in np.unique(strata):
            rows = rng.permutation(np.flatnonzero(strata == label))
            shares = rng.dirichlet(np.full(clients, self.alpha))
            owner[rows] = np.repeat(np.arange(clients), apportion(shares, len(rows), rng))
        return owner
