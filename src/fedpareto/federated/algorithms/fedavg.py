"""Federated averaging (McMahan et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fedpareto.federated.algorithms.interface import Algorithm, ClientUpdate, LocalProblem
from fedpareto.federated.algorithms.local_sgd import local_sgd

PyTree = Any


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """Local SGD on each client; with unit `record`, whatever clients or server make of clipped gradients of records."""

    NAME: ClassVar[str] = "fedavg"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (
        ("client", "central"),
        ("client", "local"),
        ("client", "distributed"),
        ("record", "central"),
        ("record", "local"),
        ("record", "distributed"),
    )

    def client(self, problem: LocalProblem, state: None) -> tuple[ClientUpdate, None]:
        """Local SGD."""
        return local_sgd(problem), None
