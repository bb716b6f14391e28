"""The cost of training: seconds, and bytes up and down, against clients and rounds."""

from __future__ import annotations

from typing import ClassVar

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fedpareto.analysis.figures import looks, style
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.tradeoff import client_rounds

MEGABYTE = 1e6


class Cost:
    """The cost of training: seconds, and bytes up and down, against clients and rounds."""

    NAME: ClassVar = "cost"
    ORDER: ClassVar = 4
    CATEGORY: ClassVar = "1 Trade-off"
    CAPTION: ClassVar = (
        "What training costs. Seconds are one run's share of its bundle's training time, without compilation. Bytes "
        "are updates up and models down, for the expected cohort."
    )
    FOR: ClassVar = ("study",)

    def build(self, tables: Tables, title: str) -> Figure:
        """Seconds a run (left), megabytes up and down (right), against the expected client-rounds of a run."""
        runs = tables.runs[tables.runs["kind"].isin(["private", "clipped", "non_private"])].copy()
        runs["work"] = client_rounds(runs)
        clients = style.colours(sorted(runs["clients"].unique()))
        figure, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.2), layout="constrained")
        by_bundle = runs.groupby(["bundle_id", "clients", "rounds", "work"], as_index=False).agg(
            wall_s=("wall_s", "mean"), up=("bytes_up", "first"), down=("bytes_down", "first")
        )
        for row in by_bundle.itertuples():
            left.scatter(row.work, row.wall_s, color=clients[row.clients], s=34, zorder=3)
            right.scatter(row.work, row.up / MEGABYTE, color=clients[row.clients], marker="^", s=34, zorder=3)
            right.scatter(
                row.work, row.down / MEGABYTE, color=clients[row.clients], marker="v", s=34, zorder=3, alpha=0.5
            )
        device = ", ".join(sorted(runs["device"].unique()))
        left.set(xlabel="client-rounds a run", ylabel=f"training seconds a run ({device})")
        right.set(xlabel="client-rounds a run", ylabel="MB a run, expected")
        for axes in (left, right):
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
        entries = [
            looks.entry(style.counted(count, "client"), color=colour, marker="o") for count, colour in clients.items()
        ]
        entries += [
            looks.entry("up", color="0.4", marker="^"),
            looks.entry("down", color="0.4", marker="v", alpha=0.5),
        ]
        figure.legend(handles=entries, loc="outside right upper", fontsize="small")
        rounds = ", ".join(f"{r}" for r in sorted(runs["rounds"].unique()))
        style.headline(figure, f"{title}: what training costs")
        parameters = ", ".join(f"{p:,}" for p in sorted(runs["parameters"].unique()))
        bits = ", ".join(f"{b:g}" for b in sorted(runs["bits_per_parameter"].unique()))
        sampled = (runs["unit"] == "client") | (runs["trust"] == "local")
        rate = "sampling rate" if sampled.any() else "1 (records are sampled)"
        style.footer(
            figure,
            f"client-rounds = clients x {rate} x rounds; {rounds} rounds; seconds without compilation; "
            f"updates of {parameters} parameters at {bits} bits",
        )
        return figure
