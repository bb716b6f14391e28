"""Epsilon by privacy loss distributions, within bounds on time, memory and rounding error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from dp_accounting import pld
from dp_accounting.pld import common

from fedpareto.privacy.plan import PrivacyPlan

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


def pld_epsilons(
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
    # Gaussians on everything compose to one, exactly.
    precision = sum(noise**-2 for noise in plan.preprocessing_relative_noise)
    gaussian = pld.privacy_loss_distribution.from_gaussian_mechanism
    epsilons: dict[int, float] = {}
    warnings: dict[int, str] = {}
    if rate == 1:
        for t, k in releases.items():
            noise = (k * plan.relative_noise**-2 + precision) ** -0.5
            interval, warning = _pld_interval(noise, scale, 1)
            loss = gaussian(standard_deviation=noise, value_discretization_interval=interval)
            epsilons[t] = max(0.0, float(loss.get_epsilon_for_delta(delta)))
            warnings |= {t: warning} if warning else {}
        return epsilons, warnings
    # Distributions compose on one grid only: the coarser of what the two of them can afford.
    noises = [plan.relative_noise, *([precision**-0.5] if precision else [])]
    times = int(max(releases.values()))
    interval, warning = max((_pld_interval(z, scale, times) for z in noises), key=lambda pair: pair[0])
    step = gaussian(standard_deviation=plan.relative_noise, value_discretization_interval=interval, sampling_prob=rate)
    before = [gaussian(precision**-0.5, value_discretization_interval=interval)] if precision else []
    for t, k in releases.items():
        why_not = _pld_out_of_bounds(step, int(k), delta)
        if why_not:
            warnings[t] = why_not
            continue
        parts = [_self_compose(step, int(k))] if k else []
        parts += before
        whole = reduce(lambda loss, other: loss.compose(other), parts)
        left = delta - (k + len(before)) * PLD_ERROR_OF_COMPOSITION
        epsilons[t] = max(0.0, float(whole.get_epsilon_for_delta(left)))
        warnings |= {t: warning} if warning else {}
    return epsilons, warnings


def _pld_out_of_bounds(step: Any, times: int, delta: float) -> str | None:
    """The reason why PLD cannot compose a distribution `times` times; None where it can."""
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
