"""Which source files make a stage's numbers, and a fingerprint of them.

Snakemake does not see edits inside a package unless the modules are declared as inputs of a rule, and a store of
finished runs must know which code made them. Both ask here, so neither list can go stale: it is read off the imports.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

from fedpareto.system import jax_settings

PACKAGE = Path(__file__).parents[1]
NUMERICAL_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


def sources(*modules: str) -> list[Path]:
    """The files of this package that `modules` (dotted, e.g. `fedpareto.federated.train`) need, themselves included."""
    found: dict[str, Path] = {}
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += _imports(path)
    return sorted(set(found.values()))


def fingerprint(module: str) -> str:
    """A hash of what the code behind `module` does: comments, docstrings and layout do not count; libraries do."""
    digest = hashlib.sha256()
    for path in sources(module):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + _meaning(path).encode())
    for library, version in versions().items():
        digest.update(f"{library}=={version}\n".encode())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of the libraries that make the numbers, and the flags of XLA where the user has set any that can change them."""
    found = {library: metadata.version(library) for library in NUMERICAL_LIBRARIES}
    flags = jax_settings.flags()
    return found | {"XLA_FLAGS": flags} if flags else found


def _path(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE.name:
        return None
    stem = PACKAGE.joinpath(*parts[1:])
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(path: Path) -> tuple[str, ...]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.split(".")[0] == PACKAGE.name)


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
