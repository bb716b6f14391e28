"""Which source files make a number, and a fingerprint of them.

Snakemake does not see edits inside a package unless the modules are declared as inputs of a rule, and a store of
finished runs must know which code made them. Both ask here, so neither list can go stale: it is read off the imports.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from fedpareto.system import jax_settings

PACKAGE = Path(__file__).parents[1]
NUMERICAL_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


def sources(*modules: str) -> list[Path]:
    """The files of this package that `modules` (dotted, e.g. `fedpareto.federated.train`) need, themselves included."""
    return _closure([path for module in modules if (path := _path(module)) is not None])


def sources_of_file(path: Path) -> list[Path]:
    """A file, the modules of its folder that it imports, and the files of this package that these need."""
    return _closure([path])


def fingerprint(files: Iterable[Path]) -> str:
    """A hash of the code of source files and the versions of numerical libraries: comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for name, path in sorted((_name(path), path) for path in set(files)):
        digest.update(name.encode() + b"\0" + _meaning(path, path.stat().st_mtime_ns).encode())
    for library, version in versions().items():
        digest.update(f"{library}=={version}\n".encode())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of the libraries that make the numbers, and the flags of XLA where the user has set any that can change them."""
    found = {library: metadata.version(library) for library in NUMERICAL_LIBRARIES}
    flags = jax_settings.flags()
    return found | {"XLA_FLAGS": flags} if flags else found


def _closure(paths: list[Path]) -> list[Path]:
    found: set[Path] = set()
    waiting = [*paths]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path, path.stat().st_mtime_ns)
    return sorted(found)


def _name(path: Path) -> str:
    """A file's place below the package; of a user's own its name alone, so that moving a project changes nothing."""
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


def _path(module: str) -> Path | None:
    parts = module.split(".")
    return _module_file(PACKAGE, parts[1:]) if parts[0] == PACKAGE.name else None


def _module_file(folder: Path, parts: list[str]) -> Path | None:
    stem = folder.joinpath(*parts)
    candidates = (stem.with_suffix(".py"), stem / "__init__.py") if parts else (stem / "__init__.py",)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@lru_cache(maxsize=1024)
def _imported(path: Path, changed: int) -> tuple[Path, ...]:
    """The files that a file imports: modules of this package, and of a user's file those of its folder and of its package."""
    del changed  # part of the cache's key
    roots = () if path.is_relative_to(PACKAGE) else (path.parent, _root_of(path))
    files: list[Path] = []
    for level, parts in _import_statements(ast.parse(path.read_text(encoding="utf-8"))):
        if level:
            files += _packages(path.parents[level - 1], parts)
            continue
        if (ours := _path(".".join(parts))) is not None:
            files.append(ours)
        for root in roots:
            files += _packages(root, parts)
    return tuple(dict.fromkeys(files))


def _import_statements(tree: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """The modules that a tree may import: leading dots, and the parts of the name behind them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            yield node.level, module
            yield from ((node.level, [*module, alias.name]) for alias in node.names)  # a name may be a module too


def _packages(folder: Path, parts: list[str]) -> list[Path]:
    """The file of a module below a folder, and those of the packages that it is in; none where it is not there."""
    found = _module_file(folder, parts)
    if found is None:
        return []
    inits = [folder.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
    return [*(init for init in inits if init.is_file()), found]


def _root_of(path: Path) -> Path:
    """The folder that the outermost package of a file is in; its own folder where it is in none."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


@lru_cache(maxsize=1024)
def _meaning(path: Path, changed: int) -> str:
    del changed
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
