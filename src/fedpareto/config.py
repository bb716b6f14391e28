"""From YAML to checked studies. Everything that is wrong is reported at once, one line a problem."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

Json = Any
SPEC_COMMON = {"partitions": "every_partition", "server_optimizers": "every_server_optimizer", "models": None}
COMMAND_LINE = "--config"


class ConfigError(ValueError):
    """One or more problems of a configuration, one line each: `<file>: <key> = <value> must <what> (<hint>)`."""


@dataclass(frozen=True)
class Study:
    """One study, resolved: every axis a tuple of values, specs as mappings with all their arguments.

    Attributes:
      name: Its key in the configuration.
      axes: Key -> values. Keys that the configuration leaves out are not there, unless they have a default.
      seeds: The seeds of every point.
      baselines: Reference runs besides the grid.
      title: Headline of its figures.
      max_runs: Largest grid that is not taken for a mistake.
      well_formed: False where a key of its own is wrong: nothing is checked across its keys then.
    """

    name: str
    axes: Mapping[str, tuple[Json, ...]]
    seeds: tuple[int, ...]
    baselines: tuple[str, ...]
    title: str
    max_runs: int
    well_formed: bool = True


@dataclass(frozen=True)
class Config:
    """A checked configuration: its studies and the user's own data sets by name."""

    studies: tuple[Study, ...]
    datasets: Mapping[str, Mapping[str, Json]]


@dataclass
class Problems:
    """Collects problems and finds the file that each key stands in."""

    sources: Sequence[tuple[str, Json]]
    lines: list[str] = field(default_factory=list)

    def add(self, key: Sequence[str | int], value: Json, must: str, hint: str = "") -> None:
        """One problem: the value at `key` must be something else."""
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        line = f"{self._file(key)}: {place} = {show(value)} must {must}" + (f" ({hint})" if hint else "")
        if line not in self.lines:
            self.lines.append(line)

    def say(self, file: str, text: str) -> None:
        """One problem of a file as a whole."""
        self.lines.append(f"{file}: {text}")

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


def load(files: Sequence[Path | str], overrides: Mapping[str, Json] | None = None) -> Config:
    """Reads, overlays and checks configuration files.

    Args:
      files: YAML files; mappings of later ones are merged into earlier ones, lists and values replace.
      overrides: What the command line adds on top.

    Raises:
      ConfigError: All problems, one line each.
    """
    from fedpareto.checks import check

    problems = Problems([])
    sources: list[tuple[str, Mapping[str, Json]]] = [(str(file), _read(Path(file), problems)) for file in files]
    if overrides:
        sources.append((COMMAND_LINE, overrides))
    problems.sources = sources
    merged: dict[str, Json] = {}
    for _, tree in sources:
        merged = _merge(merged, tree)
    problems.raise_if_any()
    config = _resolve(merged, problems)
    check(config, problems)
    problems.raise_if_any()
    return config


def from_snakemake(config: Mapping[str, Json], files: Sequence[Path | str]) -> Config:
    """Checks what Snakemake has merged from its `configfile:`, `--configfile` and `--config`.

    Snakemake reads values of `--config` as text where they are not plain numbers, and silently merges duplicate keys:
    the files are read again, and what differs from them came from the command line and is read as YAML.
    """
    names = [os.path.relpath(file) for file in files]
    problems = Problems([])
    merged: dict[str, Json] = {}
    for name in names:
        merged = _merge(merged, _read(Path(name), problems))
    problems.raise_if_any()
    return load(names, _difference(config, merged))


def show(value: Json) -> str:
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


@lru_cache(maxsize=1)
def schema() -> dict[str, Json]:
    """The study language, from `config.schema.yaml`."""
    text = Path(__file__).with_name("config.schema.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Json] = yaml.safe_load(text)
    return loaded


class _Loader(yaml.SafeLoader):
    """Loads YAML and refuses a key that stands twice, which YAML loaders merge without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConfigError(f"{key} stands twice, the second time in line {key_node.start_mark.line + 1}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read(file: Path, problems: Problems) -> dict[str, Json]:
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        problems.say(str(file), "no such file")
    except ConfigError as error:
        problems.say(str(file), f"{error} (remove one, or give the study another name)")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problems.say(str(file), f"is not YAML{where}: {getattr(error, 'problem', error)}")
    else:
        if tree is None or isinstance(tree, dict):
            return tree or {}
        problems.say(str(file), f"must be a mapping with the key studies, and is {show(tree)[:60]}")
    return {}


def _merge(base: Mapping[str, Json], top: Mapping[str, Json]) -> dict[str, Json]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _difference(config: Mapping[str, Json], files: Mapping[str, Json]) -> dict[str, Json]:
    """What `config` holds and the files do not, its text read as YAML."""
    found: dict[str, Json] = {}
    for key, value in config.items():
        if key in files and files[key] == value:
            continue
        if isinstance(value, Mapping) and isinstance(files.get(key), dict):
            found[key] = _difference(value, files[key])
        else:
            found[key] = _retype(value)
    return found


def _retype(value: Json) -> Json:
    if isinstance(value, str):
        return yaml.safe_load(value)
    if isinstance(value, Mapping):
        return {key: _retype(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_retype(part) for part in value]
    return value


def _holds(tree: Json, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return False
        tree = tree[key]
    return bool(keys)


def _resolve(tree: Mapping[str, Json], problems: Problems) -> Config:
    """Checks shape and types, fills in defaults, and turns every axis into a tuple."""
    known = schema()
    everywhere = {}
    for key, value in tree.items():
        if key in known["study"]:
            everywhere[key] = value
        elif key not in known["top_level"]:
            _unknown([key], value, [*known["top_level"], *known["study"]], problems)
        else:
            _valid([key], value, known["top_level"][key], problems)
    studies, datasets = tree.get("studies"), tree.get("datasets", {})
    if not isinstance(studies, dict) or not studies:
        problems.add(["studies"], studies, "hold at least one study", "see config/config.yaml")
        return Config((), {})
    own = {name: _dataset(name, options, problems) for name, options in (datasets or {}).items()}
    only = tree.get("only")
    chosen = list(studies) if only is None else [only] if isinstance(only, str) else list(only)
    for name in chosen:
        if name not in studies:
            _unknown(["only"], name, list(studies), problems)
    resolved = [_study(str(name), studies[name], everywhere, problems) for name in studies if name in chosen]
    return Config(tuple(study for study in resolved if study), own)


def _dataset(name: str, options: Json, problems: Problems) -> dict[str, Json]:
    table = schema()["dataset"]
    key = ["datasets", name]
    if not isinstance(options, dict):
        problems.add(key, options, "be a mapping with path and label")
        return {}
    return {k: v[0] for k, v in _leaves(key, options, table, problems, sweep=False).items()}


def _study(name: str, body: Json, everywhere: Mapping[str, Json], problems: Problems) -> Study | None:
    key = ["studies", name]
    if not isinstance(body, dict):
        problems.add(key, body, "be a mapping")
        return None
    if not all(c.isalnum() or c in "_-" for c in name):
        problems.add(key, name, "have a name of letters, digits, - and _", "it names a folder")
    table = schema()["study"]
    already = len(problems.lines)
    values = _leaves(key, dict(body) | dict(everywhere), table, problems)
    single = {k: values.pop(k)[0] for k in list(values) if table[k].get("sweep") is False}
    seeds, baselines = single["seeds"], single["baselines"]
    baselines = [baselines] if isinstance(baselines, str) else baselines
    for i, baseline in enumerate(baselines):
        if baseline not in ("non_private", "centralised", "alone"):
            _unknown([*key, "baselines", i], baseline, ["non_private", "centralised", "alone"], problems)
    if isinstance(seeds, list):
        for i, seed in enumerate(seeds):
            if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
                problems.add([*key, "seeds", i], seed, "be a whole number of at least 0")
        if not seeds:
            problems.add([*key, "seeds"], seeds, "hold at least one value", "remove the key for its default")
    return Study(
        name=name,
        axes=values,
        seeds=tuple(seeds) if isinstance(seeds, list) else tuple(range(seeds if isinstance(seeds, int) else 1)),
        baselines=tuple(baselines),
        title=single.get("title", name),
        max_runs=single["max_runs"],
        well_formed=len(problems.lines) == already,
    )


def _leaves(
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
            _unknown([*key, name], value, list(table), problems)
            continue
        rule = table[name]
        swept = sweep and rule.get("sweep", True) and isinstance(value, list)
        if swept and not value:
            problems.add([*key, name], value, "hold at least one value", "remove the key for its default")
        items = value if swept else [value]
        values: list[Json] = []
        for i, item in enumerate(items):
            place = [*key, name, i] if swept else [*key, name]
            if "spec" in rule:
                values += _spec(place, item, rule, problems)
            elif _valid(place, item, rule, problems):
                values.append(item)
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


def _spec(
    key: Sequence[str | int], value: Json, rule: Mapping[str, Json], problems: Problems
) -> Iterator[dict[str, Json]]:
    """All the specs that a name, or a mapping whose arguments may be lists, stands for."""
    choices = schema()[rule["spec"]]
    name = value.get("name") if isinstance(value, dict) else value
    if isinstance(name, list):
        for one in name:
            yield from _spec(key, value | {"name": one}, rule, problems)
        return
    name = str(name) if isinstance(name, int) else name
    if not isinstance(name, str) or name not in choices:
        _unknown(key, name, list(choices), problems)
        return
    common = SPEC_COMMON[rule["spec"]]
    table = dict(choices[name]) | (schema()[common] if common else {})
    arguments = {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {}
    leaves = _leaves(key, arguments, table, problems)
    for values in product(*leaves.values()):
        # Numbers that a program traces are floats, so that 1 and 1.0 are the same run.
        typed = [float(v) if table[k].get("type") == "number" else v for k, v in zip(leaves, values, strict=True)]
        yield {"name": name} | dict(sorted(zip(leaves, typed, strict=True)))


def _valid(key: Sequence[str | int], value: Json, rule: Mapping[str, Json], problems: Problems) -> bool:
    finite = not isinstance(value, float) or math.isfinite(value)
    if finite and Draft202012Validator(rule).is_valid(value):
        return True
    hint = rule.get("hint", "")
    if isinstance(value, str) and "number" in rule.get("type", ()) and _is_number(value):
        hint = f"YAML reads {value} as text; write {_with_point(value)}"
    elif value == [] and rule.get("sweep") is not False:
        hint = "remove the key for its default"
    problems.add(key, value, rule["must"] if finite else f"{rule['must']}, and finite", str(hint))
    return False


def _unknown(key: Sequence[str | int], value: Json, known: Sequence[str], problems: Problems) -> None:
    word = str(key[-1]) if isinstance(key[-1], str) and str(key[-1]) not in ("only", "name") else str(value)
    if str(key[-1]) in schema()["study"] or isinstance(key[-1], int):
        word = str(value)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(known)
    what = "be a key that exists" if word == str(key[-1]) else "be a name that exists"
    problems.add(key, value, what, hint)


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
