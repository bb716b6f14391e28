"""The components that a configuration can name, with their arguments."""

from __future__ import annotations

import json
from typing import Any

from fedpareto.components import registry
from fedpareto.components.registry import Component


def show(kinds: list[str], names: list[str], as_json: bool) -> None:
    """Prints components: all of some kinds, or those with these names (`./my_model.py:Net` too).

    Raises:
      ComponentError: There is no such component.
    """
    found = [
        component
        for kind in kinds
        for component in ([registry.find(kind, name) for name in names] or registry.usable(kind))
    ]
    if as_json:
        print(json.dumps([_described(component) for component in found]))
        return
    for kind in kinds:
        print(kind)
        for component in found:
            if component.kind == kind:
                print(f"  {component.name}: {component.doc}")
                for argument, rule in component.arguments.items():
                    print(f"    {_line(argument, rule)}")


def _described(component: Component) -> dict[str, Any]:
    return {
        "kind": component.kind,
        "name": component.name,
        "help": component.doc,
        "arguments": {name: dict(rule) for name, rule in component.arguments.items()},
        "own": component.own,
    }


def _line(argument: str, rule: Any) -> str:
    default = rule.get("default", rule.get("usual"))
    usual = "must be given" if rule.get("required") else f"default {'null' if default is None else default}"
    says = " ".join(part for part in (rule.get("description", ""), f"Must {rule['must']}; {usual}.") if part)
    return f"{argument}: {says}"
