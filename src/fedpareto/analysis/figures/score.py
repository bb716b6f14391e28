"""The score that a figure draws, under one name whatever the task: `score`, and `score_mean`, `score_low` and `score_high`."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from fedpareto.analysis.figures import style
from fedpareto.analysis.tables.build import Tables
from fedpareto.analysis.tables.score import drawn, gain
from fedpareto.columns.column import Metric

OF_RUNS = ("runs", "rounds")
OF_POINTS = ("tradeoff", "attacks", "roc", "pictures", "recommendation")


def scored(tables: Tables) -> tuple[Tables, Metric]:
    """The tables with the columns of the metric that is drawn renamed, and the metric.

    Where there is a mean there is `gain_mean` too, which is the larger the better.
    """
    metric = drawn(tables.tradeoff, tables.additions)
    frames = {name: getattr(tables, name).rename(columns={metric.name: "score"}) for name in OF_RUNS}
    frames |= {name: points(getattr(tables, name), metric) for name in OF_POINTS}
    return replace(tables, **frames), metric


def points(rows: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Rows with a metric over seeds (of `tradeoff`, say), its columns renamed, and `gain_mean`."""
    names = {f"{metric.name}_{statistic}": f"score_{statistic}" for statistic in metric.over_seeds}
    return rows.rename(columns=names).assign(gain_mean=gain(metric, rows[f"{metric.name}_mean"]))


def noun(metric: Metric) -> str:
    """A metric in a headline: `accuracy`."""
    return metric.name.replace("_", " ")


def best(metric: Metric, values: pd.Series) -> float:
    """The best of some values."""
    return float(values.max() if metric.better == "higher" else values.min())


def score_axis(axes: Axes, metric: Metric) -> None:
    """A vertical axis of the metric, in per cent where it is a share."""
    if metric.percent:
        style.percent_axis(axes)


def written(metric: Metric, value: float) -> str:
    """A value in a text: `93.4%`."""
    return f"{value:.1%}" if metric.percent else f"{value:.3g}"
