"""Proven epsilon against the lower bounds of audits."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedpareto.analysis.figures import currency, looks, style
from fedpareto.analysis.figures.looks import ADVERSARIES
from fedpareto.analysis.tables.attacks import aimed_at, why_nothing
from fedpareto.analysis.tables.build import Tables

MARKERS = "oDvP*X"  # by method
AUDIT = ["study", "run_id", "attack", "method", "adversary"]
DODGE = 0.035  # of a factor of e between methods at one epsilon
LINEAR = 3.0  # epsilons within this factor need no logarithm


class Audit:
    """Proven epsilon against the lower bounds of audits."""

    NAME: ClassVar = "audit"
    ORDER: ClassVar = 10
    CATEGORY: ClassVar = "2 Leakage"
    CAPTION: ClassVar = (
        "Proven epsilon against what canaries show that it is at least. Filled: lower bound at the stated confidence;"
        " hollow: an estimate, which bounds nothing. A bound above the solid line speaks against the proof or the "
        "program; one far below it shows that the canaries were weak or the proof is loose."
    )
    FOR: ClassVar = ("study",)
    GOALS: ClassVar = (("audit", "unit"),)

    def build(self, tables: Tables, title: str) -> Figure:
        """Each audited run: its lower bound filled, its estimate hollow, against proven epsilon; a panel for each promise."""
        headline = f"{title}: what audits find of each proven ε"
        audits = audited(tables.attacks)
        finite = audits[np.isfinite(audits["bound"]) & (audits["bound"] > 0)]
        if finite.empty:
            why = why_nothing(tables.attacks, self.GOALS, "no private run of this study was audited")
            return style.nothing_to_draw(headline, why)
        curves = finite[["method", "adversary"]].drop_duplicates().sort_values(["method", "adversary"])
        methods = list(dict.fromkeys(curves["method"]))
        marks = {
            (method, adversary): (ADVERSARIES[adversary].colour, MARKERS[methods.index(method) % len(MARKERS)])
            for method, adversary in curves.itertuples(index=False, name=None)
        }
        panels = currency.panels(finite, finite["bound"].notna(), currency.COMPARABLE)
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        size = (style.WIDTH, 5.6 if columns == 1 else 2.2 + 3.4 * lines)
        figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
        logarithmic = finite["bound"].max() / finite["bound"].min() > LINEAR
        floors = []
        for axes, (_, rows) in zip(grid.flat, panels, strict=False):
            floors.append(_panel(axes, rows, marks, logarithmic))
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        caption = f"{currency.epsilon_label(finite)}\nan audit that finds little proves nothing: a stronger canary may find more"
        style.key(figure, _legend(marks, finite, max(floors)), caption, 2)
        style.panel_titles(figure, grid.flat, [name for name, _ in panels], columns)
        style.headline(figure, headline, currency.warning(finite, currency.PANEL))
        return figure


def _panel(axes: Axes, rows: pd.DataFrame, marks: dict, logarithmic: bool) -> float:
    """The audits of one panel.

    Returns:
      Where a bound of zero is drawn.
    """
    floor = _axes(axes, rows, logarithmic)
    for place, (curve, (colour, marker)) in enumerate(marks.items()):
        of_curve = rows[(rows["method"] == curve[0]) & (rows["adversary"] == curve[1])]
        shift = looks.dodge(DODGE, place, len(marks)) if logarithmic else 1.0
        _draw(axes, of_curve.assign(x=of_curve["bound"] * shift), colour, marker, floor)
    axes.set(xlabel="proven ε", ylabel="audited ε")
    return floor


def audited(attacks: pd.DataFrame) -> pd.DataFrame:
    """The audits of a table of attacks, one row each.

    Returns:
      The rows with score `epsilon_lower` (at `confidence`), with `estimate`: the value of `epsilon_estimate` for the same run,
      attack, method and adversary, NaN where there is none. `bound` is the proven epsilon.
    """
    audits = attacks[aimed_at(attacks, Audit.GOALS) & attacks["value"].notna()]
    estimates = audits[audits["score"] == "epsilon_estimate"].groupby(AUDIT, as_index=False)["value"].max()
    lower = audits[audits["score"] == "epsilon_lower"].rename(columns={"value": "lower"})
    return lower.merge(estimates.rename(columns={"value": "estimate"}), on=AUDIT, how="left")


def _axes(axes: Axes, rows: pd.DataFrame, logarithmic: bool) -> float:
    """Diagonals and scales.

    Returns:
      Where a bound of zero is drawn.
    """
    low, high = rows["bound"].min(), rows["bound"].max()
    seen = pd.concat([rows["lower"], rows["estimate"]])
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if logarithmic:
        left, right = low / 1.5, high * 1.5
        bottom = min(left / 4, seen.min() / 1.5 if len(seen) else left)
        bottom = max(bottom, low / 200)
        axes.set(xscale="log", yscale="log")
        style.plain_log(axes.xaxis)
        (style.plain_log if right / bottom < 300 else style.decades_log)(axes.yaxis)
    else:
        left, right, bottom = 0.9 * low, 1.1 * high, 0.0
    top = max(right, 1.15 * seen.max() if len(seen) else right)
    line = np.array([left, right])
    axes.plot(line, line, color="black", linewidth=1.0, zorder=1)
    axes.plot(line, line / 2, color="0.4", linewidth=1.0, linestyle="--", zorder=1)
    axes.fill_between(line, line, top, color="black", alpha=0.06, linewidth=0, zorder=0)
    # Nothing is hidden by the frame: a bound of zero stands a little above it.
    lower = bottom / 1.35 if logarithmic else -0.04 * top
    axes.set(xlim=(left, right), ylim=(lower, top))
    return bottom


def _draw(axes: Axes, rows: pd.DataFrame, colour: object, marker: str, floor: float) -> None:
    shown = rows["lower"].clip(lower=floor)
    estimate = rows["estimate"].clip(lower=floor)
    for x, low, high in zip(rows["x"], shown, estimate, strict=True):
        if np.isfinite(high):
            axes.plot([x, x], [low, high], color=colour, linewidth=0.9, alpha=0.6, zorder=2)
    axes.plot(rows["x"], estimate, marker, color=colour, markerfacecolor="white", markersize=5.5, zorder=3)
    above = (rows["lower"] > floor).to_numpy()
    axes.plot(rows["x"][above], shown[above], marker, color=colour, markersize=5.5, zorder=4)
    axes.plot(rows["x"][~above], shown[~above], "v", color=colour, markersize=5.5, zorder=4)


def _legend(marks: dict, rows: pd.DataFrame, floor: float) -> list[Line2D]:
    entries = [
        looks.entry(f"{method.replace('_', ' ')}: {ADVERSARIES[adversary].name}", color=colour, marker=marker)
        for (method, adversary), (colour, marker) in marks.items()
    ]
    confidence = ", ".join(f"{100 * level:g}" for level in sorted(rows["confidence"].unique()))
    entries.append(looks.entry(f"lower bound at {confidence} % confidence", color="0.3", marker="o"))
    if rows["estimate"].notna().any():
        entries.append(looks.entry("estimate", color="0.3", marker="o", markerfacecolor="white"))
    if (rows["lower"] <= floor).any():
        edge = "0" if floor == 0 else f"below {floor:.2g}, or 0"
        entries.append(looks.entry(f"lower bound {edge}", color="0.3", marker="v"))
    entries.append(
        looks.entry("proven: a bound above it speaks against the proof", color="black", linewidth=1.0, linestyle="-")
    )
    entries.append(looks.entry("half of proven", color="0.4", linewidth=1.0, linestyle="--"))
    return entries
