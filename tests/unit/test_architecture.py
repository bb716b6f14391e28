"""The direction of dependencies, and the size of modules."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import jax.random
import pytest

from fedpareto.components import registry

PACKAGE = Path(__file__).parents[2] / "src" / "fedpareto"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Rooms by floor: a module imports from its own room and from rooms of lower floors.
FLOORS = (
    ("statuses", "system"),
    ("components",),
    ("columns",),
    ("models", "tasks", "privacy", "data", "analysis"),
    ("config",),
    ("sweep",),
    ("federated",),
    ("attacks",),
    ("cli", "notebook"),
    ("__init__", "__main__"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_ROOMS = 15
LIGHT_ROOMS = ("columns", "components", "config", "statuses", "sweep", "system")
LIGHT_MODULES = (
    "data/facts.py",
    "data/partitions/interface.py",
    "privacy/setting.py",
    "privacy/soundness.py",
    "data/__init__.py",
    "privacy/__init__.py",
)
# They run in jobs alone.
HEAVY_MODULES = ("sweep/account.py", "columns/frames.py")


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path):
    """The modules of this package that a module imports."""
    for name in imports(path):
        if not name.startswith("fedpareto."):
            continue
        stem = PACKAGE.joinpath(*name.split(".")[1:])
        yield from (p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file())


def test_there_are_few_rooms_and_each_has_its_floor():
    rooms = {room(path) for path in MODULES} - {"__init__", "__main__"}
    assert rooms <= set(FLOOR)
    assert len(rooms) <= MOST_ROOMS


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_upward(path):
    for other in imported_modules(path):
        assert room(other) == room(path) or FLOOR[room(other)] < FLOOR[room(path)], (
            f"{name_of(path)} -> {name_of(other)}"
        )


def test_no_imports_go_in_a_circle():
    graph = {path: set(imported_modules(path)) - {path} for path in MODULES}
    while leaves := [path for path, others in graph.items() if not others & graph.keys()]:
        for path in leaves:
            del graph[path]
    assert {name_of(path): sorted(map(name_of, others & graph.keys())) for path, others in graph.items()} == {}


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if (room(p) in LIGHT_ROOMS or name_of(p) in LIGHT_MODULES) and name_of(p) not in HEAVY_MODULES],
    ids=name_of,
)
def test_what_snakemake_parses_with_is_light(path):
    heavy = {"numpy", "pandas", "jax", "scipy", "dp_accounting", "pyarrow"}
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & heavy


def test_figures_and_tables_know_nothing_of_jax():
    for path in PACKAGE.glob("analysis/**/*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"jax", "flax", "optax"}


def test_privacy_is_a_library_that_needs_no_flax():
    for path in PACKAGE.glob("privacy/**/*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"flax", "optax", "pandas", "snakemake"}


def test_continuous_noise_comes_from_one_module():
    """Other generators of real numbers end sooner, or draw so few bits that their coins and tails are coarse."""
    real = (
        "ball", "beta", "cauchy", "chisquare", "dirichlet", "double_sided_maxwell", "exponential", "f", "gamma",
        "generalized_normal", "gumbel", "laplace", "loggamma", "logistic", "lognormal", "maxwell", "multivariate_normal",
        "normal", "orthogonal", "pareto", "rayleigh", "t", "triangular", "truncated_normal", "wald", "weibull_min",
    )  # fmt: skip
    assert all(hasattr(jax.random, name) for name in real)
    paths = [path for path in MODULES if room(path) in ("privacy", "federated")]
    drawn = {
        f"{name_of(path)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in real and ast.unparse(node.value) == "jax.random"
    }
    assert drawn == set()
    assert [name_of(path) for path in paths if "jax.random" in imports(path)] == []  # under no other name


def test_the_command_line_starts_light():
    code = "import sys, fedpareto.cli.main; print([m for m in ('numpy', 'pandas', 'jax', 'yaml') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_plan_is_made_without_jax():
    code = "import sys, fedpareto.privacy.plan, fedpareto.sweep.sweep; print([m for m in ('jax', 'flax') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_modules_are_small_and_named_for_one_thing():
    assert not [path for path in MODULES if path.name == "utils.py"]
    assert {name_of(path): n for path in MODULES if (n := len(path.read_text().splitlines())) > 400} == {}


def test_everything_public_is_documented():
    missing = [
        f"{path.name}:{node.name}"
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert missing == []


def test_no_docstring_begins_with_what():
    questions = [
        f"{name_of(path)}:{node.body[0].lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and (ast.get_docstring(node) or "").startswith("What")
    ]
    assert questions == []


def test_public_functions_take_at_most_five_arguments_by_position():
    def public(body):
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)
            elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__call__"):
                yield node

    long = {
        f"{name_of(path)}:{node.name}": names
        for path in MODULES
        for node in public(ast.parse(path.read_text()).body)
        if len(names := [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]) > 5
    }
    assert long == {}


def test_the_page_of_the_architecture_lists_every_module():
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text()
    listed = set()
    for folder, several, single in re.findall(r"^\| `([\w/]+/)?(?:\{([\w,]+)\}|(\w+))` \|", page, re.MULTILINE):
        listed |= {f"{folder}{module}.py" for module in (several or single).split(",")}
    assert listed == {name_of(path) for path in MODULES if not path.name.startswith("__")}


def test_the_core_imports_no_component():
    components = {
        component.path
        for kind in ("algorithm", "mechanism", "model")
        for component in registry._built_in(kind).values()
    }
    assert len(components) >= 10
    core = [path for path in MODULES if room(path) in ("federated", "privacy", "sweep", "config")]
    found = {
        name_of(path): sorted(map(name_of, others))
        for path in core
        if path not in components and (others := components & set(imported_modules(path)))
    }
    assert found == {}
