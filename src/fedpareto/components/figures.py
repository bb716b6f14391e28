"""Which figures a study or a comparison has, by the literals of their classes.

| constant   | value                                                                                                    |
|------------|----------------------------------------------------------------------------------------------------------|
| `FOR`      | `study`, `comparison`, or both                                                                           |
| `NEEDS`    | what the study must have beside runs: `privacy` (a private run), `pictures` (records that are), `policy` |
| `GOALS`    | goals of attacks (`threats.Goal`), one of which must have been tried; empty where no attack is needed    |
| `ORDER`    | place among the figures of a study; those without one come last                                          |
| `CATEGORY` | heading in the report                                                                                    |
| `CAPTION`  | text in the report                                                                                       |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fedpareto.components import registry, threats

STUDY, COMPARISON = "study", "comparison"
PRIVACY, PICTURES, POLICY = "privacy", "pictures", "policy"
NEEDS = (PRIVACY, PICTURES, POLICY)


def ordered() -> tuple[registry.Component, ...]:
    """All figures in their order."""
    return tuple(sorted(registry.usable("figure"), key=lambda figure: float(figure.constants.get("ORDER", math.inf))))


def file_name(figure: str) -> str:
    """The name of a figure's files: its component's `NAME`, or that of its class, in letters alone."""
    component = registry.find("figure", figure)
    return str(component.constants.get("NAME") or component.class_name).lower()


def of_study(subject: str, has: Mapping[str, Callable[[], bool]], tried: Iterable[str]) -> tuple[str, ...]:
    """The figures that make sense.

    Args:
      subject: `STUDY` or `COMPARISON`.
      has: For each of `NEEDS`, whether the study has it; asked where a figure needs it.
      tried: The attacks that are made on its runs.
    """
    goals = {threats.goal(attack) for attack in tried}

    def applies(constants: Mapping[str, Any]) -> bool:
        wanted = constants.get("GOALS", ())
        return (
            subject in constants.get("FOR", (STUDY,))
            and (not wanted or bool(goals & set(wanted)))
            and all(has[need]() for need in constants.get("NEEDS", ()))
        )

    return tuple(figure.name for figure in ordered() if applies(figure.constants))
