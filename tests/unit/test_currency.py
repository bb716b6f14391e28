"""Figures that show epsilons of several adjacencies: each has its own panel or its own marks, and the headline says so."""

import itertools
from dataclasses import replace
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up import attack, bundle

from fedpareto.analysis.figures import currency, style
from fedpareto.analysis.figures import draw as figures
from fedpareto.analysis.tables.build import read_tables, write_tables
from fedpareto.config.load import load
from fedpareto.sweep.sweep import plan_sweep

ADD, SWAP, ZERO = "add_or_remove_one", "replace_one", "zero_out"
BY_PANEL = ("pareto", "heatmap", "rounds", "leakage", "roc", "audit", "recommendation", "reconstructions")
CURVES = [("central", "secret"), ("distributed", "seen"), ("local", "seen")]


def tables_of(folder, adjacencies):
    """Runs of clip norm 0.3 with the first adjacency, of 1.0 with the last: of central and of local trust where they differ."""
    bundle(folder)
    path = folder / "bundles" / ("b" * 16) / "runs.parquet"
    runs = pd.read_parquet(path)
    runs["adjacency"] = np.where(runs["clip_norm"] == 1.0, adjacencies[-1], adjacencies[0])
    if len(adjacencies) > 1:
        runs["trust"] = np.where(runs["clip_norm"] == 1.0, "local", "central")
    runs.to_parquet(path)
    chosen = runs[(runs["clients"] == 50) & (runs["seed"] == 0)]
    attack(folder, chosen, policies={"one": {"largest_epsilon": 6.0}})
    write_tables(folder / "plan.json", folder / "bundles", folder / "tables")
    return read_tables(folder / "tables").of_studies(["one"])


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return tables_of(tmp_path_factory.mktemp("one"), [ADD])


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return tables_of(tmp_path_factory.mktemp("two"), [ADD, SWAP])


@pytest.fixture(scope="module")
def drawn(one, two):
    """A figure by name, of runs of one or of two adjacencies; each is drawn once, for tests that only look."""
    style.apply()
    return cache(lambda name, tables: figures.build(name, {"one": one, "two": two}[tables], "One"))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def headline(figure):
    return " ".join(figure._suptitle.get_text().split())


def titles(figure):
    return [" ".join(axes.get_title().split()) for axes in figure.axes if axes.get_title()]


def compared(tables, adjacencies, by="pld"):
    """A comparison: a curve of clients for each of `CURVES`, with its adjacency."""
    points = [
        tables.tradeoff.assign(trust=trust, participation=seen, adjacency=adjacency)
        for (trust, seen), adjacency in zip(CURVES, adjacencies, strict=True)
    ]
    points = pd.concat(points, ignore_index=True)
    points["epsilon_by"] = points["epsilon_by"].where(points["trust"] == "central", by)
    points["accuracy_mean"] -= points["trust"].map({"central": 0.0, "distributed": 0.1, "local": 0.2})
    return figures.build("comparison", replace(tables, tradeoff=points), "One")


@pytest.mark.parametrize("name", [*BY_PANEL, "riskfront"])
def test_every_figure_of_several_adjacencies_says_so_in_its_headline(name, drawn):
    assert "currencies" not in headline(drawn(name, "one"))
    said = headline(drawn(name, "two"))
    assert "Two currencies: ε " in said
    for words in ("add or remove one", "promises less, it stands for up to 2ε", "replace one"):
        assert words in said


@pytest.mark.parametrize("name", [name for name in BY_PANEL if name != "reconstructions"])
def test_no_panel_holds_points_of_two_adjacencies(name, drawn):
    words = ("add or remove one", "replace one")
    assert not any(word in title for title in titles(drawn(name, "one")) for word in words)
    for title in titles(drawn(name, "two")):
        assert sum(word in title for word in words) == 1


def test_pictures_of_one_epsilon_and_two_adjacencies_have_columns_of_their_own(drawn):
    for tables, columns in (("one", 3), ("two", 6)):
        (page, *_) = drawn("reconstructions", tables).axes
        said = [text.get_text() for text in page.texts]
        blocks = sum(text.startswith(("records from", "classes from")) for text in said)
        assert sum(text.startswith("ε =") for text in said) == blocks * columns
        assert said.count("no noise") == blocks
        assert said.count("replace one") == blocks * (columns - 3)


@pytest.mark.parametrize("name", [*BY_PANEL, "riskfront", "comparison"])
def test_nothing_lies_over_anything_where_adjacencies_are_told_apart(name, drawn, one):
    figure = compared(one, [SWAP, ADD, ZERO]) if name == "comparison" else drawn(name, "two")
    figure.draw_without_rendering()
    page = figure.get_tightbbox().padded(0.02)
    texts = [*figure.texts, *(text for axes in figure.axes for text in (axes.title, *axes.texts))]
    boxes = [text.get_window_extent() for text in texts if text.get_visible() and text.get_text().strip()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes = [box.transformed(figure.dpi_scale_trans.inverted()) for box in boxes]
    for box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
    for a, b in itertools.combinations(boxes, 2):
        assert not a.padded(-0.02).overlaps(b.padded(-0.02))


def looks_of(figure):
    """Line style, and colour inside the marker, of each curve of a comparison."""
    return [(line.get_linestyle(), line.get_markerfacecolor()) for line, *_ in figure.axes[0].containers]


def test_curves_of_one_adjacency_are_drawn_alike_and_nothing_is_said_of_currencies(one):
    figure = compared(one, [SWAP, SWAP, SWAP])
    assert {line for line, _ in looks_of(figure)} == {"-"}
    assert "white" not in {inside for _, inside in looks_of(figure)}
    assert "currencies" not in headline(figure)
    assert not any("neighbours" in text.get_text() for text in figure.axes[1].texts)
    assert not any("under" in text.get_text() for text in figure.legends[0].get_texts())
    assert "Neighbours: replace one.\n" in figure._supxlabel.get_text()


def test_curves_of_another_adjacency_are_dashed_and_hollow_and_their_row_says_so(one):
    figure = compared(one, [SWAP, ADD, SWAP])
    assert [line for line, _ in looks_of(figure)] == ["-", "--", "-"]
    assert [inside == "white" for _, inside in looks_of(figure)] == [False, True, False]
    said = (
        "Two currencies: ε of dashed curves (add or remove one) promises less, it stands for up to 2ε of solid curves"
    )
    assert said in headline(figure)
    rows = [text.get_text() for text in figure.axes[1].texts if "neighbours" in text.get_text()]
    assert [row.split("neighbours: ")[1] for row in rows] == ["replace one", "add or remove one", "replace one"]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[-2:] == ["ε under replace one", "ε under add or remove one"]
    # The marker of a row is that of its curve.
    marks = [line.get_markerfacecolor() for line in figure.axes[1].lines]
    assert [inside == "white" for inside in marks] == [False, True, False]


def test_zero_out_is_told_from_add_or_remove(one):
    figure = compared(one, [ADD, ZERO, ADD])
    assert [line for line, _ in looks_of(figure)] == ["--", ":", "--"]
    assert "ε of dotted curves (zero out one) promises less than of dashed curves (add or remove one)" in headline(
        figure
    )
    assert "Three currencies" in headline(compared(one, [ADD, ZERO, SWAP]))


def test_curves_that_protect_the_same_from_the_same_are_two_where_their_adjacencies_are(one):
    points = pd.concat([one.tradeoff, one.tradeoff.assign(adjacency=SWAP, sampling="fixed_size")], ignore_index=True)
    figure = figures.build("comparison", replace(one, tradeoff=points), "One")
    assert [line for line, _ in looks_of(figure)] == ["--", "-"]
    rows = [text.get_text() for text in figure.axes[1].texts if "neighbours" in text.get_text()]
    assert len(rows) == 2


def test_the_risk_front_has_hollow_points_and_a_dashed_front_for_the_weaker_promise(drawn):
    for tables, hollow, lines in (("one", 0, {"-"}), ("two", 3, {"-", "--"})):
        axes = next(axes for axes in drawn("riskfront", tables).axes if axes.get_xlabel() == "ε")
        points = [box.lines[0] for box in axes.containers if box.lines[0].get_alpha() is None]
        assert sum(point.get_markerfacecolor() == "white" for point in points) == hollow
        assert {line.get_linestyle() for line in axes.lines if line.get_drawstyle() == "steps-post"} == lines


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (["pld"], "by PLD"),
        (["rdp", None], "by RDP"),
        (["pld", "rdp"], "by PLD, by RDP where there is no PLD,"),
        ([None], ""),
    ],
)
def test_the_accountant_that_is_named_is_the_one_that_proved(by, said):
    assert currency.proved(pd.DataFrame({"epsilon_by": pd.Series(by, dtype=object)})) == said


def test_the_axis_of_a_comparison_names_the_accountants_of_its_curves(one):
    for by, said in (
        ("pld", "ε by PLD at δ = 0.0001"),
        ("rdp", "ε by PLD, by RDP where there is no PLD, at δ = 0.0001"),
    ):
        assert compared(one, [SWAP] * 3, by).axes[0].get_xlabel() == said


def test_a_target_stands_where_it_was_reached_and_another_epsilon_where_it_is(one):
    points = one.tradeoff.assign(target_epsilon=one.tradeoff["epsilon"] * 1.0005)
    figure = figures.build("comparison", replace(one, tradeoff=points), "One")
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert ticks == ["2.001", "4.002", "8.004"]
    # Calibrated by RDP, whose epsilon is not the headline: the target is not what was proved.
    points = one.tradeoff.assign(target_epsilon=one.tradeoff["epsilon_rdp"])
    figure = figures.build("comparison", replace(one, tradeoff=points), "One")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels() if label.get_text()] == ["2", "4", "8"]


def test_comparisons_that_ship_count_the_epsilons_of_a_unit_in_one_currency(request):
    checked = 0
    for file in sorted((request.config.rootpath / "config" / "studies").glob("*.yaml")):
        config = load([file])
        sweep = plan_sweep(config)
        for comparison in config.comparisons.values():
            runs = [sweep.runs[name] for study in comparison.studies for name in sweep.studies[study]]
            by_unit = {(run.setting.unit, run.setting.adjacency) for run in runs if run.privacy}
            assert len(by_unit) == len({unit for unit, _ in by_unit}), (file.name, by_unit)
            checked += 1
    assert checked >= 3
