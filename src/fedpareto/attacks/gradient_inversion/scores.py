"""Distances of rebuilt records from the truth, which is used here, after the attack, and nowhere else."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from fedpareto.attacks.auxiliary_data import AuxiliaryData

BEST_PSNR = 60.0  # decibels at which every pixel of 8 bits is right: rounding to them leaves 59
WINDOW = 7  # pixels of a side of SSIM's windows


def matched(found: np.ndarray, truth: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    """The found records in the order of the true ones they are nearest to, one each (Hungarian method).

    Args:
      found: float [records, features].
      truth: float [records, features].
      public: Auxiliary data, which give the units of features.
    """
    costs = cdist(truth / public.unit, found / public.unit, "sqeuclidean")
    return found[linear_sum_assignment(costs)[1]]


def errors(found: np.ndarray, truth: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    """Root mean squared error of each record, in features' units: float64 [records]."""
    return np.sqrt(np.mean(np.square((found - truth) / public.unit, dtype=np.float64), axis=1))


def psnr(found: np.ndarray, truth: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    """Peak signal-to-noise ratio of each record in decibels, at most `BEST_PSNR`: float64 [records].

    The peak is the public range: that of all pixels, or of each feature of a table.
    """
    squares = np.mean(np.square((found - truth) / public.span, dtype=np.float64), axis=1)
    return -10 * np.log10(np.maximum(squares, 10 ** (-BEST_PSNR / 10)))


def ssim(found: np.ndarray, truth: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    """Mean structural similarity of each picture (Wang et al. 2004): float64 [records], NaN for pictures below 7 pixels.

    Flat windows of 7 x 7 pixels that lie within the picture, sample covariances, the paper's constants; channels averaged.
    """
    assert public.picture is not None
    height, width, _ = public.picture
    if min(height, width) < WINDOW:
        return np.full(len(truth), np.nan)
    a, b = (np.asarray(x, np.float64).reshape(-1, *public.picture) for x in (found, truth))
    inner = (slice(None), *[slice(WINDOW // 2, side - WINDOW // 2) for side in (height, width)])
    size, span = (1, WINDOW, WINDOW, 1), float(public.span[0])

    def mean(x: np.ndarray) -> np.ndarray:
        return uniform_filter(x, size)[inner]

    sample = WINDOW**2 / (WINDOW**2 - 1)
    mean_a, mean_b = mean(a), mean(b)
    both = sample * (mean(a * b) - mean_a * mean_b)
    variances = sample * (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    return np.asarray(value.mean(axis=(1, 2, 3)), np.float64)


def feature_error(found: np.ndarray, truth: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    """Mean absolute error of features in their standard deviations, float64 [records]."""
    return np.asarray(np.mean(np.abs(found - truth) / public.deviation, axis=1, dtype=np.float64))


def exact_matches(found: np.ndarray, truth: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    """Share of features that are told from all other public values, float64 [records].

    The value of the test set that is nearest to the found one is that which is nearest to the true one.
    """
    same = [
        _nearest(np.unique(column), f) == _nearest(np.unique(column), x)
        for column, f, x in zip(public.x.T, found.T, truth.T, strict=True)
    ]
    return np.asarray(np.mean(same, axis=0, dtype=np.float64))


def _nearest(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Places of the nearest of sorted values."""
    return np.searchsorted((values[1:] + values[:-1]) / 2, at)


def shared_labels(counts: np.ndarray, labels: np.ndarray) -> int:
    """Records whose label is among those counted, each count used once: counts [classes], labels int [records]."""
    return int(np.minimum(np.bincount(labels, minlength=len(counts)), counts).sum())
