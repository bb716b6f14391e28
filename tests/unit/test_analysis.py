"""The front, its intervals, the tables and the figures."""

import itertools
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dp_accounting import dp_event, rdp
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import ORDERS, bundle

from fedpareto.analysis.figures import draw as figures
from fedpareto.analysis.figures import style
from fedpareto.analysis.tables.build import build_tables, read_tables, write_tables
from fedpareto.analysis.tables.front import bootstrap_interval, front_probability, non_dominated
from fedpareto.analysis.tables.selection import add_selection, repeat_and_select
from fedpareto.analysis.tables.tradeoff import FRONT_GROUP, TableError
from fedpareto.components import registry
from fedpareto.components.figures import ordered

GRID = st.integers(0, 4).map(float)
NEITHER_ATTACKS_NOR_POLICY = [
    figure.name
    for figure in ordered()
    if not figure.constants.get("GOALS") and "policy" not in figure.constants.get("NEEDS", ())
]


@pytest.fixture(autouse=True)
def figures_closed():
    yield
    plt.close("all")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(GRID, GRID), min_size=1, max_size=12))
def test_the_front_against_brute_force(points):
    epsilon, accuracy = map(np.array, zip(*points, strict=True))
    expected = [not any((e <= x and a >= y) and (e < x or a > y) for e, a in points) for x, y in points]
    assert non_dominated(epsilon, accuracy).tolist() == expected


def test_a_point_that_always_wins_is_surely_on_the_front_and_one_that_always_loses_surely_not():
    probability = front_probability([1.0, 2.0], [{0: 0.9, 1: 0.92}, {0: 0.5, 1: 0.6}])
    assert probability.tolist() == [1.0, 0.0]


def test_equal_points_share_their_luck():
    probability = front_probability([1.0, 1.0], [{0: 0.1, 1: 0.9}, {2: 0.1, 3: 0.9}])
    assert 0.4 < probability[0] < 0.85


def test_the_interval_holds_the_mean_and_narrows_with_seeds():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0.8, 0.02, 5), rng.normal(0.8, 0.02, 50)
    for values in (few, many):
        low, high = bootstrap_interval(values)
        assert low <= values.mean() <= high
    assert np.ptp(bootstrap_interval(many)) < np.ptp(bootstrap_interval(few))


@pytest.fixture
def tables(tmp_path):
    bundle(tmp_path)
    return write_tables(tmp_path / "plan.json", tmp_path / "bundles", tmp_path / "tables")


def test_a_run_of_two_studies_stands_in_both(tables):
    assert len(tables.of_studies(["one"]).runs) == 56
    assert len(tables.of_studies(["two"]).runs) == 8


def test_the_tradeoff_has_one_row_a_point_and_says_what_it_was_chosen_from(tables):
    points = tables.of_studies(["one"]).tradeoff
    assert len(points) == 14
    assert (points["n_seeds"] == 4).all()
    private = points[points["kind"] == "private"]
    assert (private["selected_from"] == 48).all()
    assert private["on_front"].any()
    assert not points[points["kind"] == "non_private"]["on_front"].any()
    assert (
        (private["accuracy_low"] <= private["accuracy_mean"]) & (private["accuracy_mean"] <= private["accuracy_high"])
    ).all()


def test_choosing_among_more_runs_costs_more_and_one_run_costs_itself(tables):
    points = tables.of_studies(["one"]).tradeoff
    private = points[(points["kind"] == "private")].sort_values("epsilon")
    # Of 2 client counts, 2 clip norms and 4 seeds each: 16 runs at the smallest epsilon, 48 at the largest.
    assert private["candidates"].tolist() == [16] * 4 + [32] * 4 + [48] * 4
    assert private["epsilon_if_selected"].is_monotonic_increasing
    orders = np.array(ORDERS)
    for z, group in private.groupby("noise_multiplier"):
        alone, _ = rdp.compute_epsilon(orders, orders / (2 * z**2), 1e-4)
        assert (alone < group["epsilon_if_selected"]).all()
    assert points[points["kind"] == "non_private"]["epsilon_if_selected"].isna().all()


def test_the_best_of_runs_is_not_proved_beyond_what_their_samplers_allow():
    curve = pd.DataFrame({"order": ORDERS, "rdp": np.array(ORDERS) / 8, "delta": 1e-4, "delta_aside": 1e-7})
    points = pd.DataFrame({"point_id": ["p"], "study": ["s"], "kind": ["private"], "epsilon": [1.5]})
    points = points.assign(**dict.fromkeys(FRONT_GROUP[1:], "x"))
    runs = pd.DataFrame({"point_id": "p", "study": "s", "run_id": ["a", "b"], "epsilon": 1.5})
    found = []
    for largest in (np.inf, 2.0):
        curves = pd.concat([curve.assign(run_id=name, largest_epsilon=largest) for name in ("a", "b")])
        add_selection(points, runs, curves)
        found.append(points["epsilon_if_selected"].item())
    assert 2.0 < found[0] < np.inf
    assert found[1] == np.inf


@pytest.mark.parametrize("mean", [1.5, 10, 300])
def test_repeat_and_select_against_dp_accounting(mean):
    orders = np.array([1.5, 2, 3, 4, 8, 16, 32, 64, 128])
    one = dp_event.PoissonSampledDpEvent(0.1, dp_event.GaussianDpEvent(1.5))
    alone = rdp.RdpAccountant(orders).compose(one, 40)._rdp
    for shape, ours in zip((0, 1, np.inf), repeat_and_select(orders, alone, mean), strict=True):
        event = dp_event.RepeatAndSelectDpEvent(dp_event.SelfComposedDpEvent(one, 40), mean, shape)
        theirs = rdp.RdpAccountant(orders).compose(event)
        assert rdp.compute_epsilon(orders, ours, 1e-5)[0] == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-6)


def test_a_point_with_a_diverged_seed_is_never_on_the_front(tmp_path):
    best = [(100, clip, z, 2) for clip in (0.3, 1.0) for z in (1.0, 2.0, 4.0)]
    folder = bundle(tmp_path, diverged=best)
    points = (
        build_tables(json.loads((folder / "plan.json").read_text()), folder / "bundles").of_studies(["one"]).tradeoff
    )
    hit = points[(points["clients"] == 100) & (points["kind"] == "private")]
    assert (hit["n_ok"] == 3).all()
    assert not hit["on_front"].any()
    assert points["on_front"].any()


def test_a_point_whose_runs_learned_nothing_says_so_and_is_shown_with_a_cross(tmp_path):
    useless = [(100, 0.3, 4.0, seed) for seed in range(4)] + [(50, 0.3, 4.0, 0), (50, 1.0, 4.0, 1)]
    folder = bundle(tmp_path, diverged=[(50, 1.0, 4.0, 0)], useless=useless)
    tables = build_tables(json.loads((folder / "plan.json").read_text()), folder / "bundles").of_studies(["one"])
    points = tables.tradeoff[tables.tradeoff["noise_multiplier"] == 4.0].set_index(["clients", "clip_norm"])
    said = points[["status", "n_ok", "n_learned"]].T.to_dict("list")
    assert said[100, 0.3] == ["learned_nothing", 4, 0]
    assert said[50, 0.3] == ["learned_nothing; ok", 4, 3]
    assert said[50, 1.0] == ["diverged; learned_nothing; ok", 3, 2]
    assert said[100, 1.0] == ["ok", 4, 4]
    assert points.loc[(100, 0.3), "accuracy_mean"] == pytest.approx(0.1)
    figure = figures.build("pareto", tables, "One")
    crossed = [line for axes in figure.axes for line in axes.lines if line.get_marker() == style.USELESS["marker"]]
    assert [list(line.get_ydata()) for line in crossed] == [[pytest.approx(0.1)]]
    assert "learned nothing" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_tables_are_read_back_as_they_were_written(tables, tmp_path):
    columns = ["study", "clients", "clip_norm", "accuracy_mean", "epsilon", "on_front", "front_probability"]
    read = read_tables(tmp_path / "tables").tradeoff
    pd.testing.assert_frame_equal(read[columns], tables.tradeoff[columns], check_dtype=False)
    # A column without any value keeps its kind: whole numbers do not turn into text.
    assert pd.api.types.is_numeric_dtype(read["local_steps"])


def test_a_missing_study_is_named(tables):
    with pytest.raises(TableError, match="three"):
        tables.of_studies(["three"])


@pytest.mark.parametrize("name", NEITHER_ATTACKS_NOR_POLICY)
def test_figures_are_drawn_in_three_formats(name, tables, tmp_path):
    figures.draw(name, tmp_path / "tables", ["one"], tmp_path / "figures" / name)
    for ending in style.ENDINGS:
        assert (tmp_path / "figures" / f"{name}.{ending}").stat().st_size > 1000


@pytest.mark.parametrize("prover", ["fedpareto", "its author"])
@pytest.mark.parametrize("name", NEITHER_ATTACKS_NOR_POLICY)
def test_no_text_is_cut_off_or_overlaps_another(name, prover, tables):
    style.apply()
    kept = tables.of_studies(["one"])
    proved = {part: getattr(kept, part).assign(proved_by=prover) for part in ("runs", "tradeoff")}
    figure = figures.build(name, replace(kept, **proved), "One")
    figure.canvas.draw()
    page = figure.bbox_inches
    texts = [figure._suptitle, figure._supxlabel]
    texts += [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    boxes = [
        text.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        for text in texts
        if text and text.get_text()
    ]
    assert len(boxes) >= 3
    for box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
    for a, b in itertools.combinations(boxes, 2):
        assert not a.padded(-0.01).overlaps(b.padded(-0.01)), f"texts overlap in {name}"


def test_one_evaluation_after_the_first_round_is_a_point_not_an_invisible_line(tables):
    kept = tables.of_studies(["one"])
    last = replace(kept, rounds=kept.rounds[kept.rounds["round"].isin([0, 10])])
    for shown, marker in ((kept, "None"), (last, "o")):
        figure = figures.build("rounds", shown, "One")
        lines = [line for axes in figure.axes if "ε" in axes.get_ylabel() for line in axes.lines]
        assert {line.get_marker() for line in lines} == {marker}


def test_the_pareto_figure_always_has_the_non_private_line_and_says_what_epsilon_is(tables):
    style.apply()
    figure = figures.build("pareto", tables.of_studies(["one"]), "One")
    points = tables.of_studies(["one"]).tradeoff
    references = set(points[points["kind"] == "non_private"]["accuracy_mean"].round(9))
    lines = {round(float(line.get_ydata()[0]), 9) for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1}
    assert references <= lines
    label = figure._supxlabel.get_text()
    for word in ("client-level", "PLD", "δ = 0.0001", "add or remove one", "poisson", "chosen from 48 runs"):
        assert word in label


def test_the_same_tables_draw_the_same_file(tables, tmp_path):
    for copy in ("a", "b"):
        figures.draw("pareto", tmp_path / "tables", ["one"], tmp_path / copy)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("name", registry.names("figure"))
@pytest.mark.parametrize("noises", [(4.0,), (1.0, 2.0, 4.0)])
def test_runs_that_all_diverged_cost_no_figure(name, noises, tmp_path):
    gone = [(n, clip, z, seed) for n in (50, 100) for clip in (0.3, 1.0) for z in noises for seed in range(4)]
    folder = bundle(tmp_path, diverged=gone)
    tables = build_tables(json.loads((folder / "plan.json").read_text()), folder / "bundles")
    figures.build(name, tables.of_studies(["one"]), "One").canvas.draw()


@pytest.mark.parametrize("name", registry.names("figure"))
def test_a_study_without_private_runs_is_drawn(name, tables):
    kept = tables.of_studies(["one"])
    reference = kept.runs["kind"] == "non_private"
    ids = set(kept.runs[reference]["run_id"])
    rest = type(kept)(
        kept.runs[reference],
        kept.rounds[kept.rounds["run_id"].isin(ids)],
        kept.tradeoff[kept.tradeoff["kind"] == "non_private"],
        kept.partitions,
        kept.clients,
    )
    figures.build(name, rest, "One").canvas.draw()


def test_the_partition_figure_takes_data_sets_with_different_labels(tables):
    one = tables.of_studies(["one"])
    other = one.partitions[one.partitions["label"].isin(["0", "1"])].assign(dataset="other")
    other = other.assign(label=other["label"].map({"0": "benign", "1": "malignant"}))
    both = type(one)(
        one.runs, one.rounds, one.tradeoff, pd.concat([one.partitions, other], ignore_index=True), one.clients
    )
    figure = figures.build("partition", both, "One")
    assert len(figure.axes) == 2
    assert figure.axes[1].get_title().startswith("other")


def test_a_comparison_names_the_adversary_of_each_curve_and_draws_its_best_points(tables):
    one = tables.of_studies(["one"])
    curves = [("client", "central", "secret"), ("client", "local", "seen"), ("record", "distributed", "secret")]
    points = pd.concat(
        [one.tradeoff.assign(unit=unit, trust=trust, participation=seen) for unit, trust, seen in curves]
    )
    points["accuracy_mean"] -= points["trust"].map({"central": 0.0, "local": 0.2, "distributed": 0.1}).astype(float)
    figure = figures.build("comparison", replace(one, tradeoff=points.reset_index(drop=True)), "One")
    drawn, said = figure.axes[0].containers, [text.get_text() for text in figure.axes[1].texts]
    for (unit, trust, _), line in zip(curves, drawn, strict=True):
        own = points[(points["unit"] == unit) & (points["trust"] == trust) & (points["kind"] == "private")]
        best = own.groupby("epsilon")["accuracy_mean"].max()
        np.testing.assert_allclose(line.lines[0].get_ydata(orig=False).astype(float), best.to_numpy(float))
    for words in ("the server is trusted", "everybody: all see each noisy update", "the server, which sees sums"):
        assert any(words in text for text in said)
