"""Examples dealt at random, in equal numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class IID:
    """Every client holds a random sample; sizes differ by at most one."""

    NAME: ClassVar = "iid"

    def deal(self, strata: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(np.arange(len(strata)) % clients)
