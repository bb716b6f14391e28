"""The recommended point of a policy: points that its limits forbid, points left, and the choice."""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedpareto.analysis.figures import currency, looks, score, style
from fedpareto.analysis.figures.looks import TRUST_MARKERS
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.leakage import successes
from fedpareto.analysis.tables.recommendation import LIMITS, NOT_TRUSTED, QUESTION, TRUSTED, candidates
from fedpareto.columns.column import Metric
from fedpareto.columns.declared import ITS_AUTHOR
from fedpareto.components import threats

FORBIDDEN = "#d55e00"
# Rings around the picks: a double one where both agree.
RINGS = {TRUSTED: ("#0173b2", 12.0), NOT_TRUSTED: ("#029e73", 17.0)}
RING: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 2.0, "linestyle": ""}
CHARACTERS = 105  # of a line of the reasons
DODGE = 0.05  # of a factor of e between trust models at one epsilon
UNJUDGED = 0.6
PANEL, LINE = 3.6, 0.17  # inches
PROMISE = ("unit", "adjacency")


class Recommendation:
    """The recommended point of a policy: points that its limits forbid, points left, and the choice."""

    NAME: ClassVar = "recommendation"
    ORDER: ClassVar = 12
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = (
        "Which point the configuration's policy picks, if the coordinator is trusted and if it is not, and why; or "
        "which limit binds. Only points with a guarantee are picked, and where the policy limits leakage only those "
        "that were attacked. Points of another unit or adjacency do not compete: their epsilon counts another promise, "
        "and they have a panel and picks of their own."
    )
    FOR: ClassVar = ("study", "comparison")
    NEEDS: ClassVar = ("policy",)

    def build(self, tables: Tables, title: str) -> Figure:
        """A panel for each policy, data set and promise: accuracy against epsilon, the limits, and the picks with their reasons."""
        headline = f"{title}: which point the policy picks"
        points = tables.tradeoff.drop_duplicates("point_id")
        tables, metric = score.scored(tables)
        rows = tables.recommendation
        if rows.empty:
            return style.nothing_to_draw(headline, "no policy for this study, or no private run to choose from")
        panels = [group for _, group in rows.groupby(["study", *QUESTION], dropna=False, sort=False)]
        names = [_name(panel, style.varying(rows, ["study", *QUESTION])) for panel in panels]
        reasons = "\n".join(_text(panel, name, metric) for panel, name in zip(panels, names, strict=True))
        figure, grid = plt.subplots(
            len(panels),
            1,
            figsize=(style.WIDTH, 1.9 + PANEL * len(panels) + LINE * reasons.count("\n")),
            squeeze=False,
            layout="constrained",
        )
        found = successes(tables.attacks)
        shown_points = tables.tradeoff.drop_duplicates("point_id")
        drawn = []
        for axes, panel, name in zip(grid[:, 0], panels, names, strict=True):
            first = panel.iloc[0]
            asked = points[points[list(QUESTION)].eq(first[list(QUESTION)]).all(axis=1)]
            same = points["dataset"].eq(first["dataset"]) & points["partition"].eq(first["partition"])
            free = shown_points[same & points["kind"].eq("non_private")]
            drawn.append(_panel(axes, asked, free, found, panel, metric))
            axes.set_title(name, fontsize="medium")
            axes.set(ylabel=metric.label, xlabel="ε")
        shown = pd.concat(drawn)
        seeds = style.means_over(int(shown["n_seeds"].max()))
        kept = "limits on leakage are kept against attacks that were tried, and no others"
        caption = f"{reasons}\n{currency.epsilon_label(shown)}\n{seeds}; {kept}"
        style.key(figure, _legend(shown, rows), caption, 3)
        style.headline(figure, headline, currency.warning(rows, currency.PANEL))
        return figure


def _name(panel: pd.DataFrame, facets: list[str]) -> str:
    """The title of a panel: the question, and the promise that its epsilon counts."""
    first = panel.iloc[0]
    question = [style.panel_title(panel, [facet for facet in facets if facet not in PROMISE])]
    if "unit" in facets or "adjacency" in facets:
        unit = f"{style.UNITS[first['unit']]} ε" if "unit" in facets else "ε"
        question.append(unit + (f" under {style.ADJACENCIES[first['adjacency']]}" if "adjacency" in facets else ""))
    return ", ".join(filter(None, question))


def _panel(
    axes: Axes,
    points: pd.DataFrame,
    free: pd.DataFrame,
    found: pd.DataFrame,
    panel: pd.DataFrame,
    metric: Metric,
) -> pd.DataFrame:
    """One panel.

    Returns:
      The points that it shows: `candidates` of the most trusting assumption that has any.
    """
    policy = {name: None if pd.isna(panel[name].iloc[0]) else panel[name].iloc[0] for name in LIMITS}
    judged = [
        candidates(points, found, policy | {"trust": row.trust_allowed.split() or ["none"]}, row.coordinator, metric)
        for row in panel.itertuples()
    ]
    pool = score.points(pd.concat(judged).drop_duplicates("point_id"), metric)
    if pool.empty:
        return points[points["kind"] == "private"]
    style.endless_epsilon_axis(axes, pool["epsilon"])
    score.score_axis(axes, metric)
    leaky = ~pool[list(threats.LIMITS)].all(axis=1)
    limited = [threats.LIMITS[name] for name in threats.LIMITS if policy[name] is not None]
    unknown = pool[limited].isna().any(axis=1)
    shown = looks.present(TRUST_MARKERS, pool["trust"])
    for (_, point), leaks, unjudged in zip(pool.iterrows(), leaky, unknown, strict=True):
        axes.errorbar(
            _place(point["epsilon"], point["trust"], shown),
            point["score_mean"],
            yerr=looks.score_spread(point),
            fmt=TRUST_MARKERS.get(point["trust"], "D"),
            color="0.35",
            markerfacecolor="white" if unjudged else "0.35",
            markersize=5,
            ecolor=("0.35", 0.35),
            elinewidth=0.8,
            alpha=UNJUDGED if unjudged else None,
            zorder=2 if unjudged else 3,
        )
        if leaks and not unjudged:
            axes.plot(
                _place(point["epsilon"], point["trust"], shown),
                point["score_mean"],
                "x",
                color=FORBIDDEN,
                markersize=9,
                zorder=5,
            )
    places = [_place(*at, shown) for at in zip(pool["epsilon"], pool["trust"], strict=True)]
    style.mark_useless(axes, places, pool)
    style.mark_author(axes, places, pool)
    if free["score_mean"].notna().any():
        axes.axhline(score.best(metric, free["score_mean"]), color="0.25", linewidth=1.0, zorder=1)
    _limits(axes, policy, pool)
    for row in panel.itertuples():
        if isinstance(row.point_id, str):
            colour, size = RINGS[row.coordinator]
            axes.plot(
                _place(row.epsilon, row.trust, shown),
                row.score_mean,
                color=colour,
                markersize=size,
                zorder=6,
                **RING,
            )
    return pool


def _place(epsilon: float, trust: str, shown: list[str]) -> float:
    """Where a point is drawn: those of one epsilon and different trust models side by side."""
    return float(epsilon * looks.dodge(DODGE, shown.index(trust), len(shown)))


def _limits(axes: Axes, policy: dict, pool: pd.DataFrame) -> None:
    """Shades the forbidden region; the axes reach to the limits."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    epsilon, accuracy = policy["largest_epsilon"], policy["smallest_accuracy"]
    if accuracy is not None:
        room = 0.06 * (top - bottom)
        bottom, top = min(bottom, accuracy - room), max(top, accuracy + room)
        axes.axhspan(bottom - 1, accuracy, color=FORBIDDEN, alpha=0.12, linewidth=0, zorder=0)
        axes.axhline(accuracy, color=FORBIDDEN, linewidth=1.0, zorder=1)
    if epsilon is not None:
        left, right = min(left, epsilon / 1.3), max(right, 1.3 * epsilon)
        axes.axvspan(epsilon, 10 * right, color=FORBIDDEN, alpha=0.12, linewidth=0, zorder=0)
        axes.axvline(epsilon, color=FORBIDDEN, linewidth=1.0, zorder=1)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _text(panel: pd.DataFrame, name: str, metric: Metric) -> str:
    """The recommended point and the reason for it under each assumption about the coordinator, wrapped."""
    lines = []
    about = f"{name}: " if name else ""
    for row in panel.itertuples():
        who = f"{about}coordinator {row.coordinator}: "
        if isinstance(row.point_id, str):
            clip = "" if np.isnan(row.clip_norm) else f", clip norm {row.clip_norm:g}"
            who += (
                f"{style.counted(row.clients, 'client')}, noise {row.noise_multiplier:.3g}{clip}, {row.trust} trust: "
                f"{score.noun(metric)} {_interval(row, metric)} at ε\u00a0=\u00a0{row.epsilon:.3g}"
            )
            if row.proved_by == ITS_AUTHOR:
                who += f" ({style.PROVED})"
            if np.isfinite(row.cost):
                who += f", {_cost(row.cost, metric)} {'below' if row.cost >= 0 else 'above'} no privacy"
            if np.isfinite(row.membership_high):
                who += f"; attack AUC up to {row.membership_high:.2f}"
            if np.isfinite(row.reconstruction_high):
                who += f"; up to {row.reconstruction_high:.0%} of records rebuilt"
            if np.isfinite(row.sure):
                who += f"; the best in {row.sure:.0%} of resamples"
            who += "; "
        lines += textwrap.wrap(f"{who}{row.why}.", CHARACTERS, subsequent_indent="   ")
    return "\n".join(lines)


def _cost(cost: float, metric: Metric) -> str:
    return f"{abs(cost):.1f} points" if metric.percent else f"{abs(cost):.3g}"


def _interval(row: object, metric: Metric) -> str:
    low, high = row.score_low, row.score_high  # type: ignore[attr-defined]
    mean = score.written(metric, row.score_mean)  # type: ignore[attr-defined]
    ends = f"{100 * low:.1f} to {100 * high:.1f}" if metric.percent else f"{low:.3g} to {high:.3g}"
    return mean if np.isnan(low) else f"{mean} ({ends})"


def _legend(points: pd.DataFrame, rows: pd.DataFrame) -> list:
    entries: list = [
        looks.entry(f"{trust} trust", color="0.35", marker=TRUST_MARKERS[trust], markersize=5)
        for trust in looks.present(TRUST_MARKERS, points["trust"])
    ]
    for coordinator, (colour, _) in RINGS.items():
        if rows.loc[rows["coordinator"] == coordinator, "point_id"].notna().any():
            entries.append(looks.entry(f"picked, coordinator {coordinator}", color=colour, markersize=9, **RING))
    if any(rows[name].notna().any() for name in threats.LIMITS):
        marks = [("x", FORBIDDEN, "leaks more than allowed"), ("o", "0.35", "leakage not measured")]
        for marker, colour, label in marks:
            entries.append(looks.entry(label, color=colour, marker=marker, markerfacecolor="white"))
    entries += style.useless_entry(points)
    entries += style.author_entry(points)
    if rows[["largest_epsilon", "smallest_accuracy"]].notna().any(axis=None):
        entries.append(Patch(facecolor=FORBIDDEN, alpha=0.2, label="forbidden by ε or accuracy"))
    entries.append(looks.entry("not private", color="0.25", linewidth=1.0, linestyle="-"))
    return entries
