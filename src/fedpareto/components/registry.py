"""Components by name: built-in, of an installed package, or in a file of the user's own.

| how it is named            | where it is                                                                              |
|----------------------------|------------------------------------------------------------------------------------------|
| `dp_cnn`                   | a class with `NAME = "dp_cnn"` in the kind's folder of this package                      |
| `resnet`                   | an entry point `resnet = "package.module:ResNet"` of the group `fedpareto.models`        |
| `./my_model.py:Net`        | the class `Net` of that file, whose path is relative to the folder that the sweep runs in |

Built-ins have the form of a user's own: one class, whose annotated fields are its arguments and whose class constants say
where it applies. Both are read without running the file (`signature`).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fedpareto.components import literals, provenance
from fedpareto.components.signature import SignatureError, classes, signature

PACKAGE = Path(__file__).parents[1]
OWN_MODULE = "fedpareto_own_"  # how the modules of users' files begin in `sys.modules`


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Attributes:
      folder: Where the built-ins are, below the package.
      group: Group of entry points.
      given: Fields that the program fills in, and no configuration.
    """

    folder: str
    group: str
    given: tuple[str, ...] = ()


KINDS = {
    "model": Kind("models", "fedpareto.models", ("outputs",)),
    "task": Kind("tasks", "fedpareto.tasks"),
    "algorithm": Kind("federated/algorithms", "fedpareto.algorithms"),
    "mechanism": Kind("privacy/mechanisms", "fedpareto.mechanisms"),
    "preprocessing": Kind("federated/preprocessings", "fedpareto.preprocessings"),
    "partition": Kind("data/partitions", "fedpareto.partitions"),
    "dataset": Kind("data/loaders", "fedpareto.datasets"),
    "attack": Kind("attacks", "fedpareto.attacks"),
    "figure": Kind("analysis/figures", "fedpareto.figures"),
}


class ComponentError(ValueError):
    """A name that stands for no component, with the requirement and the way out.

    Attributes:
      must: Words after "must".
      hint: The way out.
    """

    def __init__(self, name: str, must: str, hint: str = "") -> None:
        super().__init__(f"{name} must {must}" + (f" ({hint})" if hint else ""))
        self.must, self.hint = must, hint


@dataclass(frozen=True)
class Component:
    """A component that was looked up and not yet imported.

    Attributes:
      kind: A key of `KINDS`.
      name: As the configuration names it.
      path: Its file.
      class_name: The class in that file.
      module: Dotted name of a module that can be imported; None for a file of the user's own.
      arguments: Argument -> its rule, see `signature.Signature`.
      constants: Class constant -> its literal value.
      doc: First line of its docstring.
    """

    kind: str
    name: str
    path: Path
    class_name: str
    module: str | None
    arguments: Mapping[str, Mapping[str, Any]]
    constants: Mapping[str, Any]
    doc: str

    @property
    def own(self) -> bool:
        """Whether it is the user's: not one that this package comes with."""
        return self.module is None or not self.module.startswith(f"{PACKAGE.name}.")

    @property
    def files(self) -> tuple[Path, ...]:
        """The source files whose edit changes its behaviour."""
        return tuple(provenance.sources_of_file(self.path))

    def load(self) -> Any:
        """The class; runs its file.

        Raises:
          ComponentError: The file cannot be run, does not define the class when it is, or inherits class constants from another.
        """
        try:
            module = _from_file(self.path) if self.module is None else importlib.import_module(self.module)
            loaded = getattr(module, self.class_name)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            raise ComponentError(self.name, "be a file that Python can import", reason) from error
        if self.own:
            self._check_constants(loaded)
        return loaded

    def _check_constants(self, loaded: Any) -> None:
        """Refuses class constants that come from a class of another file: nobody saw them when the file was read."""
        for name in literals.FORMS:
            if name in vars(loaded) and name not in self.constants:
                raise ComponentError(self.name, f"give {name} a literal", "it is read without running the file")
        for base in getattr(loaded, "__mro__", ())[1:]:
            if base.__module__ != loaded.__module__ and not base.__module__.endswith(".interface"):
                for name in vars(base):
                    if name.isupper() and name not in (*self.constants, "NAME"):
                        hint = f"{base.__name__} has {name} = {getattr(loaded, name)!r}, and constants are read without imports"
                        raise ComponentError(self.name, f"state {name} itself", hint)


def find(kind: str, name: str) -> Component:
    """The component that a name stands for.

    >>> membership = find("attack", "membership")
    >>> membership.constants["FAMILY"], tuple(membership.arguments)
    ('membership', ('shadows',))

    Raises:
      ComponentError: There is none, or its signature cannot be read.
    """
    if is_path(name):
        return _of_file(kind, name)
    known = _built_in(kind)
    if name in known:
        return known[name]
    if name in (points := _entry_points(kind)):
        return _of_entry_point(kind, name, points[name])
    raise ComponentError(name, "be a name that exists", "one of " + ", ".join(names(kind)))


def usable(kind: str) -> tuple[Component, ...]:
    """All components of a kind but the entry points of other packages that cannot be read: nobody may have asked for these."""
    found = []
    for name in names(kind):
        try:
            found.append(find(kind, name))
        except ComponentError:
            if name in _built_in(kind):
                raise
    return tuple(found)


def is_path(name: str) -> bool:
    """Whether a name is meant for a class in a file: `./my_model.py:Net`."""
    return ":" in name or name.endswith(".py")


def names(kind: str) -> tuple[str, ...]:
    """The names of a kind's components, built-in ones first, each by the alphabet.

    A component with the constant `REFERENCE` stands for a reference run, and no configuration names it.

    >>> "dirichlet" in names("partition")
    True
    """
    named = (name for name, component in _built_in(kind).items() if not component.constants.get("REFERENCE"))
    return (*named, *(name for name in _entry_points(kind) if name not in _built_in(kind)))


def build(kind: str, spec: Mapping[str, Any], **given: Any) -> Any:
    """An instance of the component that a spec names.

    Args:
      kind: A key of `KINDS`.
      spec: `name` and arguments; those that are left out have their defaults.
      given: Arguments that the program fills in.
    """
    return find(kind, spec["name"]).load()(**{k: v for k, v in spec.items() if k != "name"}, **given)


def constant(kind: str, spec: Mapping[str, Any] | None, name: str, default: Any = None) -> Any:
    """A class constant of the component that a spec names; `default` where it gives none, or the spec stands for nothing."""
    if spec is None or spec["name"] == "none":
        return default
    return find(kind, spec["name"]).constants.get(name, default)


@cache
def _built_in(kind: str) -> dict[str, Component]:
    """The components of this package, by name."""
    folder = PACKAGE / KINDS[kind].folder
    found = []
    for path in sorted(folder.rglob("*.py")):
        if not re.search(r"^    NAME\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            continue
        module = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
        found += [
            _component(kind, name, path, class_name, module) for class_name, name in classes(path).items() if name
        ]
    return {component.name: component for component in sorted(found, key=lambda component: component.name)}


@cache
def _entry_points(kind: str) -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group=KINDS[kind].group)}


def _of_entry_point(kind: str, name: str, value: str) -> Component:
    module, _, class_name = value.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not class_name:
        raise ComponentError(name, f"be an entry point that can be found, unlike {value}", "install its package again")
    return _component(kind, name, Path(spec.origin), class_name, module)


def _of_file(kind: str, name: str) -> Component:
    text, _, class_name = name.rpartition(":")
    path = Path(text)
    if not text or path.suffix != ".py" or not class_name:
        raise ComponentError(name, "be a file and a class of it", f"write ./my_{kind}.py:Name")
    if not os.path.isfile(path):  # which takes names that are too long
        raise ComponentError(name, "be in a file that exists", f"there is no {text} in this folder")
    return _component(kind, name, path, class_name, None)


def _component(kind: str, name: str, path: Path, class_name: str, module: str | None) -> Component:
    defined: Mapping[str, str | None] = {}
    try:
        defined = classes(path)
        declared = signature(path, class_name)
    except KeyError:
        hint = f"it defines {', '.join(defined) or 'none'}"
        raise ComponentError(name, f"name a class of {path}", hint) from None
    except SignatureError as error:
        raise ComponentError(name, str(error)) from None
    except OSError as error:
        raise ComponentError(name, "be in a file that can be read", str(error.strerror)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ComponentError(name, "have a signature that can be read", f"{type(error).__name__}: {error}") from None
    if misformed := literals.fault(declared.constants):
        raise ComponentError(name, f"give {misformed[0]} its form", f"write {misformed[1]}")
    arguments = {key: rule for key, rule in declared.arguments.items() if key not in KINDS[kind].given}
    return Component(kind, name, path, class_name, module, arguments, declared.constants, declared.doc)


def _from_file(path: Path) -> Any:
    """The module that a file makes, run once for each content of it and of the files beside it that it imports.

    These are imported afresh by their names, and forgotten by `sys.modules` after: another component may have others of the same
    names, and theirs may be edited.
    """
    resolved = path.resolve()
    beside = {file: name for file in provenance.sources_of_file(resolved) if (name := _name_beside(file, resolved))}
    content = hashlib.sha256()
    for file in (resolved, *beside):
        content.update(str(file).encode() + b"\0" + file.read_bytes())
    name = f"{OWN_MODULE}{resolved.stem}_{content.hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and flax look their module up by name
    hidden = {other: sys.modules.pop(other) for other in beside.values() if other in sys.modules}
    importlib.invalidate_caches()
    sys.path.insert(0, str(resolved.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(resolved.parent))
        for other in beside.values():
            sys.modules.pop(other, None)
        sys.modules.update(hidden)
    return module


def _name_beside(file: Path, component: Path) -> str | None:
    """The dotted name by which a component's file imports a file below its folder; None for itself and for files elsewhere."""
    if file == component or not file.is_relative_to(component.parent):
        return None
    parts = file.relative_to(component.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
