"""Draws one figure of one study from the tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from fedpareto.analysis import cost_figure, heatmap_figure, pareto_figure, partition_figure, rounds_figure, style
from fedpareto.analysis.tables import Tables, read_tables

FIGURES: dict[str, Callable[[Tables, str], Figure]] = {
    "pareto": pareto_figure.build,
    "heatmap": heatmap_figure.build,
    "rounds": rounds_figure.build,
    "cost": cost_figure.build,
    "partition": partition_figure.build,
}


def draw(figure: str, tables_folder: Path, study: str, stem: Path, title: str | None = None) -> None:
    """Draws `figure` (a key of `FIGURES`) of `study` into `<stem>.{svg,pdf,png}`.

    Raises:
      TableError: The tables or the study are not there.
    """
    style.apply()
    tables = read_tables(tables_folder).of_study(study)
    style.save(FIGURES[figure](tables, title or study), stem)
