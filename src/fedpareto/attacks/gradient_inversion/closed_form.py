"""Records read off an update without any optimisation.

The gradient of an affine layer that sees the records themselves is, for its unit j, the sum over records i of d_ij x_i for the
weights, and of d_ij for the bias. For one record their quotient is that record, exactly: after any number of local steps,
which only change d, and after clipping, which scales both (Phong et al. 2017, ePrint 2017/715). For more, a ReLU unit that one
record alone activates still gives that record (Fowl et al. 2022, arXiv:2110.13057; Boenisch et al. 2023, arXiv:2112.02918); such
records come out of several units alike, which mixtures do not.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from scipy.spatial.distance import cdist

from fedpareto.attacks.auxiliary_data import AuxiliaryData
from fedpareto.models.model import Model

PyTree = Any
Path = tuple[str, ...]
ALIKE = 1e-3  # root mean squared difference, in a feature's unit, below which two units show the same record
FAINTEST = 1e-4  # of the strongest unit, below which a unit's quotient is rounding error


def first_layer(model: Model, params: PyTree, example: np.ndarray) -> Path | None:
    """The path of an affine layer with a bias that sees the records themselves, or None.

    Args:
      model: The model.
      params: Its parameters.
      example: float32 [1, ...], any record.
    """
    flat = traverse_util.flatten_dict(params)
    if model.layers is None:
        return None
    _, inputs = model.observed(params, model.perturbations(1), jnp.asarray(example))
    for path in model.layers:
        seen = np.asarray(inputs[path])
        same = seen.size == example.size and np.array_equal(seen.ravel(), example.ravel())
        if same and (*path, "bias") in flat and flat[(*path, "kernel")].ndim == 2:
            return path
    return None


def records_of(kernel: np.ndarray, bias: np.ndarray, records: int, noise: float, public: AuxiliaryData) -> np.ndarray:
    """Records from the first layer's part of an update.

    With noise, a quotient is the posterior mean under a normal prior with the public means and deviations; without, the quotient.

    Args:
      kernel: float [features, units].
      bias: float [units].
      records: How many records to find.
      noise: Standard deviation of the noise on each coordinate.
      public: Auxiliary data.

    Returns:
      float32 [records, features]; the mean record where nothing better was found.
    """
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    if records == 1:
        return _inside(_quotients(kernel @ bias, np.square(bias).sum(), bias.size, noise, public)[None], public)
    strong = np.abs(bias) > FAINTEST * np.abs(bias).max(initial=0.0)
    kernel, bias = kernel[:, strong], bias[strong]
    found = np.stack([_quotients(k * b, b * b, 1, noise, public) for k, b in zip(kernel.T, bias, strict=True)])
    outside = np.maximum(public.low - found, 0) + np.maximum(found - public.high, 0)
    violation = np.sqrt(np.mean(np.square(outside / public.unit), axis=1))
    near = cdist(found / public.unit, found / public.unit) / np.sqrt(found.shape[1]) < ALIKE
    chosen: list[int] = []
    for j in np.lexsort((-np.abs(bias), violation, -near.sum(axis=1))):
        if len(chosen) < records and not near[j, chosen].any():
            chosen.append(int(j))
    rest = np.repeat(public.mean[None], records - len(chosen), axis=0)
    return _inside(np.concatenate([found[chosen], rest]), public)


def _quotients(product: np.ndarray, square: float, units: int, noise: float, public: AuxiliaryData) -> np.ndarray:
    """The record that explains sums of weights' times bias's parts (float64 [features]) and of squared bias's parts."""
    if noise == 0:
        return product / square if square > 0 else public.mean.astype(np.float64)
    # What noise alone adds to a sum of squares, and two standard deviations of that.
    signal = max(0.0, square - noise**2 * (units + 2 * math.sqrt(2 * units)))
    prior = np.square(noise / public.deviation)
    return (product * (signal / square) + prior * public.mean) / (signal + prior)


def _inside(found: np.ndarray, public: AuxiliaryData) -> np.ndarray:
    return np.clip(found, *public.box).astype(np.float32)
