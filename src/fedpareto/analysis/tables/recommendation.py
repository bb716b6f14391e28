"""The point of the grid that a policy picks, its bootstrap confidence, its cost, and the binding limit if none fits.

Only points with a guarantee are picked: an attack that failed proves nothing, so no point is recommended on its strength alone. For
the same reason a point that nobody attacked does not fit a policy that limits leakage. Nor is a point picked of whose runs none
learned anything: whoever may spend no more had better train nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedpareto.analysis.tables.attacks import aimed_at, not_made
from fedpareto.analysis.tables.front import resampled_means
from fedpareto.analysis.tables.leakage import add_leakage, counted, successes
from fedpareto.analysis.tables.score import by_seed, drawn, gain
from fedpareto.analysis.tables.tradeoff import comparable_epsilon
from fedpareto.columns.column import Metric
from fedpareto.columns.declared import CLASSIFICATION, DEFAULT, Additions, table
from fedpareto.columns.frames import empty, of_rows, typed
from fedpareto.components import threats
from fedpareto.statuses import FINISHED

ACCURACY = CLASSIFICATION[0]
TRUSTED, NOT_TRUSTED = "trusted", "not trusted"
# The trust models that are left, by what is assumed of the coordinator.
COORDINATORS = {TRUSTED: ("central", "distributed", "local"), NOT_TRUSTED: ("distributed", "local")}
LIMITS = ("largest_epsilon", "largest_membership", "largest_reconstruction", "smallest_accuracy")
SEVERAL = "several together"
LEARNED = "learned"  # what every point that is picked has, whatever the policy
# Points of other data answer another question; those of another unit, adjacency or delta answer it in another currency.
QUESTION = ("dataset", "partition", "unit", "adjacency", "delta")
_NAMES = {
    "largest_epsilon": "ε (at most {:g})",
    "largest_membership": "membership inference (AUC at most {:g})",
    "largest_reconstruction": "reconstruction (at most {:g} of the records)",
    "smallest_accuracy": "accuracy (at least {:.1%})",
}


def recommend(
    policies: Mapping[str, Mapping[str, Any]],
    comparisons: Mapping[str, Mapping[str, Any]],
    *,
    runs: pd.DataFrame,
    tradeoff: pd.DataFrame,
    attacks: pd.DataFrame,
    additions: Additions = DEFAULT,
) -> pd.DataFrame:
    """The `recommendation` table.

    Args:
      policies: Study or comparison -> limits, any of which may be absent or None: `largest_epsilon`,
        `largest_membership` and `largest_reconstruction` (upper ends of the strongest attack's success), `smallest_accuracy`
        (lower end of the interval over seeds), `trust` (the trust models that can be had).
      comparisons: Comparison -> `studies`, among whose points its policy chooses.
      runs: The `runs` table.
      tradeoff: The `tradeoff` table.
      attacks: The `attacks` table.
      additions: Columns beside those of `columns.toml`.

    Returns:
      A row for each policy, each value of `QUESTION` and each of `COORDINATORS`: the point with the best mean score
      (accuracy) of those within the limits, or none. `cost` is in percentage points of accuracy, against the most accurate
      non-private point of as many clients; `sure` the share of bootstrap samples of the seeds in which the point keeps the
      accuracy limit and no other point within the other limits is better (NaN for one seed); `measured` whether the point was
      attacked (for no point: whether any was); `binding` the limits each of whose removal alone would let a point in, `learned`
      where there is none and points within the limits learned nothing; `studies` and `point_study` where the choice was made
      and where the point is.
    """
    declared = table("recommendation", additions)
    rows = []
    for name, policy in policies.items():
        studies = list(comparisons[name]["studies"]) if name in comparisons else [name]
        points = tradeoff[tradeoff["study"].isin(studies)].drop_duplicates("point_id")
        attempts = attacks[attacks["study"].isin(studies)]
        successful = successes(attempts)
        points = points.assign(not_made=points["point_id"].map(_reasons(attempts, policy)))
        private = points[points["kind"] == "private"]
        for key, group in private.groupby(list(QUESTION), dropna=False, sort=False):
            same = points["dataset"].eq(key[0]) & points["partition"].eq(key[1])
            free = points[same & (points["kind"] == "non_private")]
            metric = drawn(group, additions)
            for coordinator in COORDINATORS:
                pool = candidates(group, successful, policy, coordinator, metric)
                of_studies = runs[runs["study"].isin(studies)]
                row = _choose(pool, policy, coordinator, of_studies, free, declared.names, metric)
                question = dict(zip(QUESTION, key, strict=True))
                rows.append(
                    {"study": name, "studies": " ".join(studies), "coordinator": coordinator, **question, **row}
                )
    return typed(of_rows(rows, declared), declared) if rows else empty(declared)


def candidates(
    points: pd.DataFrame, found: pd.DataFrame, policy: Mapping[str, Any], coordinator: str, metric: Metric = ACCURACY
) -> pd.DataFrame:
    """The private points that a policy could pick under one assumption about the coordinator, and which limits each keeps.

    Args:
      points: Rows of `tradeoff`.
      found: `successes` on them.
      policy: The limits.
      coordinator: One of `COORDINATORS`.
      metric: The score by which they are compared.

    Returns:
      The points whose trust model is to be had and all of whose seeds finished, with `leakage.add_leakage` and a bool column
      for each of `LIMITS` (a point that was not attacked keeps no limit on leakage) and for `LEARNED`: whether any seed did.
    """
    sound = (points["n_ok"] == points["n_seeds"]) & points[f"{metric.name}_mean"].notna()
    sound &= np.isfinite(points["epsilon"])
    pool = points[(points["kind"] == "private") & sound & points["trust"].isin(_trust(policy, coordinator))]
    pool = add_leakage(pool, counted(found, coordinator == TRUSTED))
    measures = {
        "largest_epsilon": comparable_epsilon(pool["epsilon"]),
        "largest_membership": pool["membership_high"],
        "largest_reconstruction": pool["reconstruction_high"],
        # One seed has no interval: its value has to stand for the lower end.
        "smallest_accuracy": -pool["accuracy_low"].fillna(pool["accuracy_mean"]) if "accuracy_mean" in pool else np.nan,
    }
    for limit, measure in measures.items():
        bound = _limit(policy, limit)
        pool[limit] = bound is None or measure <= (-bound if limit == "smallest_accuracy" else bound)
    pool[LEARNED] = pool["n_learned"] > 0
    return pool


def _limit(policy: Mapping[str, Any], name: str) -> float | None:
    value = policy.get(name)
    return None if value is None else float(value)


def _trust(policy: Mapping[str, Any], coordinator: str) -> list[str]:
    allowed = policy.get("trust") or COORDINATORS[TRUSTED]
    return [trust for trust in COORDINATORS[coordinator] if trust in allowed]


def _choose(
    pool: pd.DataFrame,
    policy: Mapping[str, Any],
    coordinator: str,
    runs: pd.DataFrame,
    free: pd.DataFrame,
    columns: Sequence[str],
    metric: Metric,
) -> dict[str, Any]:
    """One row of the table, without the columns that name it."""
    limits = {name: _limit(policy, name) for name in LIMITS}
    row: dict[str, Any] = {
        **limits,
        "trust_allowed": " ".join(_trust(policy, coordinator)),
        "cost": np.nan,
        "sure": np.nan,
    }
    fitting = pool[pool[[*LIMITS, LEARNED]].all(axis=1)] if len(pool) else pool
    if fitting.empty:
        binding = _binding(pool)
        why = _why_none(pool, policy, coordinator, binding)
        return row | {"measured": bool(pool["measured"].any()), "binding": ", ".join(binding) or SEVERAL, "why": why}
    mean = f"{metric.name}_mean"
    ranked = fitting.sort_values([mean, "epsilon", "point_id"], ascending=[metric.better == "lower", True, True])
    best = ranked.iloc[0]
    row |= {column: best[column] for column in columns if column in best.index and column not in (*LIMITS, "study")}
    baseline = gain(metric, free.loc[free["clients"] == best["clients"], mean]).max()
    row["cost"] = (100 if metric.percent else 1) * (baseline - gain(metric, best[mean]))
    rivals = pool[pool[[*LIMITS[:-1], LEARNED]].all(axis=1)]
    row["sure"] = _bootstrap_confidence(best, rivals, runs, limits["smallest_accuracy"], metric)
    most, more = ("most accurate", "more accurate") if metric.name == ACCURACY.name else ("best", "better")
    several = f"the {most} of {_points(len(fitting))}" if len(fitting) > 1 else "the only point"
    why = f"{several} within the limits"
    wanted = pool["largest_epsilon"] & pool[LEARNED] & (gain(metric, pool[mean]) > gain(metric, best[mean]))
    unjudged = pool[_unmeasured(pool, policy) & wanted]
    if len(unjudged):
        why += f"; {_points(len(unjudged))} {more} cannot be judged, since {_unattacked(unjudged)}"
    if best["n_seeds"] < 2:
        why += "; from one seed, which says nothing of its spread"
    if not best["measured"]:
        why += "; its leakage was not measured"
    return row | {"point_study": best["study"], "why": why}


def _bootstrap_confidence(
    best: pd.Series, rivals: pd.DataFrame, runs: pd.DataFrame, smallest: float | None, metric: Metric
) -> float:
    """The share of resamples in which the point is accurate enough and none within the other limits is better."""
    if best["n_seeds"] < 2:
        return float("nan")
    scores = []
    for study, point in zip(rivals["study"], rivals["point_id"], strict=True):
        of_point = runs[(runs["study"] == study) & (runs["point_id"] == point) & runs["status"].isin(FINISHED)]
        scores.append(by_seed(metric, of_point))
    means = resampled_means(scores)
    own_mean = means[:, (rivals["point_id"] == best["point_id"]).to_numpy()][:, 0]
    wins = own_mean >= means.max(axis=1)
    return float((wins & (own_mean >= (-np.inf if smallest is None else smallest))).mean())


def _binding(pool: pd.DataFrame) -> list[str]:
    """The limits that alone exclude every point; `trust` where no point is left to choose from."""
    if pool.empty:
        return ["trust"]
    alone = [
        name for name in LIMITS if pool[[*(other for other in LIMITS if other != name), LEARNED]].all(axis=1).any()
    ]
    return alone or [LEARNED] * bool(_useless(pool))


def _useless(pool: pd.DataFrame) -> int:
    """How many points keep all limits and learned nothing."""
    return int((pool[list(LIMITS)].all(axis=1) & ~pool[LEARNED]).sum())


def _unmeasured(pool: pd.DataFrame, policy: Mapping[str, Any]) -> pd.Series:
    """Which points were not attacked in a way that the policy limits."""
    limited = [measure for limit, measure in threats.LIMITS.items() if _limit(policy, limit) is not None]
    return pool[limited].isna().any(axis=1)


def _why_none(pool: pd.DataFrame, policy: Mapping[str, Any], coordinator: str, binding: list[str]) -> str:
    if pool.empty:
        allowed = " or ".join(_trust(policy, coordinator))
        if not allowed:
            return "none fits; every trust model that can be had trusts the coordinator"
        return f"none fits; there is no point with {allowed} trust whose seeds all finished"
    unmeasured, useless = pool[_unmeasured(pool, policy)], _useless(pool)
    if binding == [LEARNED]:
        return f"none fits; of {_points(useless)} within the limits none learned anything"
    if binding:
        names = ", or the one on ".join(_NAMES[name].format(_limit(policy, name)) for name in binding)
        why = f"none fits; without the limit on {names}, a point would"
        if useless:
            why += f"; {_points(useless)} within the limits learned nothing"
    else:
        why = "none fits; no single limit is to blame"
    if len(unmeasured) == len(pool) and unmeasured["not_made"].isna().any():
        return f"{why}; nobody attacked any of the {_points(len(pool))}, and the policy limits what attacks may find"
    if len(unmeasured):
        why += f"; {_points(len(unmeasured))} cannot be judged, since {_unattacked(unmeasured)}"
    return why


def _reasons(attacks: pd.DataFrame, policy: Mapping[str, Any]) -> pd.Series:
    """By point, the first reason why an attack that the policy limits could not be made on it."""
    limited = [
        goal
        for limit, family in threats.LIMITS.items()
        if _limit(policy, limit) is not None
        for goal in threats.GOALS[family]
    ]
    return attacks[not_made(attacks) & aimed_at(attacks, limited)].groupby("point_id")["reason"].first()


def _unattacked(points: pd.DataFrame) -> str:
    """Why the leakage of points is not known."""
    if points["not_made"].isna().any():
        return f"nobody attacked {_them(len(points))}"
    return f"no attack on {_them(len(points))} could be made: {points['not_made'].iloc[0]}"


def _points(number: int) -> str:
    return f"{number} point" + ("" if number == 1 else "s")


def _them(number: int) -> str:
    return "it" if number == 1 else "them"
