"""Accuracy and epsilon by round."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from fedpareto.analysis.figures import currency, score, style
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.front import bootstrap_interval
from fedpareto.statuses import FINISHED

SHARED = (*currency.SHARED, "clients")
FACETS = (*currency.COMPARABLE, "clients")
MOST_COLUMNS = 3
EPSILONS = {"epsilon": ("-", 1.4), "epsilon_rdp": (":", 0.9)}


class Rounds:
    """Accuracy and epsilon by round."""

    NAME: ClassVar = "rounds"
    ORDER: ClassVar = 3
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = (
        "Accuracy and epsilon by round, for each noise multiplier at its best clip norm (95 % bands over seeds). "
        "Privacy is spent round by round: stopping early costs accuracy and saves epsilon. Solid: epsilon by PLD, by "
        "RDP where there is no PLD. Dotted: by RDP, where PLD is tighter."
    )
    FOR: ClassVar = ("study",)

    def build(self, tables: Tables, title: str) -> Figure:
        """A column of two panels for each client count and promise: accuracy above, epsilon below.

        Of several clip norms the one with the best final accuracy is shown for each noise multiplier.
        """
        tables, metric = score.scored(tables)
        points = tables.tradeoff[tables.tradeoff["kind"].isin(["private", "clipped", "non_private"])]
        # A clipped run without noise is no reference, and a point without one seed that ended well has no best clip norm.
        candidates = points[points["score_mean"].notna() & (points["kind"] != "clipped")]
        if candidates.empty:
            return style.nothing_to_draw(
                f"{title}: {score.noun(metric)} and ε by round", "every run of this study diverged"
            )
        promising = candidates["kind"] == "private"
        chosen = [
            part.groupby([*alike, "noise_multiplier"], dropna=False)["gain_mean"].idxmax()
            for part, alike in ((candidates[promising], FACETS), (candidates[~promising], SHARED))
        ]
        shown = points.loc[pd.concat(chosen)]
        runs = tables.runs[tables.runs["point_id"].isin(shown["point_id"]) & tables.runs["status"].isin(FINISHED)]
        rounds = tables.rounds.merge(
            runs[["run_id", "seed", "noise_multiplier", "kind", *FACETS]].drop_duplicates("run_id"), on="run_id"
        )
        rounds = rounds.sort_values(list(FACETS), kind="stable", ignore_index=True)
        panels = currency.panels(rounds, rounds["kind"] == "private", FACETS, SHARED)
        columns = min(MOST_COLUMNS, len(panels))
        bands = -(-len(panels) // columns)
        figure, grid = plt.subplots(
            2 * bands,
            columns,
            figsize=(style.WIDTH, 0.4 + 4.6 * bands),
            squeeze=False,
            sharex=True,
            layout="constrained",
        )
        for row in range(2 * bands):  # panels of one kind share their scale
            for axes in grid[row]:
                if axes is not grid[row % 2, 0]:
                    axes.sharey(grid[row % 2, 0])
        for number in range(len(panels), bands * columns):
            band, column = divmod(number, columns)
            grid[2 * band, column].set_visible(False)
            grid[2 * band + 1, column].set_visible(False)
        noises = sorted(rounds["noise_multiplier"].unique())
        private = [z for z in noises if z > 0]
        palette = dict(zip(private, sns.color_palette("viridis_r", len(private)), strict=True)) | {0.0: "0.3"}
        for number, (_, panel) in enumerate(panels):
            band, column = divmod(number, columns)
            upper, lower = grid[2 * band, column], grid[2 * band + 1, column]
            for z, group in panel.groupby("noise_multiplier"):
                label = "not private" if z == 0 else f"noise {z:.3g}"
                _band(upper, group, palette[z], label, "-" if z else "--")
                if z > 0:
                    curve = group[group["epsilon"] > 0].drop_duplicates("round").sort_values("round")
                    for epsilon, (line, width) in EPSILONS.items():
                        # One point draws no line; epsilon before the first round is 0, which no logarithm has.
                        dot = "o" if curve[epsilon].count() == 1 else None
                        look = {"color": palette[z], "linestyle": line, "linewidth": width, "marker": dot}
                        lower.plot(curve["round"], curve[epsilon], markersize=2.5 * width, **look)
            score.score_axis(upper, metric)
            if private:
                lower.set_yscale("log")
                style.plain_log(lower.yaxis)
            lower.set_xlabel("round")
            lower.tick_params(labelbottom=True)
        spent = shown[shown["kind"] == "private"]
        by = " ".join(filter(None, ["ε", currency.proved(spent).rstrip(",")]))
        tighter = "\n(dotted: by RDP)" if spent["epsilon_by"].eq("pld").any() else ""
        for band in range(bands):
            grid[2 * band, 0].set_ylabel(metric.label)
            grid[2 * band + 1, 0].set_ylabel(f"{by}{tighter}" if private else "ε: none, not private")
        handles, labels = max(
            (axes.get_legend_handles_labels() for axes in grid[::2].flat), key=lambda pair: len(pair[1])
        )
        figure.legend(handles, labels, loc="outside right upper", fontsize="small")
        upper = [axes for band in range(bands) for axes in grid[2 * band]]
        style.panel_titles(figure, upper, [name for name, _ in panels], columns)
        warning = currency.warning(spent, currency.PANEL)
        style.headline(figure, f"{title}: {score.noun(metric)} and ε by round", warning)
        seeds = int(shown["n_seeds"].max())
        several = candidates.groupby([*FACETS, "noise_multiplier"], dropna=False).size().max() > 1
        other = candidates.groupby([*FACETS, "noise_multiplier", "clip_norm"], dropna=False).size().max() > 1
        best = ("; best setting of each noise" if other else "; best clip norm of each noise") if several else ""
        label = currency.epsilon_label(shown).replace("\n", " ")
        style.footer(figure, f"{style.means_over(seeds)}{best}; {label}")
        return figure


def _band(axes: plt.Axes, group: pd.DataFrame, colour: object, label: str, line: str) -> None:
    """Mean over seeds with its 95 % bootstrap interval, as in the tables."""
    table = group.pivot_table(index="round", columns=["run_id"], values="score")
    axes.plot(table.index, table.mean(axis=1), color=colour, label=label, linestyle=line, linewidth=1.4)
    low, high = bootstrap_interval(table.to_numpy(dtype=float))
    axes.fill_between(table.index, low, high, color=colour, alpha=0.18, linewidth=0)
