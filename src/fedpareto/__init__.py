"""The accuracy that each epsilon costs and the measured leakage that it buys, for federated learning.

The names below are the Python front; each is imported when it is first asked for, so that the command line starts at once.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load_config": "fedpareto.notebook",
    "plan_sweep": "fedpareto.sweep.sweep",
    "train": "fedpareto.notebook",
    "attack": "fedpareto.notebook",
    "epsilon": "fedpareto.notebook",
    "calibrate": "fedpareto.notebook",
    "draw": "fedpareto.notebook",
    "Config": "fedpareto.config.study",
    "ConfigError": "fedpareto.config.problems",
    "Sweep": "fedpareto.sweep.sweep",
    "Run": "fedpareto.sweep.run",
    "PrivacyPlan": "fedpareto.privacy.plan",
    "PrivacyPlanError": "fedpareto.privacy.plan",
    "PrivacySetting": "fedpareto.privacy.setting",
    # What components of one's own are made of.
    "Algorithm": "fedpareto.federated.algorithms.interface",
    "Attack": "fedpareto.attacks.interface",
    "AttackResult": "fedpareto.attacks.results",
    "AttackResults": "fedpareto.attacks.results",
    "Mechanism": "fedpareto.privacy.mechanisms.interface",
    "PreparedData": "fedpareto.data.arrays",
    "Rule": "fedpareto.components.rules",
    "Task": "fedpareto.tasks.interface",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
