"""Amplification by sampling, for mechanisms with a known bound on the Rényi divergence alone.

The Gaussian mechanism has sharper bounds of its own, in dp-accounting. These hold for any mechanism, which is what
discrete noise and several steps inside one participation need. All take the RDP of the mechanism at integer orders.
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


def mixture(rdp: float, rate: float, order: float) -> float:
    """RDP of a mechanism that runs with probability `rate`, and else does not depend on the unit.

    By joint convexity of exp((a - 1) D_a). Weaker than the two above, which need that the mechanism's output is close to
    what comes out without the unit; this holds also where it is not.

    Args:
      rdp: RDP of the mechanism at `order`.
      rate: Probability that it runs.
      order: Above 1.
    """
    return float(np.logaddexp(np.log1p(-rate) if rate < 1 else -np.inf, np.log(rate) + (order - 1) * rdp)) / (order - 1)


def _log_binomial(n: int, k: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
