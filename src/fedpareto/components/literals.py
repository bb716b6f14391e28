"""The class constants that are read from a component's file, and the form that each must have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _pairs(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(
        isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(word, str) for word in pair)
        for pair in value
    )


def _sides(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(side is None or (isinstance(side, int) and side > 0) for side in value)
    )


def _reasons(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(
        isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], dict) and isinstance(entry[1], str)
        for entry in value
    )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _distances(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(
        isinstance(entry, int | float) and not isinstance(entry, bool) and 0 < entry <= 2 for entry in value
    )


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


# Constant -> whether a value has its form, and the form with an example.
FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "SOUND_FOR": (_pairs, 'pairs of unit and trust, e.g. (("client", "central"),)'),
    "REMEMBERS_CLIENTS": (_flag, "True or False"),
    "VECTORS": (_count, "a count of vectors, e.g. 1"),
    "RELEASES": (_count, "a count of sums, e.g. 1"),
    "REPLACE_SENSITIVITIES": (_distances, "a number of at most 2 for each sum, e.g. (2.0,)"),
    "INPUT_SHAPE": (_sides, "height, width and channels, e.g. (28, 28, 1)"),
    "REFUSES": (_reasons, 'pairs of settings and a reason, e.g. (({"trust": "local"}, "why"),)'),
}


def fault(constants: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first constant that has not its form, and the form; None where all have."""
    return next(
        ((name, form) for name, (fits, form) in FORMS.items() if name in constants and not fits(constants[name])), None
    )
