"""The cost of privacy under each answer to "protect whom, from whom", at equal epsilon, and the cost of running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedpareto.analysis.figures import currency, looks, score, style
from fedpareto.analysis.tables.adversary import PROTECTED, adversary, name
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.tradeoff import client_rounds, comparable_epsilon
from fedpareto.columns.column import Metric

KILOBYTE = 1e3
MARKERS = "osD^vP*X"
DODGE = 0.02  # of a factor of e between neighbouring curves
ROW, TWO_LINES = 0.32, 0.44  # inches of a row of the table
REACHED = 0.01  # share of a target below which an epsilon has not reached it
MOST_TICKS, CLOSE = 12, 0.1  # of a factor of e between ticks
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
        " it costs to run. Where neighbours differ between curves, epsilons count in two currencies: dashed curves with "
        "hollow markers (add or remove one) promise less at one epsilon than solid ones (replace one)."
    )
    FOR: ClassVar = ("comparison",)

    def build(self, tables: Tables, title: str) -> Figure:
        """Accuracy against epsilon, a curve for each unit and trust model; below it a line of costs for each curve."""
        tables, metric = score.scored(tables)
        points = tables.tradeoff
        private = points[(points["kind"] == "private") & np.isfinite(points["epsilon"])].copy()
        if private.empty:
            return style.nothing_to_draw(
                f"{title}: {score.noun(metric)} at equal ε", "no private run: nothing has an epsilon"
            )
        private["curve"] = _curves(private)
        private["x"] = _places(private)
        curves = list(dict.fromkeys(private["curve"]))
        promises = currency.of_points(private)
        colours = style.colours(curves)
        height = (ROW if len(promises) == 1 else TWO_LINES) * (len(curves) + 2)
        figure, (axes, below) = plt.subplots(
            2, 1, figsize=(1.35 * style.WIDTH, 3.9 + height), height_ratios=[3.9, height], layout="constrained"
        )
        style.epsilon_axis(axes, private["x"])
        score.score_axis(axes, metric)
        chosen, marks = {}, {}
        for i, curve in enumerate(curves):
            best = _best(private[private["curve"] == curve])
            chosen[curve] = best
            promise = promises[private.loc[private["curve"] == curve, "adjacency"].iloc[0]]
            look = {"color": colours[curve], "marker": MARKERS[i % len(MARKERS)], **promise.marker}
            marks[curve] = look
            _curve(axes, best, look | {"linestyle": promise.linestyle}, looks.dodge(DODGE, i, len(curves)))
        _baselines(axes, points, metric)
        axes.set_ylabel(metric.label)
        axes.set_xlabel(f"ε {currency.proved(private)} at δ = {_deltas(private)}", fontsize="medium")
        _ticks(axes, private["x"])
        drawn = pd.concat(chosen.values())
        handles = [*axes.get_legend_handles_labels()[0], *currency.entries(private, currency.LINE)]
        handles += [*style.useless_entry(drawn), *style.author_entry(drawn)]
        figure.legend(handles=handles, loc="outside upper right", fontsize="x-small")
        _table(below, chosen, marks, len(promises) > 1)
        style.headline(figure, f"{title}: {score.noun(metric)} at equal ε", currency.warning(private, currency.LINE))
        candidates = int(private.groupby(["curve", "x"])["n_seeds"].sum().max())
        style.footer(
            figure,
            f"{style.means_over(int(private['n_seeds'].max()))}; each point is the best of up to {candidates} runs.\n"
            f"Neighbours: {'; '.join(style.ADJACENCIES[adjacency] for adjacency in promises)}"
            f"{' (each curve its own, see the table)' if len(promises) > 1 else ''}.\n"
            "s: training a run, without compilation. kB: a client in a round. Bits: of a number sent. Secagg: secure aggregation "
            "as measured, a client and the server in a round.",
            x=0.01,
            ha="left",
        )
        return figure


def _best(points: pd.DataFrame) -> pd.DataFrame:
    """The best point at each epsilon, of those whose seeds all finished."""
    sound = points[(points["n_ok"] == points["n_seeds"]) & points["score_mean"].notna()]
    return sound.loc[sound.groupby("x")["gain_mean"].idxmax()].sort_values("x")


def _curves(private: pd.DataFrame) -> pd.Series:
    """The curve of each point: whom it protects from whom, and where that is not enough to tell curves apart, the adjacency."""
    names = private.apply(name, axis=1)
    several = private.groupby(names)["adjacency"].nunique()
    words = private["adjacency"].map(style.ADJACENCIES)
    return names.where(names.map(several) == 1, names + ", " + words)


def _places(private: pd.DataFrame) -> pd.Series:
    """Where each point stands on the axis: at its epsilon, or at the target that calibration reached but for its tolerance."""
    epsilon, target = private["epsilon"], private["target_epsilon"]
    reached = (epsilon <= target) & (epsilon > (1 - REACHED) * target)
    return target.where(reached, comparable_epsilon(epsilon))


def _ticks(axes: Axes, places: pd.Series) -> None:
    """A tick at each epsilon where they are few; plain numbers where they are many, or lie close together."""
    at = np.sort(places.unique())
    if len(at) <= MOST_TICKS and (np.diff(np.log(at)) > CLOSE).all():
        axes.set_xticks(at, [f"{value:.4g}" for value in at])
    axes.set_xticks([], minor=True)


def _curve(axes: Axes, best: pd.DataFrame, look: Mapping[str, Any], shift: float) -> None:
    spread = looks.score_spread(best)
    axes.errorbar(
        best["x"] * shift, best["score_mean"], yerr=spread, markersize=5, linewidth=1.3, elinewidth=1.0, **look
    )
    style.mark_useless(axes, best["x"] * shift, best)
    style.mark_author(axes, best["x"] * shift, best)


def _baselines(axes: Axes, points: pd.DataFrame, metric: Metric) -> None:
    """The reference lines: the best of those that the studies have, of each unit where they differ."""
    for unit, style_ in (("client", "-"), ("record", "-.")):
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


def _table(axes: Axes, chosen: dict[str, pd.DataFrame], marks: dict[str, dict], several: bool) -> None:
    """A line a curve: marker, unit and adversary of its guarantee, its neighbours where curves have several, and its cost."""
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
        neighbours = f"\nneighbours: {style.ADJACENCIES[first['adjacency']]}" if several else ""
        secagg = "–"
        if np.isfinite(first["secagg_client_s"]):
            secagg = " + ".join(_plain(1e3 * first[f"secagg_{party}_s"]) for party in ("client", "server"))
        cells = {
            "protects": f"{PROTECTED[first['unit']]} ({curve.split(', ', 1)[1]}){neighbours}",
            "against": adversary(first["unit"], first["trust"], first["participation"]),
            "s": _plain(best["wall_s"].mean()),
            "up": f"{first['bytes_up'] / joining / KILOBYTE:,.3g}",
            "down": f"{first['bytes_down'] / joining / KILOBYTE:,.3g}",
            "bits": f"{first['bits_per_parameter']:g}",
            "secagg": secagg,
        }
        axes.plot(0.006, i + 0.6, markersize=6, clip_on=False, **marks[curve])
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


def _deltas(private: pd.DataFrame) -> str:
    if private["delta"].nunique() == 1:
        return currency.deltas(private)
    return "; ".join(f"{currency.deltas(own)} ({unit})" for unit, own in private.groupby("unit"))
