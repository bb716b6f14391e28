"""The privacy cost of choosing the best of several private runs on private data.

Papernot and Steinke (2022): a number of runs is drawn from a distribution fixed in advance, each is made with fresh
randomness, and only the best is released. The cost depends on the mean of that number and on the Rényi divergence of a
single run, and is far below that of releasing all of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta, compute_epsilon
from scipy.optimize import brentq

from fedpareto.analysis.tables.tradeoff import comparable_epsilon, front_groups


def add_selection(tradeoff: pd.DataFrame, runs: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Adds `candidates` and `epsilon_if_selected` in place.

    `candidates` counts the runs of the point's front group whose epsilon is no larger than the point's, itself and all
    seeds included: those among which it was chosen under a budget of its own epsilon (the headline). `epsilon_if_selected`
    is by RDP, whatever proved the headline, what releasing the best of so many (in the mean) would spend.

    Args:
      tradeoff: One row a point.
      runs: One row a run.
      curves: `run_id`, `order`, `rdp`, `delta`, `delta_aside` (what each run of several spends of it by itself),
        `largest_epsilon` (above which its noise is not exact enough for a proof).
    """
    tradeoff["candidates"] = 0
    tradeoff["epsilon_if_selected"] = np.nan
    by_run = {str(name): curve for name, curve in curves.groupby("run_id")} if len(curves) else {}
    for group in front_groups(tradeoff):
        members = runs[runs["point_id"].isin(group["point_id"]) & runs["study"].isin(group["study"])]
        spent = comparable_epsilon(members["epsilon"])
        costs: dict[float, tuple[int, float]] = {}
        for row, budget in zip(group.index, comparable_epsilon(group["epsilon"]), strict=True):
            if not np.isfinite(budget):
                continue
            if budget not in costs:
                chosen = members["run_id"][spent <= budget]
                within = [by_run[str(name)] for name in chosen.unique() if str(name) in by_run]
                costs[budget] = len(chosen), _epsilon_of_best(within, len(chosen))
            tradeoff.loc[row, ["candidates", "epsilon_if_selected"]] = costs[budget]
    tradeoff["candidates"] = tradeoff["candidates"].astype(int)


def repeat_and_select(orders: np.ndarray, rdp: np.ndarray, mean: float) -> list[np.ndarray]:
    """RDP of releasing the best of a random number of runs, for three distributions of that number.

    Args:
      orders: Rényi orders above 1, float64 [k].
      rdp: RDP of one run, float64 [k].
      mean: Mean number of runs, at least 1.

    Returns:
      For the logarithmic (shape 0) and the geometric (shape 1) distribution, by Theorem 2, and the Poisson distribution,
      by Theorem 6: float64 [k] each.
    """
    found = []
    for shape in (0, 1):
        gamma = _gamma(shape, mean)
        constant = (1 + shape) * np.min((1 - 1 / orders) * rdp - np.log(gamma) / orders)
        found.append(rdp + constant + np.log(mean) / (orders - 1))
    deltas = np.array([compute_delta(orders, rdp, np.log1p(1 / (order - 1)))[0] for order in orders])
    found.append(rdp + mean * deltas + np.log(mean) / (orders - 1))
    return found


def _gamma(shape: int, mean: float) -> float:
    """The parameter with which a truncated negative binomial distribution has this mean."""
    if mean == 1:
        return 1.0
    if shape == 1:
        return 1 / mean
    return float(brentq(lambda gamma: (1 / gamma - 1) / np.log(1 / gamma) - mean, 1e-12, 1 - 1e-12))


def _epsilon_of_best(curves: list[pd.DataFrame], number: int) -> float:
    """Epsilon of the best of `number` runs; of runs that differ, the largest divergence at each order counts."""
    if not curves:
        return float("nan")
    orders = np.array(sorted(set.intersection(*(set(curve["order"]) for curve in curves))))
    rdp = np.max([curve.set_index("order")["rdp"].reindex(orders).to_numpy() for curve in curves], axis=0)
    aside = max(float(curve["delta_aside"].iloc[0]) for curve in curves)
    delta = float(curves[0]["delta"].iloc[0]) - number * aside
    if delta <= 0:
        return float("inf")
    candidates = [rdp] if number == 1 else repeat_and_select(orders, rdp, number)
    epsilon = min(float(compute_epsilon(orders, one, delta)[0]) for one in candidates)
    return epsilon if epsilon <= min(float(curve["largest_epsilon"].iloc[0]) for curve in curves) else float("inf")
