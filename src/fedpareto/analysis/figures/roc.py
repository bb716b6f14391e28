"""ROC curves of membership inference on logarithmic axes, against the bound of each proven epsilon."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedpareto.analysis.figures import currency, looks, style
from fedpareto.analysis.figures.looks import ADVERSARIES, CHANCE
from fedpareto.analysis.tables.attacks import aimed_at, not_made, why_nothing
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.tradeoff import comparable_epsilon

TITLES = {("membership", "record"): "is this record a member?", ("membership", "client"): "did this client take part?"}
PREFERRED_METHOD = "lira_online"
CURVE = ["run_id", "method", "adversary", "client"]
FEWEST = 10  # trials that the axes of a panel are drawn for at least
# Every curve's impossible region is a layer of grey: the darker, the more of the runs rule it out.
LAYER = 0.055


class Roc:
    """ROC curves of membership inference on logarithmic axes, against the bound of each proven epsilon."""

    NAME: ClassVar = "roc"
    ORDER: ClassVar = 9
    CATEGORY: ClassVar = "2 Leakage"
    CAPTION: ClassVar = (
        "True against false positive rate of membership inference, on logarithmic axes that begin at the smallest "
        "rate that the trials can show. Dashed: the most that each epsilon leaves possible; what is above is "
        "impossible by proof, and grey. Adversaries that epsilon does not cover have panels of their own."
    )
    FOR: ClassVar = ("study",)
    GOALS: ClassVar = (("membership", "record"), ("membership", "client"))

    def build(self, tables: Tables, title: str) -> Figure:
        """A panel for each attack (of each promise), and another for the adversaries that no run's guarantee is against."""
        headline = f"{title}: hits and false alarms of membership inference"
        roc = tables.roc.assign(epsilon=comparable_epsilon(tables.roc["epsilon"]))
        attacks = tables.attacks[~not_made(tables.attacks)]
        private = np.isfinite(roc["epsilon"])
        panels = [
            (goal, attack, name, covered, rows)
            for goal in TITLES
            for attack in roc.loc[aimed_at(roc, [goal]), "attack"].unique()
            for name, facet in currency.panels(roc, private, currency.COMPARABLE, currency.SHARED)
            for covered, rows in _by_coverage(facet[facet["attack"] == attack], attacks)
        ]
        if not panels:
            why = why_nothing(tables.attacks, self.GOALS, "no membership inference on the runs of this study")
            return style.nothing_to_draw(headline, why)
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        size = (style.WIDTH, 1.7 + (3.2 if columns == 2 else 3.8) * lines)
        figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
        drawn = pd.concat([rows for *_, rows in panels])
        colours = style.epsilon_colours(drawn["epsilon"])
        for axes, (goal, attack, promise, covered, rows) in zip(grid.flat, panels, strict=False):
            trials = attacks[attacks["attack"].eq(attack)]
            _panel(
                axes,
                rows,
                colours,
                _fewest(trials["negatives"], rows["fpr"]),
                _fewest(trials["positives"], rows["tpr"]),
            )
            axes.set_xlabel("false positive rate")
            seen = " and ".join(ADVERSARIES[name].name for name in looks.present(ADVERSARIES, rows["adversary"]))
            several = len({other for same, other, *_ in panels if same == goal}) > 1
            name = f" ({attack})" if several else ""
            which = f"{promise}\n" if promise else ""
            seen += "" if covered else ", not covered by ε"
            axes.set_title(f"{which}{TITLES[goal]}{name}\n{seen}", fontsize="medium")
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("true positive rate")
        caption = f"{currency.epsilon_label(drawn)}\nof several runs of one ε the one that leaks most; rates of 0 stand at the edge"
        style.key(figure, _legend(colours, drawn), caption, 4)
        style.headline(figure, headline, currency.warning(drawn[np.isfinite(drawn["epsilon"])], currency.PANEL))
        return figure


def _by_coverage(rows: pd.DataFrame, attacks: pd.DataFrame) -> list[tuple[bool, pd.DataFrame]]:
    """The curves to draw, of adversaries that some run's guarantee is against, and of the others.

    Only `PREFERRED_METHOD` where it was tried: a choice made before looking. Of several runs with one epsilon, the curve with the
    largest area; over all clients where there is such a curve.
    """
    if rows["method"].eq(PREFERRED_METHOD).any():
        rows = rows[rows["method"].eq(PREFERRED_METHOD)]
    own = attacks["attack"].isin(rows["attack"]) & attacks["run_id"].isin(rows["run_id"])
    against = set(attacks.loc[attacks["covered"] & own, "adversary"])
    groups = []
    for covered in (True, False):
        group = rows[rows["adversary"].isin(against) == covered]
        group = group[group["client"].isna()] if group["client"].isna().any() else group
        if group.empty:
            continue
        curves = [curve for _, curve in group.groupby(CURVE, dropna=False, sort=False)]
        areas = pd.DataFrame(
            {
                "epsilon": [curve["epsilon"].iloc[0] for curve in curves],
                "area": [_area(curve) for curve in curves],
            }
        )
        best = areas.groupby("epsilon")["area"].idxmax()
        groups.append((covered, pd.concat([curves[i] for i in best])))
    return groups


def _area(curve: pd.DataFrame) -> float:
    ordered = curve.sort_values(["fpr", "tpr"])
    return float(np.trapezoid(ordered["tpr"], ordered["fpr"]))


def _fewest(trials: pd.Series, rates: pd.Series) -> float:
    """The smallest rate that so many trials can show, or that was seen: where an axis begins."""
    most = trials.dropna().max()
    if pd.notna(most):
        return 1 / max(FEWEST, float(most))
    return float(min(1 / FEWEST, rates[rates > 0].min())) if (rates > 0).any() else 1 / FEWEST


def _panel(axes: Axes, rows: pd.DataFrame, colours: dict, left: float, bottom: float) -> None:
    axes.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(bottom, 1.05))
    for axis in (axes.xaxis, axes.yaxis):
        style.percent_log(axis)
    axes.set_box_aspect(1)
    even = np.geomspace(min(left, bottom), 1, 100)
    axes.plot(even, even, color="0.5", linestyle=CHANCE["linestyle"], linewidth=1.0, zorder=2)
    for epsilon, curve in rows.groupby("epsilon"):
        curve = curve.sort_values(["fpr", "tpr"])
        x = curve["fpr"].clip(lower=left)
        bounded = curve[curve["fpr"] > 0]
        if (bounded["allowed"] < 1).any():
            axes.fill_between(
                bounded["fpr"], bounded["allowed"], 1.05, color="black", alpha=LAYER, linewidth=0, zorder=0
            )
            axes.plot(
                bounded["fpr"], bounded["allowed"], color=colours[epsilon], linestyle="--", linewidth=0.9, zorder=2
            )
        seen = curve["tpr"].where(curve["tpr"] > 0, bottom / 10)
        axes.plot(x, seen, color=colours[epsilon], linewidth=1.4, drawstyle="steps-post", zorder=3)


def _legend(colours: dict, drawn: pd.DataFrame) -> list:
    entries: list = [
        looks.entry(style.epsilon_value(epsilon), color=colour, linestyle="-")
        for epsilon, colour in sorted(colours.items())
    ]
    entries.append(looks.entry("by chance", color="0.5", linestyle=CHANCE["linestyle"]))
    if (drawn["allowed"] < 1).any():
        entries.append(looks.entry("most that ε allows", color="0.3", linestyle="--", linewidth=0.9))
        entries.append(Patch(color="black", alpha=3 * LAYER, linewidth=0, label="impossible, by proof"))
    return entries
