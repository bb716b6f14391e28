"""The components that a run names: an edit of one of them changes the runs that name it, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedpareto.columns.declared import ITS_AUTHOR, US
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


def own_proofs(run: Run) -> tuple[Component, ...]:
    """The components of a run on whose proof its epsilon rests, and that the package does not come with; none without noise."""
    if run.privacy is None:
        return ()
    return tuple(component for component in components_of(run) if component.own and _proves(component))


def proved_by(run: Run) -> str | None:
    """Who proved what a run's epsilon rests on: `ITS_AUTHOR` where a component of it is no built-in; None without noise."""
    return None if run.privacy is None else ITS_AUTHOR if own_proofs(run) else US


def _proves(component: Component) -> bool:
    learns = component.kind == "preprocessing" and component.constants.get("RELEASES", 0)
    return component.kind in ("mechanism", "algorithm") or bool(learns)


def component_files(runs: Iterable[Run]) -> list[Path]:
    """The source files of all components that runs name."""
    components = {(component.kind, component.name): component for run in runs for component in components_of(run)}
    return sorted({file for component in components.values() for file in component.files})
