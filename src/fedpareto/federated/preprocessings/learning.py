"""A preprocessing at work: built from its spec, taught by a pass over all records and a run's noise, put before the model.

The learned arrays are arguments of the compiled program, each run's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import jax
import numpy as np

from fedpareto.components import registry
from fedpareto.data import DataError
from fedpareto.federated.preprocessings.interface import Arrays, Learning, Preprocessing
from fedpareto.models.model import Model
from fedpareto.privacy.mechanisms.normal import standard_normal

ROWS = 4096  # examples at a time, so that nothing of the size of the data set is made


def build(spec: Mapping[str, Any] | None) -> Any:
    """The preprocessing that a spec names, a `Preprocessing` or a `Learning`; None for none."""
    return None if spec is None else registry.build("preprocessing", spec)


def output_shape(preprocessing: Preprocessing | None, example_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an example as the model sees it.

    Raises:
      DataError: The examples have too few features, or channels that do not come in that many groups.
    """
    if preprocessing is None:
        return example_shape
    features, channels = math.prod(example_shape), example_shape[-1]
    name = getattr(preprocessing, "AT_MOST_FEATURES", None)
    if name and getattr(preprocessing, name) > features:
        raise DataError(
            f"preprocessing: {name} = {getattr(preprocessing, name)} must be at most {features}, all features"
        )
    name = getattr(preprocessing, "DIVIDES_CHANNELS", None)
    if name and channels % getattr(preprocessing, name):
        raise DataError(f"preprocessing: {name} = {getattr(preprocessing, name)} must divide {channels}, the channels")
    return preprocessing.output_shape(example_shape)


def statistics(preprocessing: Learning, x: np.ndarray, bounded: bool) -> tuple[np.ndarray, ...]:
    """The statistics that a preprocessing learns from all records, before any noise: means over records, float64.

    Args:
      preprocessing: The preprocessing.
      x: float32 [n, ...], the training examples.
      bounded: Whether contributions to means are cut to the bounds, as noise needs it.
    """
    parts = (preprocessing.sums(x[start : start + ROWS], bounded) for start in range(0, len(x), ROWS))
    sums = reduce(lambda one, other: tuple(map(np.add, one, other)), parts)
    return tuple(total / len(x) for total in sums)


def learned(
    preprocessing: Learning, means: Sequence[np.ndarray], noise: Sequence[float], records: int, key: jax.Array
) -> dict[str, np.ndarray]:
    """The parameters of the transformation, from the statistics and one run's noise.

    The divisor of the noisy sums is the number of records, which is public: part of the configuration of a run with unit
    `record`.

    Args:
      preprocessing: The preprocessing.
      means: The result of `statistics`.
      noise: Standard deviation of the noise on each sum, over the bound of 1 on a record's contribution; empty for none.
      records: Number of records behind the means.
      key: A typed PRNG key, never used for anything else.

    Returns:
      float32 arrays by name, see `Learning.learned`.

    Raises:
      DataError: There are more or fewer statistics than `RELEASES` says: one would be released that nobody charged.
    """
    charged = getattr(preprocessing, "RELEASES", 0)
    if len(means) != charged:
        raise DataError(
            f"preprocessing: sums of {type(preprocessing).__name__} returns {len(means)} arrays, and its RELEASES says {charged}"
        )
    keys = jax.random.split(key, len(means))
    noisy = [
        mean + (stddev / records) * np.asarray(standard_normal(one, mean.shape), np.float64)
        for mean, stddev, one in zip(means, noise or (0.0,) * len(means), keys, strict=True)
    ]
    return preprocessing.learned(noisy)


def prepend(model: Model, preprocessing: Preprocessing, arrays: Arrays) -> Model:
    """The model of the examples as they are, from one of examples as the preprocessing leaves them."""

    def transformed(x: jax.Array) -> jax.Array:
        return preprocessing.transformed(arrays, x)

    return replace(
        model,
        apply=lambda params, x: model.apply(params, transformed(x)),
        observed=lambda params, perturbations, x: model.observed(params, perturbations, transformed(x)),
    )
