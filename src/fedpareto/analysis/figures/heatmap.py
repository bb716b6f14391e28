"""Noise x clip: mean accuracy of every cell, one panel a client count."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from fedpareto.analysis.figures import currency, score, style
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.score import gain

FACETS = (*currency.COMPARABLE, "clients", "sampling_rate", "rounds", "server_optimizer")


class Heatmap:
    """Noise x clip: mean accuracy of every cell, one panel a client count."""

    NAME: ClassVar = "heatmap"
    ORDER: ClassVar = 2
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = (
        "Mean test accuracy of every noise multiplier and clip norm, for each client count. Epsilon depends on the "
        "noise multiplier (and on sampling, rounds and delta) and not on the clip norm: a row has one epsilon."
    )
    FOR: ClassVar = ("study",)
    NEEDS: ClassVar = ("privacy",)

    def build(self, tables: Tables, title: str) -> Figure:
        """One panel for each client count (and for whatever else the study sweeps besides noise and clip)."""
        tables, metric = score.scored(tables)
        points = tables.tradeoff[tables.tradeoff["kind"] == "private"]
        if not points["score_mean"].notna().any():
            return style.nothing_to_draw(
                f"{title}: {score.noun(metric)} by noise and clipping", "no private run of this study ended well"
            )
        points = points.sort_values(list(FACETS), kind="stable")
        panels = currency.panels(points, points["delta"].notna(), FACETS)
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        noises, clips = points["noise_multiplier"].nunique(), points["clip_norm"].nunique()
        width = max(5.2, min(style.WIDTH, 1.4 + columns * (0.7 * max(clips, 2) + 0.5)))
        size = (width if columns < 3 else style.WIDTH, 1.1 + rows * (0.42 * max(noises, 2) + 0.9))
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        times = 100 if metric.percent else 1
        low, high = points["score_mean"].min(), points["score_mean"].max()
        for number, (axes, (_, panel)) in enumerate(zip(grid.flat, panels, strict=False)):
            cells = panel.groupby(["noise_multiplier", "clip_norm"], as_index=False)[["gain_mean", "epsilon"]].max()
            cells["score_mean"] = gain(metric, cells["gain_mean"])
            table = cells.pivot(index="noise_multiplier", columns="clip_norm", values="score_mean")
            epsilon = cells.groupby("noise_multiplier")["epsilon"].first()
            table.index = pd.Index([f"{z:.3g}  (ε {epsilon[z]:.3g})" for z in table.index])
            table.columns = pd.Index([f"{clip:g}" for clip in table.columns])
            sns.heatmap(
                times * table,
                ax=axes,
                vmin=times * low,
                vmax=times * high,
                cmap="viridis",
                annot=True,
                fmt=".1f" if metric.percent else ".3g",
                annot_kws={"size": "small"},
                cbar=False,
                linewidths=0.5,
            )
            axes.set(xlabel="clip norm (L2)", ylabel="noise multiplier (ε)" if number % columns == 0 else "")
            axes.tick_params(length=0)
            axes.set_yticklabels(axes.get_yticklabels(), rotation=0)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        colour = plt.cm.ScalarMappable(norm=plt.Normalize(times * low, times * high), cmap="viridis")
        figure.colorbar(
            colour, ax=grid, label=f"{metric.label}, %" if metric.percent else metric.label, shrink=0.85, pad=0.02
        )
        seeds = int(points["n_seeds"].max())
        style.panel_titles(figure, grid.flat, [name for name, _ in panels], columns)
        warning = currency.warning(points, currency.PANEL)
        style.headline(figure, f"{title}: {score.noun(metric)} by noise and clipping", warning)
        label = currency.epsilon_label(points).replace("\n", " ")
        several = points.groupby([*FACETS, "noise_multiplier", "clip_norm"], dropna=False).size().max() > 1
        best = "; best of the study's other settings" if several else ""
        style.footer(figure, f"{'mean of ' if seeds > 1 else ''}{style.counted(seeds, 'seed')}{best}; {label}")
        return figure
