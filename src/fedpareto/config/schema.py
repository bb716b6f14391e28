"""The study language as `config.schema.yaml` holds it, and values checked against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from fedpareto.columns.declared import CALIBRATING, HEADLINE
from fedpareto.components import registry
from fedpareto.config.problems import Problems, fault, show, unknown_key, unknown_name, valid

Json = Any
_NOTHING = object()
MOST_ALTERNATIVES = 10_000  # that one mapping with lists stands for


@lru_cache(maxsize=1)
def schema() -> dict[str, Json]:
    """The study language, from `config.schema.yaml`."""
    text = Path(__file__).with_name("config.schema.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Json] = yaml.safe_load(text)
    names = [accountant.name for accountant in CALIBRATING]
    loaded["study"]["accountant"] |= {"enum": names, "default": HEADLINE, "must": f"be {' or '.join(names)}"}
    return loaded


def leaves(
    key: Sequence[str | int],
    body: Mapping[str, Json],
    table: Mapping[str, Json],
    problems: Problems,
    sweep: bool = True,
) -> dict[str, tuple[Json, ...]]:
    """The values of each key of `body`, checked against `table`, with defaults for absent ones."""
    found: dict[str, tuple[Json, ...]] = {}
    for name, value in body.items():
        if name not in table:
            unknown_key([*key, str(name)], value, list(table), problems)
            continue
        rule = table[name]
        is_list = sweep and swept(rule) and isinstance(value, list)
        if is_list and not value:
            problems.add([*key, name], value, "hold at least one value", "remove the key for its default")
        items = value if is_list else [value]
        values: list[Json] = []
        for i, item in enumerate(items):
            place = [*key, name, i] if is_list else [*key, name]
            if "spec" in rule:
                values += _spec(place, item, rule, problems)
            elif valid(place, item, rule, problems):
                # JSON Schema takes 5.0 for a whole number, and so did whoever wrote it.
                values.append(int(item) if isinstance(item, float) and "integer" in rule.get("type", ()) else item)
        found[name] = tuple(values)
    for name, rule in table.items():
        if name in body:
            continue
        if rule.get("required"):
            problems.add([*key, name], None, rule["must"], rule.get("hint", rule.get("description", "")))
        elif "default" in rule:
            found[name] = (
                tuple(_spec([*key, name], rule["default"], rule, problems)) if "spec" in rule else (rule["default"],)
            )
    return found


def single(
    key: Sequence[str | int], body: Mapping[str, Json], table: Mapping[str, Json], problems: Problems
) -> dict[str, Json]:
    """The values of a mapping none of whose keys is an axis; empty where one of them is at fault."""
    already = len(problems.lines)
    found = leaves(key, body, table, problems, sweep=False)
    return {name: values[0] for name, values in found.items()} if len(problems.lines) == already else {}


def _spec(
    key: Sequence[str | int], value: Json, rule: Mapping[str, Json], problems: Problems
) -> Iterator[dict[str, Json]]:
    """All the specs that a name, or a mapping whose arguments may be lists, stands for."""
    kind = rule["spec"]
    name = value.get("name") if isinstance(value, dict) else value
    if isinstance(value, dict) and isinstance(name, list):
        for entry in name:
            yield from _spec(key, value | {"name": entry}, rule, problems)
        return
    table = _arguments(key, value if name is None else name, kind, problems)
    if table is None:
        return
    arguments = {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {}
    values_of = leaves(key, arguments, table, problems)
    number = math.prod(map(len, values_of.values()))
    if number > MOST_ALTERNATIVES:
        problems.add(
            key, value, f"stand for at most {MOST_ALTERNATIVES:,} alternatives", f"its lists make {number:.3g}"
        )
        return
    for values in product(*values_of.values()):
        typed = {k: _typed(v, table[k]) for k, v in sorted(zip(values_of, values, strict=True))}
        yield {"name": name} | {k: v for k, v in typed.items() if v != table[k].get("usual", _NOTHING)}


def _arguments(
    key: Sequence[str | int], name: Json, kind: str, problems: Problems
) -> Mapping[str, Mapping[str, Json]] | None:
    """The arguments of a component, or of a choice that `config.schema.yaml` lists; None with a problem where there is none."""
    listed: Mapping[str, Json] = schema().get(kind, {})
    common = schema().get(f"every_{kind}", {})
    if isinstance(name, str) and name in listed:
        return {**listed[name], **common}
    known = [*listed, *(registry.names(kind) if kind in registry.KINDS else ())]
    if not isinstance(name, str) or (name not in known and not (kind in registry.KINDS and registry.is_path(name))):
        unknown_name(key, name, known, problems)
        return None
    try:
        arguments = registry.find(kind, name).arguments
    except registry.ComponentError as error:
        problems.add(key, name, error.must, error.hint)
        return None
    for argument, rule in arguments.items():
        default = rule.get("default", rule.get("usual", _NOTHING))
        if default is not _NOTHING and (must := fault(default, rule)) is not None:
            problems.add(key, name, f"give {argument} a default that it takes", f"{show(default)} must {must}")
            return None
    return {**arguments, **common}


def _typed(value: Json, rule: Mapping[str, Json]) -> Json:
    """The one form of values that mean the same, so that they are the same run."""
    if "number" in rule.get("type", ()) and value is not None:  # a program traces these: 1 is 1.0
        return float(value)
    return str(value) if "string" in rule.get("type", ()) else value  # 32 is "32"


def number(key: str, text: str) -> float:
    """The number that a text stands for, checked as that key of a study; a whole one may be `1000`, `1e3` or `1000.0`.

    Raises:
      ValueError: One line: the text must be something else.
    """
    rule = schema()["study"][key]
    try:
        value = float(text)
        must = fault(value, rule)
    except ValueError:
        must = rule["must"]
    if must is not None:
        raise ValueError(f"{show(text)} must {must}")
    return int(value) if "integer" in rule["type"] else value


def swept(rule: Mapping[str, Json]) -> bool:
    """Whether a list of values for such a key is an axis, and not one value."""
    return rule.get("sweep") is not False


def names_a_file(name: str) -> bool:
    """Whether a name can be that of a file or a folder everywhere."""
    return 0 < len(name) <= 100 and name[0] != "-" and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
