"""Components: signatures read without running a file, and the ways to name one."""

import sys

import pytest

from fedpareto.components import provenance, registry
from fedpareto.components.registry import ComponentError
from fedpareto.components.rules import must

NET = '''
"""A model of my own."""
from typing import Annotated, ClassVar, Literal
import flax.linen as nn
from fedpareto.components.rules import AT_LEAST_ONE, Rule
import helper

BETWEEN = Rule(exclusiveMinimum=0, maximum=1, hint="e.g. 0.5")
Activation = Literal["relu", "tanh"]
raise_if_run = RUN

class Net(nn.Module):
    """A small network.

    Attributes:
      outputs: Filled in.
      width: Units of the
        hidden layer.
    """

    INPUT_SHAPE: ClassVar = (28, 28, 1)
    computed: ClassVar = len("abc")
    outputs: int
    width: Annotated[int, AT_LEAST_ONE] = 16
    rate: Annotated[float | None, BETWEEN] = None
    activation: Activation = "relu"
    bias: Annotated[bool, Rule(usual=True), "Whether there is a bias."] = True
    needed: str

    def __call__(self, x):
        return x
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "helper.py").write_text("X = 1\n")
    yield tmp_path
    sys.modules.pop("helper", None)
    while str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def test_a_signature_is_read_and_its_file_is_not_run(folder):
    net = registry.find("model", "./net.py:Net")
    assert net.own
    assert net.doc == "A small network."
    assert net.constants == {"INPUT_SHAPE": (28, 28, 1)}
    assert net.arguments == {
        "width": {
            "type": "integer",
            "minimum": 1,
            "must": "be a whole number of at least 1",
            "description": "Units of the hidden layer.",
            "default": 16,
        },
        "rate": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "maximum": 1,
            "hint": "e.g. 0.5",
            "must": "be above 0 and at most 1",
            "default": None,
        },
        "activation": {"enum": ["relu", "tanh"], "must": "be relu or tanh", "default": "relu"},
        "bias": {
            "type": "boolean",
            "must": "be true or false",
            "description": "Whether there is a bias.",
            "usual": True,
        },
        "needed": {"type": "string", "must": "be text", "required": True},
    }
    with pytest.raises(ComponentError, match=r"net.py:Net must be a file that Python can import .*RUN"):
        net.load()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("./other.py:Net", None, r"must be in a file that exists \(there is no ./other.py in this folder\)"),
        ("./net.py:Nut", None, r"must name a class of net.py \(it defines Net\)"),
        ("./net.py", None, r"must be a file and a class of it \(write ./my_model.py:Name\)"),
        ("./net.py:", None, "must be a file and a class of it"),
        ("nut", None, r"must be a name that exists \(one of 2nn, cifar_cnn,"),
        ("./net.py:A", "class A:\n  x: int = len('a')\n", "must give x a default that is a literal: line 2"),
        ("./net.py:A", "class A:\n  x: list = 3\n", "must give x a type of int, float, str, bool, None or Literal"),
        (
            "./net.py:A",
            "class A:\n  x: Annotated[int, Rule(least=3)] = 3\n",
            r"must give x a range as Rule\(minimum=1\)",
        ),
        ("./net.py:A", "class A(:\n", "must be Python: .* line 1"),
        ("./net.py:A", "class A:\n  name: str = 'n'\n", "must have no argument called name"),
        (
            "./net.py:A",
            "class A:\n  x: Annotated[int, Rule(minimum='a')] = 3\n",
            "must have a signature that can be read",
        ),
        ("./net.py:A", "class A(B): pass\nclass B(A): pass\n", "must have a signature that can be read"),
        (
            "./net.py:A",
            "class A:\n  SOUND_FOR = 5\n",
            r"must give SOUND_FOR its form \(write pairs of unit and trust",
        ),
        ("./net.py:A", "class A:\n  SOUND_FOR = (('client', 'central'))\n", "must give SOUND_FOR its form"),
        ("./net.py:A", "class A:\n  INPUT_SHAPE = (8, 8)\n", "must give INPUT_SHAPE its form"),
        ("./net.py:A", "class A:\n  REFUSES = ({'trust': 'local'}, 'no')\n", "must give REFUSES its form"),
        (f"./{'n' * 300}.py:A", None, "must be in a file that exists"),
        ("./net.py:A", "x = '\0'", "must be Python"),
    ],
)
def test_what_is_no_component_is_one_line_with_the_way_out(folder, name, text, message):
    if text is not None:
        (folder / "net.py").write_text(text)
    with pytest.raises(ComponentError, match=message):
        registry.find("model", name)


def test_a_file_is_run_once_for_each_content_and_finds_its_neighbours(folder):
    text = "import helper\nclass A:\n  x: int = 3\n  twice = helper.X * 2\n"
    (folder / "net.py").write_text(text)
    first = registry.find("model", "./net.py:A").load()
    assert first.twice == 2
    assert registry.find("model", "./net.py:A").load() is first
    (folder / "net.py").write_text(text.replace("* 2", "* 3"))
    assert registry.find("model", "./net.py:A").load().twice == 3


def test_constants_of_a_class_of_another_file_must_be_stated(folder):
    text = """
from typing import ClassVar
from fedpareto.federated.algorithms.scaffold import Scaffold


class Mine(Scaffold):
    SOUND_FOR: ClassVar = (("client", "central"),)
"""
    (folder / "net.py").write_text(text)
    with pytest.raises(ComponentError, match=r"Mine must state [A-Z_]+ itself \(Scaffold has [A-Z_]+ = "):
        registry.find("algorithm", "./net.py:Mine").load()
    (folder / "net.py").write_text(text + "    REMEMBERS_CLIENTS: ClassVar = True\n    VECTORS: ClassVar = 2\n")
    assert registry.find("algorithm", "./net.py:Mine").load().VECTORS == 2


def test_a_neighbour_that_is_edited_is_run_again_and_each_component_has_its_own(folder):
    for name, number in (("a", 1), ("b", 2)):
        (folder / name).mkdir()
        (folder / name / "net.py").write_text(
            "import statistics\nfrom util import X\nclass A:\n  x = X\n  y = statistics.Y\n"
        )
        (folder / name / "util.py").write_text(f"X = {number}\n")
        (folder / name / "statistics.py").write_text(f"Y = {10 * number}\n")
    found = [registry.find("model", f"./{name}/net.py:A").load() for name in "ab"]
    assert [(one.x, one.y) for one in found] == [(1, 10), (2, 20)]
    (folder / "a" / "util.py").write_text("X = 3\n")
    assert registry.find("model", "./a/net.py:A").load().x == 3
    import statistics

    assert statistics.mean([1, 3]) == 2


def test_files_of_a_component_are_those_of_relative_imports_and_packages_too(folder):
    package = folder / "pkg"
    (package / "deep").mkdir(parents=True)
    for file, text in {
        "__init__.py": "Z = 1\n",
        "net.py": "from . import consts\nfrom .deep.more import X\nimport pkg.other\nclass A:\n  x: int = 1\n",
        "consts.py": "Y = 1\n",
        "other.py": "",
        "deep/__init__.py": "",
        "deep/more.py": "X = 1\n",
    }.items():
        (package / file).write_text(text)
    files = {str(path.relative_to(folder)) for path in provenance.sources_of_file(package / "net.py")}
    assert files == {
        "pkg/net.py",
        "pkg/consts.py",
        "pkg/deep/__init__.py",
        "pkg/deep/more.py",
        "pkg/other.py",
        "pkg/__init__.py",
    }


def test_a_constant_that_is_no_literal_is_refused_when_it_is_run(folder):
    (folder / "net.py").write_text('class A:\n  SOUND_FOR = tuple([("client", "central")])\n')
    with pytest.raises(ComponentError, match="must give SOUND_FOR a literal"):
        registry.find("mechanism", "./net.py:A").load()


def test_a_package_offers_components_by_entry_points(folder, monkeypatch):
    (folder / "offered.py").write_text("class Net:\n  width: int = 3\n")
    info = folder / "offered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: offered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedpareto.models]\nresnet = offered:Net\ngone = nowhere:Net\n")
    monkeypatch.syspath_prepend(str(folder))
    registry._entry_points.cache_clear()
    try:
        assert {"resnet", "gone", "mlp"} <= set(registry.names("model"))
        net = registry.find("model", "resnet")
        assert net.own
        assert net.arguments["width"]["default"] == 3
        assert registry.build("model", {"name": "resnet"}).width == 3
        with pytest.raises(ComponentError, match="be an entry point that can be found, unlike nowhere:Net"):
            registry.find("model", "gone")
    finally:
        monkeypatch.undo()
        registry._entry_points.cache_clear()
        sys.modules.pop("offered", None)


def test_files_of_a_component_are_its_own_its_neighbours_and_what_they_import_of_the_package(folder):
    (folder / "helper.py").write_text("from fedpareto.models.layers import Dense\n")
    names = [path.name for path in registry.find("model", "./net.py:Net").files]
    assert {"net.py", "helper.py", "rules.py", "layers.py"} <= set(names)
    assert "mlp.py" not in names


def test_a_fingerprint_knows_code_from_comments(folder):
    def taken():
        return provenance.fingerprint(registry.find("model", "./net.py:Net").files)

    plain = taken()
    (folder / "net.py").write_text(NET.replace("A small network.", "A network.") + "\n# a comment\n")
    assert taken() == plain
    (folder / "helper.py").write_text("X = 2\n")
    changed = taken()
    assert changed != plain
    (folder / "net.py").write_text(NET.replace("return x", "return 2 * x"))
    assert taken() not in (plain, changed)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"type": "integer", "minimum": 4, "maximum": 24}, "be a whole number from 4 to 24"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "be above 0 and below 1"),
        ({"type": "number", "minimum": 0}, "be a number of at least 0"),
        ({"type": "number", "exclusiveMinimum": 0}, "be a number above 0"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "be at least 0 and below 1"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "be from 0 to 1"),
        ({"type": "number", "maximum": 1}, "be a number at most 1"),
        ({"type": "integer"}, "be a whole number"),
        ({"type": ["number", "null"]}, "be a number"),
        ({"enum": ["a"]}, "be a"),
    ],
)
def test_words_of_a_message_follow_from_the_range(rule, words):
    assert must(rule) == words


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_every_built_in_can_be_loaded_and_has_help(kind):
    for name in registry.names(kind):
        component = registry.find(kind, name)
        assert name == component.load().NAME
        assert component.doc, f"{kind} {name}"
