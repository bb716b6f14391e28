"""Channels standardised by learned means and deviations (Tramer and Boneh 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import numpy as np

from fedpareto.components.rules import POSITIVE, PRELIMINARY_NOISE
from fedpareto.federated.preprocessings.interface import STABILISER, Arrays


@dataclass(frozen=True)
class DataNorm:
    """Channels are standardised by the means and mean squares of all records (Tramer and Boneh 2021).

    The sums are in units of `mean_norm` and `square_norm`.

    Attributes:
      mean_norm: L2 bound on the means of one record's channels.
      square_norm: L2 bound on the mean squares of one record's channels.
      noise_multiplier: Noise standard deviation over the bound on what one record contributes.
    """

    NAME: ClassVar = "data_norm"
    RELEASES: ClassVar = 2
    # Means may point anywhere; of mean squares, which are not negative, no two are further apart than the square root of 2.
    REPLACE_SENSITIVITIES: ClassVar = (2.0, 1.4142135623730951)
    mean_norm: Annotated[float, POSITIVE]
    square_norm: Annotated[float, POSITIVE]
    noise_multiplier: Annotated[float | None, PRELIMINARY_NOISE] = None

    def output_shape(self, example_shape: tuple[int, ...]) -> tuple[int, ...]:
        return example_shape

    def sums(self, x: np.ndarray, bounded: bool) -> tuple[np.ndarray, ...]:
        by_channel = x.reshape(len(x), -1, x.shape[-1]).astype(np.float64)
        means, squares = (
            by_channel.mean(axis=1) / self.mean_norm,
            np.square(by_channel).mean(axis=1) / self.square_norm,
        )
        if bounded:
            means, squares = _within_one(means), _within_one(squares)
        return means.sum(axis=0), squares.sum(axis=0)

    def learned(self, means: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        mean, square = means[0] * self.mean_norm, means[1] * self.square_norm
        variance = np.maximum(square - np.square(mean), 0.0)
        # Noise that outgrew a channel's variance leaves nothing to standardise it by: such a channel is left out.
        scale = np.where(variance > 0, 1 / np.sqrt(variance + STABILISER), 0.0)
        return {"shift": mean.astype(np.float32), "scale": scale.astype(np.float32)}

    def transformed(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        standardised: jax.Array = (x - arrays["shift"]) * arrays["scale"]
        return standardised


def _within_one(rows: np.ndarray) -> np.ndarray:
    """Rows cut to norm 1; a row that is not finite becomes zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(np.isfinite(norms), rows, 0.0) / np.maximum(1.0, np.where(np.isfinite(norms), norms, 1.0))
