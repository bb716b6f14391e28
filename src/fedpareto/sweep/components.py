"""The components that a run names: an edit of one of them changes the runs that name it, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedpareto.components import registry
from fedpareto.components.registry import Component
from fedpareto.sweep.run import Run

DEFAULTS = {"task": "classification", "mechanism": "gaussian"}


def components_of(run: Run) -> tuple[Component, ...]:
    """The components whose code makes a run's numbers. The data set enters by its content."""
    flat = run.to_dict()
    named = {kind: flat.get(kind) or DEFAULTS.get(kind) for kind in registry.KINDS}
    names = {kind: spec["name"] if isinstance(spec, dict) else spec for kind, spec in named.items()}
    kinds = ("model", "task", "algorithm", "mechanism", "preprocessing", "partition")
    return tuple(registry.find(kind, name) for kind in kinds if (name := names[kind]) is not None)


def component_files(runs: Iterable[Run]) -> list[Path]:
    """The source files of all components that runs name."""
    components = {(component.kind, component.name): component for run in runs for component in components_of(run)}
    return sorted({file for component in components.values() for file in component.files})
