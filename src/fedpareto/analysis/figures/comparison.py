"""The cost of privacy under each answer to "protect whom, from whom", at equal epsilon, and the cost of running it."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedpareto.analysis.figures import looks, score, style
from fedpareto.analysis.tables.adversary import PROTECTED, adversary, name
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.tradeoff import client_rounds
from fedpareto.columns.column import Metric

KILOBYTE = 1e3
MARKERS = "osD^vP*X"
DODGE = 0.02  # of a factor of e between neighbouring curves
ROW = 0.32  # inches of a line of the table
# Column of the table -> its place from the left, and how it is aligned.
PLACES = {"protects": 0.02, "against": 0.3, "s": 0.68, "up": 0.755, "down": 0.835, "bits": 0.88, "secagg": 0.995}


class Comparison:
    """The cost of privacy under each answer to "protect whom, from whom", at equal epsilon, and the cost of running it."""

    NAME: ClassVar = "comparison"
    ORDER: ClassVar = 6
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = (
        'What privacy costs under each answer to "protect whom, from whom", at equal epsilon. Each point is the most '
        "accurate of the study's runs at that epsilon, mean over seeds with a 95 % bootstrap interval; points of "
        "equal epsilon are drawn side by side. A client's epsilon and a record's are promises of different strength, "
        "and so are the adversaries: the table below the figure says whom each curve protects and from whom, and what"
        " it costs to run."
    )
    FOR: ClassVar = ("comparison",)

    def build(self, tables: Tables, title: str) -> Figure:
        """Accuracy against epsilon, a curve for each unit and trust model; below it a line of costs for each curve."""
        tables, metric = score.scored(tables)
        points = tables.tradeoff
        private = points[(points["kind"] == "private") & np.isfinite(points["epsilon_rdp"])].copy()
        if private.empty:
            return style.nothing_to_draw(
                f"{title}: {score.noun(metric)} at equal ε", "no private run: nothing has an epsilon"
            )
        private["curve"] = private.apply(name, axis=1)
        private["target"] = private["target_epsilon"].fillna(private["epsilon_rdp"])
        curves = list(dict.fromkeys(private["curve"]))
        colours = style.colours(curves)
        height = ROW * (len(curves) + 2)
        figure, (axes, below) = plt.subplots(
            2, 1, figsize=(1.35 * style.WIDTH, 3.9 + height), height_ratios=[3.9, height], layout="constrained"
        )
        style.epsilon_axis(axes, private["target"])
        score.score_axis(axes, metric)
        chosen = {}
        for i, curve in enumerate(curves):
            best = _best(private[private["curve"] == curve])
            chosen[curve] = best
            _curve(axes, best, colours[curve], MARKERS[i % len(MARKERS)], looks.dodge(DODGE, i, len(curves)))
        _baselines(axes, points, metric)
        axes.set_ylabel(metric.label)
        axes.set_xlabel(f"ε by RDP, at δ = {_deltas(private)}", fontsize="medium")
        axes.set_xticks(sorted(private["target"].round(4).unique()))
        axes.set_xticks([], minor=True)
        drawn = pd.concat(chosen.values())
        handles = [*axes.get_legend_handles_labels()[0], *style.useless_entry(drawn), *style.author_entry(drawn)]
        figure.legend(handles=handles, loc="outside upper right", fontsize="x-small")
        _table(below, chosen, colours)
        style.headline(figure, f"{title}: {score.noun(metric)} at equal ε")
        candidates = int(private.groupby(["curve", "target"])["n_seeds"].sum().max())
        style.footer(
            figure,
            f"{style.means_over(int(private['n_seeds'].max()))}; each point is the best of up to {candidates} runs.\n"
            f"Neighbours: {_adjacencies(private)}.\n"
            "s: training a run, without compilation. kB: a client in a round. Bits: of a number sent. Secagg: secure aggregation "
            "as measured, a client and the server in a round.",
            x=0.01,
            ha="left",
        )
        return figure


def _best(points: pd.DataFrame) -> pd.DataFrame:
    """The best point at each epsilon, of those whose seeds all finished."""
    sound = points[(points["n_ok"] == points["n_seeds"]) & points["score_mean"].notna()]
    return sound.loc[sound.groupby("target")["gain_mean"].idxmax()].sort_values("target")


def _curve(axes: Axes, best: pd.DataFrame, colour: object, marker: str, shift: float) -> None:
    axes.errorbar(
        best["target"] * shift,
        best["score_mean"],
        yerr=looks.score_spread(best),
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.3,
        elinewidth=1.0,
    )
    style.mark_useless(axes, best["target"] * shift, best)
    style.mark_author(axes, best["target"] * shift, best)


def _baselines(axes: Axes, points: pd.DataFrame, metric: Metric) -> None:
    """The reference lines: the best of those that the studies have, of each unit where they differ."""
    for unit, style_ in (("client", "-"), ("record", "--")):
        of_unit = points[(points["kind"] == "non_private") & (points["unit"] == unit)]
        if of_unit["score_mean"].notna().any():
            label = f"not private, {'local training' if unit == 'client' else 'a gradient a round'}"
            axes.axhline(
                score.best(metric, of_unit["score_mean"]),
                color="0.35",
                linestyle=style_,
                linewidth=1.0,
                label=label,
                zorder=1,
            )


def _table(axes: Axes, chosen: dict[str, pd.DataFrame], colours: dict) -> None:
    """A line a curve: marker, unit and adversary of its guarantee, and its cost."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(chosen) + 1, -1))
    header = {
        "protects": "protects",
        "against": "against",
        "s": "s a run",
        "up": "kB up",
        "down": "kB down",
        "bits": "bits",
        "secagg": "secagg ms",
    }
    _line(axes, -0.3, header, weight="bold")
    for i, (curve, best) in enumerate(chosen.items()):
        if best.empty:
            continue
        first = best.iloc[0]
        joining = client_rounds(best).iloc[0]
        secagg = "–"
        if np.isfinite(first["secagg_client_s"]):
            secagg = " + ".join(_plain(1e3 * first[f"secagg_{party}_s"]) for party in ("client", "server"))
        cells = {
            "protects": f"{PROTECTED[first['unit']]} ({curve.split(', ', 1)[1]})",
            "against": adversary(first["unit"], first["trust"], first["participation"]),
            "s": _plain(best["wall_s"].mean()),
            "up": f"{first['bytes_up'] / joining / KILOBYTE:,.3g}",
            "down": f"{first['bytes_down'] / joining / KILOBYTE:,.3g}",
            "bits": f"{first['bits_per_parameter']:g}",
            "secagg": secagg,
        }
        axes.plot(0.006, i + 0.6, color=colours[curve], marker=MARKERS[i % len(MARKERS)], markersize=6, clip_on=False)
        _line(axes, i + 0.6, cells)


def _plain(value: float) -> str:
    """Two digits, or all before the point, and never an exponent."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _line(axes: Axes, y: float, cells: dict[str, str], weight: str = "normal") -> None:
    for column, cell in cells.items():
        left = column in ("protects", "against")
        axes.text(
            PLACES[column], y, cell, ha="left" if left else "right", va="center", fontsize="x-small", fontweight=weight
        )


def _adjacencies(private: pd.DataFrame) -> str:
    """Which curves each adjacency is about."""
    by_adjacency = private.groupby("adjacency", sort=False)["curve"].unique()
    return "; ".join(f"{style.ADJACENCIES.get(a, a)}: {' / '.join(curves)}" for a, curves in by_adjacency.items())


def _deltas(private: pd.DataFrame) -> str:
    by_unit = private.groupby("unit")["delta"].unique()
    if private["delta"].nunique() == 1:
        return f"{private['delta'].iloc[0]:g}"
    return "; ".join(f"{', '.join(f'{d:g}' for d in sorted(deltas))} ({unit})" for unit, deltas in by_unit.items())
