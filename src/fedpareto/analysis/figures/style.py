"""The common style of all figures: sizes, colours, axes, captions, and how a figure is saved."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

from fedpareto.analysis.figures.written import LONGEST_NAME, drawable, escaped, readable
from fedpareto.columns.declared import ITS_AUTHOR
from fedpareto.system.files import whole

WIDTH = 7.2  # inches: a page's text width, or a column's at half size
ENDINGS = ("svg", "pdf", "png")
MOST_TICKS = 6
HEADLINE = 70  # characters
SHORTEST_LINE = 20
LINE = 0.22  # inches of a line of the headline
OF_COLUMN = 0.82  # of a column's width, for the title of its panel
ROOM = 0.98  # of the page's width, for text
UNITS = {"client": "client-level", "record": "record-level"}
ADJACENCIES = {"add_or_remove_one": "add or remove one", "replace_one": "replace one", "zero_out": "zero out one"}
BASELINES = {
    "non_private": ("not private", "-", "0.25"),
    "centralised": ("centralised", "--", "0.4"),
    "alone": ("each client alone", ":", "0.4"),
}
USELESS: dict[str, Any] = {
    "marker": "+",
    "color": "black",
    "markersize": 9,
    "markeredgewidth": 1.2,
    "linestyle": "",
}
PROVED = f"proved by {ITS_AUTHOR}"
AUTHOR: dict[str, Any] = {
    "marker": "D",
    "color": "black",
    "markerfacecolor": "none",
    "markersize": 11,
    "markeredgewidth": 0.8,
    "linestyle": "",
    "clip_on": False,  # larger than the points, whose limits the axes keep
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


def endless_epsilon_axis(axes: Axes, epsilons: pd.Series) -> float:
    """A logarithmic epsilon axis with a place for runs without noise after a break, where any epsilon is infinite.

    Args:
      axes: Gets the axis.
      epsilons: All that is to be drawn, infinite ones too.

    Returns:
      Where infinity is drawn.
    """
    finite = epsilons[np.isfinite(epsilons) & (epsilons > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 1.0)
    infinity = high * max(2.5, (high / low) ** 0.22)
    axes.set_xscale("log")
    shown = []
    for subs in ((1, 2, 5), (1, 3), (1,)):
        values = [digit * 10.0**power for power in range(-6, 9) for digit in subs]
        shown = [value for value in values if low / 1.4 <= value <= high * 1.4] if len(finite) else []
        if len(shown) <= MOST_TICKS:
            break
    labels = [f"{value:g}" for value in shown]
    right = high * 1.6
    if not np.isfinite(epsilons).all():
        shown, labels, right = [*shown, infinity], [*labels, "no\nnoise"], infinity * (infinity / high) ** 0.35
        if len(finite):
            place = np.log(np.sqrt(high * infinity) / (low / 1.6)) / np.log(right / (low / 1.6))
            axes.plot(
                [place - 0.008, place + 0.008],
                [0, 0],
                transform=axes.transAxes,
                marker=[(-0.5, -1), (0.5, 1)],
                markersize=7,
                linestyle="none",
                color="0.3",
                clip_on=False,
                zorder=10,
            )
    axes.set_xlim(low / 1.6, right)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels(labels)
    return float(infinity)


def epsilon_colours(epsilons: Iterable[float]) -> dict[float, Any]:
    """A colour for each epsilon, the darker the smaller; black for a run without noise."""
    ordered = sorted(set(epsilons))
    finite = [epsilon for epsilon in ordered if np.isfinite(epsilon)]
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.86, len(finite)))
    return dict(zip(finite, shades, strict=True)) | {
        epsilon: "black" for epsilon in ordered if not np.isfinite(epsilon)
    }


def percent_axis(axes: Axes) -> None:
    """Shares on the vertical axis, in per cent."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def counted(number: Any, noun: str) -> str:
    """`1 client`, `1,000 clients`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def means_over(seeds: int) -> str:
    """Describes a point: a mean over seeds and its interval; a single run has no interval."""
    return "one seed, no interval" if seeds == 1 else f"means over {seeds} seeds, 95 % intervals"


def by_author(points: pd.DataFrame) -> pd.Series:
    """Which points rest on a proof that is not of this package: bool [points]."""
    return points["proved_by"].fillna("").eq(ITS_AUTHOR)


def mark_author(axes: Axes, x: Any, points: pd.DataFrame) -> None:
    """Marks the points (`score.scored`), at `x` [points], whose proof is their author's."""
    own = by_author(points).to_numpy()
    if own.any():
        axes.plot(np.asarray(x)[own], points["score_mean"][own], zorder=7, **AUTHOR)


def author_entry(points: pd.DataFrame) -> list[Line2D]:
    """The entry of a legend for points that are proved by their author; none where there are none."""
    return [Line2D([], [], label=PROVED, **AUTHOR)] if by_author(points).any() else []


def plain_log(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def headline(figure: Figure, text: str, warning: str = "") -> int:
    """Writes the headline in bold at the top left; a long one takes several lines and so stays off the page's edge and the legend.

    Args:
      figure: Gets the headline; the page grows by the lines of the warning.
      text: The headline.
      warning: What nobody may overlook, in lines of its own below it.

    Returns:
      The number of lines.
    """
    bold = {"fontweight": "bold", "fontsize": mpl.rcParams["figure.titlesize"]}
    lines, more = (
        _broken(figure, part, _room(figure), HEADLINE, bold) if part else [] for part in (readable(text), warning)
    )
    figure.set_figheight(figure.get_figheight() + LINE * len(more))
    figure.suptitle("\n".join(map(escaped, [*lines, *more])), x=0.01, ha="left", **bold)
    return len(lines) + len(more)


def panel_titles(figure: Figure, panels: Iterable[Axes], titles: Sequence[str], columns: int) -> None:
    """Writes the titles of panels that stand in so many columns: one that is wider than its column takes several lines."""
    font: dict[str, Any] = {"fontsize": "medium"}
    for axes, title in zip(panels, titles, strict=False):
        # It is broken between its values alone.
        whole_values = ", ".join(value.replace(" ", "\u00a0") for value in title.split(", "))
        lines = _broken(figure, whole_values, OF_COLUMN * _room(figure) / columns, max(SHORTEST_LINE, len(title)), font)
        axes.set_title("\n".join(lines).replace("\u00a0", " "), **font)


def _room(figure: Figure) -> float:
    """Pixels of a page's width that no legend takes."""
    beside = [legend.get_window_extent().width for legend in figure.legends if _stands_right(legend)]
    return float(ROOM * figure.bbox.width - max(beside, default=0.0))


def footer(figure: Figure, text: str, **look: Any) -> None:
    """Writes how to read the figure below its panels; a line that is wider than the page takes several."""
    font = {"fontsize": "x-small", "color": "0.3"} | look
    figure.supxlabel(fitted(figure, text, font["fontsize"]), **font)


def fitted(figure: Figure, text: str, size: str) -> str:
    """A text, in which what users wrote is drawable already, of which no line is wider than the page."""
    room = ROOM * figure.bbox.width
    return "\n".join(
        part for line in text.split("\n") for part in _broken(figure, line, room, len(line), {"fontsize": size})
    )


def _broken(figure: Figure, line: str, room: float, longest: int, font: dict[str, Any]) -> list[str]:
    """A line in parts of at most `longest` characters, short enough to take at most `room` pixels (but not too short to read)."""
    parts = [line]
    for width in range(longest, SHORTEST_LINE, -2):
        parts = textwrap.wrap(line, width)
        tried = figure.text(0, 0, "\n".join(parts), parse_math=False, **font)
        taken = tried.get_window_extent().width
        tried.remove()
        if taken <= room:
            break
    return parts


def _stands_right(legend: Legend) -> bool:
    return getattr(legend, "_outside_loc", None) in ("right", "upper")


def epsilon_value(epsilon: float) -> str:
    """`ε = 3.66`, `ε = 22,100`, `no noise`: three digits that count."""
    if not np.isfinite(epsilon):
        return "no noise"
    return f"ε = {epsilon:.3g}" if epsilon < 1000 else f"ε = {float(f'{epsilon:.3g}'):,.0f}"


def key(figure: Figure, handles: list[Any], caption: str, columns: int) -> None:
    """The legend below all panels, under the caption: one box, so that neither lies over the other or over data."""
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        fontsize="small",
        title=fitted(figure, caption, "small"),
        title_fontsize="small",
        alignment="left",
    )
    legend.get_title().set_color("0.3")


def decades_log(axis: Axis) -> None:
    """Plain numbers at each decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(base=10, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent_log(axis: Axis) -> None:
    """Per cent at each decade of a logarithmic axis."""
    decades_log(axis)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))


def mark_useless(axes: Axes, x: Any, points: pd.DataFrame) -> None:
    """Crosses the points (`score.scored`), at `x` [points], that have scores and of whose runs none learned anything."""
    useless = is_useless(points).to_numpy()
    axes.plot(np.asarray(x)[useless], points["score_mean"][useless], zorder=7, **USELESS)


def is_useless(points: pd.DataFrame) -> pd.Series:
    """Which points have scores and no run that learned anything: bool [points]."""
    return (points["n_ok"] > 0) & (points["n_learned"] == 0)


def useless_entry(points: pd.DataFrame) -> list[Line2D]:
    """The entry of a legend for crossed points; none where there are none."""
    return [Line2D([], [], label="learned nothing", **USELESS)] if is_useless(points).any() else []


def nothing_to_draw(title: str, why: str) -> Figure:
    """A figure that says why it is empty: a study without such runs is no error."""
    figure = plt.figure(figsize=(WIDTH, 1.6))
    headline(figure, title)
    figure.text(0.5, 0.4, why, ha="center", va="center")
    return figure


def panel_title(group: pd.Series | pd.DataFrame, varying: list[str]) -> str:
    """The panel's title: the values that distinguish it from the other panels."""
    first = group.iloc[0] if isinstance(group, pd.DataFrame) else group
    return ", ".join(_in_words(column, first[column]) for column in varying)


def _in_words(column: str, value: Any) -> str:
    """A value of a point that tells its panel apart."""
    if column == "clients":
        return counted(value, "client")
    if column == "delta":
        return f"δ = {value:g}"
    if column == "participation":
        return f"cohort {value}"
    words = {"unit": UNITS, "adjacency": ADJACENCIES}.get(column, {}).get(value)
    return words or drawable(without_folder(value), LONGEST_NAME)


def without_folder(name: object) -> str:
    """The name of a component in a user's file without the folder: `net.py:Net(width=8)`."""
    return re.sub(r"[^\s(,]*/(?=[^/(]*\.py:)", "", str(name))


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The columns that take more than one value."""
    return [column for column in columns if frame[column].nunique(dropna=False) > 1]


def save(figure: Figure, stem: Path) -> None:
    """Writes SVG, PDF and PNG, each in one step, without a date in them."""
    for ending in ENDINGS:
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
        with whole(stem.with_name(f"{stem.name}.{ending}")) as path:
            figure.savefig(path, format=ending, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
