"""Problems of a configuration, collected: nothing here raises at the first one.

Every problem is one line, `<file>: <key> = <value> must <what> (<hint>)`, and all are raised as one error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml
from jsonschema import Draft202012Validator

COMMAND_LINE = "--config"
LONGEST_VALUE = 100  # characters of a value in a message
LONGEST_LIST = 250  # and of the names that are offered instead
DEEPEST_SHOWN = 8
MOST_LINES = 50
LIMITS = (1e-15, 1e15)  # their squares are numbers of float32 too
LARGEST_INTEGER = 2**31 - 1  # counts and seeds are int32 on the device


class ConfigError(ValueError):
    """One or more problems of a configuration, one line each: `<file>: <key> = <value> must <what> (<hint>)`."""


def show(value: Any, room: int = LONGEST_VALUE) -> str:
    """A value as one would write it in YAML, on one line and in about `room` characters: the end of a longer one is left out."""
    text = ""
    for part in _parts(value):
        text += part
        if len(text) > room:
            return text[:room] + "..."
    return text


def _parts(value: Any, depth: int = 0) -> Iterator[str]:
    """The text of a value piece by piece: who has enough of it need not pay for the rest."""
    if isinstance(value, Mapping | list | tuple) and depth > DEEPEST_SHOWN:
        yield "..."
    elif isinstance(value, Mapping):
        for i, (key, part) in enumerate(value.items()):
            yield ", " if i else "{"
            yield from _parts(key, depth + 1)
            yield ": "
            yield from _parts(part, depth + 1)
        yield "}" if value else "{}"
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield ", " if i else "["
            yield from _parts(part, depth + 1)
        yield "]" if value else "[]"
    elif value is None or isinstance(value, bool):
        yield {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, int) and abs(value) >= 10**LONGEST_VALUE:
        yield f"{'-' if value < 0 else ''}1e{int(math.log10(abs(value)))}"  # Python writes no more than 4,300 digits
    else:
        text = str(value)[: 10 * LONGEST_VALUE]
        yield "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@dataclass
class Problems:
    """Collects problems and finds the file that each key stands in."""

    sources: Sequence[tuple[str, Any]]
    lines: list[str] = field(default_factory=list)

    def add(self, key: Sequence[str | int], value: Any, must: str, hint: str = "") -> None:
        """One problem: the value at `key` must be something else."""
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{show(part, 60)}" for part in key).lstrip(".")
        line = f"{self._file(key)}: {place} = {show(value)} must {must}" + (f" ({hint})" if hint else "")
        if line not in self.lines:
            self.lines.append(line)

    def raise_if_any(self) -> None:
        """Raises all problems as one error."""
        if self.lines:
            more = [f"and {len(self.lines) - MOST_LINES:,} problems more"] if len(self.lines) > MOST_LINES else []
            raise ConfigError("\n".join([*self.lines[:MOST_LINES], *more]))

    def _file(self, key: Sequence[str | int]) -> str:
        keys = [part for part in key if isinstance(part, str)]
        for depth in range(len(keys), 0, -1):
            for name, tree in reversed(self.sources):
                if _holds(tree, keys[:depth]) or (len(keys) > 2 and _holds(tree, keys[2:depth])):
                    return name
        return self.sources[0][0] if self.sources else COMMAND_LINE


def valid(key: Sequence[str | int], value: Any, rule: Mapping[str, Any], problems: Problems) -> bool:
    """Whether a value keeps its rule in `config.schema.yaml`; adds a problem where it does not."""
    must = fault(value, rule)
    if must is None:
        return True
    hint = rule.get("hint", "")
    kinds = _kinds(rule)
    if isinstance(value, str) and _is_number(value) and {"number", "integer"} & kinds and "string" not in kinds:
        unquoted = isinstance(yaml.safe_load(value), int | float) and not value.lstrip("+-").startswith("0")
        plain = value if unquoted else _plain(value, whole="integer" in kinds)
        hint = f"write {plain} without quotes" if unquoted else f"YAML reads {value} as text; write {plain}"
    problems.add(key, value, must, str(hint))
    return False


def fault(value: Any, rule: Mapping[str, Any]) -> str | None:
    """The requirement of a rule in `config.schema.yaml` that a value breaks; None if it breaks none.

    Numbers become float32 on the device: one that is not 0 must be within the rule's `limits`, or `LIMITS`.
    """
    kinds, must = _kinds(rule), str(rule["must"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None if Draft202012Validator(rule).is_valid(value) else must
    if isinstance(value, float) and not math.isfinite(value):
        return f"{must}, and finite" if {"integer", "number"} & kinds else must
    if "integer" in kinds and abs(value) > LARGEST_INTEGER:
        return f"{must}, and at most {LARGEST_INTEGER}"
    as_float = max(-(2**1000), min(2**1000, value))  # jsonschema divides by floats
    if not Draft202012Validator(rule).is_valid(as_float):
        return must
    if "number" in kinds:
        smallest, largest = rule.get("limits", LIMITS)
        if abs(value) > largest:
            return f"{must}, and at most {largest:.1e}"
        if 0 < abs(value) < smallest:
            return f"{must}, and at least {smallest:.1e}" + (" or 0" if fault(0, rule) is None else "")
    return None


def _kinds(rule: Mapping[str, Any]) -> set[str]:
    kinds = rule.get("type", ())
    return {kinds} if isinstance(kinds, str) else {*kinds}


def unknown_key(key: Sequence[str | int], value: Any, known: Sequence[str], problems: Problems) -> None:
    """One problem: the last part of `key` is none of the keys that exist."""
    must, hint = (
        ("be a key that exists", nearest(key[-1], known)) if known else ("be left out", "there are no such keys")
    )
    problems.add(key, value, must, hint)


def unknown_name(key: Sequence[str | int], name: Any, known: Sequence[str], problems: Problems) -> None:
    """One problem: the value at `key` is none of the names that exist."""
    problems.add(key, name, "be a name that exists", nearest(name, known))


def nearest(word: Any, known: Sequence[str]) -> str:
    """A hint: the name that was meant, or all that there are."""
    near = get_close_matches(word[:LONGEST_VALUE], known, n=1, cutoff=0.6) if isinstance(word, str) else []
    if near:
        return f"did you mean {show(near[0])}?"
    offered = "one of " + ", ".join(known)
    return (
        offered
        if len(offered) <= LONGEST_LIST
        else offered[:LONGEST_LIST].rpartition(", ")[0] + f", ... ({len(known)} in all)"
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _plain(text: str, whole: bool) -> str:
    """`1e-5` as YAML reads it for a number: `1.0e-5`; `1e3` and `08` as whole numbers: `1000`, `8`."""
    if whole and float(text).is_integer() and abs(float(text)) <= LARGEST_INTEGER:
        return str(int(float(text)))
    mantissa, mark, exponent = text.lower().partition("e")
    mantissa = mantissa if "." in mantissa else mantissa + ".0"
    sign = "" if exponent.startswith(("-", "+")) or not mark else "+"
    return mantissa + mark + sign + exponent


def _holds(tree: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return False
        tree = tree[key]
    return bool(keys)
