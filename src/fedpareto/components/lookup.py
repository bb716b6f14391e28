"""Built-in components by kind and name. They are imported when a run names them, and by nothing else of the core."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "algorithm": {
        "fedavg": "fedpareto.federated.algorithms.fedavg:FedAvg",
        "fedprox": "fedpareto.federated.algorithms.fedprox:FedProx",
        "scaffold": "fedpareto.federated.algorithms.scaffold:Scaffold",
        "alone": "fedpareto.federated.algorithms.local_only:LocalOnly",
    },
    "mechanism": {
        "gaussian": "fedpareto.privacy.mechanisms.gaussian:Gaussian",
        "discrete_gaussian": "fedpareto.privacy.mechanisms.discrete_gaussian:DiscreteGaussian",
        "skellam": "fedpareto.privacy.mechanisms.skellam:Skellam",
        "banded": "fedpareto.privacy.mechanisms.banded:Banded",
    },
}


def load(kind: str, name: str) -> Any:
    """The class of a component.

    Raises:
      KeyError: There is none of this kind and name.
    """
    module, _, attribute = BUILT_IN[kind][name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(kind: str, spec: Mapping[str, Any]) -> Any:
    """The component that a spec names, with its arguments."""
    return load(kind, spec["name"])(**{key: value for key, value in spec.items() if key != "name"})
