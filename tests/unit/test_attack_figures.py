"""Figures of what attacks found."""

import itertools
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up import attack, bundle
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.text import Text

from fedpareto.analysis.figures import draw as figures
from fedpareto.analysis.figures import style
from fedpareto.analysis.figures.audit import audited
from fedpareto.analysis.tables.build import build_tables, read_tables, write_tables
from fedpareto.analysis.tables.leakage import of_own_trust, strongest, successes
from fedpareto.attacks.results import KINDS
from fedpareto.columns.declared import table
from fedpareto.columns.frames import empty
from fedpareto.components.figures import ordered

BUNDLE = "b" * 16
# Figures that say why they are empty where no run was attacked, or no policy asks.
OF_ATTACKS = [
    figure.name
    for figure in ordered()
    if figure.constants.get("GOALS") or "policy" in figure.constants.get("NEEDS", ())
]
POLICY = {"largest_epsilon": 6.0, "largest_membership": 0.75, "smallest_accuracy": 0.8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three noise levels and no noise are attacked, of one clip norm and 50 clients; four clients are told apart."""
    home = bundle(tmp_path_factory.mktemp("attacked"))
    runs = pd.read_parquet(home / "bundles" / BUNDLE / "runs.parquet")
    chosen = runs[(runs["clients"] == 50) & (runs["seed"] == 0) & (runs["clip_norm"] != 1.0)]
    attack(home, chosen, hospitals=4, policies={"one": POLICY})
    write_tables(home / "plan.json", home / "bundles", home / "tables")
    return home


@pytest.fixture(scope="module")
def tables(folder):
    return read_tables(folder / "tables").of_studies(["one"])


@pytest.fixture(autouse=True)
def others_closed(drawn):
    kept = plt.get_fignums()
    yield
    for number in set(plt.get_fignums()) - set(kept):
        plt.close(number)


@pytest.fixture(scope="module")
def drawn(tables):
    """Each figure once: most tests only look."""
    style.apply()
    yield {name: figures.build(name, tables, "One") for name in OF_ATTACKS}
    plt.close("all")


def caption(figure):
    return figure.legends[0].get_title().get_text()


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", [*OF_ATTACKS, "a long title"])
def test_nothing_is_cut_off_and_nothing_lies_over_anything(name, drawn, tables):
    long = "Heart disease, a hospital protected from everybody but the server that adds the noise"
    figure = drawn[name] if name in drawn else figures.build("leakage", tables, long)
    figure.canvas.draw()
    page = figure.get_tightbbox().padded(0.02)
    assert page.width < 1.15 * style.WIDTH
    texts = [*figure.texts]
    texts += [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    boxes = [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes = [box.transformed(figure.dpi_scale_trans.inverted()) for box in boxes]
    panels = [axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted()) for axes in figure.axes]
    assert len(boxes) >= 3
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
    for a, b in itertools.combinations(boxes, 2):
        assert not a.padded(-0.02).overlaps(b.padded(-0.02)), f"texts overlap in {name}"
    for legend, panel in itertools.product(boxes[-1:] if figure.legends else [], panels):
        assert not legend.padded(-0.02).overlaps(panel)


def test_a_figure_is_written_in_three_formats_the_same_each_time(folder, tmp_path):
    for copy in ("a", "b"):
        figures.draw("audit", folder / "tables", ["one"], tmp_path / copy)
    for ending in style.ENDINGS:
        assert (tmp_path / f"a.{ending}").stat().st_size > 1000
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("name", OF_ATTACKS)
def test_a_study_that_nobody_attacked_says_so(name, tables):
    bare = {attacks: empty(table(attacks)) for attacks in KINDS}
    figure = figures.build(name, replace(tables, **bare, recommendation=tables.recommendation.iloc[:0]), "One")
    assert any(f" {word}" in figure.texts[1].get_text() for word in ("attacked", "audited", "membership", "policy"))
    assert not figure.axes


def not_made(attacks):
    """A row of a run, with another model and not attacked, on which nothing could be tried."""
    row = attacks.iloc[[0]].assign(run_id="new", point_id="new", model="other", adversary="", score="", success=False)
    return row.assign(value=np.nan, low=np.nan, high=np.nan, baseline=np.nan, bound=np.nan, reason="it is too small")


@pytest.mark.parametrize("name", OF_ATTACKS)
def test_an_attack_that_could_not_be_made_changes_no_figure(name, drawn, tables):
    rows = [not_made(tables.attacks).assign(attack=attack) for attack in set(tables.attacks["attack"])]
    more = replace(tables, attacks=pd.concat([tables.attacks, *rows], ignore_index=True))
    assert contents(figures.build(name, more, "One")) == contents(drawn[name])


def contents(figure):
    """All lines with their places, and all texts, as they are once it is drawn."""
    figure.draw_without_rendering()
    lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]
    return str(lines), sorted(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("name", [name for name in OF_ATTACKS if name != "recommendation"])
def test_a_figure_of_attacks_that_could_not_be_made_says_why(name, tables):
    bare = {attacks: empty(table(attacks)) for attacks in KINDS}
    rows = [not_made(tables.attacks).assign(attack=attack) for attack in set(tables.attacks["attack"])]
    figure = figures.build(name, replace(tables, **bare | {"attacks": pd.concat(rows)}), "One")
    assert figure.texts[1].get_text() == "no such attack could be made: it is too small"


@pytest.mark.parametrize("name", OF_ATTACKS)
@pytest.mark.parametrize("private", [True, False])
def test_figures_take_runs_of_one_kind_only(name, private, tables):
    kept = {t: getattr(tables, t) for t in (*KINDS, "tradeoff", "runs")}
    kept = {t: frame[np.isfinite(frame["epsilon"]) == private] for t, frame in kept.items()}
    rows = tables.recommendation.iloc[: None if private else 0]
    figure = figures.build(name, replace(tables, **kept, recommendation=rows), "One")
    assert bool(figure.axes) == (private or name not in ("audit", "recommendation"))
    words = [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]
    assert ("no\nnoise" in words) == (not private and name in ("leakage", "riskfront"))


@pytest.mark.parametrize("name", ["leakage", "roc", "audit", "riskfront", "recommendation"])
def test_captions_say_what_epsilon_is(name, drawn):
    text = caption(drawn[name])
    for word in ("client-level", "PLD", "δ = 0.0001", "add or remove one", "poisson", "central trust"):
        assert word in text


def test_leakage_shows_what_is_in_the_table_hollow_where_epsilon_does_not_cover(tables, drawn):
    figure = drawn["leakage"]
    axes = figure.axes[0]
    own = tables.attacks[(tables.attacks["attack"] == "membership") & tables.attacks["success"]]
    colour = {"server": "#d55e00", "participants": "#0173b2", "outsider": "#029e73"}
    for adversary, expected in own.groupby("adversary"):
        drawn = [box.lines[0] for box in axes.containers if box.lines[0].get_color() == colour[adversary]]
        hollow = {value for line in drawn for value in line.get_ydata() if line.get_markerfacecolor() == "white"}
        solid = {value for line in drawn for value in line.get_ydata()} - hollow
        assert hollow == set(expected.loc[~expected["covered"], "value"])
        assert solid == set(expected.loc[expected["covered"], "value"])
        lines = [line for line in axes.lines if line.get_color() == colour[adversary] and len(line.get_xdata()) == 3]
        assert {line.get_linestyle() for line in lines} <= ({"--"} if adversary == "server" else {"-", "None"})
    assert "not covered by ε" in labels(figure)
    assert axes.get_xticklabels()[-1].get_text() == "no\nnoise"


def test_leakage_has_chance_the_bound_accuracy_and_each_client(tables, drawn):
    figure = drawn["leakage"]
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [
        "is this record a member?",
        "did this client take part?",
        "did each client take part?",
        "records rebuilt from an update",
        "likeness of what is rebuilt",
        "classes seen in the model",
    ]
    axes = figure.axes[0]
    assert any(set(line.get_ydata()) == {0.5} for line in axes.lines)
    own = tables.attacks[(tables.attacks["attack"] == "membership") & tables.attacks["covered"]]
    bound = own.groupby("epsilon")["bound"].max()
    assert any(np.array_equal(line.get_ydata(), bound) for line in axes.lines if line.get_color() == "black")
    twin = next(other for other in figure.axes if other is not axes and other.bbox.bounds == axes.bbox.bounds)
    accuracy = own.drop_duplicates("point_id").sort_values("epsilon")["accuracy_mean"]
    assert any(np.allclose(line.get_ydata(), accuracy) for line in twin.lines if len(line.get_ydata()) == 3)
    # Who is trusted with each client's update knows who took part: that is no attack on a client.
    single = next(axes for axes in figure.axes if axes.get_title() == "did each client take part?")
    rows = tables.attacks[(tables.attacks["attack"] == "client_membership") & tables.attacks["client"].notna()]
    trusted = set(rows.loc[(rows["adversary"] == "server"), "value"])
    shown = {value for box in single.containers for value in box.lines[0].get_ydata()}
    assert len(shown) == 4 * 4
    assert not shown & trusted
    assert [f"client {client}" in labels(figure) for client in range(5)] == [True] * 4 + [False]


def test_an_epsilon_axis_breaks_for_infinity_only():
    for epsilons, broken in (([0.5, 8.0], False), ([0.5, 8.0, np.inf], True), ([np.inf], True)):
        _, axes = plt.subplots()
        place = style.endless_epsilon_axis(axes, pd.Series(epsilons))
        words = [label.get_text() for label in axes.get_xticklabels()]
        assert ("no\nnoise" in words) == broken
        finite = [epsilon for epsilon in epsilons if np.isfinite(epsilon)]
        left, right = axes.get_xlim()
        assert all(left < epsilon < right for epsilon in finite)
        if broken:
            assert max([*finite, 0]) < place < right


def test_roc_curves_start_at_the_smallest_rate_that_trials_can_show(tables, drawn):
    figure = drawn["roc"]
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert axes.get_xlim() == (1 / 500, 1)
        assert axes.get_xscale() == axes.get_yscale() == "log"
    covered, bare = figure.axes[:2]
    assert "not covered by ε" in bare.get_title()
    assert "coordinator" not in covered.get_title()
    shaded = [shape for shape in covered.collections if isinstance(shape, FillBetweenPolyCollection)]
    assert len(shaded) == 3
    assert not [shape for shape in bare.collections if isinstance(shape, FillBetweenPolyCollection)]
    dashed = [line for line in covered.lines if line.get_linestyle() == "--" and str(line.get_color()) != "0.5"]
    assert len(dashed) == 3
    own = tables.roc[(tables.roc["attack"] == "membership") & (tables.roc["adversary"] == "participants")]
    for line, (_, expected) in zip(dashed, own[own["fpr"] > 0].groupby("epsilon"), strict=False):
        np.testing.assert_allclose(line.get_ydata(), expected["allowed"])
    assert {"ε = 2", "ε = 4", "ε = 8", "no noise", "impossible, by proof"} <= set(labels(figure))


def test_roc_shows_the_method_that_stands_for_the_attack_and_not_the_one_that_looks_best(tables):
    lucky = tables.roc.assign(method="loss_threshold", tpr=1.0)
    figure = figures.build("roc", replace(tables, roc=pd.concat([tables.roc, lucky], ignore_index=True)), "One")
    steps = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert len(steps) == 4
    assert not any((line.get_ydata() == 1.0).all() for line in steps)


def test_audits_pair_bounds_with_estimates(tables):
    rows = audited(tables.attacks)
    assert len(rows) == 3 * 2 * 2
    assert (rows["lower"] <= rows["estimate"]).all()
    assert (rows["bound"] == rows["epsilon"]).all()
    without = tables.attacks[tables.attacks["score"] != "epsilon_estimate"]
    assert audited(without)["estimate"].isna().all()
    assert len(audited(without)) == len(rows)


def test_the_audit_figure_has_both_diagonals_and_zero_at_the_edge(tables):
    zero = tables.attacks.copy()
    zero.loc[(zero["score"] == "epsilon_lower") & (zero["epsilon"] == 2.0), "value"] = 0.0
    figure = figures.build("audit", replace(tables, attacks=zero), "One")
    axes = figure.axes[0]
    straight = [line for line in axes.lines if line.get_marker() == "None" and len(set(line.get_xdata())) == 2]
    assert [float(line.get_ydata()[0] / line.get_xdata()[0]) for line in straight] == [1.0, 0.5]
    arrows = [line for line in axes.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert sum(len(line.get_xdata()) for line in arrows) == 4
    bottom, top = axes.get_ylim()
    assert all(bottom < value < 2.0 / 4 for line in arrows for value in line.get_ydata())
    filled = [line for line in axes.lines if line.get_marker() in "oD" and line.get_markerfacecolor() != "white"]
    expected = audited(zero)
    assert {round(v, 9) for line in filled for v in line.get_ydata()} == set(
        expected.loc[expected["lower"] > 0, "lower"].round(9)
    )
    assert top >= 8


def test_reconstructions_rise_in_epsilon_to_the_right_under_the_true_pictures(tables, drawn):
    figure = drawn["reconstructions"]
    page = figure.axes[0]
    heads = [text for text in page.texts if text.get_text().startswith(("ε =", "no noise"))]
    first = heads[:4]
    assert [text.get_text() for text in first] == ["ε = 2", "ε = 4", "ε = 8", "no noise"]
    assert [text.get_position()[0] for text in first] == sorted(text.get_position()[0] for text in first)
    # Two sizes of batches: true, guess (one picture), coordinator, participants. Classes: five rows.
    assert len(page.images) == 4 * (2 * (3 + 1 + 3 + 3) + 3 + 1 + 3 * 3)
    pictures = tables.pictures
    run = pictures.loc[pictures["epsilon"] == 2.0, "run_id"].iloc[0]
    true = pictures[(pictures["run_id"] == run) & (pictures["kind"] == "true") & (pictures["records"] == 1)]
    shown = page.images[0].get_array()
    np.testing.assert_allclose(shown, np.clip(true["pixels"].iloc[0].reshape(8, 8), 0, 1), atol=1e-6)
    # All pictures keep to their rows: the true ones are above, and none reaches into another.
    boxes = [image.get_extent() for image in page.images]
    assert min(box[2] for box in boxes[:12]) > max(box[3] for box in boxes[12:])
    for a, b in itertools.combinations(boxes, 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
    rebuilt = pictures[(pictures["kind"] == "rebuilt") & pictures["number"].isin([0, 1, 2])]
    assert {f"{value:.1f}" for value in rebuilt["psnr"]} <= {text.get_text() for text in page.texts}


def test_reconstructions_take_colours_and_many_epsilons(tables, tmp_path):
    home = bundle(tmp_path)
    runs = pd.read_parquet(home / "bundles" / BUNDLE / "runs.parquet")
    own = runs[(runs["clients"] == 50) & (runs["clip_norm"] == 0.3)].head(12)
    many = own.assign(epsilon=np.geomspace(0.1, 50, 12), noise_multiplier=np.arange(1.0, 13.0))
    runs.loc[own.index] = many
    runs.to_parquet(home / "bundles" / BUNDLE / "runs.parquet")
    attack(home, many, shape="6x5x3")
    built = build_tables(json.loads((home / "plan.json").read_text()), home / "bundles").of_studies(["one"])
    figure = figures.build("reconstructions", built, "One")
    heads = [text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("ε =")]
    assert heads[:7] == heads[7:14]
    assert heads[0] == "ε = 0.1"
    assert heads[6] == "ε = 50"
    assert figure.axes[0].images[0].get_array().shape == (6, 5, 3)


def test_the_risk_front_is_what_no_point_beats(tables, drawn):
    figure = drawn["riskfront"]
    found = of_own_trust(successes(tables.attacks, [("membership", "record")]))
    assert "server" not in set(found["adversary"])
    best = strongest(found, ["point_id"])
    points = list(zip(best["value"], best["accuracy_mean"], strict=True))
    expected = {(x, y) for x, y in points if not any(a <= x and b >= y and (a < x or b > y) for a, b in points)}
    steps = next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    assert set(zip(steps.get_xdata()[:-1], steps.get_ydata()[:-1], strict=True)) == expected
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    assert len(panels) == 4
    assert all(axes.get_shared_y_axes().joined(axes, panels[0]) for axes in panels)
    assert "not attacked" in labels(figure)


def test_the_recommendation_is_ringed_where_it_is_with_its_reason(tables, drawn):
    rows = tables.recommendation.set_index("coordinator")
    assert rows.loc["trusted", "point_id"] is not None
    figure = drawn["recommendation"]
    (axes,) = figure.axes
    rings = [line for line in axes.lines if line.get_markersize() >= 12]
    assert len(rings) == 1
    np.testing.assert_allclose(rings[0].get_ydata(), rows.loc["trusted", "accuracy_mean"])
    np.testing.assert_allclose(rings[0].get_xdata(), rows.loc["trusted", "epsilon"])
    text = caption(figure).replace("\n   ", " ")
    for why in rows["why"]:
        assert why in text
    assert any(set(line.get_xdata()) == {POLICY["largest_epsilon"]} for line in axes.lines)
    assert any(set(line.get_ydata()) == {POLICY["smallest_accuracy"]} for line in axes.lines)
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    judged = tables.attacks[tables.attacks["success"] & (tables.attacks["adversary"] != "server")]
    judged = judged[judged["attack"].isin(["membership", "client_membership"]) & np.isfinite(judged["epsilon"])]
    leaks = judged.groupby("point_id")["high"].max()
    assert len(crosses) == (leaks > POLICY["largest_membership"]).sum()
