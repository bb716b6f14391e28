"""The risk front: accuracy against the success of attacks, and accuracy against epsilon."""

from __future__ import annotations

from typing import Any, ClassVar

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedpareto.analysis.figures import currency, looks, score, style
from fedpareto.analysis.figures.looks import CHANCE, TRUST_MARKERS
from fedpareto.analysis.tables.attacks import aimed_at, why_nothing
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.front import non_dominated
from fedpareto.analysis.tables.leakage import of_own_trust, strongest, successes
from fedpareto.analysis.tables.tradeoff import comparable_epsilon

RISKS = {
    ("membership", "record"): "attack AUC: is this record a member?",
    ("membership", "client"): "attack AUC: did this client take part?",
    ("reconstruction", "record"): "share of records rebuilt",
}
UNATTACKED = 0.25
Promises = dict[str, currency.Look]
UNIT_COLOURS = {"client": "black", "record": "0.5"}  # of fronts
# The darker the smaller epsilon; the palest end of the map is left out, which does not show on white.
SHADES = mpl.colors.ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.9, 256)))


class RiskFront:
    """The risk front: accuracy against the success of attacks, and accuracy against epsilon."""

    NAME: ClassVar = "riskfront"
    ORDER: ClassVar = 11
    CATEGORY: ClassVar = "2 Leakage"
    CAPTION: ClassVar = (
        "Accuracy against how well the strongest attack did, and against epsilon. Attacks are those of adversaries "
        "that the point's trust model knows: a trusted coordinator is none. The fronts differ where a proof promises "
        "less than attacks take; only epsilon bounds attacks that nobody has thought of yet."
    )
    FOR: ClassVar = ("study", "comparison")
    GOALS: ClassVar = (("membership", "record"), ("membership", "client"), ("reconstruction", "record"))

    def build(self, tables: Tables, title: str) -> Figure:
        """A panel for each family of attacks that was tried, and one for epsilon; all share the axis of accuracy."""
        tables, metric = score.scored(tables)
        headline = f"{title}: {score.noun(metric)} against measured risk and against ε"
        found = of_own_trust(successes(tables.attacks, self.GOALS))
        points = tables.tradeoff[tables.tradeoff["kind"].isin(["private", "non_private", "clipped"])]
        points = points[points["score_mean"].notna()].drop_duplicates("point_id")
        attacked = points["point_id"].isin(found["point_id"])
        if not attacked.any():
            why = why_nothing(tables.attacks, self.GOALS, "no point of this study was attacked")
            return style.nothing_to_draw(headline, why)
        risks = [goal for goal in RISKS if aimed_at(found, [goal]).any()]
        panels = len(risks) + 1
        columns = panels if panels < 4 else 2
        lines = -(-panels // columns)
        figure, grid = plt.subplots(
            lines, columns, figsize=(style.WIDTH, 1.9 + 3.0 * lines), squeeze=False, sharey=True, layout="constrained"
        )
        private = points[points["kind"] == "private"]
        promises = currency.of_points(private)
        finite = private["epsilon"][np.isfinite(private["epsilon"])]
        norm = LogNorm(finite.min() / 1.01, finite.max() * 1.01) if len(finite) else None
        for axes, risk in zip(grid.flat, risks, strict=False):
            best = strongest(found[aimed_at(found, [risk])], ["point_id"]).set_index("point_id")
            own = points[points["point_id"].isin(best.index)]
            own = own.assign(**{name: own["point_id"].map(best[name]) for name in ("value", "low", "high", "baseline")})
            _risk(axes, own, norm, promises)
            axes.set_xlabel(RISKS[risk], fontsize="small" if columns > 2 else "medium")
        _epsilon(grid.flat[len(risks)], points, attacked, norm, promises)
        for axes in grid[:, 0]:
            axes.set_ylabel(metric.label)
        score.score_axis(grid[0, 0], metric)
        for axes in list(grid.flat)[panels:]:
            axes.set_visible(False)
        if norm is not None:
            bar = figure.colorbar(plt.cm.ScalarMappable(norm, SHADES), ax=grid, label="ε", pad=0.02, aspect=30)
            style.plain_log(bar.ax.yaxis)
            bar.ax.minorticks_off()
        caption = (
            f"{currency.epsilon_label(points)}\n{style.means_over(int(points['n_seeds'].max()))}; the strongest attack that was "
            "tried, by adversaries of the\npoint's own trust model: a trusted coordinator is none of them"
        )
        style.key(figure, _legend(points, attacked), caption, 3)
        style.headline(figure, headline, currency.warning(private, currency.MARKER))
        return figure


def _colour(epsilon: float, norm: LogNorm | None) -> object:
    return SHADES(norm(epsilon)) if norm is not None and np.isfinite(epsilon) else "black"


def _point(axes: Axes, x: float, point: pd.Series, colour: object, promises: Promises, **look: Any) -> None:
    bare, alpha = not np.isfinite(point["epsilon"]), look.pop("alpha", 1.0)
    if not bare:
        look |= promises[point["adjacency"]].marker
    axes.errorbar(
        x,
        point["score_mean"],
        yerr=looks.score_spread(point),
        fmt="*" if bare else TRUST_MARKERS.get(point["trust"], "D"),
        color=colour,
        markersize=9 if bare else 6,
        ecolor=(mpl.colors.to_rgb(colour), 0.5),
        elinewidth=0.8,
        alpha=alpha if alpha < 1 else None,
        zorder=2 if alpha < 1 else 4,
        **look,
    )


def _risk(axes: Axes, points: pd.DataFrame, norm: LogNorm | None, promises: Promises) -> None:
    """Accuracy against success, lower to the left, with the points that no other beats in both."""
    for _, point in points.iterrows():
        spread = looks.spread(point, "value", "low", "high")
        _point(axes, point["value"], point, _colour(point["epsilon"], norm), promises, xerr=spread)
    if points["baseline"].notna().any():
        axes.axvline(points["baseline"].median(), zorder=1, **CHANCE)
    style.mark_useless(axes, points["value"], points)
    style.mark_author(axes, points["value"], points)
    _front(axes, points["value"], points)


def _epsilon(axes: Axes, points: pd.DataFrame, attacked: pd.Series, norm: LogNorm | None, promises: Promises) -> None:
    infinity = style.endless_epsilon_axis(axes, points["epsilon"])
    for was_attacked, (_, point) in zip(attacked, points.iterrows(), strict=True):
        x = point["epsilon"] if np.isfinite(point["epsilon"]) else infinity
        alpha = 1.0 if was_attacked else UNATTACKED
        _point(axes, x, point, _colour(point["epsilon"], norm), promises, alpha=alpha)
    finite = points[np.isfinite(points["epsilon"])]
    places = points["epsilon"].where(np.isfinite(points["epsilon"]), infinity)
    style.mark_useless(axes, places, points)
    style.mark_author(axes, places, points)
    # An epsilon of another unit or adjacency is another currency.
    for (unit, adjacency), own in finite.groupby(["unit", "adjacency"]):
        look = {"color": UNIT_COLOURS[str(unit)], "linestyle": promises[str(adjacency)].linestyle}
        _front(axes, pd.Series(comparable_epsilon(own["epsilon"])), own, **look)
    axes.set_xlabel("ε")


def _front(axes: Axes, x: pd.Series, points: pd.DataFrame, color: str = "black", linestyle: str = "-") -> None:
    if x.empty:
        return
    front = non_dominated(x, points["gain_mean"])
    order = np.argsort(x[front].to_numpy(), kind="stable")
    right = axes.get_xlim()[1]
    steps_x, steps_y = x[front].to_numpy()[order], points["score_mean"][front].to_numpy()[order]
    axes.step(
        [*steps_x, right],
        [*steps_y, steps_y[-1]],
        where="post",
        color=color,
        linestyle=linestyle,
        linewidth=1.0,
        alpha=0.7,
        zorder=3,
    )
    axes.set_xlim(right=right)


def _legend(points: pd.DataFrame, attacked: pd.Series) -> list[Line2D]:
    private = points[np.isfinite(points["epsilon"])]
    entries = [
        looks.entry(f"{trust} trust", color="0.3", marker=TRUST_MARKERS[trust])
        for trust in looks.present(TRUST_MARKERS, private["trust"])
    ]
    if not np.isfinite(points["epsilon"]).all():
        entries.append(looks.entry("no noise", color="black", marker="*", markersize=9))
    if not attacked.all():
        entries.append(looks.entry("not attacked", color="0.3", marker="o", alpha=UNATTACKED))
    entries += style.useless_entry(points)
    entries += style.author_entry(points)
    entries += currency.entries(private, currency.MARKER)
    line = {"linewidth": 1.0, "linestyle": "-", "alpha": 0.7}
    entries.append(looks.entry("front: no point beats it in both", color="black", **line))
    if private["unit"].nunique() > 1:
        entries.append(looks.entry("front of record-level ε", color=UNIT_COLOURS["record"], **line))
    entries.append(looks.entry("without seeing anything", **CHANCE))
    return entries
