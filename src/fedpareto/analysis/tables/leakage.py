"""How well the strongest attack did: the one number that limits and fronts are about.

An attack's success is a probability: that of telling a member from a non-member (AUC), or of rebuilding a record. Where several
attacks, adversaries, batches or seeds were tried, the largest success counts, and against a limit the largest upper end of an
interval. That errs on the side of more leakage, the more so the more was tried; what nobody tried is not in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from fedpareto.analysis.tables.attacks import aimed_at
from fedpareto.components.threats import GOALS, SERVER

LEAKAGE = tuple(goal for goals in GOALS.values() for goal in goals)


def successes(attacks: pd.DataFrame, goals: Collection[tuple[str, str]] = LEAKAGE) -> pd.DataFrame:
    """The rows that stand for their attack, with `upper`: the upper end of the interval, or the value that has none."""
    rows = attacks[attacks["success"] & aimed_at(attacks, goals) & attacks["value"].notna()]
    return rows.assign(upper=rows["high"].fillna(rows["value"]))


def counted(rows: pd.DataFrame, coordinator_trusted: bool) -> pd.DataFrame:
    """The rows of those adversaries that count: a trusted coordinator is none."""
    return rows[rows["adversary"] != SERVER] if coordinator_trusted else rows


def of_own_trust(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of those adversaries that a run's own trust model knows: under central trust the coordinator is none."""
    return rows[(rows["adversary"] != SERVER) | (rows["trust"] != "central")]


def strongest(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Of rows with `upper`, that with the largest value in each group, in the order of the groups."""
    ranked = rows.sort_values(["value", "upper"], ascending=False, kind="stable")
    return ranked.drop_duplicates(list(by)).sort_values(list(by), kind="stable")


def add_leakage(points: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Points of the trade-off with how well the strongest attack did on each.

    Args:
      points: Rows of `tradeoff`.
      rows: `successes` of the adversaries that count.

    Returns:
      The points with `membership` and `reconstruction` (largest value), `membership_high` and `reconstruction_high` (largest
      upper end, perhaps of another row), NaN where that was not tried, and `measured`: whether anything was.
    """
    points = points.copy()
    for name, goals in GOALS.items():
        best = rows[aimed_at(rows, goals)].groupby("point_id")[["value", "upper"]].max()
        points[name] = points["point_id"].map(best["value"]).astype(np.float64)
        points[f"{name}_high"] = points["point_id"].map(best["upper"]).astype(np.float64)
    points["measured"] = points[list(GOALS)].notna().any(axis=1)
    return points
