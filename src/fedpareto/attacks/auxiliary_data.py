"""Auxiliary data of an adversary: the test set stands for public data that resemble the victims'.

From it come ranges and deviations of features, the best guess without an update (the mean record), and how likely such a guess is
right. A record counts as *rebuilt* if what was made of it is nearer to it than `threshold`: the median distance of a test record
to the nearest other one. Whoever is nearer than that has found this record, and not just one like it, half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from fedpareto.attacks.intervals import clopper_pearson
from fedpareto.data import facts
from fedpareto.data.arrays import PreparedData

MOST_ROWS = 1500  # test records that distances are taken between
SMALLEST_DISTANCE = 0.01  # of a threshold, in units of a feature: data sets with many equal rows have distances of 0


@dataclass(frozen=True)
class AuxiliaryData:
    """Public knowledge of a data set. Records are flat here.

    Attributes:
      x: float32 [m, features], the test records.
      y: int32 [m], their classes.
      classes: Number of classes.
      picture: Height, width and channels, or None for a table.
      example: Shape of a record as it is stored.
    """

    x: np.ndarray
    y: np.ndarray
    classes: int
    picture: tuple[int, int, int] | None
    example: tuple[int, ...]

    @property
    def shape(self) -> str:
        """A picture's shape as tables have it, e.g. `28x28x1`; empty for a table."""
        return "" if self.picture is None else "x".join(map(str, self.picture))

    @cached_property
    def mean(self) -> np.ndarray:
        """The mean record, float32 [features]: the best guess at any record, in squared error."""
        return self.x.mean(axis=0)

    @cached_property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each feature, float32 [features]; 1 where a feature never varies."""
        deviation = self.x.std(axis=0)
        return np.where(deviation > 0, deviation, 1.0).astype(np.float32)

    @cached_property
    def low(self) -> np.ndarray:
        """Least value of each feature; of all pixels for a picture. float32 [features]."""
        return self._each(self.x.min(axis=0), np.min)

    @cached_property
    def high(self) -> np.ndarray:
        """Largest value of each feature, likewise."""
        return self._each(self.x.max(axis=0), np.max)

    @cached_property
    def span(self) -> np.ndarray:
        """The public range, in which a peak signal-to-noise ratio has its peak: float32 [features], 1 where it is 0."""
        span = self.high - self.low
        return np.where(span > 0, span, 1.0).astype(np.float32)

    @cached_property
    def unit(self) -> np.ndarray:
        """The unit of each feature: the range for pictures, the deviation for tables; float32 [features]."""
        return self.deviation if self.picture is None else self.span

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Between which values an attack searches: pixels' range; twice the range of a table's features, which have tails."""
        margin = 0.5 * self.span if self.picture is None else 0.0
        return (self.low - margin).astype(np.float32), (self.high + margin).astype(np.float32)

    @cached_property
    def threshold(self) -> float:
        """Root mean squared error, in `unit`, below which a record counts as rebuilt."""
        return max(SMALLEST_DISTANCE, float(np.median(self._distances.min(axis=0))))

    @cached_property
    def mode(self) -> np.ndarray:
        """The most frequent value of each feature, float32 [features]: the guess that is exactly right most often."""
        found = []
        for column in self.x.T:
            values, counts = np.unique(column, return_counts=True)
            found.append(values[np.argmax(counts)])
        return np.asarray(found, np.float32)

    def prior_success(self, records: int) -> tuple[float, float]:
        """Probability that the best `records` guesses without an update hold a record: kappa of Balle et al. (2022).

        Estimated on the test set: of its records, the mean record and the centres of the crowds around each record (two steps of
        mean shift), those guesses are taken one after another that are within the threshold of most others.

        Returns:
          The estimate, and the upper end of its Clopper-Pearson interval at 95 % (one-sided). A guess that nobody thought of may
          do better still: who makes a bound of it says so.
        """
        hits = self._hits
        found = np.zeros(hits.shape[1], bool)
        for _ in range(records):
            found |= hits[np.argmax((hits & ~found).sum(axis=1))]
        right, tried = int(found.sum()), len(found)
        return right / tried, clopper_pearson(right, tried, 0.1)[1]

    @cached_property
    def _hits(self) -> np.ndarray:
        """Which guess is within the threshold of which test record: bool [guesses, rows]."""
        guesses = np.concatenate([self._crowds, self.mean[None] / self.unit])
        to_guesses = euclidean_distances(guesses, self._rows) / np.sqrt(self.x.shape[1])
        return np.asarray(np.concatenate([self._distances, to_guesses]) <= self.threshold)

    @cached_property
    def _crowds(self) -> np.ndarray:
        """For each test record the mean of its neighbours, and of their neighbours: [rows, features] in `unit`."""
        centres = self._rows
        for _ in range(2):
            near = euclidean_distances(centres, self._rows) / np.sqrt(self.x.shape[1]) <= self.threshold
            counts = near.sum(axis=1, keepdims=True)
            centres = np.where(counts > 0, near @ self._rows / np.maximum(counts, 1), centres)
        return centres

    @property
    def records(self) -> np.ndarray:
        """The test records in the shape that models take."""
        return self.x.reshape(-1, *self.example)

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Means by class of `values` [n, ...] of the first n test records, float64 [classes, ...]; of all where there are none."""
        values = np.asarray(values, np.float64)
        y = self.y[: len(values)]
        whole = values.mean(axis=0)
        return np.stack([values[y == c].mean(axis=0) if (y == c).any() else whole for c in range(self.classes)])

    def label_guess(self, records: int) -> np.ndarray:
        """Labels that records have most likely without an update, int64 [classes]: counts in proportion to the test set's."""
        return whole_counts(np.bincount(self.y, minlength=self.classes) / len(self.y), records)

    @cached_property
    def _rows(self) -> np.ndarray:
        return (self.x / self.unit)[:MOST_ROWS]

    @cached_property
    def _distances(self) -> np.ndarray:
        """Root mean squared differences between test records, infinite from one to itself."""
        distances = euclidean_distances(self._rows) / np.sqrt(self.x.shape[1])
        np.fill_diagonal(distances, np.inf)
        return distances

    def _each(self, values: np.ndarray, of_all: Callable[[np.ndarray], Any]) -> np.ndarray:
        return values if self.picture is None else np.full_like(values, of_all(values))


def public_of(data: PreparedData, dataset: str) -> AuxiliaryData:
    """Public knowledge of a prepared data set, by its registered name."""
    shape = data.x_test.shape[1:]
    picture = facts.flat_image_shape(dataset) if len(shape) == 1 else shape
    return AuxiliaryData(data.x_test.reshape(len(data.x_test), -1), data.y_test, len(data.class_names), picture, shape)


def whole_counts(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers of sum `total`, none below 0, that are near `shares` (float [classes]) times `total`: int64 [classes].

    The projection on the simplex of that sum, then the largest remainders.
    """
    wanted = np.asarray(shares, np.float64) * total
    ordered = np.sort(wanted)[::-1]
    shift = (np.cumsum(ordered) - total) / np.arange(1, len(ordered) + 1)
    exact = np.maximum(wanted - shift[np.flatnonzero(ordered > shift)[-1]], 0.0)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts
