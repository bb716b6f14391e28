"""Files of papers, what is made of their numbers, and the three verdicts."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from fedpareto.analysis.figures import reproduction as reproduction_figure
from fedpareto.analysis.figures import style
from fedpareto.analysis.reproduce import compare_claims, numbers_as_markdown
from fedpareto.analysis.tables.reproduction import compare, curve_points, rounds_to
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.columns.declared import RUNS, table
from fedpareto.config.papers import FOLDER, read, read_folder
from fedpareto.config.problems import ConfigError
from fedpareto.privacy.accounting.published import recompute
from fedpareto.sweep.sweep import plan_sweep

ROOT = Path(__file__).parents[2]
PAPERS = read_folder(ROOT / FOLDER)

PAPER = {
    "paper": {"title": "One", "citation": "One et al. 2020"},
    "studies": {
        "s": {
            "dataset": "digits",
            "clients": 10,
            "rounds": 4,
            "model": "logistic",
            "local_epochs": 1,
            "client_learning_rate": [0.1, 0.2],
            "noise_multiplier": 0,
            "baselines": [],
            "seeds": 3,
        }
    },
    "numbers": [
        {"name": "a", "table": "1", "what": "a", "published": 0.9, "tolerance": 0.01, "why": "so", "study": "s"},
    ],
}


def written(folder, **changes):
    path = folder / "one.yaml"
    path.write_text(yaml.safe_dump(PAPER | changes), encoding="utf-8")
    return path


def number(**changes):
    return PAPER["numbers"][0] | changes


NOTHING = {"name": "a", "table": "1", "what": "a", "published": None, "study": "s"}


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_has_runs_for_its_numbers(name):
    paper = PAPERS[name]
    assert paper.numbers or paper.claims
    if paper.config is not None:
        plan = plan_sweep(paper.config)
        assert {one.study for one in (*paper.numbers, *paper.curves)} == set(
            plan.studies
        )  # no study is trained for nothing
        assert all(run.baseline is None for run in plan.runs.values())


def test_a_paper_is_read(tmp_path):
    paper = read(written(tmp_path))
    assert (paper.name, paper.title, paper.device, paper.minutes) == ("one", "One", "cpu", None)
    assert len(plan_sweep(paper.config).runs) == 6
    assert paper.numbers[0].published == 0.9


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"paper": {"title": "One"}}, "paper.citation = null must be authors, title, year and where"),
        ({"numbers": [number(study="t")]}, "numbers[0].study = t must be a study of this file"),
        ({"numbers": [number(tolerance=0)]}, "numbers[0].tolerance = 0 must be a number above 0"),
        ({"numbers": [number(level=0.9)]}, "numbers[0].level = 0.9 must be set for rounds_to_accuracy"),
        ({"numbers": [number(metric="rounds_to_accuracy")]}, "numbers[0].level = null must be set for rounds"),
        ({"numbers": [number(epsilon=1.0)]}, "numbers[0].accountant = null must be set where epsilon is"),
        ({"numbers": [number(metric="f2")]}, "numbers[0].metric = f2 must be accuracy"),
        ({"numbers": [number(), number()]}, "numbers[1].name = a must be unique in its paper"),
        ({"numbers": [number(published=None)]}, "numbers[0].tolerance = 0.01 must be set where published is a number, and nowhere else"),
        ({"numbers": [number(why=None)]}, "numbers[0].why = null must be set where published is a number"),
        ({"numbers": [NOTHING | {"at_least": True}]}, "numbers[0].at_least = true must not stand where nothing is in print"),
        ({"numbers": [NOTHING | {"epsilon": 1, "accountant": "rdp"}]}, "numbers[0].epsilon = 1 must not stand where nothing is in print"),
        ({"numbers": [number(minus="t")]}, "numbers[0].minus = t must be another study of this file"),
        ({"numbers": [number(minus="s")]}, "numbers[0].minus = s must be another study of this file"),
        ({"numbers": [number(metric="rounds_to_accuracy", level=0.9, minus="t")]}, "numbers[0].minus = t must not stand with rounds"),
        ({"numbers": [number(kind=1)]}, "numbers[0].kind = 1 must be a key that exists"),
        ({"numbers": []}, "numbers = null must hold a published number"),
        ({"numbers": {}}, "numbers = {} must be a list"),
        ({"curves": [{"name": "c", "table": "1", "what": "x", "study": "t", "along": "clip_norm"}]}, "curves[0].study = t must be a study of this file"),
        ({"claims": [{"name": "x"}]}, "claims[0].source = null must be paper and place"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_paper_has_its_line(tmp_path, changes, line):
    with pytest.raises(ConfigError) as raised:
        read(written(tmp_path, **changes))
    assert line in str(raised.value)
    assert "one.yaml: " in str(raised.value)


def a_number(**changes):
    values = {
        "name": "a", "table": "1", "what": "a", "metric": "accuracy", "published": 0.9, "tolerance": 0.01, "why": "so",
        "study": "s", "minus": None, "where": {}, "at_least": False, "level": None, "epsilon": 1.0, "accountant": "rdp", "verified": True,
    }  # fmt: skip
    return SimpleNamespace(**values | changes)


COLUMNS = table("reproduction").names
OURS = {"published": None, "tolerance": None, "why": None, "epsilon": None, "accountant": None}


def runs_of(accuracy, rate=0.1, status="ok"):
    frame = pd.DataFrame({"accuracy": accuracy, "seed": range(len(accuracy)), "status": status})
    frame["run_id"] = [f"{rate}-{seed}" for seed in frame["seed"]]
    for column in RUNS.of_bundle.having("key"):
        frame[column] = np.nan
    return frame.assign(
        client_learning_rate=rate, wall_s=1.0, device="cpu", epsilon=0.9, epsilon_by="pld", epsilon_rdp=1.1, epsilon_pld=0.9, epsilon_rdp_classic=1.2,
        delta=1e-5, unit="record", adjacency="add_or_remove_one", sampling="poisson",
    )  # fmt: skip


def compared(one, runs, metrics=None):
    return compare([one], {"s": list(runs["run_id"])}, runs, metrics).iloc[0]


@pytest.mark.parametrize(
    ("ours", "at_least", "verdict"),
    [(0.905, False, "reproduced"), (0.895, False, "reproduced"), (0.92, False, "differs"), (0.88, False, "differs"),
     (0.92, True, "reproduced"), (0.88, True, "differs")],
)  # fmt: skip
def test_verdicts(ours, at_least, verdict):
    row = compared(a_number(at_least=at_least), runs_of([ours - 0.001, ours, ours + 0.001]))
    assert row["verdict"] == verdict
    assert row["ours"] == pytest.approx(ours)
    assert row["low"] <= ours <= row["high"]
    assert (row["epsilon_rdp"], row["epsilon_pld"], row["epsilon_rdp_classic"]) == (1.1, 0.9, 1.2)
    assert (row["epsilon"], row["epsilon_by"]) == (0.9, "pld")


def test_runs_that_diverged_are_not_compared():
    row = compared(a_number(), runs_of([0.9, 0.9], status="diverged"))
    assert row["verdict"] == "not run"
    assert math.isnan(row["ours"])


def test_a_study_that_is_not_there_has_not_been_run():
    row = compare([a_number(where={"seed": 1})], {"s": ["another"]}, runs_of([0.9]), None).iloc[0]
    assert row["verdict"] == "not run"
    assert row["seeds"] == 0


def test_a_number_picks_one_point_and_says_where_there_is_none_or_are_several():
    both = pd.concat([runs_of([0.9], 0.1), runs_of([0.5], 0.2)])
    assert compared(a_number(where={"client_learning_rate": 0.2}), both)["ours"] == 0.5
    with pytest.raises(TableError, match="2 points"):
        compared(a_number(), both)
    with pytest.raises(TableError, match="no run"):
        compared(a_number(where={"client_learning_rate": 0.3}), both)
    with pytest.raises(TableError, match="no column"):
        compared(a_number(where={"momentum": 0.3}), both)


def test_a_difference_is_taken_seed_by_seed_and_has_no_epsilon():
    better, worse = runs_of([0.90, 0.92, 0.94, 0.1], 0.1), runs_of([0.80, 0.81, 0.85], 0.2)
    both, studies = pd.concat([better, worse]), {"s": list(better["run_id"]), "t": list(worse["run_id"])}
    one = a_number(minus="t", published=0.14, tolerance=0.06, at_least=True, epsilon=None, accountant=None)
    row = compare([one], studies, both, None).iloc[0]
    assert row["ours"] == pytest.approx((0.10 + 0.11 + 0.09) / 3)
    assert (row["seeds"], row["seconds"], row["verdict"]) == (3, 7.0, "reproduced")
    assert math.isnan(row["epsilon_rdp"])
    assert compare([one], studies | {"t": []}, both, None).iloc[0]["verdict"] == "not run"
    line = numbers_as_markdown(compare([one], studies, both, None)).splitlines()[2]
    assert "| 14.0 points | 10.0 points (" in line
    assert "| 6 points or better | reproduced | - | - |" in line


def test_what_nobody_printed_stands_alone():
    rows = [
        dict(compared(a_number(**OURS, what=metric, metric=metric), runs_of([0.9, 0.8]).assign(f1=0.5, auprc=0.25)))
        for metric in ("f1", "auprc")
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    assert set(table["verdict"]) == {"no number in print"}
    lines = numbers_as_markdown(table).splitlines()
    assert "| F1, f1 | - | 50.0 % (50.0 % to 50.0 %) | - | no number in print | - |" in lines[2]
    style.apply()
    panels = reproduction_figure.of_numbers(table, "One").axes
    assert [axes.get_title() for axes in panels] == ["F1", "average precision"]
    mixed = pd.concat([table, pd.DataFrame([dict(compared(a_number(), runs_of([0.9])))])], ignore_index=True)
    assert "| test accuracy, a | 90.0 % | 90.0 % | 1 points | reproduced |" in numbers_as_markdown(mixed)
    fine = pd.DataFrame([dict(compared(a_number(published=0.9995, tolerance=0.0005), runs_of([0.9992])))])
    assert "| 99.95 % | 99.92 % |" in numbers_as_markdown(fine)
    for one in (mixed, table.assign(delta=math.nan)):  # a list: with a number in print, or where nothing is private
        (axes,) = reproduction_figure.of_numbers(one, "One").axes
        axes.figure.canvas.draw()
        assert len(axes.get_yticks()) == len(one)


def test_rounds_to_an_accuracy_cross_a_monotone_curve():
    curve = pd.DataFrame({"round": [0, 10, 20, 30, 40], "accuracy": [0.1, 0.5, 0.4, 0.7, 0.6]})
    assert rounds_to(curve, 0.5) == 10
    assert rounds_to(curve, 0.6) == 25  # half of the way from 0.5, kept through round 20, to 0.7
    assert rounds_to(curve, 0.05) == 0
    assert rounds_to(curve, 0.71) == math.inf


def test_rounds_are_compared_at_the_best_learning_rate():
    metrics = pd.DataFrame(
        {"run_id": ["0.1-0"] * 3 + ["0.2-0"] * 3, "round": [0, 10, 20] * 2, "accuracy": [0, 0.5, 0.9, 0, 0.9, 0.9]}
    )
    both = pd.concat([runs_of([0.9], 0.1), runs_of([0.9], 0.2)])
    one = a_number(metric="rounds_to_accuracy", level=0.9, published=12.0, tolerance=0.25, epsilon=None)
    row = compared(one, both, metrics)
    assert row["ours"] == 10
    assert row["verdict"] == "reproduced"
    assert row["picked"] == "client_learning_rate 0.2 of 2"
    never = compared(a_number(metric="rounds_to_accuracy", level=0.99, published=12.0, epsilon=None), both, metrics)
    assert never["ours"] == math.inf
    assert never["verdict"] == "differs"


def test_the_page_shows_first_what_differs():
    table = pd.DataFrame(
        [
            dict.fromkeys(COLUMNS, np.nan) | dict(compared(a_number(what=what, published=published), runs_of([0.9])))
            for what, published in (("good", 0.9), ("bad", 0.99))
        ]
    )
    lines = numbers_as_markdown(table).splitlines()
    assert lines[2].startswith("| bad | 99.0 % | 90.0 %")
    assert "| differs | 1 (rdp) | 1.20 / 1.10 / 0.9 |" in lines[2]
    assert lines[3].startswith("| good | 90.0 % | 90.0 %")
    style.apply()
    reproduction_figure.of_numbers(table, "One").canvas.draw()


def test_a_front_has_what_is_in_print_without_privacy_as_a_line_and_a_panel_a_curve():
    free = a_number(name="c", what="no privacy", published=0.95, epsilon=None, accountant=None)
    pairs = [(a_number(), 1e-5), (a_number(name="b", epsilon=3.0), 1e-5), (free, np.nan)]
    table = pd.DataFrame([dict(compared(one, runs_of([0.9]).assign(delta=delta))) for one, delta in pairs])
    runs = pd.concat([runs_of([0.8, 0.9], 0.1), runs_of([0.7], 0.2).assign(status="diverged"), runs_of([0.6], 0.3)])
    curve = SimpleNamespace(name="rate", along="client_learning_rate")
    points = curve_points(curve, list(runs["run_id"]), runs)
    assert points["x"].tolist() == [0.1, 0.3]  # of a diverged run nothing is drawn
    assert points["accuracy"].tolist() == pytest.approx([0.85, 0.6])
    style.apply()
    figure = reproduction_figure.of_numbers(table, "One", [("learning rate", points)])
    front, panel = figure.axes
    figure.canvas.draw()
    assert {text.get_text() for text in front.texts} == {"a", "b", "no privacy"}
    assert panel.get_xlabel() == "learning rate"
    # A private number without an epsilon in print is no line across: all are listed.
    (listed,) = reproduction_figure.of_numbers(table.assign(delta=1e-5), "One").axes
    assert len(listed.get_yticks()) == 3
    with pytest.raises(TableError, match="no column adjacency of numbers"):
        curve_points(SimpleNamespace(name="rate", along="adjacency"), list(runs["run_id"]), runs)


def test_claims_are_computed_anew(tmp_path):
    claim = SimpleNamespace(
        name="x", source="X 2016", rate=0.01, noise=4.0, steps=10_000, delta=1e-5, published=1.26, accountant="classic",
        verdict="reproduced", why="", rounds=None, also=(), layers=1,
    )  # fmt: skip
    found = recompute(claim)
    assert found["epsilon_rdp_classic"] == pytest.approx(1.26, abs=0.01)
    assert found["epsilon_pld"] < found["epsilon_rdp"] < found["epsilon_rdp_classic"]
    table = compare_claims([claim], [found], "Claims", tmp_path)
    assert table["epsilon_rdp"].tolist() == [found["epsilon_rdp"]]
    assert {path.name for path in tmp_path.iterdir()} == {
        "table.csv", "table.md", "table.parquet", "figure.svg", "figure.pdf", "figure.png"
    }  # fmt: skip
