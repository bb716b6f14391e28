"""Accuracy and epsilon by round."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from fedpareto.analysis import style
from fedpareto.analysis.tables import Tables

FACETS = ("dataset", "partition", "model", "clients")
MOST_PANELS = 6


def build(tables: Tables, title: str) -> Figure:
    """A column of two panels for each client count: accuracy above, epsilon below.

    Of several clip norms the one with the best final accuracy is shown for each noise multiplier.
    """
    points = tables.tradeoff[tables.tradeoff["kind"].isin(["private", "clipped", "non_private"])]
    shown = points.loc[points.groupby([*FACETS, "noise_multiplier"], dropna=False)["accuracy_mean"].idxmax().dropna()]
    runs = tables.runs[tables.runs["point_id"].isin(shown["point_id"])]
    rounds = tables.rounds.merge(
        runs[["run_id", "seed", "noise_multiplier", "kind", *FACETS]].drop_duplicates("run_id"), on="run_id"
    )
    facets = style.varying(runs, FACETS)
    panels = [group for _, group in rounds.groupby(facets, dropna=False)] if facets else [rounds]
    panels = panels[:MOST_PANELS]
    size = (style.WIDTH, 5.0)
    figure, grid = plt.subplots(
        2, len(panels), figsize=size, squeeze=False, sharex=True, sharey="row", layout="constrained"
    )
    noises = sorted(rounds["noise_multiplier"].unique())
    private = [z for z in noises if z > 0]
    palette = dict(zip(private, sns.color_palette("viridis_r", len(private)), strict=True)) | {0.0: "0.3"}
    for column, panel in enumerate(panels):
        upper, lower = grid[0, column], grid[1, column]
        for z, group in panel.groupby("noise_multiplier"):
            label = "not private" if z == 0 else f"noise {z:.3g}"
            _band(upper, group, palette[z], label, "-" if z else "--")
            if z > 0:
                one = group[group["epsilon_rdp"] > 0].drop_duplicates("round").sort_values("round")
                lower.plot(one["round"], one["epsilon_rdp"], color=palette[z], linewidth=1.4)
                lower.plot(one["round"], one["epsilon_pld"], color=palette[z], linewidth=0.9, linestyle=":")
        upper.set_title(style.panel_title(panel, facets), fontsize="medium")
        style.accuracy_axis(upper)
        if private:
            lower.set_yscale("log")
            lower.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
        lower.set_xlabel("round")
    grid[0, 0].set_ylabel("test accuracy")
    grid[1, 0].set_ylabel("ε (RDP; dotted PLD)" if private else "ε: none, not private")
    handles, labels = max((axes.get_legend_handles_labels() for axes in grid[0]), key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    figure.suptitle(f"{title}: accuracy and ε by round", x=0.01, ha="left", fontweight="bold")
    seeds = int(shown["n_seeds"].max())
    best = "" if points["clip_norm"].nunique() < 2 else "; best clip norm of each noise"
    label = style.epsilon_label(shown).replace("\n", " ")
    figure.supxlabel(f"mean of {seeds} seeds, 95 % band{best}; {label}", fontsize="x-small", color="0.3")
    return figure


def _band(axes: plt.Axes, group: pd.DataFrame, colour: object, label: str, line: str) -> None:
    """Mean over seeds with a 95 % interval of the mean (normal approximation)."""
    by_round = group.groupby("round")["accuracy"].agg(["mean", "sem"])
    axes.plot(by_round.index, by_round["mean"], color=colour, label=label, linestyle=line, linewidth=1.4)
    half = 1.96 * by_round["sem"].to_numpy(dtype=float)
    half = np.nan_to_num(half)
    axes.fill_between(
        by_round.index, by_round["mean"] - half, by_round["mean"] + half, color=colour, alpha=0.18, linewidth=0
    )
