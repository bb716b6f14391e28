"""Tables that sample integer noise from uniform bits alone, to within a stated total variation.

A floating-point sampler of a discrete law has an error that nobody states. Here the probabilities are computed to some
forty digits, rounded to multiples of 2^-96 that add up to 1, and sampled without any further error by Walker's alias
method: all that is ever inexact is that one rounding, and it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np

RANDOM_BITS = 96
DIGITS = 50
MOST_CELLS = 2**20

# What the support leaves out, both sides together, and what the computation of the normalising sum leaves out.
TAIL = 100 * math.log(2)
REACH = 160.0

# Every probability is right to this share of itself: `REACH` leaves e^-160 / 2^-102 of the least of them to the Bessel
# recurrence, and 50 digits leave 10^-38 after the longest products.
RELATIVE_ERROR = Decimal("1e-37")


class ShareTableError(ValueError):
    """The requested table is not defined, or would be too large."""


@dataclass(frozen=True, eq=False)
class AliasTable:
    """An alias table with K = 2^k cells: 96 random bits in, one integer out.

    The first k bits choose a cell i and the other 96 - k bits form an integer r. The sample is i - offset if r is below
    the cell's threshold and alias[i] - offset otherwise.

    Attributes:
      high: uint32 [K], upper 32 - k bits of the thresholds.
      middle: uint32 [K], the 32 bits below.
      low: uint32 [K], lowest 32 bits of the thresholds.
      alias: int32 [K], the other index that a cell stands for.
      offset: Index of the value 0.
      total_variation: Upper bound of the total variation distance between one sample of the table and the exact law.
    """

    high: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    alias: np.ndarray
    offset: int
    total_variation: float


@lru_cache(maxsize=64)
def share_table(distribution: str, variance: float, size: int | None = None) -> AliasTable:
    """The table of one noise share.

    Args:
      distribution: `discrete_gaussian` (P[x] proportional to exp(-x^2 / (2 variance)), x an integer) or `skellam` (the
        difference of two Poissons of half the variance each).
      variance: Parameter of the share, integer units squared, as a float64 that is taken at its exact value.
      size: Number of cells, a power of two, so that tables of several runs have one shape. The least that holds the
        support if None.

    Returns:
      The table. It is symmetric: the sample has mean exactly 0.

    Raises:
      ShareTableError: If the distribution is unknown, the variance is not above 0 or needs more than `MOST_CELLS` cells
        (a standard deviation of some 50,000), or the size is too small or not a power of two.
    """
    radius, needed = _support(distribution, variance)
    exponent, law = _LAWS[distribution]
    size = needed if size is None else size
    if needed > MOST_CELLS:
        raise ShareTableError(
            f"variance = {variance:g} needs a table of {needed} cells: fewer bits make a coarser grid"
        )
    if not needed <= size <= MOST_CELLS or size & (size - 1):
        raise ShareTableError(f"size = {size} must be a power of two, at least {needed} and at most {MOST_CELLS}")
    with localcontext(Context(prec=DIGITS)):
        exact = law(variance, radius, _radius(exponent, variance, REACH))
        weights, distance = _whole_weights(exact)
    thresholds, alias = _alias(weights[:0:-1] + weights, size)
    return AliasTable(
        high=np.array([t >> 64 for t in thresholds], np.uint32),
        middle=np.array([t >> 32 & 0xFFFFFFFF for t in thresholds], np.uint32),
        low=np.array([t & 0xFFFFFFFF for t in thresholds], np.uint32),
        alias=np.array(alias, np.int32),
        offset=radius,
        total_variation=distance,
    )


def largest_total_variation(distribution: str, variance: float) -> float:
    """A bound on `AliasTable.total_variation` that needs no table: the rounding of every weight, and the tail.

    Raises:
      ShareTableError: Where `share_table` does.
    """
    _, needed = _support(distribution, variance)
    return needed * 2.0**-RANDOM_BITS + 2 * math.exp(-TAIL)


def _support(distribution: str, variance: float) -> tuple[int, int]:
    """The largest value of the table, and the least number of cells that hold all of them."""
    if distribution not in _LAWS:
        raise ShareTableError(f"distribution = {distribution} must be {' or '.join(_LAWS)}")
    if not (math.isfinite(variance) and variance > 0):
        raise ShareTableError(f"variance = {variance} must be finite and above 0")
    radius = _radius(_LAWS[distribution][0], variance, TAIL)
    needed = max(2, 1 << (2 * radius).bit_length())
    if needed > MOST_CELLS:
        raise ShareTableError(
            f"variance = {variance:g} needs a table of {needed} cells: fewer bits make a coarser grid"
        )
    return radius, needed


def _radius(exponent: Callable[[float, float], float], variance: float, negligible: float) -> int:
    """The least R with P[|X| > R] <= exp(-negligible), by a tail bound P[X >= m] <= exp(-exponent(m, variance))."""
    low, high = 0, 1
    while exponent(high + 1, variance) < negligible + math.log(2):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if exponent(middle + 1, variance) < negligible + math.log(2):
            low = middle + 1
        else:
            high = middle
    return low


def _discrete_gaussian(variance: float, radius: int, reach: int) -> list[Decimal]:
    """P[0], ..., P[radius] of the discrete Gaussian.

    By p(x + 1) = p(x) r(x) and r(x + 1) = r(x) exp(-1 / variance): a product of at most x^2 rounded factors, which 50
    digits bear up to x = 10^6.
    """
    step = (-1 / Decimal(variance)).exp()
    ratio, mass = (-1 / (2 * Decimal(variance))).exp(), Decimal(1)
    masses = [mass]
    for _ in range(reach):
        mass *= ratio
        ratio *= step
        masses.append(mass)
    total = 2 * sum(masses) - 1
    return [mass / total for mass in masses[: radius + 1]]


def _skellam(variance: float, radius: int, reach: int) -> list[Decimal]:
    """P[0], ..., P[radius] of the Skellam law, exp(-v) I_x(v) at variance v.

    By Miller's backward recurrence I_{x-1} = I_{x+1} + (2 x / v) I_x, started with 0 above `reach`, and normalised to a
    sum of 1. What it starts with is I_x - (+-1) K_x I_{reach+1} / K_{reach+1} up to a factor (K alternating in sign
    solves the same recurrence). K grows with its order, so P[x] is off by at most P[reach + 1] / P[x] of itself.
    """
    scale = 2 / Decimal(variance)
    above, here = Decimal(0), Decimal(1)
    masses = [here]
    for order in range(reach, 0, -1):
        above, here = here, above + order * scale * here
        masses.append(here)
    masses.reverse()
    total = 2 * sum(masses) - masses[0]
    return [mass / total for mass in masses[: radius + 1]]


def _discrete_gaussian_exponent(m: float, variance: float) -> float:
    """The discrete Gaussian is sub-Gaussian with its own parameter (Canonne, Kamath and Steinke 2020)."""
    return m * m / (2 * variance)


def _skellam_exponent(m: float, variance: float) -> float:
    """Chernoff's bound: the largest t m - v (cosh(t) - 1) over t, at sinh(t) = m / v.

    cosh(t) - 1 is written so that it does not cancel where m is far below v.
    """
    ratio = m / variance
    return m * math.asinh(ratio) - variance * ratio**2 / (math.sqrt(1 + ratio**2) + 1)


_LAWS: dict[str, tuple[Callable[[float, float], float], Callable[[float, int, int], list[Decimal]]]] = {
    "discrete_gaussian": (_discrete_gaussian_exponent, _discrete_gaussian),
    "skellam": (_skellam_exponent, _skellam),
}


def _whole_weights(exact: list[Decimal]) -> tuple[list[int], float]:
    """Probabilities as whole multiples of 2^-96, and how far that takes the law.

    Args:
      exact: P[0], ..., P[R] of a symmetric law.

    Returns:
      Weights of 0, ..., R, which add up to 2^96 when those above 0 count twice; and an upper bound of the total
      variation distance from the exact law with its tail. Rounding errors all go to 0, so the weights stay symmetric.
    """
    unit = Decimal(2**RANDOM_BITS)
    scaled = [p * unit for p in exact]
    weights = [int(p.to_integral_value()) for p in scaled]
    weights[0] = 2**RANDOM_BITS - 2 * sum(weights[1:])
    gap = abs(weights[0] - scaled[0]) + 2 * sum(
        (abs(w - p) for w, p in zip(weights[1:], scaled[1:], strict=True)), Decimal(0)
    )
    distance = gap / unit / 2 + RELATIVE_ERROR + (-Decimal(TAIL)).exp()
    return weights, math.nextafter(float(distance), 1.0)


def _alias(weights: list[int], size: int) -> tuple[list[int], list[int]]:
    """Walker's alias table in integers, built as by Vose (1991).

    Args:
      weights: Whole weights that add up to 2^96, at most `size` of them.
      size: Number of cells K, a power of two.

    Returns:
      Thresholds in [0, 2^96 / K) and aliases: cell i gives index i on thresholds[i] of its 2^96 / K values and index
      alias[i] on the others. A cell that only ever gives its own index has itself for alias.
    """
    capacity = 2**RANDOM_BITS // size
    left = weights + [0] * (size - len(weights))
    thresholds, alias = [0] * size, list(range(size))
    short = [i for i, weight in enumerate(left) if weight < capacity]
    long = [i for i, weight in enumerate(left) if weight >= capacity]
    while short:
        # Whole numbers: as long as a cell is short of its capacity, another one holds more than its own.
        i, j = short.pop(), long[-1]
        thresholds[i], alias[i] = left[i], j
        left[j] -= capacity - left[i]
        if left[j] < capacity:
            short.append(long.pop())
    return thresholds, alias
