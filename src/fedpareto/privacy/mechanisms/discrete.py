"""The integer encoding of distributed discrete noise: its scale, its sensitivity, and the guarantee of its noisy sum.

A client's clipped vector is rotated, divided by the granularity, rounded to integers, given an integer noise share and
reduced modulo 2^bits. Secure aggregation shows the server the modular sum alone. The mechanisms are the distributed
discrete Gaussian (Kairouz, Liu and Steinke 2021, arXiv 2102.06387: KLS21 below) and the Skellam mechanism (Agarwal,
Kairouz and Liu 2021, arXiv 2110.04995: AKL21 below).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

DISTRIBUTIONS = ("discrete_gaussian", "skellam")
LEAST_BITS, MOST_BITS = 2, 24

# The modular sum is decoded wrongly in a coordinate whose signal, rounding and noise leave the range of the integers.
# That costs accuracy, never privacy. Four standard deviations are what KLS21 use in their experiments.
RANGE_IN_STDDEVS = 4.0

# Conditional rounding redraws with probability at most this: the value of KLS21's experiments. Privacy does not depend
# on it except through the norm bound.
REDRAW_PROBABILITY = math.exp(-0.5)

# Vectors are clipped, rotated and scaled in float32, so a vector that is exactly at the clip norm may come out longer
# by some 2^-22 of itself. On a fine grid that is more than the whole room which the rounding bound leaves, and honest
# vectors would be redrawn for ever. The bound is declared larger by this share, which costs a millionth of epsilon.
FLOAT32_ROOM = 2.0**-20

# Two discrete Gaussians add up to nearly one only above this variance (KLS21: standard deviation 1/2).
LEAST_DISCRETE_GAUSSIAN_VARIANCE = 0.25


class EncodingError(ValueError):
    """The requested grid cannot hold the sum, or is not defined."""


def padded(dimension: int) -> int:
    """The smallest power of two that is at least `dimension`: the Hadamard rotation needs one."""
    if dimension < 1:
        raise EncodingError(f"dimension = {dimension} must be at least 1")
    return 1 << (dimension - 1).bit_length()


@dataclass(frozen=True)
class IntegerEncoding:
    """The encoding of clipped vectors as integers modulo 2^bits, and the guarantee of their noisy sum.

    Every contributing client adds one vector and one independent noise share of variance `share_variance`. Between
    `threshold` and `shares` noise shares are in a released sum. Accuracy is planned for the most of them, privacy is
    proved for the fewest.

    Attributes:
      distribution: Law of one noise share: `discrete_gaussian` or `skellam`.
      dimension: Coordinates after padding, a power of two (see `padded`).
      bits: Bits per coordinate of the modular sum, 2 to 24.
      shares: Noise shares in the sum at most, that is, clients that contribute.
      threshold: Noise shares in the sum at least; with fewer, nothing is released.
      contributions: Expected number of clipped vectors in one sum. Only the scale depends on it.
      clip_norm: L2 bound of one vector before rounding.
      noise_stddev: Standard deviation of the noise on the sum when only `threshold` shares are in it, in the units of
        `clip_norm`.

    Raises:
      EncodingError: If a value is out of range, or `bits` are too few for so many contributions: the rounding alone
        would then fill the range, however coarse the grid.
    """

    distribution: str
    dimension: int
    bits: int
    shares: int
    threshold: int
    contributions: float
    clip_norm: float
    noise_stddev: float

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise EncodingError(f"distribution = {self.distribution} must be {' or '.join(DISTRIBUTIONS)}")
        if self.dimension != padded(self.dimension):
            raise EncodingError(f"dimension = {self.dimension} must be a power of two: {padded(self.dimension)} fits")
        if not LEAST_BITS <= self.bits <= MOST_BITS:
            raise EncodingError(f"bits = {self.bits} must be in {LEAST_BITS} to {MOST_BITS}")
        if not 1 <= self.threshold <= self.shares:
            raise EncodingError(f"threshold = {self.threshold} must be at least 1 and at most shares = {self.shares}")
        for name in ("contributions", "clip_norm", "noise_stddev"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise EncodingError(f"{name} = {getattr(self, name)} must be finite and above 0")
        if self._room <= 0:
            raise EncodingError(
                f"bits = {self.bits} are too few for {self.contributions:g} contributions: {_advice(self)}"
            )

    @property
    def _room(self) -> float:
        """The remainder of 4^bits after the variance of the rounding; the scale exists where it is above 0."""
        return 4.0**self.bits - RANGE_IN_STDDEVS**2 * self.contributions

    @cached_property
    def granularity(self) -> float:
        """Width gamma of the grid, in the units of `clip_norm`: a vector is divided by it and rounded.

        The gamma that solves 2^b gamma = 2 k sqrt(c^2 n^2 / d + n gamma^2 / 4 + V) with n = `contributions`,
        k = `RANGE_IN_STDDEVS` and V the variance of the noise with all shares in (KLS21, section 4.2): the finest grid
        on which k standard deviations of the sum on either side fit the range. It takes the rotated sum for
        sub-Gaussian with every vector at the clip norm in one direction, which is the worst case.
        """
        signal = (self.clip_norm * self.contributions) ** 2 / self.dimension
        noise = self.noise_stddev**2 * self.shares / self.threshold
        return 2 * RANGE_IN_STDDEVS * math.sqrt((signal + noise) / self._room)

    @property
    def integer_clip_norm(self) -> float:
        """`clip_norm` in integer units: the L2 bound of a vector before it is rounded."""
        return self.clip_norm / self.granularity

    @cached_property
    def norm_bound(self) -> float:
        """L2 bound of one rounded vector in integer units; conditional rounding enforces it.

        min(sqrt(c^2 + d/4 + sqrt(2 log(1/beta)) (c + sqrt(d)/2)), c + sqrt(d)) with c = `integer_clip_norm` and
        beta = `REDRAW_PROBABILITY` (KLS21, Theorem 1 and Proposition 22), larger by `FLOAT32_ROOM`.
        """
        c, root = self.integer_clip_norm, math.sqrt(self.dimension)
        likely = math.sqrt(c**2 + root**2 / 4 + math.sqrt(-2 * math.log(REDRAW_PROBABILITY)) * (c + root / 2))
        return min(likely, c + root) * (1 + FLOAT32_ROOM)

    @cached_property
    def share_variance(self) -> float:
        """Parameter of one noise share, in integer units squared: `threshold` shares make up `noise_stddev`.

        The variance of a Skellam share (the difference of two Poissons of half of it each), the parameter sigma^2 of a
        discrete Gaussian share.
        """
        return (self.noise_stddev / self.granularity) ** 2 / self.threshold

    def rdp(self, orders: Sequence[float] | np.ndarray, swapped: bool) -> np.ndarray:
        """Renyi divergence of one released sum from its neighbour's, in both directions.

        Neighbours differ in one vector; the noise shares are the same in both. The reduction modulo 2^bits and the
        rotation back are post-processing. The divergences hold whatever the other vectors are rounded to.

        Args:
          orders: Renyi orders, each above 1.
          swapped: False if a neighbour has one vector more or less (sensitivity `norm_bound`), True if it has another
            vector in its place (twice that).

        Returns:
          float64 array, one upper bound for each order; infinite where nothing is proved.

        Raises:
          EncodingError: If an order is not above 1.
        """
        orders = np.asarray(orders, np.float64)
        if not np.all(orders > 1):
            raise EncodingError("a Renyi order must be above 1")
        sensitivity = self.norm_bound * (2.0 if swapped else 1.0)
        variance = self.share_variance * self.threshold
        if self.distribution == "skellam":
            return skellam_rdp(orders, sensitivity, variance, self.dimension)
        if self.share_variance < LEAST_DISCRETE_GAUSSIAN_VARIANCE:
            return np.full_like(orders, math.inf)
        tau = discrete_gaussian_tau(self.share_variance, self.shares)
        return discrete_gaussian_rdp(orders, sensitivity, variance, self.dimension, tau)


def l1_bound(l2: float, dimension: int) -> float:
    """L1 bound of an integer vector from its L2 bound: |x| <= x^2 for integers, and Cauchy-Schwarz."""
    return min(math.sqrt(dimension) * l2, l2**2)


def discrete_gaussian_tau(share_variance: float, shares: int) -> float:
    """How far a sum of discrete Gaussians is from one discrete Gaussian, in log-probability (KLS21, Theorem 1).

    10 sum_{k=1}^{n-1} exp(-2 pi^2 s^2 k / (k+1)) with s^2 = `share_variance`, at least 1/4, and n = `shares`. It grows
    with n, so the most shares that a sum can have are the worst case.
    """
    k = np.arange(1, shares, dtype=np.float64)
    return 10.0 * float(np.exp(-2 * math.pi**2 * share_variance * k / (k + 1)).sum())


def discrete_gaussian_rdp(orders: np.ndarray, l2: float, variance: float, dimension: int, tau: float) -> np.ndarray:
    """Renyi divergence between a sum of discrete Gaussians and its shift by an integer vector (KLS21, Proposition 14).

    The least of a D2^2 / (2 v) + tau d, (a/2) (D2^2 / v + 2 D1 tau / sqrt(v) + tau^2 d) and
    (a/2) (D2 / sqrt(v) + sqrt(d) tau)^2, at every real order a > 1.

    Args:
      orders: Orders a, float64 [n].
      l2: L2 norm D2 of the shift, integer units.
      variance: v, the parameter of one share times the number of shares.
      dimension: Number of coordinates d.
      tau: Distance of the sum from one discrete Gaussian, see `discrete_gaussian_tau`.

    Returns:
      float64 [n].
    """
    ratio = l2 / math.sqrt(variance)
    l1_ratio = l1_bound(l2, dimension) / math.sqrt(variance)
    pure = orders / 2 * ratio**2 + tau * dimension
    mixed = orders / 2 * (ratio**2 + 2 * l1_ratio * tau + tau**2 * dimension)
    joint = orders / 2 * (ratio + math.sqrt(dimension) * tau) ** 2
    return np.minimum(np.minimum(pure, mixed), joint)


def skellam_rdp(orders: np.ndarray, l2: float, variance: float, dimension: int) -> np.ndarray:
    """Renyi divergence between Skellam noise and its shift by an integer vector (AKL21).

    a D2^2 / (2 mu) + min(((2a - 1) D2^2 + 6 D1) / (4 mu^2), 3 D1 / (2 mu)), stated for integer orders a. An order in
    between is rounded up, which is sound because the divergence does not decrease with the order.

    Args:
      orders: Orders a, float64 [n], each above 1.
      l2: L2 norm D2 of the shift, integer units.
      variance: mu, the variance of the noise on the sum.
      dimension: Number of coordinates.

    Returns:
      float64 [n].
    """
    a, l1 = np.ceil(orders), l1_bound(l2, dimension)
    excess = np.minimum(((2 * a - 1) * l2**2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
    return a * l2**2 / (2 * variance) + excess


def _advice(encoding: IntegerEncoding) -> str:
    """The advice for an encoding with too few bits."""
    enough_bits = next(
        (b for b in range(LEAST_BITS, MOST_BITS + 1) if 4.0**b > RANGE_IN_STDDEVS**2 * encoding.contributions), None
    )
    return f"at least {enough_bits} are needed" if enough_bits else f"not even {MOST_BITS} would do"
