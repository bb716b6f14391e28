"""The Python front, and the examples that it runs."""

import runpy
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import fedpareto as fp

ROOT = Path(__file__).parents[2]
STUDY = {
    "dataset": "digits",
    "clients": 20,
    "sampling_rate": 0.5,
    "rounds": 2,
    "local_steps": 1,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "clip_norm": 1.0,
    "noise_multiplier": 1.0,
    "delta": 1e-3,
}
PLAN = {"population": 20, "rounds": 2, "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}


def test_everything_public_can_be_had():
    for name in fp.__all__:
        assert getattr(fp, name) is not None
    assert set(fp.__all__) <= set(dir(fp))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fp.nothing  # noqa: B018


def test_a_sweep_of_a_mapping_is_trained_once_and_drawn(tmp_path, capsys):
    sweep = fp.plan_sweep(fp.load_config({"studies": {"s": STUDY}}))
    tables = fp.train(sweep, tmp_path / "kept")
    assert "2 to train" in capsys.readouterr().out
    plan = fp.PrivacyPlan(fp.PrivacySetting(sampling_rate=0.5), **PLAN)
    (private,) = tables.runs.loc[tables.runs["noise_multiplier"] > 0, "epsilon"]
    assert fp.epsilon(plan).epsilon == pytest.approx(private)
    by_round = tables.rounds.merge(
        tables.runs[["run_id", "epsilon", "epsilon_by"]], on="run_id", suffixes=("", "_of_run")
    )
    last = by_round[by_round["round"] == 2]
    assert (last["epsilon"] == last["epsilon_of_run"]).all()
    assert set(last["epsilon_by"]) == {"pld", None}
    again = fp.train(sweep, tmp_path / "kept")
    assert "0 to train" in capsys.readouterr().out
    assert again.runs["accuracy"].tolist() == tables.runs["accuracy"].tolist()
    assert fp.draw("pareto", tables).axes
    plt.close("all")


def test_noise_for_an_epsilon():
    plan = fp.calibrate(fp.PrivacyPlan(fp.PrivacySetting(sampling_rate=0.5), **PLAN), epsilon=2.0)
    assert 1.9 < fp.epsilon(plan).epsilon <= 2.0


def test_problems_of_a_mapping_are_named():
    with pytest.raises(
        fp.ConfigError, match=r"configuration: studies.s.rounds = 0 must be a whole number of at least 1"
    ):
        fp.load_config({"studies": {"s": STUDY | {"rounds": 0}}})
    with pytest.raises(fp.ConfigError, match=r"only = t must be"):
        fp.load_config({"studies": {"s": STUDY}}, only="t")


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "examples" / "own.yaml"
    study.write_text(study.read_text().replace("rounds: 20", "rounds: 4").replace("width: [8, 32]", "width: 8"))
    runpy.run_path("examples/notebook.py")
    assert "epsilon of one point: " in capsys.readouterr().out
    assert (tmp_path / "front.png").stat().st_size > 1000
    sweep = fp.plan_sweep(fp.load_config("examples/own.yaml"))
    found = fp.attack(sweep).attacks
    assert set(found["attack"]) == {"./examples/attack.py:LossThreshold"}
    assert found["value"].between(0, 1).all()
    plt.close("all")
