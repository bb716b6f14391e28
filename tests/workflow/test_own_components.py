"""A component of every kind, each one file outside of the package, swept end to end and shown in the report."""

import re

import pytest
from project import ROOT, Project

CONFIG = """\
datasets:
  waves: {loader: {name: ./parts/waves.py:Waves, rows: 240}}
studies:
  own:
    dataset: waves
    partition: {name: ./parts/one_large.py:OneLarge, share: 0.3}
    clients: 12
    sampling_rate: 0.5
    rounds: 4
    evaluate_every: 2
    preprocessing: {name: ./parts/first.py:First, length: 5}
    model: {name: ./parts/net.py:Net, width: 8}
    task: {name: ./parts/hinge.py:Hinge, margin: 0.5}
    algorithm: {name: ./parts/heavy_ball.py:HeavyBall, friction: 0.5}
    mechanism: {name: ./parts/cautious.py:Cautious, times: 2.0}
    local_epochs: 1
    batch_size: 16
    client_learning_rate: 0.1
    clip_norm: 1.0
    noise_multiplier: [0.5, 1.0]
    delta: 1.0e-3
    attacks: {name: ./parts/large_weights.py:LargeWeights, scale: 0.5}
    figures: ./parts/seconds.py:Seconds
"""
KINDS = {"Net", "Hinge", "LargeWeights", "Seconds", "Cautious", "HeavyBall", "First", "OneLarge", "Waves"}


def examples():
    """The components that docs/extending.md shows: class -> file name and text."""
    text = (ROOT / "docs" / "extending.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```\n.*?\./(\w+)\.py:(\w+)", text, flags=re.DOTALL)
    return {name: (f"{file}.py", code) for code, file, name in blocks}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A project swept with a component of every kind."""
    project = Project(tmp_path_factory.mktemp("own"), CONFIG)
    (project.folder / "parts").mkdir()
    for file, code in examples().values():
        (project.folder / "parts" / file).write_text(code)
    project.sweep()
    return project


def test_the_page_shows_a_component_of_every_kind():
    assert set(examples()) == KINDS


def test_own_components_are_trained_accounted_for_and_attacked(own):
    runs, attacks = own.table("runs"), own.table("attacks")
    assert set(runs["status"]) <= {"ok", "learned_nothing"}
    assert len(runs) == 3
    private = runs[runs["noise_multiplier"] > 0]
    assert private["epsilon"].notna().all()
    assert set(private["mechanism"]) == {"./parts/cautious.py:Cautious(times=2)"}
    assert set(runs["model"]) == {"./parts/net.py:Net(width=8)"}
    assert set(runs["dataset"]) == {"waves"}
    assert set(attacks["attack"]) == {"./parts/large_weights.py:LargeWeights"}
    assert attacks["value"].between(0.5, 1).all()


def test_own_components_are_shown_in_the_report(own):
    report = own.folder / "report.html"
    done = own.run("--report", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    text = report.read_text(encoding="utf-8")
    for figure in ("seconds", "pareto", "leakage"):
        assert (own.folder / f"results/figures/own/{figure}.svg").stat().st_size > 1000
        assert f"results/figures/own/{figure}.svg" in text
    assert "Training seconds of every run" in text  # the caption of the own figure


def edit(own, name, old, new):
    path = own.folder / "parts" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_edit_of_an_attack_or_a_figure_trains_nothing(own):
    edit(own, "large_weights.py", "0.5 + 0.5 *", "0.6 + 0.4 *")
    edit(own, "seconds.py", "training seconds", "seconds of training")
    said = own.run("sweep", "-n").stdout
    assert re.search(r"^attack +2$", said, flags=re.MULTILINE), said  # with the mechanism, and without noise
    assert re.search(r"^figure +", said, flags=re.MULTILINE), said
    assert not re.search(r"^(train|account|data) +", said, flags=re.MULTILINE), said
    own.tables()
    assert (own.table("attacks")["value"] >= 0.6).all()


@pytest.mark.slow
def test_an_edit_of_a_model_trains_its_runs(own):
    edit(own, "net.py", "nn.relu", "nn.tanh")
    own.sweep()
    assert own.trained() == 3  # in the logs of the last training
