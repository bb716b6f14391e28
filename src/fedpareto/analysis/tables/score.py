"""The score by which points are compared and which figures draw: the first metric of their task."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd

from fedpareto.columns.column import Metric
from fedpareto.columns.declared import DEFAULT, Additions

Values = TypeVar("Values", float, pd.Series, np.ndarray)


def drawn(rows: pd.DataFrame, additions: Additions = DEFAULT) -> Metric:
    """The metric by which rows are compared: of the first metrics of all tasks, the first one that any of them has.

    Args:
      rows: Rows of `runs`, `rounds` or `tradeoff`.
      additions: Columns beside those of `columns.toml`, the metrics of the tasks among them.
    """
    compared = [metric for metric in additions.metrics if "low" in metric.over_seeds]
    for metric in compared:
        if any(rows[name].notna().any() for name in (metric.name, f"{metric.name}_mean") if name in rows):
            return metric
    return compared[0]


def gain(metric: Metric, values: Values) -> Values:
    """The values as larger is better: negated where the lower value of a metric is the better one."""
    return values if metric.better == "higher" else -values


def by_seed(metric: Metric, runs: pd.DataFrame) -> dict[int, float]:
    """The `gain` of runs by their seed."""
    values = gain(metric, runs[metric.name].astype(float))
    return dict(zip(runs["seed"].astype(int), values, strict=True))
