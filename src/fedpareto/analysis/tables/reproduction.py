"""Published numbers and ours: value, interval, tolerance, verdict, epsilon under three accountants, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fedpareto.analysis.tables.front import bootstrap_interval
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.columns.column import KEY
from fedpareto.columns.declared import ACCOUNTANTS, CLASSIFICATION, DEFAULT, Additions, table
from fedpareto.columns.frames import of_rows
from fedpareto.statuses import FINISHED

LABELS = {metric.name: metric.label for metric in CLASSIFICATION if metric.label} | {"rounds_to_accuracy": "rounds"}
# What a number in print says of itself, as it is written.
OF_NUMBER = ("name", "table", "what", "metric", "study", "minus", "why", "at_least", "verified")


def compare(
    numbers: Sequence[Any],
    studies: Mapping[str, Sequence[str]],
    runs: pd.DataFrame,
    metrics: pd.DataFrame,
    additions: Additions = DEFAULT,
) -> pd.DataFrame:
    """One row a published number.

    Args:
      numbers: `fedpareto.config.papers.Number`s.
      studies: Study -> the ids of its runs.
      runs: Rows of the `runs` table.
      metrics: `run_id`, `round` and the scores at every evaluation.
      additions: Columns of `runs` beside those of `columns.toml`.

    Returns:
      The columns of `reproduction`. `verdict` is `reproduced`, `differs`, `no number in print` where ours stands alone, or
      `not run` where a study is not there or no run of it has ended well.

    Raises:
      TableError: A number picks runs of several points of its study where it must pick one, or none at all.
    """
    return of_rows([_row(number, studies, runs, metrics, additions) for number in numbers], table("reproduction"))


def curve_points(curve: Any, study: Sequence[str], runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy along one column of the `runs` table.

    Args:
      curve: A `fedpareto.config.papers.Curve`.
      study: The ids of the study's runs.
      runs: Rows of the `runs` table.

    Returns:
      The columns `x`, `accuracy`, `low` and `high` (the interval over seeds), sorted by `x`; no row where nothing was run.

    Raises:
      TableError: The table has no such column of numbers.
    """
    of_study = runs[runs["run_id"].isin(study) & runs["status"].isin(FINISHED)]
    if curve.along not in of_study or not pd.api.types.is_numeric_dtype(of_study[curve.along]):
        raise TableError(f"curve {curve.name}: the runs table has no column {curve.along} of numbers")
    rows = []
    for x, seeds in of_study.groupby(curve.along):
        values = seeds["accuracy"].to_numpy(float)
        low, high = bootstrap_interval(values)
        rows.append({"x": x, "accuracy": float(values.mean()), "low": float(low), "high": float(high)})
    return pd.DataFrame(rows, columns=["x", "accuracy", "low", "high"])


def row_names(table: pd.DataFrame) -> list[str]:
    """The name of each number, with its metric where metrics differ between the rows."""
    several = table["metric"].nunique() > 1
    pairs = zip(table["metric"], table["what"], strict=True)
    return [f"{LABELS[metric]}, {what}" if several else what for metric, what in pairs]


class _Picked(NamedTuple):
    """The runs of one study that a number is about.

    Attributes:
      values: The metric of each run of the point that ended well, float64, by seed.
      point: The rows of that point.
      tried: The rows of all points, of which it is the best.
      points: How many these are.
    """

    values: pd.Series
    point: pd.DataFrame
    tried: pd.DataFrame
    points: int


def _row(
    number: Any,
    studies: Mapping[str, Sequence[str]],
    runs: pd.DataFrame,
    metrics: pd.DataFrame,
    additions: Additions,
) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(number, name) for name in OF_NUMBER}
    row |= {name: _float(getattr(number, name)) for name in ("published", "tolerance")}
    row |= {"published_epsilon": _float(number.epsilon), "published_accountant": number.accountant}
    names = [name for name in (number.study, number.minus) if name is not None]
    by_side = [runs[runs["run_id"].isin(studies[name])] for name in names]
    if any(study.empty for study in by_side):
        return row | {"verdict": "not run", "seeds": 0, "seconds": 0.0}
    sides = [_pick(number, name, study, metrics, additions) for name, study in zip(names, by_side, strict=True)]
    values = sides[0].values
    if number.minus is None:
        row |= _guarantee(sides[0].point)
    else:
        values = (values - sides[1].values).dropna()
    tried = pd.concat([side.tried for side in sides])
    row |= {"seeds": len(values), "seconds": float(tried["wall_s"].sum())}
    row["device"] = ", ".join(tried["device"].unique())
    if sides[0].points > 1:
        row["picked"] = f"client_learning_rate {sides[0].point['client_learning_rate'].iloc[0]:g} of {sides[0].points}"
    if not len(values) or values.isna().any():  # a score that these data do not define is none
        return row | {"verdict": "not run"}
    ours = float(values.mean())
    low, high = map(float, bootstrap_interval(values)) if np.isfinite(values).all() else (math.nan, math.nan)
    return row | {"ours": ours, "low": low, "high": high, "verdict": _verdict(number, ours)}


def _pick(number: Any, name: str, study: pd.DataFrame, metrics: pd.DataFrame, additions: Additions) -> _Picked:
    runs = study
    for column, value in number.where.items():
        if column not in runs:
            raise TableError(f"number {number.name}: the runs table has no column {column}")
        wanted = runs[column].isna() if value is None else runs[column] == value
        if isinstance(value, float):
            wanted = np.isclose(runs[column].astype(float), value, rtol=1e-9, atol=0.0)
        runs = runs[wanted]
    if runs.empty:
        raise TableError(f"number {number.name}: no run of study {name} has {dict(number.where)}")
    # Runs of one point differ in their seed alone, and in what follows from it.
    keys = list(table("runs", additions).of_bundle.having(KEY))
    points = [point for _, point in runs.groupby(keys, dropna=False, sort=False)]
    if len(points) > 1 and number.metric != "rounds_to_accuracy":
        raise TableError(f"number {number.name}: {len(points)} points of study {name} have {dict(number.where)}")
    values_by_point = [(_values(number, point, metrics), point) for point in points]
    # A learning rate for each cell of a table, as its authors chose theirs.
    values, point = min(values_by_point, key=lambda pair: float(pair[0].mean()) if len(pair[0]) else math.inf)
    return _Picked(values, point, runs, len(points))


def _guarantee(point: pd.DataFrame) -> dict[str, Any]:
    """The qualifiers of an epsilon, for the runs of one point."""
    names = [accountant.column.name for accountant in ACCOUNTANTS]
    # Each client's own under local trust is that of the worst; seeds that deal the records out anew may differ.
    worst = {name: float(point[name].max(skipna=False)) for name in ("epsilon", *names)}
    by = next(iter(point.loc[point["epsilon"] == worst["epsilon"], "epsilon_by"]), None)
    return (
        worst | {"epsilon_by": by} | {name: point.iloc[0][name] for name in ("delta", "unit", "adjacency", "sampling")}
    )


def _values(number: Any, runs: pd.DataFrame, metrics: pd.DataFrame) -> pd.Series:
    """The metric of each run that ended well, float64, by seed."""
    ended = runs[runs["status"].isin(FINISHED)].sort_values("seed").set_index("seed")
    if number.metric != "rounds_to_accuracy":
        return ended[number.metric].astype(float)
    curves = {name: curve for name, curve in metrics.groupby("run_id")}
    return ended["run_id"].map(lambda name: rounds_to(curves[name], number.level)).astype(float)


def rounds_to(curve: pd.DataFrame, level: float) -> float:
    """Rounds until the best accuracy so far reaches `level`, interpolated between evaluations; infinite if it never does.

    The protocol of McMahan et al. (2017): curves are made monotone, and crossed by linear interpolation.
    """
    curve = curve.sort_values("round")
    best = np.maximum.accumulate(curve["accuracy"].to_numpy(float))
    rounds = curve["round"].to_numpy(float)
    reached = int(np.searchsorted(best, level))
    if reached == len(best):
        return math.inf
    if reached == 0:
        return float(rounds[0])
    before, after = best[reached - 1], best[reached]
    return float(rounds[reached - 1] + (level - before) / (after - before) * (rounds[reached] - rounds[reached - 1]))


def _verdict(number: Any, ours: float) -> str:
    if number.published is None:
        return "no number in print"
    allowed = number.tolerance * (number.published if number.metric == "rounds_to_accuracy" else 1.0)
    better = ours - number.published
    if number.metric == "rounds_to_accuracy":
        better = -better
    near = abs(better) <= allowed
    return "reproduced" if near or (number.at_least and better > 0) else "differs"


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
