"""The success of each adversary against epsilon, with accuracy on the same axis."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedpareto.analysis.figures import currency, looks, score, style
from fedpareto.analysis.figures.looks import ADVERSARIES, CHANCE
from fedpareto.analysis.tables.attacks import aimed_at, not_made, why_nothing, without_noise
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.leakage import of_own_trust, strongest
from fedpareto.analysis.tables.tradeoff import comparable_epsilon
from fedpareto.columns.column import Metric

SCORE_COLOUR = "0.55"
FAINT = 0.3
SCORE = ["method", "adversary", "score"]
DODGE = 0.03  # of a factor of e between adversaries at one epsilon
LONGEST_HEADING = 44  # characters of a panel's title on one line
# None of these is an adversary's.
CLIENT_LOOKS = (
    *(("#cc78bc", "D"), ("#ca9161", "v"), ("#56b4e9", "P"), ("#949494", "X")),
    *(("#ece133", "d"), ("#fbafe4", "p"), ("#de8f05", "h"), ("black", "*")),
)
BOUND: dict[str, Any] = {"color": "black", "linestyle": "-", "linewidth": 0.7}


class Success(NamedTuple):
    """One kind of success: a panel.

    Attributes:
      title: Of the panel.
      label: Of its axis.
      goal: Of the attacks.
      score: Of the rows, or None for those that stand for their attack.
      share: Whether the score is a probability.
      single: Of the panel with a line a client.
    """

    title: str
    label: str
    goal: tuple[str, str]
    score: str | None
    share: bool
    single: str = "each client"


SUCCESSES = (
    Success(
        "is this record a member?", "attack AUC", ("membership", "record"), None, True, "is a client's record a member?"
    ),
    Success(
        "did this client take part?", "attack AUC", ("membership", "client"), None, True, "did each client take part?"
    ),
    Success("records rebuilt from an update", "share rebuilt", ("reconstruction", "record"), None, True),
    Success("likeness of what is rebuilt", "PSNR, dB", ("reconstruction", "record"), "psnr", False),
    Success("classes seen in the model", "share recognised", ("reconstruction", "class"), None, True),
)


class Leakage:
    """The success of each adversary against epsilon, with accuracy on the same axis."""

    NAME: ClassVar = "leakage"
    ORDER: ClassVar = 7
    CATEGORY: ClassVar = "2 Leakage"
    CAPTION: ClassVar = (
        "How well attacks did, by adversary, with their intervals: the area under the ROC curve (AUC) of telling "
        "whether a record or a client was there, the share of records rebuilt, and how like the true ones they are. "
        "Hollow and dashed: adversaries that epsilon does not cover. Black: the most that epsilon leaves possible. "
        "Dotted: what is possible without seeing anything. Grey, on the right: test accuracy. An attack that fails "
        "proves nothing; a better one may not."
    )
    FOR: ClassVar = ("study",)
    GOALS: ClassVar = (("membership", "record"), ("membership", "client"), ("reconstruction", "record"))

    def build(self, tables: Tables, title: str) -> Figure:
        """A panel for each family of attacks (of each facet), and one with a line a client where clients were told apart."""
        tables, metric = score.scored(tables)
        headline = f"{title}: what attacks got at each ε"
        attacks = tables.attacks[~not_made(tables.attacks)]
        attacks = attacks.assign(upper=attacks["high"].fillna(attacks["value"]))
        private = pd.Series(~without_noise(attacks), index=attacks.index)
        panels = [
            (name, success, rows, by_client)
            for name, facet in currency.panels(attacks, private, currency.COMPARABLE, currency.SHARED)
            for success in SUCCESSES
            for rows, by_client in _rows(facet, success)
        ]
        if not panels:
            goals = [success.goal for success in SUCCESSES]
            why = why_nothing(tables.attacks, goals, "no run of this study was attacked")
            return style.nothing_to_draw(headline, why)
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        figure, grid = plt.subplots(
            lines, columns, figsize=(style.WIDTH, 1.9 + 2.5 * lines), squeeze=False, layout="constrained"
        )
        for number, (axes, (name, success, rows, by_client)) in enumerate(zip(grid.flat, panels, strict=False)):
            last = number % columns == columns - 1 or number == len(panels) - 1
            _panel(axes, rows, success, by_client, metric, last)
            what = success.single if by_client else success.title
            heading = f"{name}: {what}" if name else what
            axes.set_title(heading if len(heading) <= LONGEST_HEADING else f"{name}\n{what}", fontsize="medium")
            if number >= len(panels) - columns:
                axes.set_xlabel("ε")
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        drawn = pd.concat([rows for _, _, rows, _ in panels])
        clients = sorted(
            {client for _, _, rows, by_client in panels if by_client for client in rows["client"].dropna()}
        )
        caption = (
            f"{currency.epsilon_label(drawn)}\n{100 * drawn['confidence'].max():g} % intervals of each adversary's strongest "
            "attack; faint: weaker ones; an attack that fails proves nothing"
        )
        style.key(figure, _legend(drawn, clients, metric), caption, 2)
        promises = drawn[~without_noise(drawn)]
        style.headline(figure, headline, currency.warning(promises, currency.PANEL))
        return figure


def _rows(facet: pd.DataFrame, success: Success) -> list[tuple[pd.DataFrame, bool]]:
    """The rows of one kind of success: those over all clients, and where there are few enough those of single clients.

    Whoever is trusted to see each client's update knows who took part: of single clients that adversary is left out.
    """
    rows = facet[aimed_at(facet, [success.goal]) & facet["value"].notna()]
    standing = rows["success"] if success.score is None else rows["score"] == success.score
    # The scores of single clients stand for nothing but them; they are those that stand for their attack over all clients.
    like = pd.MultiIndex.from_frame(rows.loc[standing, SCORE])
    single = rows["client"].notna() & pd.MultiIndex.from_frame(rows[SCORE]).isin(like)
    rows, single = rows[standing | single], single[standing | single]
    by_client = of_own_trust(rows[single]) if 1 < rows["client"].nunique() <= len(CLIENT_LOOKS) else rows.iloc[:0]
    overall = rows[~single] if (~single).any() or len(by_client) else rows
    return [(part, part is by_client) for part in (overall, by_client) if len(part)]


def _panel(axes: Axes, rows: pd.DataFrame, success: Success, by_client: bool, metric: Metric, last: bool) -> None:
    infinity = style.endless_epsilon_axis(axes, rows["epsilon"])
    rows = rows.assign(x=np.where(without_noise(rows), infinity, comparable_epsilon(rows["epsilon"])))
    twin = axes.twinx()
    _score(twin, rows, infinity, metric, last)
    axes.set_zorder(twin.get_zorder() + 1)
    axes.patch.set_visible(False)
    _reference(axes, rows, "baseline", CHANCE)
    _reference(axes, rows[rows["covered"]], "bound", BOUND)
    if by_client:
        clients = sorted(rows["client"].unique())
        for place, (client, colour, marker) in enumerate(_client_looks(clients)):
            part = strongest(rows[rows["client"] == client], ["x"])
            _series(axes, part, colour, marker, looks.dodge(DODGE, place, len(clients)), infinity)
    else:
        names = looks.present(ADVERSARIES, rows["adversary"])
        for place, name in enumerate(names):
            look = ADVERSARIES[name]
            part = rows[rows["adversary"] == name]
            shift = looks.dodge(DODGE, place, len(names))
            best = strongest(part, ["x"])
            rest = part.drop(best.index)
            axes.plot(rest["x"] * shift, rest["value"], look.marker, color=look.colour, alpha=FAINT, markersize=3)
            _series(axes, best, look.colour, look.marker, shift, infinity)
    axes.set_ylabel(success.label)
    if success.share:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.03), min(high, 1.03))


def _series(axes: Axes, best: pd.DataFrame, colour: object, marker: str, shift: float, infinity: float) -> None:
    """One line with intervals; hollow and dashed where the guarantee is not against this adversary."""
    best = best.sort_values("x")
    x = best["x"] * shift
    finite = (best["x"] < infinity).to_numpy()
    line = "-" if best["covered"][finite].all() else "--"
    axes.plot(x[finite], best["value"][finite], color=colour, linestyle=line, linewidth=1.3, zorder=3)
    for hollow, part in best.groupby(~best["covered"]):
        axes.errorbar(
            x[part.index],
            part["value"],
            yerr=looks.spread(part, "value", "low", "high"),
            fmt=marker,
            color=colour,
            markersize=5,
            markerfacecolor="white" if hollow else colour,
            elinewidth=1.0,
            zorder=4,
        )


def _client_looks(clients: list[int]) -> list[tuple[int, Any, str]]:
    """Client, colour and marker."""
    return [(client, *look) for client, look in zip(clients, CLIENT_LOOKS, strict=False)]


def _reference(axes: Axes, rows: pd.DataFrame, column: str, look: dict[str, Any]) -> None:
    """Chance, or the bound of a guarantee: the largest of the rows at each epsilon."""
    most = rows[rows[column].notna()].groupby("x")[column].max()
    if most.empty:
        return
    if column == "baseline" and np.ptp(most) < 1e-6:
        axes.axhline(most.iloc[0], zorder=2, **look)
    else:
        axes.plot(most.index, most, zorder=2, marker="_" if len(most) == 1 else "", markersize=12, **look)


def _score(axes: Axes, rows: pd.DataFrame, infinity: float, metric: Metric, labelled: bool) -> None:
    """The score of the attacked points on the right: the best of each epsilon."""
    points = rows[rows["score_mean"].notna()].drop_duplicates("point_id")
    if points.empty:
        axes.set_yticks([])
        return
    best = points.loc[points.groupby("x")["gain_mean"].idxmax()].sort_values("x")
    finite = (best["x"] < infinity).to_numpy()
    axes.plot(best["x"][finite], best["score_mean"][finite], color=SCORE_COLOUR, linewidth=1.0, alpha=0.7)
    axes.errorbar(
        best["x"],
        best["score_mean"],
        yerr=looks.score_spread(best),
        fmt="_",
        color=SCORE_COLOUR,
        markersize=8,
        elinewidth=0.8,
        alpha=0.7,
    )
    score.score_axis(axes, metric)
    axes.grid(visible=False)
    axes.tick_params(axis="y", colors=SCORE_COLOUR)
    axes.spines["right"].set(visible=True, color="0.8")
    if labelled:
        axes.set_ylabel(metric.label, color=SCORE_COLOUR)


def _legend(drawn: pd.DataFrame, clients: list[int], metric: Metric) -> list[Line2D]:
    entries = []
    whole = drawn[drawn["client"].isna()] if clients else drawn
    for name, look in ADVERSARIES.items():
        of_adversary = whole[whole["adversary"] == name]
        if of_adversary.empty:
            continue
        private = of_adversary[~without_noise(of_adversary)]
        bare = len(private) and not private["covered"].any()
        entries.append(
            looks.entry(
                look.label,
                color=look.colour,
                marker=look.marker,
                linestyle="--" if bare else "-",
                markerfacecolor="white" if bare else look.colour,
            )
        )
    for client, colour, marker in _client_looks(clients):
        entries.append(looks.entry(f"client {client}", color=colour, marker=marker, linestyle="-"))
    if not drawn["covered"].all():
        hollow = {"color": "0.3", "marker": "o", "markerfacecolor": "white", "linestyle": "--"}
        entries.append(looks.entry("not covered by ε", **hollow))
    entries.append(looks.entry("without seeing anything", **CHANCE))
    if (drawn["covered"] & drawn["bound"].notna()).any():
        entries.append(looks.entry("most that ε allows, where it covers", **BOUND))
    look_of_score = {"color": SCORE_COLOUR, "marker": "_", "markersize": 8, "linestyle": "-"}
    entries.append(looks.entry(f"{metric.label} (right axis)", **look_of_score))
    return entries
