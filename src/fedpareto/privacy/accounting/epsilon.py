"""Epsilon by round from a `PrivacyPlan`: RDP as the headline, PLD and the classic conversion beside it.

RDP follows Mironov (2017) with the Poisson-subsampled Gaussian of Mironov, Talwar and Zhang (2019) and the conversion
of Canonne, Kamath and Steinke (2020, Proposition 12). `classic` is the conversion in use before 2020,
`min_a rdp(a) + log(1/delta) / (a - 1)`, on the orders of the time, for comparison with old papers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from typing import Any

import dp_accounting
import numpy as np
from dp_accounting import pld, rdp
from dp_accounting.pld import common

from fedpareto.columns.declared import ACCOUNTANTS
from fedpareto.privacy.accounting.amplification import mixture, poisson, without_replacement
from fedpareto.privacy.accounting.events import step_event
from fedpareto.privacy.accounting.guarantee import Guarantee
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError

# dp-accounting drops fractional orders whose series does not converge, so integers carry the grid.
ORDERS: tuple[float, ...] = (
    *(1 + x / 10 for x in range(1, 100)),
    *map(float, range(11, 65)),
    *(float(x) for x in (72, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)),
)
CLASSIC_ORDERS: tuple[float, ...] = (*(1 + x / 10 for x in range(1, 100)), *map(float, range(12, 64)))

# Bounds on the privacy loss distribution, so that no request runs without end. The discretisation is relative to
# epsilon (any interval gives a valid upper bound, a finer one a tighter bound), and one step's grid has a largest size.
PLD_RELATIVE_INTERVAL = 1.0 / 5000
PLD_COMPOSITIONS = 10_000  # of more than these the rounding errors add up: the interval shrinks
PLD_LARGEST_INTERVAL = 1e-2
PLD_SMALLEST_INTERVAL = 1e-7
PLD_LARGEST_GRID = 200_000
PLD_LARGEST_COMPOSED_GRID = 10_000_000  # ten seconds and a gigabyte
PLD_LARGEST_EPSILON = 500.0
PLD_TRUNCATED_TAIL = 1e-15  # probability, dp-accounting's own; it counts as an infinite loss
# A distribution is composed T times as the T-th power of its Fourier transform in float64, whose rounding moves delta by up to
# 1.3 T 2e-16 (against 80-bit floats, in 300 compositions of 10 to 10^7 steps): seven times that is taken out of delta.
PLD_ERROR_OF_COMPOSITION = 2e-15
PLD_LARGEST_ERROR = 0.5  # of delta; where more is noise, epsilon would be too
# From so many compositions on dp-accounting would make a distribution dense in any case, and compute a number of so many
# thousand digits first to find that out.
PLD_DENSE_COMPOSITIONS = 64


def guarantee(plan: PrivacyPlan, *, with_pld: bool = True) -> Guarantee:
    """The guarantee of a whole run.

    >>> from fedpareto.privacy.setting import PrivacySetting
    >>> plan = PrivacyPlan(
    ...     PrivacySetting(sampling_rate=0.1),
    ...     population=100,
    ...     rounds=50,
    ...     clip_norm=1.0,
    ...     noise_multiplier=1.0,
    ...     delta=1e-5,
    ... )
    >>> round(guarantee(plan, with_pld=False).epsilon_rdp, 2)
    5.89
    """
    return guarantees(plan, [plan.rounds], with_pld=with_pld)[0]


def guarantees(plan: PrivacyPlan, rounds: Sequence[int], *, with_pld: bool = True) -> list[Guarantee]:
    """The guarantee after each of `rounds` rounds.

    Args:
      plan: The plan that trains the run. Its pad, hence the part of delta that overflow takes, is that of the whole
        run at every round: a valid, slightly pessimistic delta for the earlier ones.
      rounds: Numbers of rounds, each between 0 and any number.
      with_pld: False leaves `epsilon_pld` NaN and saves its time.

    Returns:
      One `Guarantee` for each entry of `rounds`, in order. 0 rounds give what preliminary releases spend, else epsilon 0; no
      noise gives infinity. Where clients prove epsilons of their own, it is that of the worst.
    """
    if not plan.private:
        return [_same(t, math.inf if t else 0.0) for t in rounds]
    proven = _guarantees(plan, rounds, with_pld)
    if not plan.uses_black_box_amplification:
        return proven
    # Who does not see who took part learns no more than who does. The general bounds may promise less than that.
    seen = _guarantees(plan.replace(participation="seen"), rounds, with_pld)
    return [min(pair, key=lambda one: one.epsilon_rdp) for pair in zip(proven, seen, strict=True)]


def _guarantees(plan: PrivacyPlan, rounds: Sequence[int], with_pld: bool) -> list[Guarantee]:
    delta = plan.accounted_delta
    orders, step_rdp, dropped = rdp_curve(plan)
    before = preprocessing_rdp(plan, orders)
    releases = {t: plan.releases(t) for t in {*rounds} if t or plan.preprocessing_noise_multipliers}
    by_pld: dict[int, float] = {}
    pld_warnings: dict[int, str] = {}
    if with_pld and releases:
        final, _ = rdp.compute_epsilon(orders, step_rdp * max(releases.values()) + before, delta)
        by_pld, pld_warnings = _pld_epsilons(plan, releases, delta, final)
    results = []
    for t in rounds:
        if t not in releases:
            results.append(_same(0, 0.0))
            continue
        epsilon, order = rdp.compute_epsilon(orders, step_rdp * releases[t] + before, delta)
        warnings = [pld_warnings[t]] if t in pld_warnings else []
        if by_pld.get(t, 0.0) > epsilon:  # Two upper bounds: the larger one is of no use to anybody.
            warnings = [f"PLD not used: its epsilon is {by_pld.pop(t):.4g}, above the {epsilon:.4g} of RDP"]
        if epsilon > 0 and order in (orders[0], orders[-1]):
            warnings.append(_edge_warning(float(order), float(orders[0]), dropped))
        results.append(
            Guarantee(
                rounds=t,
                epsilons={
                    "rdp": _within(plan, float(epsilon)),
                    "pld": by_pld.get(t, math.nan),
                    "rdp_classic": _within(plan, classic_epsilon(plan, t)),
                },
                rdp_order=float(order),
                releases=releases[t] + len(plan.preprocessing_noise_multipliers),
                warnings=tuple(warnings),
            )
        )
    return results


def _same(rounds: int, epsilon: float) -> Guarantee:
    """The guarantee of a run for which every accountant says the same."""
    return Guarantee(rounds, {accountant.name: epsilon for accountant in ACCOUNTANTS}, math.nan)


def by_client(plan: PrivacyPlan) -> list[float]:
    """Epsilon by RDP that each client proves for its own records over the whole run, in the order of the clients.

    Raises:
      PrivacyPlanError: All clients share one guarantee under this plan.
    """
    if plan.local is None:
        raise PrivacyPlanError("only clients that noise their own records prove epsilons of their own")
    alone = {
        rate: guarantee(replace(plan, local=replace(plan.local, record_rates=(rate,))), with_pld=False).epsilon_rdp
        for rate in {*plan.local.record_rates}
    }
    return [alone[rate] for rate in plan.local.record_rates]


def rdp_curve(plan: PrivacyPlan, orders: Sequence[float] = ORDERS) -> tuple[np.ndarray, np.ndarray, int]:
    """The Rényi divergence of one release at each order.

    Returns:
      The orders that the accountant could bound, float64 [k]; one release's RDP at them, float64 [k]; and how many
      orders were dropped because their series does not converge.
    """
    if plan.local is not None and plan.amplified:
        seen = plan.replace(participation="seen")
        kept, steps, dropped = rdp_curve(seen, orders)
        per_round = steps * plan.local.steps
        hidden = [mixture(r, plan.inclusion_probability, a) for a, r in zip(kept, per_round, strict=True)]
        return kept, np.asarray(hidden), dropped
    if plan.noise.event(plan) is None:
        orders = [order for order in orders if float(order).is_integer()]
        return np.asarray(orders, float), _stated_rdp(plan, orders), 0
    accountant = rdp.RdpAccountant(orders, _relation(plan))
    with _quiet_accountant():
        accountant.compose(step_event(plan))
    bounded = np.isfinite(accountant.rdp)
    if not bounded.any():  # The noise is so small that every order overflows: nothing is proven.
        return np.asarray(orders, float), np.full(len(orders), np.inf), 0
    kept, curve = np.asarray(orders, float)[bounded], accountant.rdp[bounded]
    if plan.amplified and plan.setting.sampling == "fixed_size":
        # A sample never tells more than all would (joint quasi-convexity); dp-accounting's bound for it can say so at large orders.
        curve = np.minimum(curve, kept / (2 * plan.relative_noise**2))
    return kept, curve, int((~bounded).sum())


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


def classic_epsilon(plan: PrivacyPlan, rounds: int) -> float:
    """Epsilon by the conversion used before 2020 (Mironov 2017, Proposition 3), for comparison with old papers."""
    orders, step_rdp, _ = rdp_curve(plan, CLASSIC_ORDERS)
    spent = step_rdp * plan.releases(rounds) + preprocessing_rdp(plan, orders)
    return float(np.min(spent - np.log(plan.accounted_delta) / (orders - 1)))


def _stated_rdp(plan: PrivacyPlan, orders: Sequence[float]) -> np.ndarray:
    """The divergence of one release that the mechanism states, with what secrecy of the sample amplifies."""

    def curve(at: np.ndarray) -> np.ndarray:
        return np.asarray(plan.noise.rdp(plan, at), np.float64)

    if not plan.amplified:
        return curve(np.asarray(orders, float))
    bound = poisson if plan.setting.sampling == "poisson" else without_replacement
    return np.array([bound(curve, plan.inclusion_probability, int(order)) for order in orders])


def _within(plan: PrivacyPlan, epsilon: float) -> float:
    """Epsilon, or infinity beyond what the sampler of the noise allows to prove."""
    return epsilon if epsilon <= plan.largest_epsilon else math.inf


def _pld_epsilons(
    plan: PrivacyPlan, releases: Mapping[int, float], delta: float, scale: float
) -> tuple[dict[int, float], dict[int, str]]:
    """PLD epsilon by round, and warnings by round; ({}, warnings) if PLD does not apply.

    Args:
      plan: The plan.
      releases: Rounds -> releases that compose.
      delta: The accounted delta.
      scale: Epsilon by RDP after the last of them, which sets the discretisation.

    Returns:
      Rounds -> epsilon where PLD applies; rounds -> the reason why it does not, or why its epsilon is not tight.
    """
    if plan.noise.event(plan) is None or (plan.local is not None and plan.amplified):
        return {}, dict.fromkeys(releases, "PLD not computed: dp-accounting's PLD does not cover this mechanism")
    if not scale <= PLD_LARGEST_EPSILON:
        why = (
            f"PLD not computed: epsilon by RDP is {scale:.4g}, above {PLD_LARGEST_EPSILON:g}, where PLD takes "
            "unbounded memory and the guarantee means nothing"
        )
        return {}, dict.fromkeys(releases, why)
    if plan.amplified and plan.setting.sampling == "fixed_size":
        why = f"PLD not computed: dp-accounting's PLD does not cover {plan.setting.sampling} sampling"
        return {}, dict.fromkeys(releases, why)
    rate = _sampled(plan)
    precision = sum(
        noise**-2 for noise in plan.preprocessing_relative_noise
    )  # Gaussians on everything compose to one, exactly
    gaussian = pld.privacy_loss_distribution.from_gaussian_mechanism
    found: dict[int, float] = {}
    warnings: dict[int, str] = {}
    if rate == 1:
        for t, k in releases.items():
            noise = (k * plan.relative_noise**-2 + precision) ** -0.5
            interval, warning = _pld_interval(noise, scale, 1)
            one = gaussian(standard_deviation=noise, value_discretization_interval=interval)
            found[t] = max(0.0, float(one.get_epsilon_for_delta(delta)))
            warnings |= {t: warning} if warning else {}
        return found, warnings
    # Distributions compose on one grid only: the coarser of what the two of them can afford.
    noises = [plan.relative_noise, *([precision**-0.5] if precision else [])]
    times = int(max(releases.values()))
    interval, warning = max((_pld_interval(z, scale, times) for z in noises), key=lambda found: found[0])
    step = gaussian(standard_deviation=plan.relative_noise, value_discretization_interval=interval, sampling_prob=rate)
    before = [gaussian(precision**-0.5, value_discretization_interval=interval)] if precision else []
    for t, k in releases.items():
        why_not = _pld_out_of_bounds(step, int(k), delta)
        if why_not:
            warnings[t] = why_not
            continue
        parts = [_self_compose(step, int(k))] if k else []
        parts += before
        whole = reduce(lambda one, other: one.compose(other), parts)
        left = delta - (k + len(before)) * PLD_ERROR_OF_COMPOSITION
        found[t] = max(0.0, float(whole.get_epsilon_for_delta(left)))
        warnings |= {t: warning} if warning else {}
    return found, warnings


def _pld_out_of_bounds(step: Any, times: int, delta: float) -> str | None:
    """Why `times` compositions of a distribution are beyond what PLD can do; None where they are not."""
    error = times * PLD_ERROR_OF_COMPOSITION
    if error > PLD_LARGEST_ERROR * delta:
        return (
            f"PLD not computed: rounding may move delta by {error:.2g} in {times:,} compositions, and delta is {delta:.2g} "
            "(RDP holds)"
        )
    grid = max(_composed_grid(pmf, times) for pmf in _distributions(step))
    if grid > PLD_LARGEST_COMPOSED_GRID:
        return (
            f"PLD not computed: {times:,} compositions need a grid of {grid:.2g} values, above "
            f"{PLD_LARGEST_COMPOSED_GRID:.2g} (RDP holds)"
        )
    return None


def _composed_grid(pmf: Any, times: int) -> int:
    """The number of values that a distribution takes when it is composed with itself."""
    lowest, highest = common.compute_self_convolve_bounds(pmf.to_dense_pmf()._probs, times, PLD_TRUNCATED_TAIL)
    return int(highest - lowest + 1)


def _self_compose(step: Any, times: int) -> Any:
    """The result of `step.self_compose`, in a time that does not grow with the compositions."""
    if times < PLD_DENSE_COMPOSITIONS:
        return step.self_compose(times)
    return pld.privacy_loss_distribution.PrivacyLossDistribution(
        *(pmf.to_dense_pmf().self_compose(times, PLD_TRUNCATED_TAIL) for pmf in _distributions(step))
    )


def _distributions(step: Any) -> list[Any]:
    """The distributions of the loss if a unit leaves and if one joins; one where both are the same."""
    return [step._pmf_remove] if step._symmetric else [step._pmf_remove, step._pmf_add]


def _sampled(plan: PrivacyPlan) -> float:
    """The Poisson rate inside one release of Gaussian noise; 1 where nothing is sampled in secret."""
    if plan.local is not None:
        return plan.local.worst
    return plan.inclusion_probability if plan.amplified else 1.0


def _pld_interval(noise: float, scale: float, times: int) -> tuple[float, str | None]:
    """The discretisation interval for relative noise and an epsilon of about `scale` after `times` compositions.

    With it comes a warning where it is coarse.
    """
    wanted = scale * PLD_RELATIVE_INTERVAL / max(1.0, times / PLD_COMPOSITIONS) ** 0.5
    wanted = min(PLD_LARGEST_INTERVAL, max(PLD_SMALLEST_INTERVAL, wanted))
    widest_loss = 0.5 / noise**2 + 12.0 / noise
    affordable = widest_loss / PLD_LARGEST_GRID
    if affordable <= wanted:
        return wanted, None
    return affordable, (
        f"PLD was computed on a coarser grid ({affordable:.2g} instead of {wanted:.2g}) to bound its memory: "
        "its epsilon is valid but not the tightest"
    )


def _relation(plan: PrivacyPlan) -> dp_accounting.NeighboringRelation:
    return (
        # A unit that is zeroed out moves a sum as far as one that leaves.
        dp_accounting.NeighboringRelation.REPLACE_ONE
        if plan.setting.adjacency == "replace_one"
        else dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    )


def _edge_warning(order: float, lowest: float, dropped: int) -> str:
    where = "smallest" if order == lowest else "largest"
    why = f" ({dropped} smaller orders did not converge)" if dropped and where == "smallest" else ""
    return f"the optimal RDP order is {order:g}, the {where} of the grid{why}: epsilon is valid but may not be tight"


@contextmanager
def _quiet_accountant() -> Iterator[None]:
    """Silences dp-accounting's line for every dropped order; what it means is reported once, as a warning."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
