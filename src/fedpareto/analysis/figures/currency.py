"""The currency of an epsilon: the promise that it counts, and how a figure tells apart the promises that it shows.

An epsilon says nothing without its unit, delta, adjacency, sampling, trust model and accountant. Where the adjacency differs, so
does the strength of the promise at one epsilon: a figure then has a panel for each, or marks each, and its headline says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from fedpareto.analysis.figures import looks, style
from fedpareto.analysis.tables.tradeoff import FRONT_GROUP
from fedpareto.columns.declared import CALIBRATING, HEADLINE

# Points that differ in one of these are not compared, and share no panel that marks nothing.
COMPARABLE = FRONT_GROUP[1:]
SHARED = ("dataset", "partition", "model")  # with the runs without noise that belong to a panel
LINE, MARKER, PANEL = "line", "marker", "panel"


class Look(NamedTuple):
    """How the points of one adjacency are drawn where a figure shows several.

    Attributes:
      lines: The word for its lines.
      markers: The word for its markers.
      linestyle: Of its lines.
      marker: What its markers have beside their shape and colour.
    """

    lines: str
    markers: str
    linestyle: str
    marker: dict[str, Any]


# From the strongest promise to the weakest.
LOOKS = {
    "replace_one": Look("solid", "filled", "-", {}),
    "add_or_remove_one": Look("dashed", "hollow", "--", {"markerfacecolor": "white"}),
    "zero_out": Look("dotted", "half-filled", ":", {"fillstyle": "bottom", "markerfacecoloralt": "white"}),
}
PLAIN = LOOKS["replace_one"]


def of_points(points: pd.DataFrame) -> dict[str, Look]:
    """The look of each adjacency that private points have, from the strongest promise to the weakest; plain where there is one."""
    shown = looks.present(LOOKS, points["adjacency"])
    return {adjacency: LOOKS[adjacency] if len(shown) > 1 else PLAIN for adjacency in shown}


def warning(points: pd.DataFrame, drawn_as: str) -> str:
    """The line of a headline that says how the promises differ; empty where private points have one adjacency.

    (epsilon, delta) under add or remove one, or under zero out one, imply 2 epsilon, at a larger delta, under replace one.

    Args:
      points: Private points, or attacks on them.
      drawn_as: What tells the adjacencies apart: `LINE`, `MARKER` or `PANEL`.
    """
    shown = list(of_points(points))
    if len(shown) < 2:
        return ""
    number = {2: "Two", 3: "Three"}[len(shown)]
    strong, *weak = (_named(adjacency, drawn_as) for adjacency in shown)
    if shown[0] == "replace_one":
        return f"{number} currencies: ε {' and '.join(weak)} promises less, it stands for up to 2ε {strong}"
    return f"{number} currencies: ε {weak[0]} promises less than {strong}, it does not hide that the unit is there"


def _named(adjacency: str, drawn_as: str) -> str:
    words, look = style.ADJACENCIES[adjacency], LOOKS[adjacency]
    if drawn_as == PANEL:
        return f"under {words}"
    return f"of {look.lines} curves ({words})" if drawn_as == LINE else f"of {look.markers} points ({words})"


def entries(points: pd.DataFrame, drawn_as: str) -> list[Line2D]:
    """The entries of a legend for the adjacencies; none where private points have one."""
    found = of_points(points)
    return [
        looks.entry(
            f"ε under {style.ADJACENCIES[adjacency]}",
            color="0.3",
            marker="o",
            linestyle=look.linestyle if drawn_as == LINE else "",
            **look.marker,
        )
        for adjacency, look in found.items()
        if len(found) > 1
    ]


def panels(
    rows: pd.DataFrame, private: pd.Series, columns: Sequence[str], shared: Sequence[str] = ()
) -> list[tuple[str, pd.DataFrame]]:
    """The title and the rows of each panel: private rows that agree in all columns, and the references that belong to them.

    Args:
      rows: Points, runs or attacks.
      private: Which of them have a guarantee: bool [rows]. The others are references.
      columns: Columns that tell panels apart.
      shared: Those of them in which a reference agrees with its panel.

    Returns:
      One panel with an empty title where nothing tells rows apart.
    """
    facets = style.varying(rows[private], columns)
    if not facets:
        return [("", rows)]
    others = [facet for facet in facets if facet != "participation"]
    follows = others and rows[private].groupby(others, dropna=False)["participation"].nunique(dropna=False).max() == 1
    named = others if follows else facets
    found = []
    for _, group in rows[private].groupby(facets, dropna=False, sort=False):
        first = group.iloc[0]
        same = ~private & rows[list(shared)].eq(first[list(shared)]).all(axis=1)
        found.append((style.panel_title(group, named), pd.concat([group, rows[same]])))
    return found


def proved(points: pd.DataFrame) -> str:
    """The accountants that prove the epsilons of points: `by PLD`; empty where none is proved."""
    names = looks.present([accountant.name for accountant in CALIBRATING], points["epsilon_by"])
    labels = {accountant.name: accountant.label for accountant in CALIBRATING}
    if not names:
        return ""
    if len(names) == 1:
        return f"by {labels[names[0]]}"
    headline, other = labels[HEADLINE], labels[names[1]]
    return f"by {headline}, by {other} where there is no {headline},"


def epsilon_label(points: pd.DataFrame) -> str:
    """The label of an epsilon axis with everything a guarantee needs: unit, delta, accountant, adjacency, sampling."""
    private = points[points["delta"].notna()]
    if private.empty:
        return "ε"
    unit = " and ".join(style.UNITS.get(u, u) for u in private["unit"].unique())
    adjacency = ", ".join(style.ADJACENCIES.get(a, a) for a in private["adjacency"].unique())
    sampling = ", ".join(private["sampling"].unique())
    trust = ", ".join(private["trust"].unique())
    proof = style.by_author(private)
    own = "" if not proof.any() else f"; {style.PROVED}" if proof.all() else f"; in part {style.PROVED}"
    epsilon = " ".join(filter(None, ["ε", proved(private)]))
    return f"{unit} {epsilon} at δ = {deltas(private)}\n({adjacency}, {sampling} sampling, {trust} trust{own})"


def deltas(points: pd.DataFrame) -> str:
    """The deltas of points, from the smallest: `1e-05, 0.001`."""
    return ", ".join(f"{delta:g}" for delta in sorted(points["delta"].dropna().unique()))
