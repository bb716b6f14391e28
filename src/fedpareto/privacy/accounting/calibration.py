"""The smallest noise that proves a given epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache

from scipy.optimize import brentq

from fedpareto.columns.declared import CALIBRATING
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.accounting.round_law import gaussian_round
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError

SMALLEST_NOISE = 0.05
LARGEST_NOISE = 1e3
RELATIVE_TOLERANCE = 1e-4
NEAR = 1.3  # by PLD the noise of a target is seldom less than that of RDP over this
UNBOUNDED = 1e6  # an epsilon that is no guarantee stands for any larger one


def calibrate(plan: PrivacyPlan, target_epsilon: float, accountant: str) -> PrivacyPlan:
    """The plan with the smallest noise multiplier whose epsilon is at most `target_epsilon`.

    A search between 0.05 and 1000, to a relative 1e-4, that always ends on the side that keeps the promise; each call of the
    accountant is bounded in time and memory.

    >>> from fedpareto.privacy.setting import PrivacySetting
    >>> plan = PrivacyPlan(
    ...     PrivacySetting(),
    ...     population=100,
    ...     rounds=50,
    ...     clip_norm=1.0,
    ...     noise_multiplier=1.0,
    ...     delta=1e-5,
    ... )
    >>> round(calibrate(plan, target_epsilon=2.0, accountant="pld").noise_multiplier, 2)
    14.1

    Args:
      plan: The run; its noise multiplier is ignored. It needs a clip norm and a delta.
      target_epsilon: Above 0 and finite.
      accountant: `rdp` or `pld`.

    Raises:
      PrivacyPlanError: No noise multiplier within the bounds proves the epsilon under this accountant.
    """
    if not (math.isfinite(target_epsilon) and target_epsilon > 0):
        raise PrivacyPlanError(f"target epsilon = {target_epsilon} must be finite and above 0")
    _check_preprocessing(plan, target_epsilon, accountant, "target epsilon")
    epsilon = _epsilon_of(plan, accountant)
    if epsilon(SMALLEST_NOISE) <= target_epsilon:
        return replace(plan, noise_multiplier=SMALLEST_NOISE)
    low, high = SMALLEST_NOISE, 1.0
    if accountant != "rdp":  # By RDP, which is quick, the target takes somewhat more noise, if it is in reach.
        with suppress(PrivacyPlanError):
            high = calibrate(plan, target_epsilon, "rdp").noise_multiplier
        if low < high / NEAR and epsilon(high / NEAR) > target_epsilon:
            low = high / NEAR
    while epsilon(high) > target_epsilon:
        if high >= LARGEST_NOISE:
            raise PrivacyPlanError(_out_of_reach(plan, target_epsilon, accountant))
        low, high = high, min(high * 4, LARGEST_NOISE)
    return replace(plan, noise_multiplier=_least(epsilon, target_epsilon, low, high))


def _out_of_reach(plan: PrivacyPlan, target: float, accountant: str) -> str:
    proven = guarantee(replace(plan, noise_multiplier=LARGEST_NOISE), only=(accountant,))
    by = "rdp" if math.isnan(proven.epsilons[accountant]) else accountant
    other = ", or use the pld accountant" if accountant == "rdp" and gaussian_round(plan) else ""
    bits = ", or more bits" if plan.sum is not None else ""
    return (
        f"epsilon = {target:g} is out of reach: even a noise multiplier of {LARGEST_NOISE:g} proves only "
        f"{proven.epsilons[by]:.4g} by {by.upper()} (ask for a larger epsilon or delta{bits}{other})"
    )


def _least(epsilon: Callable[[float], float], target: float, low: float, high: float) -> float:
    """The least noise between `low`, which is too little, and `high` that proves the target, to `RELATIVE_TOLERANCE`.

    Brent's method on logarithms, as epsilon is nearly a power of the noise; then a step to the side that keeps the promise.
    """
    # At the ends the very numbers that were tried: the exponential of a logarithm may be on the other side of the target.
    ends = {math.log(low): low, math.log(high): high}

    def excess(log_noise: float) -> float:
        spent = epsilon(ends.get(log_noise, math.exp(log_noise)))
        return math.log(min(spent, UNBOUNDED) / target) if spent > 0 else -math.log(UNBOUNDED)

    between = brentq(excess, *ends, xtol=RELATIVE_TOLERANCE / 4)
    noise = min(high, math.exp(between + RELATIVE_TOLERANCE / 2))
    while epsilon(noise) > target:
        noise = min(high, noise * (1 + RELATIVE_TOLERANCE))
    return noise


def end_of_search(plan: PrivacyPlan, accountant: str) -> str | None:
    """Why the noise of a calibrated plan may not be the smallest; None where it is.

    Less noise may prove nothing at all: what may fail takes delta, or discrete noise is not exact enough. And where PLD has no
    epsilon RDP decides: the search may end at the least noise that PLD can tell anything about.

    Args:
      plan: The result of `calibrate`.
      accountant: That of the calibration.
    """
    less = plan.noise_multiplier / (1 + RELATIVE_TOLERANCE)
    if less < SMALLEST_NOISE:
        return None
    beyond = guarantee(replace(plan, noise_multiplier=less), only=(accountant,))
    if math.isinf(beyond.epsilon):
        return f"the search ended where less noise proves nothing ({beyond.warnings[0]})"
    if (
        accountant != "pld"
        or math.isnan(guarantee(plan, only=(accountant,)).epsilon_pld)
        or not math.isnan(beyond.epsilon_pld)
    ):
        return None
    return f"less noise may prove this epsilon too: the search ended where RDP decides ({beyond.warnings[0]})"


def stopped(plan: PrivacyPlan, epsilon: float, accountant: str) -> PrivacyPlan:
    """The plan cut after its last round within `epsilon`; the plan itself where all of its rounds are.

    Raises:
      PrivacyPlanError: Not a single round is within it.
    """

    def spent(rounds: int) -> float:
        return _spent(plan.after(rounds), accountant)

    _check_preprocessing(plan, epsilon, accountant, "stop_at_epsilon")
    if spent(plan.rounds) <= epsilon:
        return plan
    low, high = 0, plan.rounds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if spent(middle) <= epsilon else (low, middle)
    if low == 0:
        raise PrivacyPlanError(
            f"stop_at_epsilon = {epsilon:g} is within no round: the first alone spends {spent(1):.4g} by {accountant.upper()} "
            "(allow more, or add noise)"
        )
    return plan.after(low)


def _check_preprocessing(plan: PrivacyPlan, epsilon: float, accountant: str, what: str) -> None:
    """Checks that the releases before the first round leave some of the budget."""
    before = _spent(plan.after(0), accountant) if plan.preprocessing_noise_multipliers else 0.0
    if before >= epsilon:
        raise PrivacyPlanError(
            f"{what} = {epsilon:g} is less than the {before:.4g} that preprocessing alone spends by {accountant.upper()} "
            "(raise noise_multiplier of preprocessing)"
        )


def _epsilon_of(plan: PrivacyPlan, accountant: str) -> Callable[[float], float]:
    names = [calibrating.name for calibrating in CALIBRATING]
    if accountant not in names:
        raise PrivacyPlanError(f"accountant = {accountant} must be {' or '.join(names)}")

    return cache(lambda noise_multiplier: _spent(replace(plan, noise_multiplier=noise_multiplier), accountant))


def _spent(plan: PrivacyPlan, accountant: str) -> float:
    proven = guarantee(plan, only=(accountant,))
    # `guarantee` has no PLD where it is out of bounds, or above RDP: what is searched is the smaller of the two.
    epsilon = proven.epsilons[accountant]
    return proven.epsilon_rdp if math.isnan(epsilon) else epsilon
