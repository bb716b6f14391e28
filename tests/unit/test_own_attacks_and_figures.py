"""An attack and a figure of the user's own: one file each, read without running it, made and drawn like those that come with the package."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from attacked import STUDY, target

from fedpareto.analysis.figures import draw as figures
from fedpareto.analysis.tables.attacks import aimed_at
from fedpareto.analysis.tables.leakage import successes
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.attacks import stage
from fedpareto.attacks.results import AttackResult, AttackResults
from fedpareto.components import provenance, registry, threats
from fedpareto.config.load import ConfigError, checked
from fedpareto.federated.inputs.setup import model_arrays
from fedpareto.sweep.sweep import Sweep, plan_sweep

ATTACK = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fedpareto.attacks.results import AttackResult, AttackResults
from fedpareto.components.rules import Rule


@dataclass(frozen=True)
class Coin:
    """Guesses who took part by a coin.

    Attributes:
      bias: Probability of heads.
    """

    NAME: ClassVar = "coin"
    FAMILY: ClassVar = "membership"
    SECRET: ClassVar = "record"
    SEES: ClassVar = "final_model"
    REFUSES: ClassVar = (({"trust": "local"}, "this coin knows no local trust"),)

    bias: Annotated[float, Rule(minimum=0, maximum=1)] = 0.5

    def not_applicable(self, run):
        return None if run.privacy else "there is no privacy to toss for"

    def __call__(self, target):
        rows = [AttackResult(run.run_id, self.NAME, "toss", "outsider", "auc", self.bias, success=True) for run in target.runs]
        return AttackResults(rows)
'''

FIGURE = '''
from typing import ClassVar

import matplotlib.pyplot as plt


class Runs:
    """How many runs there are."""

    NAME: ClassVar = "tally"
    CAPTION: ClassVar = "Runs of the study."

    def build(self, tables, title):
        figure, axes = plt.subplots()
        axes.set_title(f"{title}: {len(tables.runs)} runs")
        return figure
'''


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with an attack and a figure, in which commands run."""
    (tmp_path / "coin.py").write_text(ATTACK)
    (tmp_path / "tally.py").write_text(FIGURE)
    monkeypatch.chdir(tmp_path)
    threats.goal.cache_clear()
    yield tmp_path
    threats.goal.cache_clear()


def planned(**changes):
    tree = {"studies": {"s": STUDY | changes}}
    return plan_sweep(checked(tree, [("study.yaml", tree)]))


def test_an_own_attack_is_in_the_figures_and_limits_of_its_goal(project):
    plan = planned(attacks={"name": "./coin.py:Coin", "bias": [0.5, 0.7]}, policy={"largest_membership": 0.6})
    assert {"leakage", "roc", "riskfront"} <= set(plan.figures("s"))
    (specs,) = set(map(str, plan.attacks.values()))
    assert "'./coin.py:Coin', 'bias': 0.5" in specs
    assert "'bias': 0.7" in specs


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"attacks": {"name": "./coin.py:Coin", "bias": 2}}, "attacks.bias = 2 must be from 0 to 1"),
        (
            {"attacks": "./coin.py:Coin", "trust": "local"},
            "must not be made on this study: this coin knows no local trust",
        ),
        ({"attacks": "./coin.py:Con"}, "it defines Coin"),
        ({"attacks": "./coins.py:Coin"}, "there is no ./coins.py in this folder"),
        ({"figures": "./tally.py:Rums"}, "it defines Runs"),
        (
            {"figures": "pareto"},
            "studies.s.figures = pareto must be a figure of your own: this one is drawn where it applies",
        ),
    ],
)
def test_what_is_wrong_with_an_own_component_is_one_line(project, changes, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        planned(**changes)


@pytest.mark.parametrize("name", threats.LITERALS)
def test_an_own_attack_says_what_it_is(project, name):
    (project / "coin.py").write_text(re.sub(f"{name}: ClassVar = .*", "", ATTACK))
    with pytest.raises(ConfigError, match=f"attacks = ./coin.py:Coin must define {name}, a literal of its class"):
        planned(attacks="./coin.py:Coin")


def test_two_figures_of_one_name_are_refused(project):
    (project / "other.py").write_text(FIGURE)
    with pytest.raises(ConfigError, match="have a NAME that no other figure of the study has, unlike tally"):
        planned(figures=["./tally.py:Runs", "./other.py:Runs"])
    (project / "other.py").write_text(FIGURE.replace("tally", "no-file"))
    with pytest.raises(ConfigError, match="have a NAME of letters alone, unlike no-file"):
        planned(figures="./other.py:Runs")


def test_an_own_attack_is_made_where_it_applies_and_its_rows_bear_its_name(project):
    it = target(baselines=["non_private"])
    findings = stage.make({"name": "./coin.py:Coin", "bias": 0.7}, it).findings
    private = {run.run_id for run in it.runs if run.privacy}
    assert len(findings) == len(it.runs) > len(private) > 0
    assert {row.attack for row in findings} == {"./coin.py:Coin"}
    assert {row.run_id for row in findings if not row.reason} == private
    assert {row.value for row in findings if not row.reason} == {0.7}
    assert {row.reason for row in findings if row.reason} == {"there is no privacy to toss for"}
    rows = stage._frames(stage.AttackResults(findings))["attacks"]
    assert aimed_at(rows, [("membership", "record")]).all()
    assert not aimed_at(rows, [("membership", "client"), ("reconstruction", "record")]).any()
    assert len(successes(rows)) == len(private)


def test_an_own_figure_is_drawn_beside_the_others(project):
    plan = planned(figures="./tally.py:Runs")
    assert Sweep.from_json(plan.to_json()).figures("s") == plan.figures("s")
    assert set(plan.figures("s")) - set(planned().figures("s")) == {"tally"}
    assert plan.figure("s", "tally") == "./tally.py:Runs"
    assert plan.figure("s", "pareto") == "pareto"
    tables = SimpleNamespace(runs=range(3))
    assert figures.build("./tally.py:Runs", tables, "One").axes[0].get_title() == "One: 3 runs"
    plt.close("all")


def test_no_attack_and_no_figure_is_part_of_anothers_code():
    for kind, core in (("attack", "fedpareto.attacks.stage"), ("figure", "fedpareto.analysis.figures.draw")):
        paths = {registry.find(kind, name).path for name in registry.names(kind)}
        assert len(paths) > 3
        assert not paths & set(provenance.sources(core))
        for name in registry.names(kind):
            assert len(paths & set(registry.find(kind, name).files)) == 1


def test_an_edit_of_an_attack_repeats_that_attack_alone(project, capsys):
    (project / "die.py").write_text(ATTACK.replace("Coin", "Die"))
    it, specs = target(), [{"name": "./coin.py:Coin"}, {"name": "./die.py:Die"}]

    def made():
        stage.attack_bundle(it, {run.run_id: specs for run in it.runs}, project / "kept", "models")
        return re.findall(r"\./\w+\.py:\w+(?= on \d+ runs)", capsys.readouterr().out)

    assert made() == ["./coin.py:Coin", "./die.py:Die"]
    assert made() == []
    (project / "die.py").write_text(
        ATTACK.replace("Coin", "Die").replace('"""Guesses', '# A comment.\n    """It guesses')
    )
    assert made() == []
    (project / "die.py").write_text(ATTACK.replace("Coin", "Die").replace("self.bias", "1 - self.bias"))
    assert made() == ["./die.py:Die"]


def test_the_examples_of_the_documentation_work(project):
    text = Path(__file__).parents[2].joinpath("docs", "extending.md").read_text()
    attack, figure = (
        re.search(f"## {kind}\n```python\n(.*?)```", text, re.DOTALL)[1] for kind in ("An attack", "A figure")
    )
    (project / "large_weights.py").write_text(attack)
    (project / "seconds.py").write_text(figure)
    (specs,) = {str(specs): specs for specs in planned(**yaml_of(text, "attacks")).attacks.values()}.values()
    assert [spec["scale"] for spec in specs] == [1.0, 2.0]
    it = target()
    model = model_arrays(jax.tree.map(np.asarray, it.model.init(jax.random.key(0))))
    (row,) = stage.make(specs[0], replace(it, models={run.run_id: model for run in it.runs})).findings
    assert (row.attack, row.reason) == ("./large_weights.py:LargeWeights", "")
    assert "seconds" in planned(**yaml_of(text, "figures")).figures("s")
    tables = SimpleNamespace(runs=pd.DataFrame({"wall_s": [1.0, 2.0]}))
    assert figures.build("./seconds.py:Seconds", tables, "One").axes[0].get_title() == "One"
    plt.close("all")


def yaml_of(text, key):
    """The line of a configuration that stands in a text."""
    return yaml.safe_load(re.search(f"`({key}: .*?)`", text)[1])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[]", r"Coin must return AttackResults \(it returned list\)"),
        ("rows('nope', 'outsider', 0.5)", r"must return rows of the runs that it is made on \(there is no run nope\)"),
        (
            "rows('r', 'martian', 0.5)",
            r"must name an adversary of server, participants, outsider \(it named 'martian'\)",
        ),
        ("rows('r', 'outsider', 17)", r"must return scores that are numbers \(auc = 17; a row with success"),
        ("rows('r', 'outsider', float('nan'))", "must return scores that are numbers"),
        ("rows('r', 'outsider', 'high')", "must return scores that are numbers"),
    ],
)
def test_rows_that_no_table_could_hold_are_refused(returned, message):
    def rows(run_id, adversary, value):
        return AttackResults([AttackResult(run_id, "coin", "toss", adversary, "auc", value, success=True)])

    with pytest.raises(registry.ComponentError, match=message):
        stage._check("./coin.py:Coin", eval(returned, {"rows": rows}), {"r"})
    stage._check("./coin.py:Coin", rows("r", "outsider", 0.5), {"r"})


def test_a_figure_that_is_none_is_one_line(project):
    (project / "none.py").write_text(
        "class Mine:\n  NAME = 'mine'\n  def build(self, tables, title):\n    return None\n"
    )
    with pytest.raises(TableError, match="Mine must return a matplotlib Figure from build, not NoneType"):
        figures.build("./none.py:Mine", None, "")
