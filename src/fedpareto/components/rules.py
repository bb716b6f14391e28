"""Ranges of arguments, written in a component's signature: `width: Annotated[int, Rule(minimum=1)] = 16`.

A rule becomes the same mapping that a key of `config.schema.yaml` has, so that every value is checked and every mistake is
reported by one piece of code, wherever the argument is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Rule:
    """The values that an argument may have, within its type. A field that is None asks nothing.

    Attributes:
      minimum: Smallest value.
      maximum: Largest value.
      exclusiveMinimum: The value is above it.
      exclusiveMaximum: The value is below it.
      multipleOf: The value is a multiple of it.
      pattern: Regular expression that text must match.
      limits: Smallest and largest absolute value of a number that is not 0.
      must: Words of the error message, after "must"; made from the range where they are left out.
      hint: The way out, in brackets behind the message.
      usual: Whether a value equal to the default is left out of a run's description, so that the run keeps its name.
    """

    minimum: float | None = None
    maximum: float | None = None
    exclusiveMinimum: float | None = None
    exclusiveMaximum: float | None = None
    multipleOf: float | None = None
    pattern: str | None = None
    limits: tuple[float, float] | None = None
    must: str | None = None
    hint: str | None = None
    usual: bool = False

    def mapping(self) -> dict[str, Any]:
        """The keys that are set, but `usual`."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "usual"}
        return {name: value for name, value in values.items() if value is not None}


AT_LEAST_ONE = Rule(minimum=1)
POSITIVE = Rule(exclusiveMinimum=0)
FRACTION = Rule(exclusiveMinimum=0, exclusiveMaximum=1)
PRELIMINARY_NOISE = Rule(exclusiveMinimum=0, limits=(1e-4, 1e6), hint="null where the run has no noise either")


def must(rule: Mapping[str, Any]) -> str:
    """Words of the error message for a rule: `be a whole number of at least 1`."""
    if "enum" in rule:
        *first, last = ["null" if choice is None else str(choice) for choice in rule["enum"]]
        return f"be {', '.join(first)} or {last}" if first else f"be {last}"
    kinds = {rule["type"]} if isinstance(rule["type"], str) else set(rule["type"])
    if "boolean" in kinds:
        return "be true or false"
    if "string" in kinds:
        return f"be text that matches {rule['pattern']}" if "pattern" in rule else "be text"
    low, above = rule.get("minimum"), rule.get("exclusiveMinimum")
    high, below = rule.get("maximum"), rule.get("exclusiveMaximum")
    noun = "a whole number" if "integer" in kinds else "a number"
    if low is not None and high is not None:
        return f"be {noun} from {low:g} to {high:g}" if "integer" in kinds else f"be from {low:g} to {high:g}"
    start = f"above {above:g}" if above is not None else f"at least {low:g}" if low is not None else ""
    end = f"below {below:g}" if below is not None else f"at most {high:g}" if high is not None else ""
    if start and end:
        return f"be {start} and {end}"
    if low is not None:
        return f"be {noun} of {start}"
    return f"be {noun} {start or end}".rstrip()
