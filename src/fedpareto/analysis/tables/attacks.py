"""The tables `attacks`, `roc` and `pictures`: results of attacks, joined with the columns of each run that figures need."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from fedpareto.columns.declared import DEFAULT, Additions, table
from fedpareto.columns.frames import empty, typed
from fedpareto.components import threats


def join(
    name: str,
    frames: Sequence[pd.DataFrame],
    attacked: Sequence[str],
    runs: pd.DataFrame,
    tradeoff: pd.DataFrame,
    *,
    additions: Additions = DEFAULT,
) -> pd.DataFrame:
    """One of the tables `attacks`, `roc` and `pictures` over all bundles.

    Args:
      name: Its name.
      frames: The rows that the attack stage wrote, a frame a bundle.
      attacked: The runs that the plan wants attacked; rows of others (of an older plan) are left out.
      runs: The `runs` table; a run of two studies stands in both, and so do its rows.
      tradeoff: The `tradeoff` table.
      additions: Columns beside those of `columns.toml`.

    Returns:
      The declared columns: study and run, what is known of the run, the scores of its point over seeds, and the results of
      attacks, in the order of runs and of rows.
    """
    declared = table(name, additions)
    rows = [typed(frame, declared.of_bundle) for frame in frames if len(frame)]
    if not rows:
        return empty(declared)
    rows = [frame[frame["run_id"].isin(list(attacked))] for frame in rows]
    about = [column for column in declared.having(joined=True) if column != "study"]
    of_run = [column for column in about if column in runs]
    of_point = [column for column in about if column not in runs]
    known = runs[["study", "run_id", *of_run]]
    points = tradeoff[["study", "point_id", *of_point]]
    known = known.merge(points, on=["study", "point_id"], how="left", validate="many_to_one")
    return typed(known.merge(pd.concat(rows, ignore_index=True), on="run_id", how="inner"), declared)


def not_made(attacks: pd.DataFrame) -> pd.Series:
    """Which rows of `attacks` are of attacks that could not be made: bool [rows]. They have a reason, and no score."""
    return attacks["reason"].fillna("") != ""


def aimed_at(rows: pd.DataFrame, goals: Collection[tuple[str, str]]) -> pd.Series:
    """Which rows of `attacks`, `roc` or `pictures` are of attacks with one of these goals (`threats.Goal`): bool [rows]."""
    wanted = [attack for attack in rows["attack"].unique() if threats.goal(attack) in goals]
    return rows["attack"].isin(wanted)


def why_nothing(attacks: pd.DataFrame, goals: Collection[tuple[str, str]], otherwise: str) -> str:
    """Why there is nothing to draw of attacks with these goals: the reasons why they could not be made, or else `otherwise`."""
    rows = attacks[not_made(attacks) & aimed_at(attacks, goals)]
    reasons = sorted(set(rows["reason"]))
    if not reasons:
        return otherwise
    return f"no such attack could be made: {reasons[0]}" + (f" (and {len(reasons) - 1} more)" if reasons[1:] else "")


def without_noise(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of runs without a guarantee: bool [rows]."""
    return ~np.isfinite(rows["epsilon"].to_numpy(np.float64))
