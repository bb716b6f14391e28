"""What is done to every example before the model sees it, and what is learned of all records for that.

| name         | learned of all records               | done to an example                               | paper                   |
|--------------|--------------------------------------|--------------------------------------------------|-------------------------|
| `rescale`    | nothing                              | it is shifted and scaled by public constants     |                         |
| `group_norm` | nothing                              | groups of its channels are standardised          | Wu and He 2018          |
| `data_norm`  | means and mean squares of channels   | its channels are standardised by them            | Tramer and Boneh 2021   |
| `pca`        | covariance of records at unit norm   | it is projected on the principal components      | Abadi et al. 2016       |

What is learned for a private run is noised, once, before the first round: `PrivacyPlan.preprocessing_noise_multipliers`
says how much, and the accountant charges it. The learned arrays are arguments of the compiled program, each run's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.data import DataError
from fedpareto.models.model import Model

Spec = Mapping[str, Any]
Arrays = dict[str, Any]
STABILISER = 1e-5  # added to variances, as in batch normalisation
ROWS = 4096  # examples at a time, so that nothing of the size of the data set is made


def output_shape(spec: Spec | None, example_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an example as the model sees it.

    Raises:
      DataError: The examples have too few features, or channels that do not come in that many groups.
    """
    if spec is None:
        return example_shape
    features = math.prod(example_shape)
    if spec["name"] == "pca":
        if spec["dimensions"] > features:
            raise DataError(
                f"preprocessing: dimensions = {spec['dimensions']} must be at most {features}, all features"
            )
        return (int(spec["dimensions"]),)
    if spec["name"] == "group_norm" and example_shape[-1] % spec["groups"]:
        raise DataError(f"preprocessing: groups = {spec['groups']} must divide {example_shape[-1]}, the channels")
    return example_shape


def statistics(spec: Spec, x: np.ndarray, bounded: bool) -> tuple[np.ndarray, ...]:
    """What a preprocessing learns of all records, before any noise: means over records, float64.

    Guarantee: where `bounded`, each record contributes to the sum behind a mean a vector (or matrix) of L2 norm at most 1.
    The covariance is bounded anyhow; the sums of `data_norm` are in units of `mean_norm` and `square_norm`.

    Args:
      spec: `data_norm` or `pca` with its arguments.
      x: float32 [n, ...], the training examples.
      bounded: Whether contributions to means are cut to the bounds, as noise needs it.
    """
    parts = (_contribution(spec, x[start : start + ROWS], bounded) for start in range(0, len(x), ROWS))
    sums = reduce(lambda one, other: tuple(map(np.add, one, other)), parts)
    return tuple(total / len(x) for total in sums)


def _contribution(spec: Spec, x: np.ndarray, bounded: bool) -> tuple[np.ndarray, ...]:
    """The sums over a few examples."""
    if spec["name"] == "pca":
        rows = _unit(x.reshape(len(x), -1).astype(np.float64))
        return (rows.T @ rows,)
    by_channel = x.reshape(len(x), -1, x.shape[-1]).astype(np.float64)
    means, squares = (
        by_channel.mean(axis=1) / spec["mean_norm"],
        np.square(by_channel).mean(axis=1) / spec["square_norm"],
    )
    if bounded:
        means, squares = _within_one(means), _within_one(squares)
    return means.sum(axis=0), squares.sum(axis=0)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows at norm 1; zeros stay, and what is not finite becomes zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(norms) & (norms > 0)
    return np.where(usable, rows, 0.0) / np.where(usable, norms, 1.0)


def _within_one(rows: np.ndarray) -> np.ndarray:
    """Rows cut to norm 1; what is not finite becomes zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(np.isfinite(norms), rows, 0.0) / np.maximum(1.0, np.where(np.isfinite(norms), norms, 1.0))


def learned(
    spec: Spec, means: Sequence[np.ndarray], noise: Sequence[float], records: int, key: jax.Array
) -> dict[str, np.ndarray]:
    """What examples are transformed with, from the statistics and one run's noise.

    The divisor of the noisy sums is the number of records, which is public: part of the configuration of a run with unit
    `record`.

    Args:
      spec: `data_norm` or `pca` with its arguments.
      means: What `statistics` returned.
      noise: Standard deviation of the noise on each sum, over the bound of 1 on a record's contribution; empty for none.
      records: Number of records behind the means.
      key: A typed PRNG key, never used for anything else.

    Returns:
      float32 arrays by name: `directions` [features, dimensions], or `shift` and `scale` [channels].
    """
    keys = jax.random.split(key, len(means))
    noisy = [
        mean + (stddev / records) * np.asarray(jax.random.normal(one, mean.shape, jnp.float32), np.float64)
        for mean, stddev, one in zip(means, noise or (0.0,) * len(means), keys, strict=True)
    ]
    if spec["name"] == "pca":
        # Both triangles were released, so that their mean is post-processing and carries less noise.
        _, vectors = np.linalg.eigh((noisy[0] + noisy[0].T) / 2)
        return {"directions": vectors[:, ::-1][:, : spec["dimensions"]].astype(np.float32)}
    mean, square = noisy[0] * spec["mean_norm"], noisy[1] * spec["square_norm"]
    variance = np.maximum(square - np.square(mean), 0.0)
    # Noise that outgrew a channel's variance leaves nothing to standardise it by: such a channel is left out.
    scale = np.where(variance > 0, 1 / np.sqrt(variance + STABILISER), 0.0)
    return {"shift": mean.astype(np.float32), "scale": scale.astype(np.float32)}


def transformed(spec: Spec, arrays: Arrays, x: jax.Array) -> jax.Array:
    """Examples as the model sees them, float32 [batch, *output_shape].

    Args:
      spec: The preprocessing.
      arrays: What `learned` returned; nothing where nothing is learned.
      x: float32 [batch, ...].
    """
    if spec["name"] == "pca":
        return jnp.matmul(x.reshape(x.shape[0], -1), arrays["directions"], precision=jax.lax.Precision.HIGHEST)
    if spec["name"] == "rescale":
        return (x - spec["mean"]) / spec["deviation"]
    if spec["name"] == "data_norm":
        return (x - arrays["shift"]) * arrays["scale"]
    grouped = x.reshape(x.shape[0], -1, spec["groups"], x.shape[-1] // spec["groups"])
    mean = jnp.mean(grouped, axis=(1, 3), keepdims=True)
    variance = jnp.mean(jnp.square(grouped - mean), axis=(1, 3), keepdims=True)
    return ((grouped - mean) * jax.lax.rsqrt(variance + STABILISER)).reshape(x.shape)


def prepend(model: Model, spec: Spec, arrays: Arrays) -> Model:
    """The model of the examples as they are, from one of examples as `transformed` returns them."""
    return replace(
        model,
        apply=lambda params, x: model.apply(params, transformed(spec, arrays, x)),
        observed=lambda params, perturbations, x: model.observed(params, perturbations, transformed(spec, arrays, x)),
    )
