"""The partition: the label mix of the clients."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedpareto.analysis.figures import style
from fedpareto.analysis.figures.written import distinct
from fedpareto.analysis.tables.build import Tables

MOST_CLIENTS = 60
MOST_LABELS = 20


class Partition:
    """The partition: the label mix of the clients."""

    NAME: ClassVar = "partition"
    ORDER: ClassVar = 5
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = "Which labels each client holds, for the first seed of the study."
    FOR: ClassVar = ("study",)

    def build(self, tables: Tables, title: str) -> Figure:
        """A panel of stacked bars, one bar a client, for each way the data were dealt out."""
        parts = tables.partitions
        # A centralised baseline has one client that holds everything: no partition to look at.
        parts = parts[parts["clients"] > 1] if (parts["clients"] > 1).any() else parts
        panels = [group for _, group in parts.groupby(["dataset", "partition", "clients"])]
        figure, grid = plt.subplots(
            len(panels), 1, figsize=(style.WIDTH, 0.8 + 1.65 * len(panels)), squeeze=False, layout="constrained"
        )
        labels = list(dict.fromkeys(parts["label"]))
        palette = style.colours(labels)
        for axes, panel in zip(grid[:, 0], panels, strict=True):
            _bars(axes, panel, labels, palette, style.panel_title(panel, style.varying(parts, ["dataset"])))
        grid[-1, 0].set_xlabel("clients, sorted by number of examples")
        names = distinct(labels, "class")
        if len(labels) > MOST_LABELS:
            labels, names = (
                labels[: MOST_LABELS - 1],
                [*names[: MOST_LABELS - 1], f"and {len(labels) - MOST_LABELS + 1:,} more"],
            )
        colours = [*(palette[label] for label in labels), "none"]
        handles = [
            plt.Rectangle((0, 0), 1, 1, color=colour, label=name) for colour, name in zip(colours, names, strict=False)
        ]
        figure.legend(handles=handles, loc="outside right upper", fontsize="small", title="label")
        style.headline(figure, f"{title}: the clients' training examples")
        return figure


def _bars(axes: Axes, panel: pd.DataFrame, labels: list[str], palette: dict, dataset: str) -> None:
    table = panel.pivot(index="client", columns="label", values="count")
    labels = [label for label in labels if label in table.columns]  # another data set has other labels
    table = table.fillna(0)[labels]
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    clients = len(table)
    what = ""
    if clients > MOST_CLIENTS:
        table = table.iloc[np.linspace(0, clients - 1, MOST_CLIENTS).round().astype(int)]
        what = f" ({MOST_CLIENTS} shown, evenly spaced)"
    bottom = np.zeros(len(table))
    for label in labels:
        axes.bar(np.arange(len(table)), table[label], bottom=bottom, width=0.92, color=palette[label], linewidth=0)
        bottom += table[label].to_numpy()
    axes.set_ylabel("examples")
    axes.set_xticks([])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(visible=False)
    axes.set_xlim(-0.6, len(table) - 0.4)
    name = ", ".join(word for word in (dataset, panel["partition"].iloc[0]) if word)
    axes.set_title(f"{name}, {clients:,} clients{what}", fontsize="medium")
