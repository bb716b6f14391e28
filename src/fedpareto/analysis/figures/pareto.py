"""Accuracy against epsilon: every point with its interval, the front, and how sure it is."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedpareto.analysis.figures import currency, looks, score, style
from fedpareto.analysis.tables.build import Tables
from fedpareto.columns.column import Metric

MARKERS = "osD^vP*X<>"
FAINT = 0.3
CLOSE = 1.2  # front points nearer than this factor of epsilon have their labels stacked
HEADROOM = 0.06  # of the score axis, for the labels of the highest points
DODGE = 0.025  # of a factor of e between neighbours of equal epsilon


class Pareto:
    """Accuracy against epsilon: every point with its interval, the front, and how sure it is."""

    NAME: ClassVar = "pareto"
    ORDER: ClassVar = 1
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = (
        "Accuracy against epsilon. Each point is a noise multiplier, clip norm and client count: mean over seeds with"
        " a 95 % bootstrap interval. Points on the front are outlined; the percentage is the share of bootstrap "
        "samples of the seeds in which the point is on it. Points of equal epsilon are drawn side by side. Lines: the"
        " same training without clipping and noise, with its interval, and other baselines where the study asks for "
        "them."
    )
    FOR: ClassVar = ("study",)
    NEEDS: ClassVar = ("privacy",)

    def build(self, tables: Tables, title: str) -> Figure:
        """One panel for each kind of points that are compared with each other: of one data set, model and promise."""
        tables, metric = score.scored(tables)
        points = tables.tradeoff
        private = points[(points["kind"] == "private") & np.isfinite(points["epsilon"])]
        if private.empty:
            return style.nothing_to_draw(
                f"{title}: what each ε costs", "no private run in this study: nothing has an epsilon"
            )
        panels = currency.panels(private, private["delta"].notna(), currency.COMPARABLE)
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        size = (style.WIDTH, 0.5 + (4.3 if columns == 1 else 3.2) * rows)
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        clients = style.colours(sorted(private["clients"].unique()))
        clips = dict(zip(sorted(private["clip_norm"].unique()), MARKERS * 5, strict=False))
        for axes, (_, panel) in zip(grid.flat, panels, strict=False):
            first = panel.iloc[0]
            same = points["dataset"].eq(first["dataset"]) & points["model"].eq(first["model"])
            # Centralised training deals nothing out: it is the reference of every partition, but of its own data and model only.
            baselines = points[same & (points["partition"].eq(first["partition"]) | points["kind"].eq("centralised"))]
            _panel(axes, panel, baselines[baselines["kind"].isin(style.BASELINES)], clients, clips, metric)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(metric.label)
        runs, seeds = len(tables.runs), int(private["n_seeds"].max())
        chosen = int(private["selected_from"].max())
        below = (
            f"{currency.epsilon_label(private)}\n{runs} runs; {style.means_over(seeds)}; front chosen from {chosen} runs"
            f"{_price_of_choice(private)}"
        )
        figure.supxlabel(style.fitted(figure, below, "medium"), fontsize="medium")
        _legend(figure, clients, clips, points)
        style.panel_titles(figure, grid.flat, [name for name, _ in panels], columns)
        style.headline(figure, f"{title}: what each ε costs", currency.warning(private, currency.PANEL))
        return figure


def _price_of_choice(private: pd.DataFrame) -> str:
    """The epsilon of a choice on private data, at the front point with the smallest epsilon."""
    front = private[private["on_front"] & np.isfinite(private["epsilon_if_selected"])]
    if front.empty:
        return ""
    least = front.loc[front["epsilon"].idxmin()]
    return (
        f"\nchosen on private data, ε = {least['epsilon']:.3g} would be {least['epsilon_if_selected']:.3g} by RDP "
        f"(best of {least['candidates']} in the mean)"
    )


def _panel(
    axes: Axes, points: pd.DataFrame, baselines: pd.DataFrame, clients: dict, clips: dict, metric: Metric
) -> None:
    style.epsilon_axis(axes, points["epsilon"])
    score.score_axis(axes, metric)
    _baselines(axes, baselines, clients)
    order = {key: i for i, key in enumerate((c, k) for c in clients for k in clips)}
    points = points.assign(
        x=[
            epsilon * looks.dodge(DODGE, order[key], len(order))
            for epsilon, *key_ in zip(points["epsilon"], points["clients"], points["clip_norm"], strict=True)
            for key in [tuple(key_)]
        ]
    )
    for point in points.itertuples():
        strong = bool(point.on_front)
        low, high = np.nan_to_num([point.score_mean - point.score_low, point.score_high - point.score_mean])
        axes.errorbar(
            point.x,
            point.score_mean,
            yerr=[[max(0.0, low)], [max(0.0, high)]],
            fmt=clips[point.clip_norm],
            color=clients[point.clients],
            # Not dominated but out of the contest: only the seeds that did not diverge are averaged here.
            markerfacecolor="none" if point.n_ok < point.n_seeds else None,
            alpha=1.0 if strong else FAINT,
            markersize=6.5 if strong else 4.5,
            markeredgecolor="black" if strong else clients[point.clients] if point.n_ok < point.n_seeds else "none",
            markeredgewidth=0.7,
            elinewidth=1.1,
            zorder=4 if strong else 2,
        )
    style.mark_useless(axes, points["x"], points)
    style.mark_author(axes, points["x"], points)
    front = points[points["on_front"]].sort_values("epsilon")
    if front.empty:
        return
    right = axes.get_xlim()[1]
    axes.step(
        [*front["x"], right],
        [*front["score_mean"], front["score_mean"].iloc[-1]],
        where="post",
        color="black",
        linewidth=1.0,
        alpha=0.7,
        zorder=3,
    )
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + HEADROOM * (top - bottom))
    before, height = 0.0, 4
    for point in front.itertuples():
        if np.isfinite(point.front_probability):
            # Neighbours too close to stand side by side are stacked.
            height = height + 11 if point.x < CLOSE * before else 4
            before = point.x
            axes.annotate(
                f"{point.front_probability:.0%}",
                (point.x, np.nanmax([point.score_mean, point.score_high])),
                xytext=(0, height),
                textcoords="offset points",
                ha="center",
                fontsize="small",
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
                zorder=5,
            )


def _baselines(axes: Axes, baselines: pd.DataFrame, clients: dict) -> None:
    """The reference lines. Where they differ by client count, the non-private one has the client count's colour."""
    for kind, group in baselines.groupby("kind"):
        _, line, grey = style.BASELINES[str(kind)]
        for row in group.itertuples():
            colour = clients.get(row.clients, grey) if kind != "centralised" else grey
            axes.axhline(row.score_mean, linestyle=line, color=colour, linewidth=1.0, zorder=1)
            if kind == "non_private" and np.isfinite(row.score_low):
                axes.axhspan(row.score_low, row.score_high, color=colour, alpha=0.1, linewidth=0, zorder=0)


def _legend(figure: Figure, clients: dict, clips: dict, points: pd.DataFrame) -> None:
    entries = [
        looks.entry(style.counted(count, "client"), color=colour, marker="o") for count, colour in clients.items()
    ]
    entries += [looks.entry(f"clip norm {clip:g}", color="0.3", marker=marker) for clip, marker in clips.items()]
    entries.append(looks.entry("Pareto front", color="black", linewidth=1.0, linestyle="-"))
    entries.append(looks.entry("97%: probability to be on it"))
    entries.append(looks.entry("dominated", color="0.5", alpha=FAINT, marker="o"))
    if ((points["kind"] == "private") & (points["n_ok"] < points["n_seeds"])).any():
        entries.append(looks.entry("a seed diverged", color="0.5", markerfacecolor="none", marker="o"))
    entries += style.useless_entry(points[points["kind"] == "private"])
    entries += style.author_entry(points)
    for kind, (label, line, grey) in style.BASELINES.items():
        if (points["kind"] == kind).any():
            entries.append(looks.entry(label, color=grey, linestyle=line))
    figure.legend(handles=entries, loc="outside right upper", fontsize="small")
