"""Published epsilons computed anew, by the classic conversion, RDP and PLD."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from dp_accounting import rdp

from fedpareto.privacy.accounting import CLASSIC_ORDERS, ORDERS, guarantee, rdp_curve
from fedpareto.privacy.parties import LocalSteps
from fedpareto.privacy.plan import PrivacyPlan


class Claimed(Protocol):
    """What an epsilon was computed from, see `fedpareto.papers.Claim`."""

    @property
    def rate(self) -> float: ...
    @property
    def noise(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def delta(self) -> float: ...
    @property
    def rounds(self) -> int | None: ...
    @property
    def also(self) -> tuple[float, ...]: ...
    @property
    def layers(self) -> int: ...


def plan_of(claim: Claimed) -> PrivacyPlan:
    """The plan of the run that a claim is about: add or remove one, Poisson sampling.

    With `rounds`, clients take the steps on their own records. Layers that are clipped one by one with this noise each are one
    vector that is clipped jointly with less noise, by the square root of their number.
    """
    # A population of 1 never overflows its pad: all of delta is left to the accountant, as in the papers.
    plan = PrivacyPlan(
        population=1,
        sampling_rate=claim.rate,
        rounds=claim.steps,
        clip_norm=1.0,
        noise_multiplier=claim.noise / math.sqrt(claim.layers),
        delta=claim.delta,
    )
    if claim.rounds is None:
        return plan
    local = LocalSteps(claim.steps // claim.rounds, (claim.rate,))
    return replace(
        plan, sampling_rate=1.0, rounds=claim.rounds, unit="record", trust="local", participation="seen", local=local
    )


def recompute(claim: Claimed) -> dict[str, float]:
    """Epsilon by the classic conversion, RDP and PLD; the last is NaN with further releases, or where it is out of bounds."""
    plan = plan_of(claim)
    if not claim.also:
        proven = guarantee(plan)
        return {
            "epsilon_rdp_classic": proven.epsilon_rdp_classic,
            "epsilon_rdp": proven.epsilon_rdp,
            "epsilon_pld": proven.epsilon_pld,
        }

    def whole(orders: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        kept, one, _ = rdp_curve(plan, orders)
        return kept, one * plan.releases(plan.rounds) + sum(kept / (2 * z**2) for z in claim.also)

    old_orders, old = whole(CLASSIC_ORDERS)
    orders, new = whole(ORDERS)
    return {
        "epsilon_rdp_classic": float(np.min(old - math.log(plan.accounted_delta) / (old_orders - 1))),
        "epsilon_rdp": float(rdp.compute_epsilon(orders, new, plan.accounted_delta)[0]),
        "epsilon_pld": math.nan,
    }
