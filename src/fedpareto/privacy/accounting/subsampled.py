"""Rényi divergence of a Gaussian on a secret sample, exact at every order, by quadrature.

The release of a unit that is in the sample with probability q is `A = (1 - q) N(0, z^2) + q N(1, z^2)` along the direction in
which it moves the sum, and `Q = N(0, z^2)` without it; `l(x) = (2x - 1) / (2z^2)` is the loss of the Gaussian and
`r = A/Q = 1 - q + q e^l`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import logsumexp

# Gauss-Legendre nodes of a panel. The integrand is analytic but where r = 0, at a distance of pi z^2 from the real line, so that
# panels of 2 z^2, and of 3/4 of a standard deviation, leave less than rounding does (tests hold it against 40 digits).
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
DEVIATIONS = 13.0  # on both sides of all that matters: what is beyond weighs 1e-37
LARGEST_GRID = 40_000  # nodes; orders that need more are bounded without the sample
ORDERS_AT_ONCE, FURTHEST_ORDER = 16, 1.5  # share a grid: so many, up to so many times the first
SERIES = 1e-2  # a |u| below which (1 + u)^a - 1 - a u is summed, term by term


def poisson(noise: float, rate: float, orders: Sequence[float] | np.ndarray) -> np.ndarray:
    """The Rényi divergence of a Gaussian on a Poisson sample, neighbours by adding or removing one unit.

    `exp((a - 1) D) = E_Q[r^a]` (Mironov, Talwar and Zhang 2019, Theorem 4: the other direction is never larger), of which
    `E_Q[r^a - 1 - a (r - 1)]` is computed: all of it is positive, and no digit is lost where the divergence is small.

    Args:
      noise: Noise standard deviation over the sensitivity, above 0.
      rate: Sampling rate in (0, 1].
      orders: Above 1.

    Returns:
      float64 [k].
    """
    return _divergence(noise, rate, orders, _log_remainder, -DEVIATIONS * noise)


def without_replacement(noise: float, rate: float, orders: Sequence[float] | np.ndarray) -> np.ndarray:
    """The Rényi divergence of a Gaussian on a secret sample, neighbours by replacing one unit.

    Of samples of a fixed size and of Poisson samples. The hockey-stick curve of the pair is at most that of A against Q from 1
    upwards and its mirror image below (docs/proofs.md, Theorem 1), which is the curve of a distribution of losses:
    `exp((a - 1) D) = 1 + integral over r > 1 of Q (r^a - 1) (1 - r^(1 - a))`.

    Args:
      noise: Noise standard deviation over the sensitivity under replacement, above 0.
      rate: Probability in (0, 1] that the unit is in the sample.
      orders: Above 1.

    Returns:
      float64 [k].
    """

    def log_integrand(order: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            upper = order * log_ratio + np.log(-np.expm1(-order * log_ratio))
            return upper + np.log(-np.expm1(-(order - 1) * log_ratio))

    return _divergence(noise, rate, orders, log_integrand, 0.5)


def _divergence(
    noise: float,
    rate: float,
    orders: Sequence[float] | np.ndarray,
    log_integrand: Callable[[np.ndarray, np.ndarray], np.ndarray],
    start: float,
) -> np.ndarray:
    """`log(1 + integral from start of Q f) / (a - 1)` at each order, never above that of the Gaussian on everybody."""
    given = np.asarray(orders, np.float64)
    everybody = given / (2 * noise**2)
    if rate == 1:
        return everybody
    found, left = everybody.copy(), np.argsort(given)
    panel = min(0.75 * noise, 2 * noise**2)
    while left.size:
        alike = int((given[left[:ORDERS_AT_ONCE]] <= FURTHEST_ORDER * given[left[0]]).sum())
        group, left = left[:alike], left[alike:]
        # r^a Q is nowhere beyond the Gaussian around a.
        panels = np.ceil((given[group].max() + DEVIATIONS * noise - start) / panel)
        if not panels * _NODES.size <= LARGEST_GRID:
            continue
        x = (start + panel * (np.arange(panels)[:, None] + (_NODES + 1) / 2)).ravel()
        log_weights = np.log(np.tile(_WEIGHTS, int(panels)) * panel / 2) - np.log(noise * np.sqrt(2 * np.pi))
        log_density = -0.5 * (x / noise) ** 2
        log_ratio = np.logaddexp(np.log1p(-rate), np.log(rate) + (x - 0.5) / noise**2)
        order = given[group][:, None]
        whole = logsumexp(log_weights + log_density + log_integrand(order, log_ratio[None]), axis=1)
        found[group] = np.minimum(everybody[group], np.logaddexp(0.0, whole) / (order[:, 0] - 1))
    return found


def _log_remainder(order: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
    """`log(r^a - 1 - a (r - 1))`, which is positive by Bernoulli's inequality, from `log r`, float64 [k, nodes]."""
    exponent, excess = order * log_ratio, np.expm1(np.minimum(log_ratio, 1.0))
    far = (exponent > 30.0) | (log_ratio > 1.0)
    small = np.abs(order * excess) < SERIES
    found = np.empty_like(exponent)
    everywhere = np.broadcast_to(order, exponent.shape), np.broadcast_to(excess, exponent.shape)
    with np.errstate(divide="ignore"):
        a, u = (part[small] for part in everywhere)
        term = a * (a - 1) / 2 * u**2
        series = term.copy()
        for k in range(3, 9):
            term *= (a - k + 1) / k * u
            series += term
        found[small] = np.log(series)
        rest = ~small & ~far
        a, u = (part[rest] for part in everywhere)
        found[rest] = np.log(np.expm1(exponent[rest]) - a * u)
        # r^a (1 - (1 + a (r - 1)) r^-a), for numbers that no float64 holds
        a, e, one = everywhere[0][far], exponent[far], np.broadcast_to(log_ratio, exponent.shape)[far]
        found[far] = e + np.log1p(-(a * np.exp(one - e) - (a - 1) * np.exp(-e)))
    return found
