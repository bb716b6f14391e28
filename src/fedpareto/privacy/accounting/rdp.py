"""Rényi differential privacy of a plan: the divergence of one round, of the preliminary releases, and of a whole run.

A mechanism that is no Gaussian states its own curve. `classic_epsilons` is the conversion in use before 2020,
`min_a rdp(a) + log(1/delta) / (a - 1)`, on the orders of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from dp_accounting import rdp

from fedpareto.privacy.accounting import amplification, subsampled
from fedpareto.privacy.accounting.round_law import GaussianRound, gaussian_round
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError

ORDERS: tuple[float, ...] = (
    *(1 + x / 20 for x in range(1, 20)),  # the best order of an epsilon above 20 lies here
    *(1 + x / 10 for x in range(10, 100)),
    *map(float, range(11, 65)),
    *(float(x) for x in (72, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)),
)
# Of what is no Gaussian: bounds by amplification have sharp minima, far out where epsilon is small.
WHOLE_ORDERS: tuple[float, ...] = (
    *map(float, range(2, 65)),
    *(float(round(64 * 2 ** (k / 16))) for k in range(1, 129)),
)
FURTHEST_OF_EVENTS = 1024  # dp-accounting takes its time for each order
CLASSIC_ORDERS: tuple[float, ...] = (*(1 + x / 10 for x in range(1, 100)), *map(float, range(12, 64)))


def rdp_curve(plan: PrivacyPlan, orders: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The Rényi divergence of one round at each order.

    Args:
      plan: The plan.
      orders: Rényi orders above 1; `ORDERS`, or `WHOLE_ORDERS` for a mechanism that is no Gaussian, where none are given.

    Returns:
      The orders at which the mechanism's divergence is known, float64 [k]: whole ones where it is no Gaussian; and one round's
      divergence at them, float64 [k].
    """
    law = gaussian_round(plan)
    if law is None:
        furthest = np.inf if plan.noise.event(plan) is None else FURTHEST_OF_EVENTS
        given = WHOLE_ORDERS if orders is None else orders
        whole = np.array([order for order in given if float(order).is_integer() and order <= furthest], float)
        return whole, _stated(plan, whole)
    at = np.asarray(ORDERS if orders is None else orders, float)
    return at, amplification.mixture(law.steps * _release(law, at), law.participation, at)


def _release(law: GaussianRound, orders: np.ndarray) -> np.ndarray:
    """The divergence of one of a round's releases."""
    if law.sample == "poisson":
        return subsampled.poisson(law.noise, law.rate, orders)
    if law.sample == "without_replacement":
        return subsampled.without_replacement(law.noise, law.rate, orders)
    return orders / (2 * law.noise**2)


def preprocessing_rdp(plan: PrivacyPlan, orders: np.ndarray) -> np.ndarray:
    """The Rényi divergence of all preliminary releases together at each order, float64 [k] (Mironov 2017, Corollary 3)."""
    return orders * sum(1 / (2 * noise**2) for noise in plan.preprocessing_relative_noise)


def whole_curve(plan: PrivacyPlan) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rényi orders, and the divergence of the whole run at each, which holds but for `PrivacyPlan.reserved_delta`."""
    orders, one = rdp_curve(plan)
    whole = one * plan.compositions(plan.rounds) + preprocessing_rdp(plan, orders)
    return tuple(orders.tolist()), tuple(whole.tolist())


def classic_epsilons(plan: PrivacyPlan, compositions: Mapping[int, float]) -> dict[int, float]:
    """Epsilon by round by the conversion used before 2020 (Mironov 2017, Proposition 3), for comparison with old papers.

    Args:
      plan: The plan.
      compositions: Rounds -> how often one round composes.
    """
    orders, one = rdp_curve(plan, CLASSIC_ORDERS)
    before = preprocessing_rdp(plan, orders)
    return {
        t: float(np.min(one * k + before - np.log(plan.accounted_delta) / (orders - 1)))
        for t, k in compositions.items()
    }


def _stated(plan: PrivacyPlan, orders: np.ndarray) -> np.ndarray:
    """The divergence of one round that the mechanism states, by the least of all bounds that hold, order by order."""

    def curve(at: np.ndarray) -> np.ndarray:
        event = plan.noise.event(plan)
        stated = plan.noise.rdp(plan, at) if event is None else rdp.RdpAccountant(at).compose(event).rdp
        found = np.asarray(stated, np.float64)
        fault = _fault_of(found, at)
        if fault is not None:
            raise PrivacyPlanError(f"mechanism = {plan.setting.mechanism} must state a Rényi divergence {fault}")
        return found

    # Whether or not it is known who took part: a unit that did not tells nothing.
    drawn = amplification.mixture(curve(orders), plan.participation_probability, orders)
    if not plan.amplified:
        return drawn
    swapped = plan.setting.adjacency == "replace_one"
    bound = amplification.without_replacement if swapped else amplification.poisson
    every = curve(np.arange(2.0, orders.max() + 1))
    secret = [bound(lambda at: every[at.astype(int) - 2], plan.inclusion_probability, int(order)) for order in orders]
    return np.minimum(drawn, np.array(secret))


def _fault_of(stated: np.ndarray, orders: np.ndarray) -> str | None:
    """The reason why numbers are no Rényi divergence at these orders; None where they may be one (van Erven and Harremoes 2014)."""
    if stated.shape != orders.shape:
        return f"at each of {orders.size} orders, and returns shape {list(stated.shape)}"
    if np.isnan(stated).any():
        return "that is a number, and returns NaN"
    if (stated < 0).any():
        return "of at least 0, and returns less"
    if stated.ndim and (stated[1:] < stated[:-1] * (1 - 1e-9)).any():
        return "that does not fall with the order, and returns one that does"
    return None
