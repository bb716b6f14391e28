"""Projection on principal components (Abadi et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components.rules import PRELIMINARY_NOISE, Rule
from fedpareto.federated.preprocessings.interface import Arrays


@dataclass(frozen=True)
class PCA:
    """Examples are projected on the principal components of the records at unit norm (Abadi et al. 2016).

    Attributes:
      dimensions: Principal components that are kept.
      noise_multiplier: Noise standard deviation over the bound on what one record contributes.
    """

    NAME: ClassVar = "pca"
    RELEASES: ClassVar = 1
    # |xx' - yy'|^2 = |x|^4 + |y|^4 - 2 (x.y)^2 <= 2, attained by orthogonal records: the square root of 2
    REPLACE_SENSITIVITIES: ClassVar = (1.4142135623730951,)
    FLATTENS: ClassVar = True
    AT_MOST_FEATURES: ClassVar = "dimensions"
    dimensions: Annotated[int, Rule(minimum=1, hint="e.g. 60")]
    noise_multiplier: Annotated[float | None, PRELIMINARY_NOISE] = None

    def output_shape(self, example_shape: tuple[int, ...]) -> tuple[int, ...]:
        del example_shape
        return (self.dimensions,)

    def sums(self, x: np.ndarray, bounded: bool) -> tuple[np.ndarray, ...]:
        del bounded  # the covariance of records at unit norm is
        rows = _unit(x.reshape(len(x), -1).astype(np.float64))
        return (rows.T @ rows,)

    def learned(self, means: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        # Both triangles were released, so that their mean is post-processing and carries less noise.
        _, vectors = np.linalg.eigh((means[0] + means[0].T) / 2)
        return {"directions": vectors[:, ::-1][:, : self.dimensions].astype(np.float32)}

    def transformed(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        return jnp.matmul(x.reshape(x.shape[0], -1), arrays["directions"], precision=jax.lax.Precision.HIGHEST)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows at norm 1; zeros stay, and a row that is not finite becomes zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(norms) & (norms > 0)
    return np.where(usable, rows, 0.0) / np.where(usable, norms, 1.0)
