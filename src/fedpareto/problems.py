"""What is wrong with a configuration, collected: nothing here raises at the first fault.

Every problem is one line, `<file>: <key> = <value> must <what> (<hint>)`, and all are raised as one error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from fedpareto.config import Study

COMMAND_LINE = "--config"
LARGEST_INTEGER = 2**31 - 1  # counts and seeds are int32 on the device


class ConfigError(ValueError):
    """One or more problems of a configuration, one line each: `<file>: <key> = <value> must <what> (<hint>)`."""


def show(value: Any) -> str:
    """A value as one would write it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)


@dataclass
class Problems:
    """Collects problems and finds the file that each key stands in."""

    sources: Sequence[tuple[str, Any]]
    lines: list[str] = field(default_factory=list)

    def add(self, key: Sequence[str | int], value: Any, must: str, hint: str = "") -> None:
        """One problem: the value at `key` must be something else."""
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        line = f"{self._file(key)}: {place} = {show(value)} must {must}" + (f" ({hint})" if hint else "")
        if line not in self.lines:
            self.lines.append(line)

    def raise_if_any(self) -> None:
        """Raises all problems as one error."""
        if self.lines:
            raise ConfigError("\n".join(self.lines))

    def _file(self, key: Sequence[str | int]) -> str:
        keys = [part for part in key if isinstance(part, str)]
        for depth in range(len(keys), 0, -1):
            for name, tree in reversed(self.sources):
                if _holds(tree, keys[:depth]) or (len(keys) > 2 and _holds(tree, keys[2:depth])):
                    return name
        return self.sources[0][0] if self.sources else COMMAND_LINE


def valid(key: Sequence[str | int], value: Any, rule: Mapping[str, Any], problems: Problems) -> bool:
    """Whether a value is what its rule in `config.schema.yaml` says; adds a problem where it is not."""
    kinds = rule.get("type", ())
    wanted = {kinds} if isinstance(kinds, str) else {*kinds}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    finite = not isinstance(value, float) or math.isfinite(value)
    too_large = number and finite and "integer" in wanted and abs(value) > LARGEST_INTEGER
    if finite and not too_large and Draft202012Validator(rule).is_valid(value):
        return True
    must, hint = rule["must"], rule.get("hint", "")
    if number and not finite and {"integer", "number"} & wanted:
        must += ", and finite"
    elif too_large:
        must += f", and at most {LARGEST_INTEGER}"
    elif isinstance(value, str) and _is_number(value) and {"number", "integer"} & wanted and "string" not in wanted:
        unquoted = isinstance(yaml.safe_load(value), int | float)
        hint = (
            f"write {value} without quotes" if unquoted else f"YAML reads {value} as text; write {_with_point(value)}"
        )
    problems.add(key, value, must, str(hint))
    return False


def unknown_key(key: Sequence[str | int], value: Any, known: Sequence[str], problems: Problems) -> None:
    """One problem: the last part of `key` is none of the keys that exist."""
    problems.add(key, value, "be a key that exists", nearest(key[-1], known))


def unknown_name(key: Sequence[str | int], name: Any, known: Sequence[str], problems: Problems) -> None:
    """One problem: the value at `key` is none of the names that exist."""
    problems.add(key, name, "be a name that exists", nearest(name, known))


def nearest(word: Any, known: Sequence[str]) -> str:
    """A hint: the name that was meant, or all that there are."""
    near = get_close_matches(word, known, n=1, cutoff=0.6) if isinstance(word, str) else []
    return f"did you mean {near[0]}?" if near else "one of " + ", ".join(known)


def study_key(study: Study, name: str, index: int | None = None) -> list[str | int]:
    """The place of a key of a study, or of one entry of its list; an axis of one value has none to tell apart."""
    single = len(study.axes.get(name, ())) == 1
    return ["studies", study.name, name] + ([] if index is None or single else [index])


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _with_point(text: str) -> str:
    """`1e-5` as YAML reads it for a number: `1.0e-5`."""
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
