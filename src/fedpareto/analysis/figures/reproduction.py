"""Published numbers over ours: hollow markers for numbers in print, filled ones for ours."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fedpareto.analysis.figures import currency, style
from fedpareto.analysis.figures.written import LONGEST_NAME, distinct, drawable
from fedpareto.analysis.tables.reproduction import LABELS, row_names
from fedpareto.columns.declared import COMPARED

ROW = 0.22  # inches of a line of a list
CURVE = 1.9  # of a row of curves
LONGEST_LINE, LONGEST_LABEL = 70, 48  # characters of what a number is, and in a legend or on an axis
CROWD = 12  # numbers that are too many for one front
COLOURS = {"reproduced": "#029e73", "differs": "#d55e00", "not run": "0.5", "no number in print": "#0173b2"}
CLAIMS = {"reproduced": "#029e73", "loose": "#0173b2", "wrong": "#d55e00", "what-if": "0.5"}


def of_numbers(table: pd.DataFrame, title: str, curves: Sequence[tuple[str, pd.DataFrame]] = ()) -> Figure:
    """Draws the published numbers and ours in the form that fits.

    Where nothing is in print, ours against epsilon; accuracy against epsilon where epsilons are in print, and not too many;
    else a line for each number, ours against the tolerance.

    Args:
      table: The result of `reproduction.compare`.
      title: Headline.
      curves: What each curve runs along, and its points: a panel each, below.
    """
    shares = (table["metric"] != "rounds_to_accuracy").all() and table["minus"].isna().all()
    if shares and table["published"].isna().all() and table["delta"].notna().any():
        return _ours_alone(table, title)
    # What is in print without an epsilon is drawn as a line across: it must be without privacy, and of the same metric.
    lines = table["published_epsilon"].isna()
    comparable = table["metric"].nunique() == 1 and table.loc[lines, "delta"].isna().all()
    front = shares and comparable and (~lines).sum() > 1 and len(table) <= CROWD
    draw, height = (_trade_off, 3.4) if front else (_list, 0.6 + ROW * len(table))
    below = CURVE * bool(curves)
    figure = plt.figure(figsize=(style.WIDTH, height + 0.8 + below), layout="constrained")
    ratios = [height, below] if curves else None
    grid = figure.add_gridspec(2 if curves else 1, max(1, len(curves)), height_ratios=ratios)
    draw(figure.add_subplot(grid[0, :]), table)
    for i, (what, points) in enumerate(curves):
        _curve(figure.add_subplot(grid[1, i]), what, points, first=i == 0)
    _legend(figure, table)
    style.headline(figure, title)
    return figure


def _curve(axes: Axes, what: str, points: pd.DataFrame, first: bool) -> None:
    reach = [points["accuracy"] - points["low"], points["high"] - points["accuracy"]]
    yerr = reach if np.isfinite(reach).all() else None
    axes.errorbar(points["x"], points["accuracy"], yerr=yerr, color="0.35", marker="o", markersize=4)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_ylim(*_room(points["accuracy"]))
    axes.set(xlabel=drawable(what, LONGEST_LABEL), ylabel="test accuracy" if first else None)


def _room(values: pd.Series) -> tuple[float, float]:
    """Limits that leave a margin around the values, and never zoom into less than two points of accuracy."""
    middle, half = (values.max() + values.min()) / 2, max(0.01, 0.65 * (values.max() - values.min()))
    return middle - half, middle + half


def of_claims(table: pd.DataFrame, title: str) -> Figure:
    """A line for each published epsilon, with ours under every accountant."""
    figure, axes = plt.subplots(figsize=(style.WIDTH, 1.2 + ROW * len(table)), layout="constrained")
    at = np.arange(len(table))[::-1]
    for accountant in COMPARED:
        label = f"ours, {accountant.label}"
        axes.scatter(
            table[accountant.column.name], at, marker=accountant.marker, s=16, color="0.35", label=label, zorder=3
        )
    edges = [CLAIMS[verdict] for verdict in table["verdict"]]
    axes.scatter(table["published"], at, s=60, facecolors="none", edgecolors=edges, linewidths=1.4, zorder=4)
    for verdict, colour in CLAIMS.items():
        axes.scatter([], [], s=60, facecolors="none", edgecolors=colour, linewidths=1.4, label=f"published: {verdict}")
    axes.set_yticks(at, distinct(table["name"], "claim", LONGEST_LINE), fontsize="xx-small")
    axes.set_ylim(-1, len(table))
    axes.set_xscale("log")
    style.plain_log(axes.xaxis)
    axes.set_xlabel("ε")
    figure.legend(loc="outside lower center", ncols=4, fontsize="x-small")
    style.headline(figure, title)
    return figure


def _trade_off(axes: Axes, table: pd.DataFrame) -> None:
    """Published points over ours; published numbers without an epsilon, and ours without noise, as lines across."""
    private = table[table["published_epsilon"].notna()]
    style.epsilon_axis(axes, pd.concat([private["published_epsilon"], private["epsilon"].dropna()]))
    style.percent_axis(axes)
    for row in private.itertuples():
        axes.errorbar(
            row.published_epsilon, row.published, yerr=row.tolerance, color="0.75", linewidth=6, alpha=0.5, zorder=1
        )
        if pd.notna(row.ours):
            ends = [row.published_epsilon, row.epsilon], [row.published, row.ours]
            axes.plot(*ends, color="0.6", linewidth=0.8, zorder=2)
            axes.errorbar(
                row.epsilon,
                row.ours,
                yerr=_interval(row),
                color=COLOURS[row.verdict],
                marker="o",
                markersize=5,
                zorder=4,
            )
        axes.scatter(
            row.published_epsilon, row.published, s=45, facecolors="white", edgecolors="black", linewidths=1.2, zorder=3
        )
        axes.annotate(
            drawable(row.name, LONGEST_NAME),
            (row.published_epsilon, row.published),
            (6, -3),
            textcoords="offset points",
            fontsize="x-small",
            va="top",
            zorder=5,
        )
    for row in table[table["published_epsilon"].isna()].itertuples():
        axes.axhspan(row.published - row.tolerance, row.published + row.tolerance, color="0.93", linewidth=0, zorder=0)
        axes.axhline(row.published, color="black", linewidth=0.8, linestyle=":", zorder=1)
        if pd.notna(row.ours):
            axes.axhline(row.ours, color=COLOURS[row.verdict], linewidth=1.2, linestyle="--", zorder=1)
        axes.annotate(
            drawable(row.what, LONGEST_LINE),
            (0.01, row.published),
            (0, -3),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            fontsize="x-small",
            va="top",
        )
    ours = f"ours: {currency.proved(private)}".rstrip(",")
    axes.set(xlabel=f"ε (published: as printed; {ours}, for the run that was made)", ylabel=_label(table))


def _ours_alone(table: pd.DataFrame, title: str) -> Figure:
    """A panel for each metric: a line for each study over epsilon, and the level without noise."""
    metrics = list(table["metric"].unique())
    figure, panels = plt.subplots(
        1, len(metrics), figsize=(style.WIDTH, 3.4), sharex=True, squeeze=False, layout="constrained"
    )
    private = table[table["delta"].notna()]
    colours = style.colours(private["study"].unique())
    levels = " and ".join(style.UNITS[unit] for unit in private["unit"].unique())
    for axes, metric in zip(panels[0], metrics, strict=True):
        style.epsilon_axis(axes, private["epsilon"].dropna())
        style.percent_axis(axes)
        for study, points in private[private["metric"] == metric].sort_values("epsilon").groupby("study", sort=False):
            errors = np.array([points["ours"] - points["low"], points["high"] - points["ours"]]).clip(min=0)
            axes.errorbar(
                points["epsilon"],
                points["ours"],
                yerr=errors,
                color=colours[study],
                marker="o",
                markersize=5,
                label=drawable(study, LONGEST_NAME),
            )
        for row in table[(table["metric"] == metric) & table["delta"].isna()].itertuples():
            axes.axhspan(row.low, row.high, color="0.92", linewidth=0, zorder=0)
            axes.axhline(row.ours, color="0.25", linestyle="--", label=drawable(row.what, LONGEST_LABEL))
        axes.set_title(LABELS[metric], fontsize="medium")
        axes.set_xlabel(f"{levels} ε {currency.proved(private)}\nat δ = {currency.deltas(private)}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="x-small")
    style.headline(figure, title)
    return figure


def _list(axes: Axes, table: pd.DataFrame) -> None:
    rounds = (table["metric"] == "rounds_to_accuracy").all()
    for y, row in zip(np.arange(len(table))[::-1], table.itertuples(), strict=True):
        allowed = row.tolerance * (row.published if row.metric == "rounds_to_accuracy" else 1.0)
        # Where nothing is in print, all of it is NaN and draws nothing.
        axes.plot([row.published - allowed, row.published + allowed], [y, y], color="0.75", linewidth=6, alpha=0.5)
        if np.isfinite(row.ours):
            axes.errorbar(
                row.ours, y, xerr=_interval(row), color=COLOURS[row.verdict], marker="o", markersize=5, zorder=4
            )
        axes.scatter(row.published, y, s=45, facecolors="white", edgecolors="black", linewidths=1.2, zorder=3)
    axes.set_yticks(np.arange(len(table))[::-1], distinct(row_names(table), "number", LONGEST_LINE), fontsize="x-small")
    axes.set_ylim(-1, len(table))
    if rounds:
        axes.set_xscale("log")
        style.plain_log(axes.xaxis)
    else:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_xlabel(_label(table))


def _legend(figure: Figure, table: pd.DataFrame) -> None:
    hollow = {"marker": "o", "linestyle": "", "markerfacecolor": "white", "markeredgecolor": "black"}
    entries = [
        plt.Line2D([], [], **hollow, label="published"),
        plt.Line2D([], [], color="0.75", linewidth=6, label="tolerance"),
    ]
    entries += [
        plt.Line2D([], [], color=colour, marker="o", linestyle="", label=f"ours: {verdict}")
        for verdict, colour in COLOURS.items()
        if (table["verdict"] == verdict).any() and verdict != "not run"
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=4, fontsize="x-small")


def _label(table: pd.DataFrame) -> str:
    labels = [LABELS[metric] for metric in table["metric"].unique()]
    return ", ".join([*labels, *(["difference"] if table["minus"].notna().any() else [])])


def _interval(row: object) -> list[list[float]] | None:
    low, high, ours = (getattr(row, name) for name in ("low", "high", "ours"))
    return [[max(0.0, ours - low)], [max(0.0, high - ours)]] if np.isfinite([low, high]).all() else None
