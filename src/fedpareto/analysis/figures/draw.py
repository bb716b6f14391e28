"""Draws one figure of one study from the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fedpareto.analysis.figures import audit as audit_figure
from fedpareto.analysis.figures import comparison as comparison_figure
from fedpareto.analysis.figures import cost as cost_figure
from fedpareto.analysis.figures import heatmap as heatmap_figure
from fedpareto.analysis.figures import leakage as leakage_figure
from fedpareto.analysis.figures import pareto as pareto_figure
from fedpareto.analysis.figures import partition as partition_figure
from fedpareto.analysis.figures import recommendation as recommendation_figure
from fedpareto.analysis.figures import reconstruction as reconstruction_figure
from fedpareto.analysis.figures import riskfront as riskfront_figure
from fedpareto.analysis.figures import roc as roc_figure
from fedpareto.analysis.figures import rounds as rounds_figure
from fedpareto.analysis.figures import style
from fedpareto.analysis.tables.build import Tables, read_tables
from fedpareto.analysis.tables.tradeoff import TableError

FIGURES: dict[str, Callable[[Tables, str], Figure]] = {
    "pareto": pareto_figure.build,
    "heatmap": heatmap_figure.build,
    "rounds": rounds_figure.build,
    "cost": cost_figure.build,
    "partition": partition_figure.build,
    "comparison": comparison_figure.build,
    "leakage": leakage_figure.build,
    "reconstructions": reconstruction_figure.build,
    "roc": roc_figure.build,
    "audit": audit_figure.build,
    "riskfront": riskfront_figure.build,
    "recommendation": recommendation_figure.build,
}
# Those that say why they are empty where no run was attacked, or no policy asks.
OF_ATTACKS = ("leakage", "reconstructions", "roc", "audit", "riskfront", "recommendation")


def draw(figure: str, tables_folder: Path, studies: Sequence[str], stem: Path, title: str | None = None) -> None:
    """Draws `figure` (a key of `FIGURES`) of one or more studies into `<stem>.{svg,pdf,png}`.

    Raises:
      TableError: The tables, a study or such a figure are not there.
    """
    if figure not in FIGURES:
        raise TableError(f"figure = {figure!r} is none that can be drawn (write one of: {', '.join(FIGURES)})")
    style.apply()
    tables = read_tables(tables_folder).of_studies(studies)
    style.save(FIGURES[figure](tables, title or ", ".join(studies)), stem)
