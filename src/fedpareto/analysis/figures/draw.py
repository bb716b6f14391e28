"""Draws one figure of one study from the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fedpareto.analysis.figures import style
from fedpareto.analysis.tables.build import Tables, read_tables
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.components import figures, registry


def draw(figure: str, tables_folder: Path, studies: Sequence[str], stem: Path, title: str | None = None) -> None:
    """Draws a figure of one or more studies into `<stem>.{svg,pdf,png}`.

    Raises:
      TableError: The tables, a study or such a figure are not there.
    """
    if ":" not in figure and figure not in registry.names("figure"):
        known = ", ".join(component.name for component in figures.ordered())
        raise TableError(f"figure = {figure!r} is none that can be drawn (write one of: {known})")
    style.apply()
    tables = read_tables(tables_folder).of_studies(studies)
    style.save(build(figure, tables, title or ", ".join(studies)), stem)


def build(figure: str, tables: Tables, title: str) -> Figure:
    """The figure of a name, in the style that is set.

    Raises:
      TableError: It cannot be loaded.
    """
    try:
        drawn: Figure = registry.build("figure", {"name": figure}).build(tables, title)
    except registry.ComponentError as error:
        raise TableError(f"figure = {error}") from error
    if not isinstance(drawn, Figure):
        raise TableError(f"figure = {figure} must return a matplotlib Figure from build, not {type(drawn).__name__}")
    return drawn
