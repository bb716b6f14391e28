"""Any text at all: it becomes a configuration, or lines that a person can read."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedpareto.components import registry
from fedpareto.config import papers
from fedpareto.config.load import load
from fedpareto.config.problems import ConfigError
from fedpareto.config.schema import schema
from fedpareto.config.study import Config

TEXT = Path("config/config.yaml").read_text(encoding="utf-8")
LONGEST_LINE = 500
TOKENS = (
    *("", " ", "\n", "\t", "\0", ":", ": ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!int ", "!x ", "'", '"', "#", "|\n", "?"),
    *("~", "yes", "010", "1:30", "1e-5", ".nan", "-.inf", "9" * 400, "1.0e+308", "0x10", "2024-01-01", "\u2028", "ä", "😀", "%", "@"),
    *("studies: ", "only: [s]", "x-a: 1", "---\n", "clients: -1", "\ufeff", "\x85", "a" * 3000),
)  # fmt: skip
HOSTILE = (
    *(None, True, False, 0, -1, 1, 2, 10, 2**31, 10**18, 10**400, 0.0, -0.0, 0.1, 0.5, 1.0, 1.5, 1e-5, 1e-320, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "1", "1e-5", "nan", "yes", "\0", "a\nb", "s", "../x", "a" * 300, "漢字", "$x$", "{a}"),
    *([], {}, [None], [[1]], [[]], {"name": None}, {"name": []}, {"name": [[]]}, {"a": {"b": {"c": [1, 2]}}}),
)  # fmt: skip
USUAL = {
    "dataset": "digits",
    "clients": 10,
    "rounds": 5,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "clip_norm": 1.0,
    "noise_multiplier": 1.0,
    "delta": 1.0e-4,
}


@st.composite
def mutated_texts(draw):
    """The default configuration after some deletions, repetitions and insertions."""
    text = TEXT
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 1, 5, 40, 400]))
        middle = draw(st.sampled_from([*TOKENS, text[start:end] * 2]))
        text = text[:start] + middle + text[end:]
    return text


def named(kind):
    """The names that a spec may have, and the arguments of each: choices of the schema, and components."""
    names = registry.names(kind) if kind in registry.KINDS else ()
    return {**schema().get(kind, {}), **{name: registry.find(kind, name).arguments for name in names}}


def values(rule):
    """Values of one key: what it may hold, and what nobody should write."""
    usual = [*rule.get("enum", ()), *([rule["default"]] if "default" in rule else [])]
    choices = named(rule["spec"]) if "spec" in rule else {}
    usual += [*choices]
    one = st.sampled_from([*usual, *usual, *HOSTILE]) if usual else st.sampled_from(HOSTILE)
    if choices:
        one |= mappings({key: part for arguments in choices.values() for key, part in arguments.items()}).flatmap(
            lambda body: st.sampled_from([*choices]).map(lambda name: body | {"name": name})
        )
    return one | st.lists(one, max_size=3)


def mappings(table, most=4):
    """Some keys of a table of the schema, and now and then one that does not exist."""
    keys = st.sampled_from([*table]) if table else st.nothing()
    pairs = keys.flatmap(lambda key: st.tuples(st.just(key), values(table[key]))) if table else st.nothing()
    odd = st.tuples(st.sampled_from(["rond", "x-a", "1", 3, "a" * 300, "漢", "{}"]), st.sampled_from(HOSTILE))
    return st.lists(st.one_of(pairs, pairs, pairs, odd) if table else odd, max_size=most).map(dict)


# Parts of the schema, and the sections in which they stand.
PARTS = {"data_file": "datasets", "comparison": "comparisons", "execution": "execution"}
STUDIES = mappings(schema()["study"], most=6).map(lambda changes: USUAL | changes)


@st.composite
def trees(draw):
    """A configuration with keys of the schema in their places, and hostile values."""
    known = schema()
    names = st.sampled_from(["s", "s", "t", "", "a/b", "a" * 300, 7])
    tree = {
        "studies": draw(
            st.dictionaries(names, st.one_of(STUDIES, STUDIES, STUDIES, st.sampled_from(HOSTILE)), max_size=2)
        )
    }
    if draw(st.booleans()):
        tree |= draw(mappings(known["study"] | known["top_level"]))
    for part, section in PARTS.items():
        if draw(st.integers(0, 3)) == 0:
            body = draw(mappings(known[part]))
            tree[section] = body if part == section else {draw(names): body}
    return tree


@st.composite
def paper_trees(draw):
    """A file of config/papers: a configuration or none, and what stands in print."""
    known = schema()
    tree = draw(trees()) if draw(st.booleans()) else {}
    tree["paper"] = {"title": "t", "citation": "c"} | draw(mappings(known["paper"]))
    bodies = {
        "number": {
            "name": "n",
            "table": "1",
            "what": "w",
            "published": 0.9,
            "study": "s",
            "tolerance": 0.01,
            "why": "y",
        }
    }
    bodies["curve"] = {"name": "n", "table": "1", "what": "w", "study": "s", "along": "clip_norm"}
    bodies["claim"] = {
        "name": "n",
        "source": "s",
        "rate": "1/100",
        "noise": 1.0,
        "steps": 10,
        "delta": 1.0e-5,
        "published": 2.0,
    }
    bodies["claim"] |= {"accountant": "rdp", "verdict": "reproduced"}
    for part, usual in bodies.items():
        odd = st.sampled_from(HOSTILE)
        entries = st.lists(mappings(known[part]).map(lambda body, usual=usual: usual | body) | odd, max_size=2)
        tree[part + "s"] = draw(st.one_of(entries, entries, entries, odd))
    return tree


def ends_well(path, text, read=lambda path: load([path]), kind=Config):
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(read(path), kind)
    except ConfigError as error:
        said = str(error)
        assert said
        assert max(len(line.replace(str(path), "config.yaml")) for line in said.split("\n")) <= LONGEST_LINE
        assert all(line.isprintable() for line in said.split("\n"))


QUICK = settings(
    max_examples=70, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(QUICK, max_examples=3500, derandomize=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


def of_texts(path, text):
    ends_well(path, text)


def of_trees(path, tree):
    ends_well(path, yaml.safe_dump(tree, allow_unicode=True))


def of_papers(path, tree):
    ends_well(path, yaml.safe_dump(tree, allow_unicode=True), papers.read, papers.Paper)


@pytest.mark.parametrize(
    "how", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)], ids=["a few hundred", "ten thousand"]
)
@pytest.mark.parametrize(
    ("inputs", "check"),
    [(mutated_texts(), of_texts), (trees(), of_trees), (paper_trees(), of_papers)],
    ids=["texts", "trees", "papers"],
)
def test_every_configuration_is_read_or_refused_in_lines_that_can_be_read(path, how, inputs, check):
    how(given(inputs)(lambda given: check(path, given)))()
