"""Reading YAML files, overlaying them, and finding the additions of the command line.

YAML is read in the sense in which everybody writes it: what YAML 1.1 takes for something else (`010` for 8, `1:30` for 90,
`no` for false) is refused in one line, and so is what would take all time or memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fedpareto.config.problems import COMMAND_LINE, ConfigError, show

Json = Any
LARGEST_FILE = 1_000_000  # bytes; PyYAML reads no more than about 100 kB a second
MOST_VALUES = 100_000  # of one file, its aliases written out
DEEPEST = 50  # mappings and lists in each other; the study language has six levels
_TAG = "tag:yaml.org,2002:"
_TAGS = tuple(
    _TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge", "timestamp", "value")
)


def read_all(names: Sequence[str]) -> list[tuple[str, dict[str, Json]]]:
    """The trees of the files by name.

    Raises:
      ConfigError: A line for every file that cannot be read, is not YAML, holds a key twice, or holds what is no configuration:
        other keys than names, tags, more than `MOST_VALUES` values, or what YAML reads otherwise than it is written.
    """
    problems: list[str] = []
    trees = [(name, _read(Path(name), problems)) for name in names]
    if problems:
        raise ConfigError("\n".join(problems))
    return trees


def _read(file: Path, problems: list[str]) -> dict[str, Json]:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(
                f"has more than {LARGEST_FILE:,} bytes, which no configuration needs (is it the right file?)"
            )
        tree = _parse(content.decode("utf-8"))
    except FileNotFoundError:
        problems.append(f"{file}: no such file")
    except ConfigError as error:
        problems.append(f"{file}: {error}")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read as text: {getattr(error, 'strerror', None) or error}")
    except yaml.YAMLError as error:
        problems.append(f"{file}: {_not_yaml(error)}")
    else:
        if tree is None or isinstance(tree, dict):
            return tree or {}
        problems.append(f"{file}: must be a mapping with the key studies, and is {show(tree, 60)}")
    return {}


def parse_value(text: str) -> Json:
    """The value of a text, as if it stood in a file.

    Raises:
      ConfigError: One line: the text is not YAML, or holds what no file may hold.
    """
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"has more than {LARGEST_FILE:,} characters")
    try:
        return _parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{show(text, 60)} {_not_yaml(error)}") from error


def _parse(text: str) -> Json:
    """The tree of a text; raises `yaml.YAMLError` or `ConfigError`, and nothing else."""
    return yaml.load(text, _Loader)


def _not_yaml(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark else ""
    what = getattr(error, "problem", None) or str(error)
    if what.startswith("but "):
        what = f"{getattr(error, 'context', '')}, {what}"
    return f"is not YAML{where}: {show(' '.join(what.split()), 200)}"


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
    """The entries of `config` that the files do not hold, its text read as YAML.

    Raises:
      ConfigError: A text of it is YAML that no file may hold either.
    """
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
            return _parse(value)
        except yaml.YAMLError:
            return value
        except ConfigError as error:
            raise ConfigError(f"{COMMAND_LINE}: {error}") from error
    if isinstance(value, Mapping):
        return {key: _retype(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_retype(part) for part in value]
    return value


class _Loader(yaml.SafeLoader):
    """Loads YAML without dates and tags, and refuses the constructs that `read_all` names, each with its line."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _fault(f"lists and mappings stand in each other more than {DEEPEST} deep", self.peek_event())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in _TAGS:
            raise _fault(f"the tag {show(node.tag.replace(_TAG, '!!'), 60)} means nothing here", node, "remove it")
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError) as error:  # of a tag that does not fit, `!!int x`
            if isinstance(error, ConfigError):
                raise
            raise _fault(f"{show(node.value, 60)} is no {node.tag.removeprefix(_TAG)}", node) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _fault(f"{show(node.value, 60)} is no mapping", node)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _TAG + "merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key is None or isinstance(key, list | dict | bool | float):
                raise ConfigError(
                    f"{show(key, 60)} cannot be a key, in line {key_node.start_mark.line + 1} (write a name)"
                )
            if key in seen:
                raise ConfigError(
                    f"{show(key, 60)} stands twice, the second time in line {key_node.start_mark.line + 1} "
                    "(remove one, or give the study another name)"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        value = bool(super().construct_yaml_bool(node))
        if node.value.lower() not in ("true", "false"):
            raise _fault(
                f"YAML reads {node.value} as {show(value)}", node, f"write {show(value)}, or '{node.value}' for text"
            )
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        digits = node.value.lstrip("+-")
        if ":" in digits or (digits.startswith("0") and len(digits) > 1):
            raise _other_base(node, value)
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = float(super().construct_yaml_float(node))
        if ":" in node.value:
            raise _other_base(node, value)
        return value


def _fault(what: str, at: Any, hint: str = "") -> ConfigError:
    """The error at a node or an event of a file."""
    return ConfigError(f"{what}, in line {at.start_mark.line + 1}" + (f" ({hint})" if hint else ""))


def _other_base(node: yaml.ScalarNode, value: float) -> ConfigError:
    text = show(node.value, 60)
    base = "base 60" if ":" in text else "another base than ten"
    return _fault(f"YAML reads {text} as {show(value, 60)}, in {base}", node, f"write the number, or '{text}' for text")


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """The values in a node, aliases written out; 0 in `known` for a node that is being counted."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise _fault("an alias names what it stands in", node)
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    values = 1 + sum(_count(part, known) for part in parts)
    if values > MOST_VALUES:
        raise _fault(f"more than {MOST_VALUES:,} values, aliases written out, begin", node, "is it the right file?")
    known[id(node)] = values
    return values


def _text(loader: yaml.SafeLoader, node: Any) -> str:
    return str(loader.construct_scalar(node))


for _name in ("bool", "int", "float"):
    _Loader.add_constructor(_TAG + _name, getattr(_Loader, f"construct_yaml_{_name}"))
# There are no dates in a configuration: 1000-10-10 are the widths of a network. A lone `=` or `<<` is text too.
for _name in ("timestamp", "value", "merge"):
    _Loader.add_constructor(_TAG + _name, _text)
