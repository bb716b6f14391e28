"""The signature of a component, read from its file's syntax tree: nothing of the file is run.

Parsing a configuration must be light and must not run a user's code, and yet name file, key, value and way out for the
arguments of a component that is the user's own. So arguments, their ranges and their defaults are literals, and their help
stands in the docstring (`fedpareto.models.mlp` is an example).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedpareto.components import rules

TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
SECTIONS = ("Attributes:", "Args:")
RESERVED = ("name", "parent", "scope")


class SignatureError(ValueError):
    """A signature that cannot be read: the line, and the way out."""


@dataclass(frozen=True)
class Signature:
    """A component's signature, known before its code runs.

    Attributes:
      name: Name of the class.
      arguments: Argument -> its rule: `type` or `enum`, its range, `must`, `hint`, `description`, and `default`, `usual` or
        `required`.
      constants: Class constant -> its literal value.
      doc: First line of the docstring.
    """

    name: str
    arguments: Mapping[str, Mapping[str, Any]]
    constants: Mapping[str, Any]
    doc: str


def classes(path: Path) -> dict[str, str | None]:
    """The classes of a file, each with the `NAME` that it gives itself.

    Raises:
      OSError: The file cannot be read.
      SignatureError: The file is no Python.
    """
    tree = _tree(path, path.stat().st_mtime_ns)
    return {name: _constants(node, tree.module).get("NAME") for name, node in tree.classes.items()}


def signature(path: Path, class_name: str) -> Signature:
    """The signature of a class of a file.

    Raises:
      OSError: The file cannot be read.
      KeyError: The file defines no such class.
      SignatureError: The file is no Python, or an argument is no literal.
    """
    tree = _tree(path, path.stat().st_mtime_ns)
    return _signature(tree.classes[class_name], tree)


@dataclass(frozen=True)
class _Tree:
    classes: Mapping[str, ast.ClassDef]
    module: Mapping[str, ast.expr]


@lru_cache(maxsize=256)
def _tree(path: Path, changed: int) -> _Tree:
    del changed  # part of the cache's key
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SignatureError(f"be Python: {error.args[0]}{line}") from None
    return _Tree(
        {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}, dict(_assignments(tree.body))
    )


def _signature(node: ast.ClassDef, tree: _Tree) -> Signature:
    arguments: dict[str, Mapping[str, Any]] = {}
    constants: dict[str, Any] = {}
    for base in node.bases:  # a base of the same file hands its arguments down
        if isinstance(base, ast.Name) and base.id in tree.classes and base.id != node.name:
            parent = _signature(tree.classes[base.id], tree)
            arguments |= parent.arguments
            constants |= parent.constants
    doc = ast.get_docstring(node) or ""
    help_of = _help(doc)
    for name, annotation, value in _fields(node):
        if annotation is not None and not _is_class_variable(annotation) and not name.startswith("_"):
            if name in RESERVED:
                raise SignatureError(f"have no argument called {name}, which a configuration and flax use themselves")
            arguments[name] = _rule(name, annotation, value, tree.module, help_of.get(name, ""))
    return Signature(node.name, arguments, constants | _constants(node, tree.module), doc.split("\n")[0])


def _constants(node: ast.ClassDef, module: Mapping[str, ast.expr]) -> dict[str, Any]:
    """The class constants that are literals."""
    values = {
        name: _literal(value, module)
        for name, annotation, value in _fields(node)
        if value is not None and (annotation is None or _is_class_variable(annotation))
    }
    return {name: value for name, value in values.items() if value is not _NOT_LITERAL}


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Name, annotation and value of all that a class body assigns."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.annotation, statement.value
        elif isinstance(statement, ast.Assign):
            yield from (
                (target.id, None, statement.value) for target in statement.targets if isinstance(target, ast.Name)
            )


def _rule(
    name: str, annotation: ast.expr, value: ast.expr | None, module: Mapping[str, ast.expr], description: str
) -> dict[str, Any]:
    """The rule of one argument."""
    rule, range_ = _type(name, annotation, module), rules.Rule()
    if isinstance(annotation, ast.Subscript) and _ends_with(annotation.value, "Annotated"):
        kind, *more = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        rule = _type(name, kind, module)
        for part in more:
            if isinstance(text := _literal(part, module), str):
                description = description or text
            else:
                range_ = _range(name, part, module)
        rule |= range_.mapping()
    rule.setdefault("must", rules.must(rule) if set(rule) & {"type", "enum"} else "be a literal")
    if description:
        rule["description"] = description
    if value is None:
        rule["required"] = True
        return rule
    default = _literal(value, module)
    if default is _NOT_LITERAL:
        raise SignatureError(f"give {name} a default that is a literal: line {value.lineno}")
    rule["usual" if range_.usual else "default"] = default
    return rule


def _type(name: str, annotation: ast.expr, module: Mapping[str, ast.expr]) -> dict[str, Any]:
    """JSON Schema's words for a type: `int | None` is `{"type": ["integer", "null"]}`."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Name) and annotation.id in module:
        annotation = module[annotation.id]
    if isinstance(annotation, ast.Subscript) and _ends_with(annotation.value, "Literal"):
        choices = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return {"enum": [_literal(choice, module) for choice in choices]}
    kinds: list[str] = []
    for part in _alternatives(annotation):
        if isinstance(part, ast.Constant) and part.value is None:
            kinds.append("null")
        elif isinstance(part, ast.Name) and part.id in TYPES:
            kinds.append(TYPES[part.id])
        elif isinstance(part, ast.Subscript) and _ends_with(part.value, "Annotated"):
            return {}
        else:
            known = ", ".join(TYPES)
            raise SignatureError(f"give {name} a type of {known}, None or Literal[...]: line {annotation.lineno}")
    return {"type": kinds if len(kinds) > 1 else kinds[0]}


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    else:
        yield annotation


def _range(name: str, node: ast.expr, module: Mapping[str, ast.expr]) -> rules.Rule:
    """A `Rule(...)` of literals, or the name of one in the same file or in `fedpareto.components.rules`."""
    if isinstance(node, ast.Name) and node.id in module:
        node = module[node.id]
    if isinstance(node, ast.Name) and isinstance(shared := getattr(rules, node.id, None), rules.Rule):
        return shared
    if isinstance(node, ast.Call) and _ends_with(node.func, "Rule") and not node.args:
        values = {keyword.arg: _literal(keyword.value, module) for keyword in node.keywords if keyword.arg}
        try:
            if _NOT_LITERAL not in values.values():
                return rules.Rule(**values)
        except TypeError:
            pass
    raise SignatureError(f"give {name} a range as Rule(minimum=1), of literals: line {node.lineno}")


class _NotLiteral:
    """Stands for an expression whose value is only known when the file runs."""


_NOT_LITERAL = _NotLiteral()


def _literal(node: ast.expr, module: Mapping[str, ast.expr]) -> Any:
    """The value of a literal, of a name that the file gives to one, or `_NOT_LITERAL`."""
    if isinstance(node, ast.Name) and node.id in module:
        node = module[node.id]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NOT_LITERAL


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def _is_class_variable(annotation: ast.expr) -> bool:
    node = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return _ends_with(node, "ClassVar")


def _ends_with(node: ast.expr, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)


def _help(doc: str) -> dict[str, str]:
    """The lines of a docstring's `Attributes:` or `Args:`, by name."""
    found: dict[str, str] = {}
    inside, last = False, ""
    for line in doc.split("\n"):
        if line.strip() in SECTIONS:
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        elif inside and (entry := re.match(r"^ {2,4}(\w+): (.*)$", line)):
            last = entry[1]
            found[last] = entry[2].strip()
        elif inside and last and line.strip():
            found[last] += " " + line.strip()
    return found
