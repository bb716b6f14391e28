"""Amplification by sampling, for mechanisms with a known bound on the Rényi divergence alone.

The Gaussian mechanism has exact divergences of its own (`accounting.subsampled`). These bounds hold for any mechanism, which is
what discrete noise needs; `poisson` and `without_replacement` take its RDP at integer orders.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, logsumexp

Curve = Callable[[np.ndarray], np.ndarray]  # Rényi orders float64 [k] -> RDP float64 [k]


def poisson(curve: Curve, rate: float, order: int) -> float:
    """RDP of a mechanism on a Poisson sample, neighbours by adding or removing one unit (Zhu and Wang 2019, Theorem 5).

    Args:
      curve: RDP of the mechanism on the sample, non-decreasing.
      rate: Sampling rate in (0, 1).
      order: Integer order, at least 2.
    """
    j = np.arange(2, order + 1)
    terms = (
        _log_binomial(order, j) + j * np.log(rate) + (order - j) * np.log1p(-rate) + (j - 1) * curve(j.astype(float))
    )
    factors = np.where(j == 2, 1.0, 3.0)
    first = (order - 1) * np.log1p(-rate) + np.log(order * rate - rate + 1)
    total = logsumexp(np.append(terms, first), b=np.append(factors, 1.0))
    return min(float(total) / (order - 1), float(curve(np.array([float(order)]))[0]))


def without_replacement(curve: Curve, rate: float, order: int) -> float:
    """RDP of a mechanism on a fixed-size sample, neighbours by replacing one unit.

    Wang, Balle and Kasiviswanathan 2019, Theorem 9, without its term for a finite RDP at order infinity.

    Args:
      curve: RDP of the mechanism on the sample under replacement, non-decreasing.
      rate: Sampled share in (0, 1).
      order: Integer order, at least 2.
    """
    j = np.arange(2, order + 1)
    rdp = curve(j.astype(float))
    log_factors = np.full(len(j), np.log(2.0))
    with np.errstate(over="ignore", divide="ignore"):
        log_factors[0] = min(np.log(4.0) + np.log(-np.expm1(-rdp[0])), np.log(2.0)) if rdp[0] > 0 else -np.inf
    terms = log_factors + j * np.log(rate) + _log_binomial(order, j) + (j - 1) * rdp
    total = logsumexp(np.append(terms, 0.0))
    return min(float(total) / (order - 1), float(rdp[-1]))


def mixture(rdp: np.ndarray, rate: float, orders: np.ndarray) -> np.ndarray:
    """RDP of a mechanism that runs with probability `rate`, and else does not depend on the unit; also to those who see whether.

    `exp((a - 1) D)` is the mean over whether it runs: exact where that is seen (docs/proofs.md, Theorem 2), by joint convexity
    where it is not. The two bounds above need secrecy, and that the mechanism's output is close to what comes out without the unit.

    Args:
      rdp: RDP of the mechanism at each of `orders`, float64 [k].
      rate: Probability that it runs, in (0, 1].
      orders: Above 1, float64 [k].

    Returns:
      float64 [k].
    """
    if rate == 1:
        return rdp
    exponent = (orders - 1) * rdp
    with np.errstate(over="ignore"):
        small = np.log1p(rate * np.expm1(np.minimum(exponent, 1.0)))
    return np.where(exponent < 1, small, np.logaddexp(np.log1p(-rate), np.log(rate) + exponent)) / (orders - 1)


def _log_binomial(n: int, k: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
