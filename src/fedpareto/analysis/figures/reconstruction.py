"""Reconstructions: true images on top, each adversary's below, epsilon rising to the right."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fedpareto.analysis.figures import currency, looks, style
from fedpareto.analysis.figures.looks import ADVERSARIES
from fedpareto.analysis.tables.attacks import aimed_at, why_nothing
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.tradeoff import comparable_epsilon

MOST_COLUMNS = 7  # epsilons; of more, some are left out evenly
MOST_SECTIONS = 4
OF_RECORDS, OF_CLASSES = ("reconstruction", "record"), ("reconstruction", "class")
# Inches.
EDGE, LABEL, GAP, LINE, HEAD, LARGEST, TITLE = 0.08, 1.35, 0.07, 0.15, 0.4, 0.8, 0.22
HEADING: dict[str, Any] = {"ha": "center", "va": "bottom"}


class Section(NamedTuple):
    """Pictures of one question.

    Attributes:
      title: The attacked runs.
      true: The label of the first row.
      pictures: Its rows of the table.
    """

    title: str
    true: str
    pictures: pd.DataFrame


class Reconstructions:
    """Reconstructions: true images on top, each adversary's below, epsilon rising to the right."""

    NAME: ClassVar = "reconstructions"
    ORDER: ClassVar = 8
    CATEGORY: ClassVar = "2 Leakage"
    CAPTION: ClassVar = (
        "Records as they are, on top, and as each adversary rebuilds them, with epsilon rising to the right; with the"
        " guess of somebody who has seen no update. Below each picture its peak signal-to-noise ratio to the true "
        "one. A poor picture shows that these attacks failed, not that none succeeds."
    )
    FOR: ClassVar = ("study",)
    NEEDS: ClassVar = ("pictures",)
    GOALS: ClassVar = (("reconstruction", "record"), ("reconstruction", "class"))

    def build(self, tables: Tables, title: str) -> Figure:
        """A block for each size of batch, and one for class representatives; a row in it for each adversary."""
        headline = f"{title}: what is rebuilt at each ε"
        pictures = tables.pictures.assign(epsilon=comparable_epsilon(tables.pictures["epsilon"]))
        private = pictures[np.isfinite(pictures["epsilon"])]
        several = private["adjacency"].nunique() > 1
        # Runs without noise promise nothing: they are one column, whatever their neighbours.
        promises = pictures["adjacency"].map(style.ADJACENCIES).where(np.isfinite(pictures["epsilon"]) & several, "")
        pictures = pictures.assign(promise=promises)
        sections = _sections(pictures)
        if not sections:
            none = "no pictures: no run was attacked, or its records are no images"
            return style.nothing_to_draw(headline, why_nothing(tables.attacks, self.GOALS, none))
        columns = [_columns(section.pictures) for section in sections]
        shown = max(len(column) for column in columns)
        each = 2 if shown > 4 else 3 if shown > 2 else 4  # records side by side
        cell = (style.WIDTH - LABEL) / shown
        side = min(LARGEST, (cell - 2 * GAP) / each - GAP / 2)
        heights = [_height(section, side) for section in sections]
        caption = 3 * 0.2
        figure = plt.figure()
        lines = style.headline(figure, headline, currency.warning(private, currency.PANEL))
        above = 0.15 + TITLE * lines
        height = above + sum(heights) + caption
        figure.set_size_inches(style.WIDTH, height)
        # One panel for all, measured in inches: a panel for each picture takes minutes to lay out.
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, style.WIDTH), ylim=(0, height))
        page.set_axis_off()
        top = height - above
        for section, runs, size in zip(sections, columns, heights, strict=True):
            _draw(page, section, runs, top, cell, side, each)
            top -= size
        page.set(xlim=(0, style.WIDTH), ylim=(0, height))  # which pictures move
        figure._suptitle.set(y=1 - 0.05 / height, verticalalignment="top")
        label = currency.epsilon_label(pd.concat([section.pictures for section in sections])).replace("\n", " ")
        below = (
            f"{label}\nnumbers: PSNR to the true picture in dB; at each ε the run and attack with the highest; "
            "a poor picture does not prove\nthat no better attack exists"
        )
        page.text(EDGE, 0.05, style.fitted(figure, below, "x-small"), fontsize="x-small", color="0.3", va="bottom")
        return figure


def _sections(pictures: pd.DataFrame) -> list[Section]:
    inversion = pictures[aimed_at(pictures, [OF_RECORDS])]
    rebuilt = inversion[inversion["kind"] == "rebuilt"]
    sections = []
    for records in sorted(rebuilt["records"].dropna().unique()):
        title = f"records from an update of {style.counted(int(records), 'record')}"
        sections.append(Section(title, "true", inversion[inversion["records"] == records]))
    classes = pictures[aimed_at(pictures, [OF_CLASSES])]
    if (classes["kind"] == "rebuilt").any():
        sections = [*sections[: MOST_SECTIONS - 1], Section("classes from the model", "class mean", classes)]
    return sections[:MOST_SECTIONS]


def _columns(pictures: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Epsilon, its promise and the run of each column, by epsilon: of several runs the one whose pictures are best."""
    rebuilt = pictures[pictures["kind"] == "rebuilt"]
    likeness = rebuilt.groupby(["epsilon", "promise", "run_id"])["psnr"].mean().fillna(-np.inf)
    best = [group.idxmax() for _, group in likeness.groupby(level=[0, 1])]
    if len(best) > MOST_COLUMNS:
        best = [best[i] for i in np.linspace(0, len(best) - 1, MOST_COLUMNS).round().astype(int)]
    return [(float(epsilon), str(promise), str(run)) for epsilon, promise, run in best]


def _rows(section: Section) -> list[tuple[str, str, str]]:
    """Label, kind and adversary of each row of a block."""
    rebuilt = section.pictures[section.pictures["kind"] == "rebuilt"]
    rows = [(section.true, "true", ""), ("best guess\nunseen", "guess", "")]
    rows = [row for row in rows if (section.pictures["kind"] == row[1]).any()]
    seen = looks.present(ADVERSARIES, rebuilt["adversary"])
    return rows + [(ADVERSARIES[name].label.replace(": ", ":\n"), "rebuilt", name) for name in seen]


def _height(section: Section, side: float) -> float:
    rows = _rows(section)
    return _head(section) + sum(side + GAP + (0 if kind == "true" else LINE) for _, kind, _ in rows) + GAP


def _head(section: Section) -> float:
    """Inches above the pictures of a block, for its title, each epsilon, and its promise where there are several."""
    return HEAD + LINE * bool((section.pictures["promise"] != "").any())


def _draw(
    page: Axes, section: Section, runs: list[tuple[float, str, str]], top: float, cell: float, side: float, each: int
) -> None:
    """One block; `top`, `cell` and `side` in inches: its upper edge, and the widths of a column and of a picture."""
    true = section.pictures[section.pictures["kind"] == "true"]
    scale = _range(true if len(true) else section.pictures)
    page.text(EDGE, top - 0.02, section.title, fontsize="medium", va="top")
    top -= _head(section)
    for place, (epsilon, promise, _) in enumerate(runs):
        middle = LABEL + (place + 0.5) * cell
        page.text(middle, top + 0.02 + _head(section) - HEAD, style.epsilon_value(epsilon), **HEADING, fontsize="small")
        page.text(middle, top + 0.02, promise, **HEADING, fontsize=6)
    for label, kind, adversary in _rows(section):
        top -= side
        page.text(EDGE, top + side / 2, _wrapped(label), va="center", fontsize="x-small", linespacing=1.1)
        for place, (_, _, run) in enumerate(runs):
            of_run = section.pictures[section.pictures["run_id"] == run]
            shown = _chosen(of_run, kind, adversary, each)
            left = LABEL + (place + 0.5) * cell - (len(shown) * (side + GAP / 2) - GAP / 2) / 2
            for number, (_, picture) in enumerate(shown.iterrows()):
                _picture(page, picture, left + number * (side + GAP / 2), top, side, scale)
        top -= GAP if kind == "true" else LINE + GAP


def _chosen(pictures: pd.DataFrame, kind: str, adversary: str, each: int) -> pd.DataFrame:
    """One row of pictures of one run: its first records, and of several methods that with the best likeness."""
    rebuilt = pictures[pictures["kind"] == "rebuilt"]
    numbers = sorted(rebuilt["number"].unique())[:each]
    rows = rebuilt[rebuilt["adversary"] == adversary] if kind == "rebuilt" else pictures[pictures["kind"] == kind]
    if kind == "rebuilt" and rows["method"].nunique() > 1:
        rows = rows[rows["method"] == rows.groupby("method")["psnr"].mean().idxmax()]
    return rows[rows["number"].isin(numbers)].drop_duplicates("number").sort_values("number")


def _range(pictures: pd.DataFrame) -> tuple[float, float]:
    """Grey-scale limits: the range of the true images, or (0, 1) if that nearly covers it."""
    low = min(float(np.min(pixels)) for pixels in pictures["pixels"])
    high = max(float(np.max(pixels)) for pixels in pictures["pixels"])
    return (0.0, 1.0) if low >= 0 and 0.5 < high <= 1 else (low, max(high, low + 1e-6))


def _picture(
    page: Axes, picture: pd.Series, left: float, bottom: float, side: float, scale: tuple[float, float]
) -> None:
    rows, columns, channels = (int(part) for part in picture["shape"].split("x"))
    image = np.asarray(picture["pixels"], np.float32).reshape(rows, columns, channels)
    image = np.clip((image - scale[0]) / (scale[1] - scale[0]), 0, 1)
    page.imshow(
        image[..., 0] if channels == 1 else image,
        extent=(left, left + side, bottom, bottom + side),
        aspect="auto",
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    page.add_patch(Rectangle((left, bottom), side, side, fill=False, linewidth=0.4, edgecolor="0.6"))
    if np.isfinite(picture["psnr"]):
        page.text(left + side / 2, bottom - 0.03, f"{picture['psnr']:.1f}", ha="center", va="top", fontsize=6)


def _wrapped(label: str) -> str:
    """An adversary's label on short lines: it stands in a narrow column."""
    words, lines = label.replace("\n", " \n ").split(" "), [""]
    for word in words:
        if word == "\n":
            lines.append("")
        elif len(lines[-1]) + len(word) > 20:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
