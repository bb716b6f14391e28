"""Epsilon by round from a `PrivacyPlan`: by PLD and by RDP, and by the classic conversion for comparison.

RDP becomes epsilon by the conversion of Canonne, Kamath and Steinke (2020, Proposition 12).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from dp_accounting import rdp

from fedpareto.columns.declared import ACCOUNTANTS, CALIBRATING
from fedpareto.privacy.accounting.guarantee import Guarantee
from fedpareto.privacy.accounting.pld import pld_epsilons
from fedpareto.privacy.accounting.rdp import classic_epsilons, preprocessing_rdp, rdp_curve
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError


def guarantee(plan: PrivacyPlan, *, only: Collection[str] | None = None) -> Guarantee:
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
    >>> round(guarantee(plan, only=["rdp"]).epsilon_rdp, 2)
    5.88
    """
    return guarantees(plan, [plan.rounds], only=only)[0]


def guarantees(plan: PrivacyPlan, rounds: Sequence[int], *, only: Collection[str] | None = None) -> list[Guarantee]:
    """The guarantee after each of `rounds` rounds.

    Args:
      plan: The plan that trains the run. Its pad, hence the part of delta that overflow takes, is that of the whole
        run at every round: a valid, slightly pessimistic delta for the earlier ones.
      rounds: Numbers of rounds, each between 0 and any number.
      only: Accountants whose epsilon is wanted beside that of RDP; the others' is NaN, which saves time. None for all.

    Returns:
      One `Guarantee` for each entry of `rounds`, in order. 0 rounds give what preliminary releases spend, else epsilon 0; no
      noise gives infinity. Where clients prove epsilons of their own, it is that of the worst.
    """
    if not plan.private:
        return [_same(t, math.inf if t else 0.0) for t in rounds]
    if plan.accounted_delta <= 0:
        why = (
            f"no guarantee: all of delta = {plan.delta:g} and more is spent on what may fail ({plan.budget.largest()})"
        )
        spent = [t > 0 or bool(plan.preprocessing_noise_multipliers) for t in rounds]
        return [
            replace(_same(t, math.inf), warnings=(why,)) if some else _same(t, 0.0)
            for t, some in zip(rounds, spent, strict=True)
        ]
    return _guarantees(plan, rounds, only)


def _guarantees(plan: PrivacyPlan, rounds: Sequence[int], only: Collection[str] | None) -> list[Guarantee]:
    delta = plan.accounted_delta
    orders, one = rdp_curve(plan)
    before = preprocessing_rdp(plan, orders)
    compositions = {t: plan.compositions(t) for t in {*rounds} if t or plan.preprocessing_noise_multipliers}
    by_pld: dict[int, float] = {}
    pld_warnings: dict[int, str] = {}
    if compositions and (only is None or "pld" in only):
        final, _ = rdp.compute_epsilon(orders, one * max(compositions.values()) + before, delta)
        by_pld, pld_warnings = pld_epsilons(plan, compositions, delta, final)
    classic = classic_epsilons(plan, compositions) if compositions and (only is None or "rdp_classic" in only) else {}
    results = []
    for t in rounds:
        if t not in compositions:
            results.append(_same(0, 0.0))
            continue
        epsilon, order = rdp.compute_epsilon(orders, one * compositions[t] + before, delta)
        warnings = [pld_warnings[t]] if t in pld_warnings else []
        if by_pld.get(t, 0.0) > epsilon:  # Two upper bounds: the larger one is of no use to anybody.
            warnings = [f"PLD not used: its epsilon is {by_pld.pop(t):.4g}, above the {epsilon:.4g} of RDP"]
        if t not in by_pld and (math.isinf(epsilon) or epsilon > plan.largest_epsilon):
            warnings = [_no_guarantee(epsilon, plan.largest_epsilon)]
        elif epsilon > 0 and order in (orders[0], orders[-1]) and t not in by_pld:
            warnings.append(_edge_warning(float(order), float(orders[0])))
        results.append(
            Guarantee(
                rounds=t,
                epsilons={
                    "rdp": _within(plan, float(epsilon)),
                    "pld": by_pld.get(t, math.nan),
                    "rdp_classic": _within(plan, classic[t]) if classic else math.nan,
                },
                rdp_order=float(order),
                releases=plan.releases(t) + len(plan.preprocessing_noise_multipliers),
                warnings=tuple(warnings),
            )
        )
    return results


def _same(rounds: int, epsilon: float) -> Guarantee:
    """The guarantee of a run for which every accountant says the same."""
    return Guarantee(rounds, {accountant.name: epsilon for accountant in ACCOUNTANTS}, math.nan)


def by_client(plan: PrivacyPlan) -> list[dict[str, float]]:
    """Epsilon that each client proves for its own records over the whole run, in the order of the clients.

    Returns:
      For each client epsilon by the names of `columns.declared.CALIBRATING`, NaN where an accountant has no proof.

    Raises:
      PrivacyPlanError: All clients share one guarantee under this plan.
    """
    if plan.local is None:
        raise PrivacyPlanError("only clients that noise their own records prove epsilons of their own")
    names = [accountant.name for accountant in CALIBRATING]
    alone = {}
    for rate in {*plan.local.record_rates}:
        proven = guarantee(replace(plan, local=replace(plan.local, record_rates=(rate,))), only=names)
        alone[rate] = {name: proven.epsilons[name] for name in names}
    return [alone[rate] for rate in plan.local.record_rates]


def _within(plan: PrivacyPlan, epsilon: float) -> float:
    """Epsilon, or infinity beyond the largest that the sampler of the noise allows to prove."""
    return epsilon if epsilon <= plan.largest_epsilon else math.inf


def _no_guarantee(epsilon: float, largest: float) -> str:
    if math.isinf(epsilon):
        return "no guarantee: the divergence of this noise is infinite, or has no bound that is not"
    return (
        f"no guarantee: epsilon = {epsilon:.8g} is above {largest:.8g}, up to which the sampler of this noise is exact enough for "
        "the part of delta that pays for it"
    )


def _edge_warning(order: float, lowest: float) -> str:
    where = "smallest" if order == lowest else "largest"
    return f"the optimal RDP order is {order:g}, the {where} of the grid: epsilon is valid but may not be tight"
