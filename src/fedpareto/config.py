"""From YAML to checked studies. Everything that is wrong is reported at once, one line a problem."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from fedpareto.checks import check
from fedpareto.problems import (
    COMMAND_LINE,
    LARGEST_INTEGER,
    ConfigError,
    Problems,
    unknown_key,
    unknown_name,
    valid,
)
from fedpareto.yaml_files import difference, overlay, overlay_all, read_all

__all__ = ["Config", "ConfigError", "Study", "from_snakemake", "load", "schema"]

Json = Any
SPEC_COMMON = {"partitions": "every_partition", "server_optimizers": "every_server_optimizer"}
BASELINES = ("non_private", "centralised", "alone")


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
    seeds: Sequence[int]
    baselines: tuple[str, ...]
    title: str
    max_runs: int
    well_formed: bool = True


@dataclass(frozen=True)
class Comparison:
    """Studies whose curves share one figure."""

    title: str
    studies: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """A checked configuration.

    Attributes:
      studies: The studies that are asked for.
      datasets: The user's own data sets by name, empty where one has a fault.
      execution: What the user sets of how training is laid out on the machine.
      comparisons: Name -> headline and studies that one figure sets side by side.
    """

    studies: tuple[Study, ...]
    datasets: Mapping[str, Mapping[str, Json]]
    execution: Mapping[str, int]
    comparisons: Mapping[str, Comparison]


def load(files: Sequence[Path | str], overrides: Mapping[str, Json] | None = None) -> Config:
    """Reads, overlays and checks configuration files.

    Args:
      files: YAML files; mappings of later ones are merged into earlier ones, lists and values replace.
      overrides: What the command line adds on top.

    Raises:
      ConfigError: All problems, one line each.
    """
    trees = read_all([str(file) for file in files])
    overrides = overrides or {}
    return _checked(overlay(overlay_all(trees), overrides), [*trees, (COMMAND_LINE, overrides)])


def from_snakemake(config: Mapping[str, Json], files: Sequence[Path | str]) -> Config:
    """Checks what Snakemake has merged from its `configfile:`, `--configfile` and `--config`.

    Snakemake reads values of `--config` as text where they are not plain numbers, and silently merges duplicate keys:
    the files are read again, and what differs from them came from the command line and is read as YAML.

    Args:
      config: Snakemake's merged configuration.
      files: `workflow.configfiles`: those of `--configfile`, as absolute paths, and then that of `configfile:`, as it is
        written in the Snakefile, although it is the one that the others overlay.

    Raises:
      ConfigError: All problems, one line each.
    """
    overlaid_last = sorted(files, key=lambda file: Path(file).is_absolute())
    trees = read_all([os.path.relpath(file) for file in overlaid_last])
    typed = difference(config, overlay_all(trees))
    return _checked(overlay(config, typed), [*trees, (COMMAND_LINE, typed)])


@lru_cache(maxsize=1)
def schema() -> dict[str, Json]:
    """The study language, from `config.schema.yaml`."""
    text = Path(__file__).with_name("config.schema.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Json] = yaml.safe_load(text)
    return loaded


def _checked(merged: Mapping[str, Json], sources: Sequence[tuple[str, Json]]) -> Config:
    problems = Problems(sources)
    config = _resolve(merged, problems)
    check(config, problems)
    problems.raise_if_any()
    return config


def _resolve(tree: Mapping[str, Json], problems: Problems) -> Config:
    """Checks shape and types, fills in defaults, and turns every axis into a tuple."""
    known = schema()
    everywhere = {}
    for key, value in tree.items():
        if key in known["study"]:
            everywhere[key] = value
        elif key not in known["top_level"]:
            unknown_key([key], value, [*known["top_level"], *known["study"]], problems)
        else:
            valid([key], value, known["top_level"][key], problems)
    datasets: Json = tree["datasets"] if isinstance(tree.get("datasets"), dict) else {}
    own = {str(name): _dataset(str(name), options, problems) for name, options in datasets.items()}
    if not isinstance(tree.get("studies"), dict) or not tree["studies"]:
        if not problems.lines or "studies" not in tree:
            problems.add(["studies"], tree.get("studies"), "hold at least one study", "see config/config.yaml")
        return Config((), own, {}, {})
    studies = {str(name): body for name, body in tree["studies"].items()}
    chosen = _chosen(tree.get("only"), list(studies), problems)
    resolved = [_study(name, body, everywhere, problems) for name, body in studies.items() if name in chosen]
    execution: Json = tree["execution"] if isinstance(tree.get("execution"), dict) else {}
    leaves = _leaves(["execution"], execution, known["execution"], problems, sweep=False)
    return Config(
        tuple(study for study in resolved if study),
        own,
        {k: v[0] for k, v in leaves.items() if v},
        _comparisons(tree.get("comparisons"), list(studies), chosen, problems),
    )


def _comparisons(
    tree: Json, studies: Sequence[str], chosen: Sequence[str], problems: Problems
) -> dict[str, Comparison]:
    """The comparisons of which every study is chosen."""
    found = {}
    for name, body in (tree if isinstance(tree, dict) else {}).items():
        key, already = ["comparisons", str(name)], len(problems.lines)
        if not isinstance(body, dict):
            problems.add(key, body, "be a mapping with studies")
            continue
        if not _names_a_file(str(name)):
            problems.add(key, name, "have a name of letters, digits, - and _", "it names a folder")
        if str(name) in studies:
            problems.add(key, name, "not have the name of a study", "both name a folder of figures")
        leaves = _leaves(key, body, schema()["comparison"], problems, sweep=False)
        members = [str(member) for member in leaves["studies"][0]] if leaves.get("studies") else []
        for i, member in enumerate(members):
            if member not in studies:
                unknown_name([*key, "studies", i], member, studies, problems)
        if len(problems.lines) == already and set(members) <= set(chosen):
            title = leaves["title"][0] if "title" in leaves else str(name)
            found[str(name)] = Comparison(title, tuple(members))
    return found


def _chosen(only: Json, studies: Sequence[str], problems: Problems) -> Sequence[str]:
    """The studies that `only` names; all where the key is absent."""
    if only is None:
        return studies
    if isinstance(only, bool | float | Mapping):
        return studies  # its line is there already
    names = [str(name) for name in only] if isinstance(only, list | tuple) else [str(only)]
    if not names:
        problems.add(["only"], only, "name at least one study", "remove the key for all of them")
    for i, name in enumerate(names):
        if name not in studies:
            unknown_name(["only", i] if isinstance(only, list | tuple) else ["only"], name, studies, problems)
    return names


def _dataset(name: str, options: Json, problems: Problems) -> dict[str, Json]:
    """The options of a user's own data set with their defaults; empty where one of them is at fault."""
    table = schema()["dataset"]
    key = ["datasets", name]
    already = len(problems.lines)
    if not isinstance(options, dict):
        problems.add(key, options, "be a mapping with path and label")
        return {}
    if not _names_a_file(name):
        problems.add(key, name, "have a name of letters, digits, - and _", "it names a file")
    leaves = _leaves(key, options, table, problems, sweep=False)
    return {k: v[0] for k, v in leaves.items()} if len(problems.lines) == already else {}


def _study(name: str, body: Json, everywhere: Mapping[str, Json], problems: Problems) -> Study | None:
    key = ["studies", name]
    if not isinstance(body, dict):
        problems.add(key, body, "be a mapping")
        return None
    if not _names_a_file(name):
        problems.add(key, name, "have a name of letters, digits, - and _", "it names a folder")
    table = schema()["study"]
    already = len(problems.lines)
    values = _leaves(key, dict(body) | dict(everywhere), table, problems)
    # A value at fault has its line already and leaves no value: the default stands in for it.
    single = {k: (*values.pop(k), table[k].get("default", name))[0] for k in list(values) if not _swept(table[k])}
    seeds, baselines = single["seeds"], single["baselines"]
    baselines = [baselines] if isinstance(baselines, str) else baselines
    for i, baseline in enumerate(baselines):
        if baseline not in BASELINES:
            unknown_name([*key, "baselines", i], baseline, BASELINES, problems)
    if isinstance(seeds, list):
        for i, seed in enumerate(seeds):
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_INTEGER:
                problems.add([*key, "seeds", i], seed, f"be a whole number from 0 to {LARGEST_INTEGER}")
        if not seeds:
            problems.add([*key, "seeds"], seeds, "hold at least one value", "remove the key for its default")
    return Study(
        name=name,
        axes=values,
        seeds=tuple(seeds) if isinstance(seeds, list) else range(seeds),
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
            unknown_key([*key, str(name)], value, list(table), problems)
            continue
        rule = table[name]
        swept = sweep and _swept(rule) and isinstance(value, list)
        if swept and not value:
            problems.add([*key, name], value, "hold at least one value", "remove the key for its default")
        items = value if swept else [value]
        values: list[Json] = []
        for i, item in enumerate(items):
            place = [*key, name, i] if swept else [*key, name]
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


def _spec(
    key: Sequence[str | int], value: Json, rule: Mapping[str, Json], problems: Problems
) -> Iterator[dict[str, Json]]:
    """All the specs that a name, or a mapping whose arguments may be lists, stands for."""
    choices = schema()[rule["spec"]]
    name = value.get("name") if isinstance(value, dict) else value
    if isinstance(value, dict) and isinstance(name, list):
        for one in name:
            yield from _spec(key, value | {"name": one}, rule, problems)
        return
    if not isinstance(name, str) or name not in choices:
        unknown_name(key, value if name is None else name, list(choices), problems)
        return
    common = SPEC_COMMON.get(rule["spec"])
    table = dict(choices[name]) | (schema()[common] if common else {})
    arguments = {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {}
    leaves = _leaves(key, arguments, table, problems)
    for values in product(*leaves.values()):
        # Numbers that a program traces are floats, so that 1 and 1.0 are the same run.
        typed = [float(v) if table[k].get("type") == "number" else v for k, v in zip(leaves, values, strict=True)]
        yield {"name": name} | dict(sorted(zip(leaves, typed, strict=True)))


def _swept(rule: Mapping[str, Json]) -> bool:
    return rule.get("sweep") is not False


def _names_a_file(name: str) -> bool:
    return bool(name) and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
