"""Confidence intervals of the counts and means of attacks."""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats


def clopper_pearson(successes: float, number: int, alpha: float) -> tuple[float, float]:
    """Two-sided interval of a binomial probability with at most `alpha` outside, half on each side; 0 to 1 without trials.

    Either end alone is one-sided with error `alpha` / 2. `successes` need not be whole.
    """
    low = special.betaincinv(successes, number - successes + 1, alpha / 2) if successes > 0 else 0.0
    high = special.betaincinv(successes + 1, number - successes, 1 - alpha / 2) if successes < number else 1.0
    return float(low), float(high)


def mean_interval(values: np.ndarray, lowest: float, highest: float, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of float [n], within the values that it can have; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return max(lowest, float(np.mean(values) - half)), min(highest, float(np.mean(values) + half))
