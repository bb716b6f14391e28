"""The components that a run names: an edit of one of them changes the runs that name it, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fedpareto.columns.declared import ITS_AUTHOR, US
from fedpareto.components import registry
from fedpareto.components.registry import Component
from fedpareto.sweep.run import Run

KINDS = ("model", "task", "algorithm", "mechanism", "preprocessing", "partition")
DEFAULTS = {"task": "classification", "mechanism": "gaussian"}


def components_of(run: Run) -> tuple[Component, ...]:
    """The components whose code makes a run's numbers. The data set enters by its content."""
    return tuple(registry.find(kind, name) for kind, name in _named(run))


def _named(run: Run) -> Iterator[tuple[str, str]]:
    """Kind and name of each component of a run."""
    flat = run.to_dict()
    for kind in KINDS:
        if spec := flat[kind] or DEFAULTS.get(kind):
            yield kind, spec["name"] if isinstance(spec, dict) else spec


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
    named = {pair for run in runs for pair in _named(run)}  # runs of a bundle name the same: each is looked up once
    return sorted({file for kind, name in named for file in registry.find(kind, name).files})
