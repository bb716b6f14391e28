"""Epsilon by privacy loss distributions, within bounds on time, memory and rounding error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from dp_accounting.pld import common
from dp_accounting.pld.pld_pmf import DensePLDPmf
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism as gaussian_loss

from fedpareto.privacy.accounting.gaussian import epsilon_of, participations
from fedpareto.privacy.accounting.round_law import GaussianRound, gaussian_round
from fedpareto.privacy.plan import PrivacyPlan

# Bounds on the privacy loss distribution, so that no request runs without end. The discretisation is relative to
# epsilon (any interval gives a valid upper bound, a finer one a tighter bound), and one step's grid has a largest size.
PLD_RELATIVE_INTERVAL = 1.0 / 5000
PLD_COMPOSITIONS = 10_000  # of more than these the rounding errors add up: the interval shrinks
PLD_LARGEST_INTERVAL = 1e-2
PLD_SMALLEST_INTERVAL = 1e-7
PLD_LARGEST_GRID = 200_000
PLD_LARGEST_FINE_GRID = 2_000_000  # where the one above is too coarse, which is known after it was tried
PLD_TOO_COARSE = 5  # times the interval that is wanted
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
    plan: PrivacyPlan, compositions: Mapping[int, float], delta: float, scale: float
) -> tuple[dict[int, float], dict[int, str]]:
    """PLD epsilon by round, and warnings by round; ({}, warnings) if PLD does not apply.

    Args:
      plan: The plan.
      compositions: Rounds -> how often one round composes.
      delta: The accounted delta.
      scale: Epsilon by RDP after the last of them, which sets the discretisation.

    Returns:
      Rounds -> epsilon where PLD applies; rounds -> the reason why it does not, or why its epsilon is not tight.
    """
    law = gaussian_round(plan)
    if law is None:
        return {}, dict.fromkeys(
            compositions, "PLD not computed: the privacy loss of this mechanism has no known bound"
        )
    # Gaussians on everything compose to one, exactly.
    precision = sum(noise**-2 for noise in plan.preprocessing_relative_noise)
    if law.sample == "everybody":
        return {t: _of_gaussians(law, k, precision, delta) for t, k in compositions.items()}, {}
    if not scale <= PLD_LARGEST_EPSILON:
        why = (
            f"PLD not computed: epsilon by RDP is {scale:.4g}, above {PLD_LARGEST_EPSILON:g}, where PLD takes "
            "unbounded memory and the guarantee means nothing"
        )
        return {}, dict.fromkeys(compositions, why)
    # Distributions compose on one grid only: the coarser of what the two of them can afford.
    noises = [law.noise, *([precision**-0.5] if precision else [])]
    times = int(max(compositions.values())) * law.steps
    grid = _pld_interval(noises, scale, times)
    found = _on_a_grid(law, precision, compositions, delta, *grid)
    # Where RDP is far above, its epsilon asks for too coarse a grid: what was found on it asks for a finer one.
    sharper = found[0].get(max(compositions), scale)
    if grid[0] > PLD_TOO_COARSE * _wanted_interval(sharper, times):
        finer = _on_a_grid(
            law, precision, compositions, delta, *_pld_interval(noises, sharper, times, PLD_LARGEST_FINE_GRID)
        )
        found = finer if finer[0].keys() >= found[0].keys() else found
    return found


def _on_a_grid(
    law: GaussianRound,
    precision: float,
    compositions: Mapping[int, float],
    delta: float,
    interval: float,
    warning: str | None,
) -> tuple[dict[int, float], dict[int, str]]:
    """Epsilons by round and warnings by round, of losses in steps of `interval`."""
    epsilons: dict[int, float] = {}
    warnings: dict[int, str] = {}
    release = _release(law, interval)
    before = [gaussian_loss(precision**-0.5, value_discretization_interval=interval)] if precision else []
    for t, k in compositions.items():
        why_not = _pld_out_of_bounds(release, int(k) * law.steps, delta)
        if why_not:
            warnings[t] = why_not
            continue
        whole = reduce(lambda loss, other: loss.compose(other), [*_rounds(release, law, int(k)), *before])
        left = delta - (int(k) * law.steps + len(before)) * PLD_ERROR_OF_COMPOSITION
        epsilons[t] = max(0.0, float(whole.get_epsilon_for_delta(left)))
        warnings |= {t: warning} if warning else {}
    return epsilons, warnings


def _of_gaussians(law: GaussianRound, rounds: float, precision: float, delta: float) -> float:
    """Epsilon of rounds that nothing secret amplifies, after releases of this precision."""
    taken_part = participations(rounds, law.participation, delta)
    shifts = np.sqrt(taken_part.numbers * law.steps / law.noise**2 + precision)
    return epsilon_of(shifts, taken_part, delta)


def _release(law: GaussianRound, interval: float) -> PrivacyLossDistribution:
    """The privacy loss of one of a round's releases."""
    loss = gaussian_loss(law.noise, value_discretization_interval=interval, sampling_prob=law.rate)
    return loss if law.sample == "poisson" else PrivacyLossDistribution(_symmetrised(loss._pmf_remove.to_dense_pmf()))


def _symmetrised(pmf: DensePLDPmf) -> DensePLDPmf:
    """The loss whose hockey-stick curve is that of `pmf` from 1 upwards, and its mirror image below (docs/proofs.md, Theorem 1).

    A loss l > 0 keeps its mass p, -l gets e^-l p, and what is left has loss 0.
    """
    losses = pmf._lower_loss + np.arange(pmf._probs.size)
    above = losses > 0
    masses, cells = pmf._probs[above], losses[above]
    mirrored = masses * np.exp(-cells * pmf._discretization)
    middle = int(cells.max(initial=0))
    whole = np.zeros(2 * middle + 1)
    whole[middle + cells], whole[middle - cells] = masses, mirrored
    # Rounding may leave less than nothing: more mass than 1 is a bound as well.
    whole[middle] = max(0.0, 1 - pmf._infinity_mass - masses.sum() - mirrored.sum())
    return DensePLDPmf(pmf._discretization, -middle, whole, pmf._infinity_mass, True)


def _rounds(release: PrivacyLossDistribution, law: GaussianRound, rounds: int) -> list[PrivacyLossDistribution]:
    """The privacy loss of so many rounds; nothing for none."""
    if not rounds:
        return []
    if law.participation == 1:
        return [_self_compose(release, rounds * law.steps)]
    one = _self_compose(release, law.steps, PLD_TRUNCATED_TAIL / rounds)
    seen = PrivacyLossDistribution(*(_with_probability(law.participation, pmf) for pmf in _distributions(one)))
    return [_self_compose(seen, rounds)]


def _with_probability(rate: float, pmf: Any) -> DensePLDPmf:
    """The loss of a mechanism that runs with probability `rate`, which everybody sees, and else tells nothing: loss 0."""
    dense = pmf.to_dense_pmf()
    lowest = min(0, dense._lower_loss)
    whole = np.zeros(max(0, dense._lower_loss + dense._probs.size - 1) - lowest + 1)
    start = dense._lower_loss - lowest
    whole[start : start + dense._probs.size] = rate * dense._probs
    whole[-lowest] += 1 - rate
    return DensePLDPmf(dense._discretization, lowest, whole, rate * dense._infinity_mass, True)


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


def _self_compose(step: Any, times: int, tail: float = PLD_TRUNCATED_TAIL) -> Any:
    """The result of `step.self_compose`, in a time that does not grow with the compositions."""
    if times == 1:
        return step
    if times < PLD_DENSE_COMPOSITIONS and tail == PLD_TRUNCATED_TAIL:
        return step.self_compose(times)
    return PrivacyLossDistribution(*(pmf.to_dense_pmf().self_compose(times, tail) for pmf in _distributions(step)))


def _distributions(step: Any) -> list[Any]:
    """The distributions of the loss if a unit leaves and if one joins; one where both are the same."""
    return [step._pmf_remove] if step._symmetric else [step._pmf_remove, step._pmf_add]


def _wanted_interval(scale: float, times: int) -> float:
    """The interval on which an epsilon of about `scale` after `times` compositions is tight."""
    wanted = scale * PLD_RELATIVE_INTERVAL / max(1.0, times / PLD_COMPOSITIONS) ** 0.5
    return min(PLD_LARGEST_INTERVAL, max(PLD_SMALLEST_INTERVAL, wanted))


def _pld_interval(
    noises: Iterable[float], scale: float, times: int, largest: int = PLD_LARGEST_GRID
) -> tuple[float, str | None]:
    """The discretisation interval for relative noises and an epsilon of about `scale`, at most `largest` values a release.

    With it comes a warning where it is coarse.
    """
    wanted = _wanted_interval(scale, times)
    affordable = max(0.5 / noise**2 + 12.0 / noise for noise in noises) / largest
    if affordable <= wanted:
        return wanted, None
    return affordable, (
        f"PLD was computed on a coarser grid ({affordable:.2g} instead of {wanted:.2g}) to bound its memory: "
        "its epsilon is valid but not the tightest"
    )
