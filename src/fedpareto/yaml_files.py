"""Reading YAML files, overlaying them, and telling what the command line added on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fedpareto.problems import ConfigError, show

Json = Any


def read_all(names: Sequence[str]) -> list[tuple[str, dict[str, Json]]]:
    """The trees of the files by name.

    Raises:
      ConfigError: A line for every file that cannot be read, is not YAML, or holds a key twice.
    """
    problems: list[str] = []
    trees = [(name, _read(Path(name), problems)) for name in names]
    if problems:
        raise ConfigError("\n".join(problems))
    return trees


def _read(file: Path, problems: list[str]) -> dict[str, Json]:
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        problems.append(f"{file}: no such file")
    except ConfigError as error:
        problems.append(f"{file}: {error}")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read as text: {error}")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problems.append(f"{file}: is not YAML{where}: {getattr(error, 'problem', error)}")
    else:
        if tree is None or isinstance(tree, dict):
            return tree or {}
        problems.append(f"{file}: must be a mapping with the key studies, and is {show(tree)[:60]}")
    return {}


def overlay(base: Mapping[str, Json], top: Mapping[str, Json]) -> dict[str, Json]:
    """`base` overlaid with `top` as Snakemake does it: mappings are merged, lists and values replace."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def overlay_all(trees: Sequence[tuple[str, Mapping[str, Json]]]) -> dict[str, Json]:
    """All trees, later ones over earlier ones."""
    merged: dict[str, Json] = {}
    for _, tree in trees:
        merged = overlay(merged, tree)
    return merged


def difference(config: Mapping[str, Json], files: Mapping[str, Json]) -> dict[str, Json]:
    """What `config` holds and the files do not, its text read as YAML."""
    found: dict[str, Json] = {}
    for key, value in config.items():
        # As text too: two readings of .nan are not equal.
        if key in files and (files[key] == value or repr(files[key]) == repr(value)):
            continue
        if isinstance(value, Mapping) and isinstance(files.get(key), dict):
            found[key] = difference(value, files[key])
        else:
            found[key] = _retype(value)
    return found


def _retype(value: Json) -> Json:
    if isinstance(value, str):
        try:
            return yaml.load(value, _Loader)
        except yaml.YAMLError:
            return value
    if isinstance(value, Mapping):
        return {key: _retype(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_retype(part) for part in value]
    return value


class _Loader(yaml.SafeLoader):
    """Loads YAML without dates and refuses a key that stands twice, which YAML loaders merge without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise ConfigError(f"{show(key)} cannot be a key, in line {key_node.start_mark.line + 1} (write a name)")
            if key in seen:
                raise ConfigError(
                    f"{key} stands twice, the second time in line {key_node.start_mark.line + 1} "
                    "(remove one, or give the study another name)"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# There are no dates in a configuration: 1000-10-10 are the widths of a network.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))
