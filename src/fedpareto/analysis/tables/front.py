"""The accuracy-epsilon front and how sure the seeds make us of it.

Pure NumPy: arrays in, arrays out. A point of the grid is better the smaller its epsilon and the larger its accuracy. Epsilon is
proven and has no error bar; accuracy is a mean over seeds and has one, so membership of the front is itself uncertain. It is
resampled here with the bootstrap (Efron, 1979): seeds are drawn with replacement, means are taken again, the front is drawn again.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000
BOOTSTRAP_SEED = 20260101
# Means that differ by less than the rounding error of a sum are equal: without this, ties would be broken by the last bit.
_DECIMALS = 12


def front_membership(epsilon: ArrayLike, accuracy: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates, for every draw of the accuracies.

    A point is dominated if another has no larger epsilon and no smaller accuracy, and is strictly better in one of the two.
    Points equal in both do not dominate each other.

    Args:
        epsilon: finite, shape [points].
        accuracy: finite, shape [draws, points].

    Returns:
        Booleans of shape [draws, points].

    Raises:
        ValueError: if a value is not finite or the shapes do not fit.
    """
    epsilon = np.asarray(epsilon, dtype=np.float64)
    accuracy = np.asarray(accuracy, dtype=np.float64)
    if epsilon.ndim != 1 or accuracy.ndim != 2 or accuracy.shape[1] != epsilon.shape[0]:
        raise ValueError(f"epsilon [points] and accuracy [draws, points] do not fit: {epsilon.shape}, {accuracy.shape}")
    if not (np.isfinite(epsilon).all() and np.isfinite(accuracy).all()):
        raise ValueError("only points with a finite epsilon and a finite accuracy can compete on the front")
    if epsilon.size == 0:
        return np.zeros(accuracy.shape, dtype=bool)

    order = np.argsort(epsilon, kind="stable")
    _, starts, level = np.unique(epsilon[order], return_index=True, return_inverse=True)
    ordered = accuracy[:, order]
    best_here = np.maximum.reduceat(ordered, starts, axis=1)  # [draws, levels of epsilon]
    best_below = np.full_like(best_here, -np.inf)
    best_below[:, 1:] = np.maximum.accumulate(best_here, axis=1)[:, :-1]
    # At a smaller epsilon an equal accuracy is enough to dominate; at the same epsilon it takes a larger one.
    on_front = (ordered >= best_here[:, level]) & (ordered > best_below[:, level])
    member = np.empty_like(on_front)
    member[:, order] = on_front
    return member


def non_dominated(epsilon: ArrayLike, accuracy: ArrayLike) -> NDArray[np.bool_]:
    """The front of one set of points: booleans of shape [points]. See `front_membership`."""
    return front_membership(epsilon, np.asarray(accuracy, dtype=np.float64)[np.newaxis, :])[0]


@lru_cache(maxsize=256)
def _resampling_counts(seeds: int, draws: int, stream: tuple[int, ...]) -> NDArray[np.int64]:
    """How often each of `seeds` values is drawn in each bootstrap sample: int64 [draws, seeds], rows summing to `seeds`."""
    counts = np.random.default_rng(stream).multinomial(seeds, np.full(seeds, 1.0 / seeds), size=draws)
    counts.setflags(write=False)  # cached and shared between callers
    return counts


def _resampled_means(values: NDArray[np.float64], draws: int, stream: tuple[int, ...]) -> NDArray[np.float64]:
    """Bootstrap means over the last axis: values [points, seeds] -> [draws, points]."""
    counts = _resampling_counts(values.shape[1], draws, stream)
    # A loop over seeds and not a matrix product: BLAS may sum equal columns in different orders and so break ties.
    total = np.zeros((draws, values.shape[0]))
    for index in range(values.shape[1]):
        total += counts[:, index, np.newaxis] * values[np.newaxis, :, index]
    return np.round(total / values.shape[1], _DECIMALS)


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap interval of the mean over the last axis (seeds).

    With as few seeds as a sweep can afford (5, say) the percentile interval is too narrow: its true coverage is nearer 84 % than
    95 %. A single value says nothing of its spread, so its interval is NaN and not a point.

    Args:
        values: shape [..., seeds]; rows with a NaN get a NaN interval.
        level: nominal coverage, between 0 and 1.
        draws: number of bootstrap samples.
        seed: of the generator; the same seed gives the same interval.

    Returns:
        The lower and the upper ends, each of shape [...].
    """
    array = np.asarray(values, dtype=np.float64)
    shape, seeds = array.shape[:-1], array.shape[-1]
    if seeds < 2 or array.size == 0:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    means = _resampled_means(array.reshape(-1, seeds), draws, (seed,))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return low.reshape(shape), high.reshape(shape)


def front_probability(
    epsilon: ArrayLike,
    accuracies: Sequence[Mapping[int, float]],
    *,
    draws: int = DRAWS,
    seed: int = BOOTSTRAP_SEED,
) -> NDArray[np.float64]:
    """The share of bootstrap samples of the seeds in which each point is on the front.

    Points with the same seeds are resampled together: a seed fixes the split, the start and the noise stream, so that its good
    luck is shared and comparing within a seed is sharper. Points with other seeds are resampled on their own.

    Args:
        epsilon: finite, shape [points].
        accuracies: for each point its accuracy by seed (finite).
        draws: number of bootstrap samples.
        seed: of the generator.

    Returns:
        Probabilities of shape [points]; NaN for a point with fewer than two seeds, whose luck cannot be judged. (Such a point
        still competes, at its one value.)

    Raises:
        ValueError: if a value is not finite, a point has no seed, or the lengths differ.
    """
    epsilon = np.asarray(epsilon, dtype=np.float64)
    if len(accuracies) != epsilon.shape[0]:
        raise ValueError(f"{epsilon.shape[0]} epsilons and {len(accuracies)} sets of accuracies")
    if any(len(by_seed) == 0 for by_seed in accuracies):
        raise ValueError("a point without seeds cannot compete on the front")
    probability = front_membership(epsilon, resampled_means(accuracies, draws=draws, seed=seed)).mean(axis=0)
    probability[[len(by_seed) < 2 for by_seed in accuracies]] = np.nan
    return probability


def resampled_means(
    accuracies: Sequence[Mapping[int, float]], *, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED
) -> NDArray[np.float64]:
    """Bootstrap means of points over their seeds; those of points with the same seeds are drawn together.

    Args:
        accuracies: for each point its accuracy by seed, at least one.
        draws: number of bootstrap samples.
        seed: of the generator.

    Returns:
        Means of shape [draws, points].
    """
    seed_sets = [tuple(sorted(by_seed)) for by_seed in accuracies]
    means = np.empty((draws, len(accuracies)))
    for stream, seeds in enumerate(sorted(set(seed_sets))):
        members = [index for index, its_seeds in enumerate(seed_sets) if its_seeds == seeds]
        values = np.array([[accuracies[index][key] for key in seeds] for index in members], dtype=np.float64)
        means[:, members] = _resampled_means(values, draws, (seed, stream))
    return means
