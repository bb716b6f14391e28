"""Rényi differential privacy of a plan: the divergence of one release, of the preliminary ones, and of a whole run.

The Poisson-subsampled Gaussian follows Mironov, Talwar and Zhang (2019); a mechanism that dp-accounting does not know states
its own curve. `classic_epsilons` is the conversion in use before 2020, `min_a rdp(a) + log(1/delta) / (a - 1)`, on the orders of
the time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dp_accounting
import numpy as np
from dp_accounting import rdp

from fedpareto.privacy.accounting.amplification import mixture, poisson, without_replacement
from fedpareto.privacy.accounting.events import step_event
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError

# dp-accounting drops fractional orders whose series does not converge, so integers carry the grid.
ORDERS: tuple[float, ...] = (
    *(1 + x / 10 for x in range(1, 100)),
    *map(float, range(11, 65)),
    *(float(x) for x in (72, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)),
)
CLASSIC_ORDERS: tuple[float, ...] = (*(1 + x / 10 for x in range(1, 100)), *map(float, range(12, 64)))


def rdp_curve(plan: PrivacyPlan, orders: Sequence[float] = ORDERS) -> tuple[np.ndarray, np.ndarray, int]:
    """The Rényi divergence of one release at each order.

    Returns:
      The orders that the accountant could bound, float64 [k]; one release's RDP at them, float64 [k]; and how many
      orders were dropped because their series does not converge.
    """
    if plan.local is not None and plan.amplified:
        seen = plan.replace(participation="seen")
        finite_orders, steps, dropped = rdp_curve(seen, orders)
        per_round = steps * plan.local.steps
        hidden = [mixture(r, plan.inclusion_probability, a) for a, r in zip(finite_orders, per_round, strict=True)]
        return finite_orders, np.asarray(hidden), dropped
    if plan.noise.event(plan) is None:
        orders = [order for order in orders if float(order).is_integer()]
        return np.asarray(orders, float), _stated_rdp(plan, orders), 0
    accountant = rdp.RdpAccountant(orders, _relation(plan))
    with _quiet_accountant():
        accountant.compose(step_event(plan))
    bounded = np.isfinite(accountant.rdp)
    if not bounded.any():  # The noise is so small that every order overflows: nothing is proven.
        return np.asarray(orders, float), np.full(len(orders), np.inf), 0
    finite_orders, curve = np.asarray(orders, float)[bounded], accountant.rdp[bounded]
    if plan.amplified and plan.setting.sampling == "fixed_size":
        # A sample never tells more than all would (joint quasi-convexity); dp-accounting's bound for it can say so at large orders.
        curve = np.minimum(curve, finite_orders / (2 * plan.relative_noise**2))
    return finite_orders, curve, int((~bounded).sum())


def preprocessing_rdp(plan: PrivacyPlan, orders: np.ndarray) -> np.ndarray:
    """The Rényi divergence of all preliminary releases together at each order, float64 [k] (Mironov 2017, Corollary 3)."""
    return orders * sum(1 / (2 * noise**2) for noise in plan.preprocessing_relative_noise)


def whole_curve(plan: PrivacyPlan) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rényi orders, and the divergence of the whole run at each, which holds but for `PrivacyPlan.reserved_delta`."""
    orders, step_rdp, _ = rdp_curve(plan)
    whole = step_rdp * plan.releases(plan.rounds) + preprocessing_rdp(plan, orders)
    if plan.uses_black_box_amplification:
        seen = plan.replace(participation="seen")
        more, seen_rdp, _ = rdp_curve(seen, orders.tolist())
        whole = np.minimum(whole[np.isin(orders, more)], seen_rdp * seen.releases(plan.rounds))
        orders = more
    return tuple(orders.tolist()), tuple(whole.tolist())


def classic_epsilons(plan: PrivacyPlan, releases: Mapping[int, float]) -> dict[int, float]:
    """Epsilon by round by the conversion used before 2020 (Mironov 2017, Proposition 3), for comparison with old papers.

    Args:
      plan: The plan.
      releases: Rounds -> releases that compose.
    """
    orders, step_rdp, _ = rdp_curve(plan, CLASSIC_ORDERS)
    before = preprocessing_rdp(plan, orders)
    return {
        t: float(np.min(step_rdp * k + before - np.log(plan.accounted_delta) / (orders - 1)))
        for t, k in releases.items()
    }


def _stated_rdp(plan: PrivacyPlan, orders: Sequence[float]) -> np.ndarray:
    """The divergence of one release that the mechanism states, amplified by a secret sample."""

    def curve(at: np.ndarray) -> np.ndarray:
        stated = np.asarray(plan.noise.rdp(plan, at), np.float64)
        fault = _fault_of(stated, at)
        if fault is not None:
            raise PrivacyPlanError(f"mechanism = {plan.setting.mechanism} must state a Rényi divergence {fault}")
        return stated

    if not plan.amplified:
        return curve(np.asarray(orders, float))
    bound = poisson if plan.setting.sampling == "poisson" else without_replacement
    return np.array([bound(curve, plan.inclusion_probability, int(order)) for order in orders])


def _fault_of(stated: np.ndarray, orders: np.ndarray) -> str | None:
    """The reason why numbers are no Rényi divergence at these orders; None where they may be one (van Erven and Harremoes 2014)."""
    if stated.shape != orders.shape:
        return f"at each of {orders.size} orders, and returns shape {list(stated.shape)}"
    if np.isnan(stated).any():
        return "that is a number, and returns NaN"
    if (stated < 0).any():
        return "of at least 0, and returns less"
    if stated.ndim and (np.diff(stated) < -1e-9 * np.abs(stated[1:])).any():
        return "that does not fall with the order, and returns one that does"
    return None


def _relation(plan: PrivacyPlan) -> dp_accounting.NeighboringRelation:
    return (
        # A unit that is zeroed out moves a sum as far as one that leaves.
        dp_accounting.NeighboringRelation.REPLACE_ONE
        if plan.setting.adjacency == "replace_one"
        else dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    )


@contextmanager
def _quiet_accountant() -> Iterator[None]:
    """Silences dp-accounting's line for every dropped order; a warning reports them once."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
