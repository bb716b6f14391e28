"""Published epsilons computed anew, by the classic conversion, RDP and PLD."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

from fedpareto.columns.declared import COMPARED
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import LocalSteps, PrivacySetting


class Claimed(Protocol):
    """The inputs of a published epsilon, see `fedpareto.config.papers.Claim`."""

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
        PrivacySetting(unit="record" if claim.also else "client", sampling_rate=claim.rate),
        population=1,
        rounds=claim.steps,
        clip_norm=1.0,
        noise_multiplier=claim.noise / math.sqrt(claim.layers),
        delta=claim.delta,
        preprocessing_noise_multipliers=claim.also,
    )
    if claim.rounds is None:
        return plan
    local = LocalSteps(claim.steps // claim.rounds, (claim.rate,))
    by_clients = PrivacySetting(unit="record", trust="local", participation="seen")
    return replace(plan, setting=by_clients, rounds=claim.rounds, local=local)


def recompute(claim: Claimed) -> dict[str, float]:
    """Epsilon by every accountant, by the name of its column; by PLD it is NaN where that is out of bounds."""
    proven = guarantee(plan_of(claim))
    return {accountant.column.name: proven.epsilons[accountant.name] for accountant in COMPARED}
