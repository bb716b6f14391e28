"""From YAML to checked studies. Everything that is wrong is reported at once, one line a problem."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedpareto.config.check_training import check
from fedpareto.config.problems import (
    COMMAND_LINE,
    LARGEST_INTEGER,
    ConfigError,
    Problems,
    unknown_key,
    unknown_name,
    valid,
)
from fedpareto.config.schema import leaves, names_a_file, schema, single, swept
from fedpareto.config.study import BASELINES, Comparison, Config, Json, Study
from fedpareto.config.yaml_files import difference, overlay, overlay_all, read_all

__all__ = ["ConfigError", "checked", "data_options", "from_snakemake", "load"]


def load(files: Sequence[Path | str], overrides: Mapping[str, Json] | None = None) -> Config:
    """Reads, overlays and checks configuration files.

    Args:
      files: YAML files; mappings of later ones are merged into earlier ones, lists and values replace.
      overrides: Keys that the command line adds on top.

    Raises:
      ConfigError: All problems, one line each.
    """
    trees = read_all([str(file) for file in files])
    overrides = overrides or {}
    return checked(overlay(overlay_all(trees), overrides), [*trees, (COMMAND_LINE, overrides)])


def from_snakemake(config: Mapping[str, Json], files: Sequence[Path | str]) -> Config:
    """Checks the configuration that Snakemake has merged from `configfile:`, `--configfile` and `--config`.

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
    return checked(overlay(config, typed), [*trees, (COMMAND_LINE, typed)])


def data_options(options: Mapping[str, Json]) -> dict[str, Json]:
    """Options of a user's own data set with their defaults, as given on the command line.

    Raises:
      ConfigError: All problems, one line each.
    """
    problems = Problems([("--check", {"datasets": {"file": options}})])
    found = _dataset("file", options, problems)
    problems.raise_if_any()
    return found


def checked(merged: Mapping[str, Json], sources: Sequence[tuple[str, Json]]) -> Config:
    """Checks a configuration that was read and merged.

    Args:
      merged: The configuration.
      sources: Where it comes from, for messages: file name and what stands in it.

    Raises:
      ConfigError: All problems, one line each.
    """
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
        if str(key).startswith("x-"):
            continue  # a place for anchors
        if key in known["study"]:
            everywhere[key] = value
        elif key not in known["top_level"]:
            unknown_key([key], value, [*known["top_level"], *known["study"]], problems)
        else:
            valid([key], value, known["top_level"][key], problems)
    datasets: Json = tree["datasets"] if isinstance(tree.get("datasets"), dict) else {}
    datasets_of_user = {str(name): _dataset(str(name), options, problems) for name, options in datasets.items()}
    if not isinstance(tree.get("studies"), dict) or not tree["studies"]:
        if not problems.lines or "studies" not in tree:
            problems.add(["studies"], tree.get("studies"), "hold at least one study", "see config/config.yaml")
        return Config((), datasets_of_user, {}, {})
    studies = {str(name): body for name, body in tree["studies"].items()}
    chosen = _chosen(tree.get("only"), list(studies), tree.get("comparisons"), problems)
    resolved = [resolve(name, body, everywhere, problems) for name, body in studies.items() if name in chosen]
    execution: Json = tree["execution"] if isinstance(tree.get("execution"), dict) else {}
    laid_out = leaves(["execution"], execution, known["execution"], problems, sweep=False)
    return Config(
        tuple(study for study in resolved if study),
        datasets_of_user,
        {k: v[0] for k, v in laid_out.items() if v},
        _comparisons(tree.get("comparisons"), list(studies), chosen, problems),
    )


def _comparisons(
    tree: Json, studies: Sequence[str], chosen: Sequence[str], problems: Problems
) -> dict[str, Comparison]:
    """The comparisons whose studies are all chosen."""
    resolved = {}
    for name, body in (tree if isinstance(tree, dict) else {}).items():
        key, already = ["comparisons", str(name)], len(problems.lines)
        if not isinstance(body, dict):
            problems.add(key, body, "be a mapping with studies")
            continue
        if not names_a_file(str(name)):
            problems.add(key, name, "have a name of letters, digits, - and _", "it names a folder; at most 100")
        if str(name) in studies:
            problems.add(key, name, "not have the name of a study", "both name a folder of figures")
        values = leaves(key, body, schema()["comparison"], problems, sweep=False)
        members = [str(member) for member in values["studies"][0]] if values.get("studies") else []
        for i, member in enumerate(members):
            if member not in studies:
                unknown_name([*key, "studies", i], member, studies, problems)
        policy = _policy(key, next(iter(values.get("policy", ())), None), problems)
        if len(problems.lines) == already and set(members) <= set(chosen):
            title = values["title"][0] if "title" in values else str(name)
            resolved[str(name)] = Comparison(title, tuple(members), policy)
    return resolved


def _chosen(only: Json, studies: Sequence[str], comparisons: Json, problems: Problems) -> Sequence[str]:
    """The studies that `only` names, a comparison standing for its own; all where the key is absent."""
    if only is None:
        return studies
    if isinstance(only, bool | float | Mapping):
        return studies  # its line is there already
    names = [str(name) for name in only] if isinstance(only, list | tuple) else [str(only)]
    if not names:
        problems.add(["only"], only, "name at least one study", "remove the key for all of them")
    groups = {str(name): body["studies"] for name, body in _well_formed(comparisons)}
    for i, name in enumerate(names):
        if name not in studies and name not in groups:
            known = [*studies, *groups]
            unknown_name(["only", i] if isinstance(only, list | tuple) else ["only"], name, known, problems)
    return [str(study) for name in names for study in groups.get(name, [name])]


def _well_formed(comparisons: Json) -> list[tuple[Json, Json]]:
    """The comparisons that list studies; the others have a line of their own."""
    entries = comparisons.items() if isinstance(comparisons, dict) else ()
    return [(k, v) for k, v in entries if isinstance(v, dict) and isinstance(v.get("studies"), list)]


def _policy(key: Sequence[str | int], body: Json, problems: Problems) -> dict[str, Json] | None:
    """The policy of a study or a comparison, with all its keys; None where there is none."""
    return single([*key, "policy"], body, schema()["policy"], problems) if isinstance(body, dict) else None


def _dataset(name: str, options: Json, problems: Problems) -> dict[str, Json]:
    """The options of a user's own data set with their defaults; empty where one of them is at fault."""
    key = ["datasets", name]
    already = len(problems.lines)
    if not isinstance(options, dict):
        problems.add(key, options, "be a mapping with path and label")
        return {}
    if not names_a_file(name):
        problems.add(key, name, "have a name of letters, digits, - and _", "it names a file; at most 100")
    tab = {"separator": "\t"} if options.get("separator") in ("tab", "\\t") else {}
    if "loader" in options:
        return _loader(key, options, problems)
    values = single(key, options | tab, schema()["data_file"], problems)
    if "path" in values:
        values["path"] = os.path.expanduser(values["path"])
    return values if len(problems.lines) == already else {}


def _loader(key: Sequence[str], options: Mapping[str, Json], problems: Problems) -> dict[str, Json]:
    """The class that loads a data set, with all its arguments; empty where one of them is at fault."""
    already = len(problems.lines)
    for name in options:
        if name != "loader":
            problems.add([*key, str(name)], options[name], "not stand beside loader", "a class reads the data itself")
    rule = {"spec": "dataset", "sweep": False}
    specs = leaves(key, {"loader": options["loader"]}, {"loader": rule}, problems, sweep=False)["loader"]
    if len(specs) > 1:
        problems.add([*key, "loader"], options["loader"], "have one value an argument", "make a data set of each")
    return {"loader": specs[0]} if specs and len(problems.lines) == already else {}


def resolve(name: str, body: Json, everywhere: Mapping[str, Json], problems: Problems) -> Study | None:
    """A study from its keys, with the defaults of those that are absent; None where it is no mapping.

    Args:
      name: Its name.
      body: Its keys.
      everywhere: Keys of all studies, which replace its own.
      problems: Each key that is wrong in itself is added here.
    """
    key = ["studies", name]
    if not isinstance(body, dict):
        problems.add(key, body, "be a mapping")
        return None
    if not names_a_file(name):
        problems.add(key, name, "have a name of letters, digits, - and _", "it names a folder; at most 100")
    table = schema()["study"]
    already = len(problems.lines)
    values = leaves(key, dict(body) | dict(everywhere), table, problems)
    # Invalid values were reported above and are missing here: the default is used.
    single = {k: (*values.pop(k), table[k].get("default", name))[0] for k in list(values) if not swept(table[k])}
    attacks, attacked, figures = values.pop("attacks", ()), single.get("attacked", {}), values.pop("figures", ())
    policy = _policy(key, single.get("policy"), problems)
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
        attacks=attacks,
        attacked={k: tuple(v) if isinstance(v, list) else (v,) for k, v in attacked.items()}
        if isinstance(attacked, dict)
        else {},
        policy=policy,
        figures=tuple(dict.fromkeys(figure["name"] for figure in figures)),
        well_formed=len(problems.lines) == already,
    )
