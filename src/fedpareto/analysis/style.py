"""The common style of all figures: sizes, colours, axes, captions, and how a figure is saved."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

WIDTH = 7.2  # inches: a page's text width, or a column's at half size
ENDINGS = ("svg", "pdf", "png")
UNITS = {"client": "client-level", "record": "record-level"}
ADJACENCIES = {"add_or_remove_one": "add or remove one", "replace_one": "replace one", "zero_out": "zero out one"}
BASELINES = {
    "non_private": ("not private", "-", "0.25"),
    "centralised": ("centralised", "--", "0.4"),
    "alone": ("each client alone", ":", "0.4"),
}


def apply() -> None:
    """Sets seaborn's theme; the output of the same tables is the same file."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=1.05)
    mpl.rcParams.update(
        {
            "svg.hashsalt": "fedpareto",
            "figure.dpi": 100,
            "savefig.dpi": 200,
            "axes.grid": True,
            "grid.color": "0.92",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
        }
    )


def colours(values: Iterable[object]) -> dict[object, tuple[float, float, float]]:
    """A colour-blind safe colour for each value, in order."""
    ordered = list(values)
    palette = sns.color_palette("colorblind" if len(ordered) <= 10 else "viridis", len(ordered))
    return dict(zip(ordered, palette, strict=True))


def epsilon_axis(axes: Axes, epsilons: pd.Series) -> None:
    """A logarithmic epsilon axis with plain numbers."""
    axes.set_xscale("log")
    low, high = epsilons.min(), epsilons.max()
    axes.set_xlim(low / 1.6, high * 1.6)
    plain_log(axes.xaxis)


def accuracy_axis(axes: Axes) -> None:
    """Accuracy in per cent."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def counted(number: Any, noun: str) -> str:
    """`1 client`, `1,000 clients`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def means_over(seeds: int) -> str:
    """What a point shows: one run has no interval."""
    return "one seed, no interval" if seeds == 1 else f"means over {seeds} seeds, 95 % intervals"


def epsilon_label(points: pd.DataFrame) -> str:
    """The label of an epsilon axis with everything a guarantee needs: unit, delta, accountant, adjacency, sampling."""
    private = points[points["delta"].notna()]
    if private.empty:
        return "ε"
    unit = " and ".join(UNITS.get(u, u) for u in private["unit"].unique())
    deltas = ", ".join(f"{delta:g}" for delta in sorted(private["delta"].unique()))
    adjacency = ", ".join(ADJACENCIES.get(a, a) for a in private["adjacency"].unique())
    sampling = ", ".join(private["sampling"].unique())
    trust = ", ".join(private["trust"].unique())
    return f"{unit} ε by RDP at δ = {deltas}\n({adjacency}, {sampling} sampling, {trust} trust)"


def plain_log(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def nothing_to_draw(title: str, why: str) -> Figure:
    """A figure that says why it is empty: a study without such runs is no error."""
    figure = plt.figure(figsize=(WIDTH, 1.6))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    figure.text(0.5, 0.4, why, ha="center", va="center")
    return figure


def panel_title(group: pd.Series | pd.DataFrame, varying: list[str]) -> str:
    """What tells a panel from the others."""
    first = group.iloc[0] if isinstance(group, pd.DataFrame) else group
    return ", ".join(
        counted(first[column], "client") if column == "clients" else str(first[column]) for column in varying
    )


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The columns that take more than one value."""
    return [column for column in columns if frame[column].nunique(dropna=False) > 1]


def save(figure: Figure, stem: Path) -> None:
    """Writes SVG, PDF and PNG, each in one step, without a date in them."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        target = stem.with_name(f"{stem.name}.{ending}")
        partial = target.with_name(f".{target.name}.partial")
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
        figure.savefig(partial, format=ending, bbox_inches="tight", metadata=metadata)
        os.replace(partial, target)
    plt.close(figure)
