"""`fedpareto conform`: what a component of one's own fails of the checks that apply to it."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from typing import Any

from fedpareto.cli.flags import CHECKED
from fedpareto.components import registry
from fedpareto.components.registry import Component, ComponentError
from fedpareto.config import schema
from fedpareto.config.problems import Problems

MOST_LINES = 3  # of a check


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for each check, and what it fails; returns 1 if any fails, else 0.

    Raises:
      ComponentError: There is no such component, or it cannot be loaded.
      ConfigError: Its arguments are not what they must be.
      PrivacyPlanError: It does not say that it is sound for the unit and the trust model.
    """
    from fedpareto.federated.conformance import report

    component = _component(arguments.name, arguments.kind)
    spec = _spec(component, arguments.arguments or {})
    numbers = report.Numbers(**{field.name: getattr(arguments, field.name) for field in fields(report.Numbers)})
    shape = {} if (sides := _shape(component, arguments.shape)) is None else {"example_shape": sides}
    rows = []
    for result in report.results(component.kind, spec, numbers, **shape):
        rows.append(result)
        if not arguments.json:
            _print(result)
    failed = [result for result in rows if result.violations]
    if arguments.json:
        checks = [
            {"check": r.check, "status": r.status, "violations": r.violations, "skipped": r.skipped} for r in rows
        ]
        print(json.dumps({"component": component.name, "kind": component.kind, "checks": checks}))
    elif failed:
        print(f"{component.kind} {component.name} fails {', '.join(result.check for result in failed)}")
    else:
        print(
            f"{component.kind} {component.name} fails nothing, which proves nothing: the checks look for known faults"
        )
    return 1 if failed else 0


def _print(result: Any) -> None:
    mark = "FAILED" if result.violations else result.status
    print(f"{result.check:<20} {mark}" + (f": {result.skipped}" if result.skipped else ""), flush=True)
    for line in result.violations[:MOST_LINES]:
        print(f"    {line}")
    if (more := len(result.violations) - MOST_LINES) > 0:
        print(f"    and {more} more")


def _component(name: str, kind: str | None) -> Component:
    """The component, of the kind that its base class says where none is given."""
    if kind is not None:
        component, base = registry.find(kind, name), _bases()[kind]
        if not _inherits(component.load(), base):
            raise ComponentError(
                name, f"be a class of the kind {kind}", f"inherit from {base.__module__}.{base.__name__}"
            )
        return component
    if not registry.is_path(name):
        known = {kind: registry.names(kind) for kind in CHECKED}
        kinds = [kind for kind in CHECKED if name in known[kind]]
        if not kinds:
            raise ComponentError(name, "be a name that exists", "one of " + ", ".join(sum(known.values(), ())))
        return registry.find(kinds[0], name)
    loaded = registry.find("mechanism", name).load()
    for each, base in _bases().items():
        if _inherits(loaded, base):
            return registry.find(each, name)
    raise ComponentError(name, f"be a {', '.join(CHECKED[:-1])} or {CHECKED[-1]}", "inherit from one, or write --kind")


def _inherits(loaded: Any, base: type) -> bool:
    return isinstance(loaded, type) and issubclass(loaded, base)


def _bases() -> dict[str, type]:
    import flax.linen as nn

    from fedpareto.federated.algorithms.interface import Algorithm
    from fedpareto.privacy.mechanisms.interface import Mechanism
    from fedpareto.tasks.interface import Task

    return dict(zip(CHECKED, (Mechanism, Algorithm, nn.Module, Task), strict=True))


def _spec(component: Component, arguments: dict[str, Any]) -> dict[str, Any]:
    """Name and arguments, checked by their ranges."""
    problems = Problems([("--arguments", arguments)])
    values = schema.single([], arguments, component.arguments, problems)
    problems.raise_if_any()
    return {"name": component.name, **values}


def _shape(component: Component, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The shape of a model's examples: as given, or as its class says; a side that it leaves open is 3."""
    wanted = component.constants.get("INPUT_SHAPE")
    if shape is None and wanted:
        return tuple(side or 3 for side in wanted)
    return shape
