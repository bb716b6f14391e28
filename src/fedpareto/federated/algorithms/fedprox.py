"""FedProx (Li et al. 2020): local SGD that is pulled back to the global parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax

from fedpareto.components.rules import Rule
from fedpareto.federated.algorithms.interface import Algorithm, ClientUpdate, LocalProblem
from fedpareto.federated.algorithms.local_sgd import local_sgd

PyTree = Any


@dataclass(frozen=True)
class FedProx(Algorithm):
    """Local SGD on the loss plus mu/2 |local - global|^2.

    Attributes:
      proximal: Strength mu of the proximal term.
    """

    NAME: ClassVar[str] = "fedprox"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (
        ("client", "central"),
        ("client", "local"),
        ("client", "distributed"),
    )
    proximal: Annotated[float, Rule(exclusiveMinimum=0, hint="e.g. 0.01")]

    def client(self, problem: LocalProblem, state: None) -> tuple[ClientUpdate, None]:
        """Local SGD with the gradient of the proximal term added."""

        def pulled(gradient: PyTree, local: PyTree) -> PyTree:
            return jax.tree.map(lambda g, p, q: g + self.proximal * (p - q), gradient, local, problem.params)

        return local_sgd(problem, pulled), None
