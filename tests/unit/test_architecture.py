"""The direction of dependencies, and the size of modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "fedpareto"
MODULES = sorted(PACKAGE.rglob("*.py"))
# What a part of the package may import from other parts.
ALLOWED = {
    "problems": {"config"},
    "yaml_files": {"problems"},
    "soundness": set(),
    "facts": {"data"},
    "privacy_checks": {"config", "facts", "problems", "soundness"},
    "attackable": set(),
    "attack_checks": {"attackable", "config", "problems"},
    "checks": {"attack_checks", "config", "data", "facts", "problems", "privacy_checks"},
    "config": {"checks", "problems", "schema", "yaml_files"},
    "schema": {"problems"},
    "run": set(),
    "statuses": set(),
    "plan": {"config", "facts", "files", "run", "soundness"},
    "failures": {"problems"},
    "flags": {"data", "problems", "schema"},
    "catalogue": {"papers", "plan"},
    "papers": {"config", "problems", "schema", "yaml_files"},
    "paths": set(),
    "files": set(),
    "damage": {"paths"},
    "jax_settings": set(),
    "provenance": {"jax_settings"},
    "environment": {"jax_settings"},
    "models": {"layers", "networks", "numerics"},
    "networks": {"layers"},
    "layers": {"numerics"},
    "numerics": set(),
    "privacy": {"run", "soundness"},
    "data": {"damage", "files"},
    "federated": {"run", "statuses", "privacy", "data", "models", "numerics", "provenance", "damage", "files"},
    "attacks": {
        *("attackable", "facts", "run", "statuses", "privacy", "data", "models", "federated", "provenance"),
        *("damage", "files"),
    },
    "analysis": {"damage", "files", "statuses"},
    "questions": {"privacy"},
    "doctor": {"environment", "data", "jax_settings"},
}
HOST_SIDE = (
    *(
        "problems",
        "failures",
        "yaml_files",
        "soundness",
        "facts",
        "privacy_checks",
        "attackable",
        "attack_checks",
        "checks",
        "config",
        "schema",
        "run",
        "statuses",
        "plan",
        "paths",
    ),
    *("files", "damage", "jax_settings", "provenance", "environment"),
)


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "fedpareto":
                yield from (f"fedpareto.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_dependencies_go_one_way(path):
    own = part(path)
    if own in ("cli", "__init__", "__main__"):
        return
    others = {name.split(".")[1] for name in imports(path) if name.startswith("fedpareto.")} - {own, "__version__"}
    assert others <= ALLOWED[own]


@pytest.mark.parametrize("path", [p for p in MODULES if part(p) in HOST_SIDE], ids=lambda p: p.name)
def test_what_snakemake_parses_with_is_light(path):
    heavy = {"numpy", "pandas", "jax", "scipy", "dp_accounting", "pyarrow"}
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & heavy


def test_figures_and_tables_know_nothing_of_jax():
    for path in PACKAGE.glob("analysis/*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"jax", "flax", "optax"}


def test_the_command_line_starts_light():
    code = "import sys, fedpareto.cli; print([m for m in ('numpy', 'pandas', 'jax', 'yaml') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_modules_are_small_and_named_for_one_thing():
    assert not [path for path in MODULES if path.name == "utils.py"]
    assert {path.name: n for path in MODULES if (n := len(path.read_text().splitlines())) > 400} == {}


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
