"""The interface of a preprocessing: it transforms every example, perhaps with statistics learned from all records.

What is learned for a private run is noised, once, before the first round: `PrivacyPlan.preprocessing_noise_multipliers`
says how much, and the accountant charges it. A configuration is checked by these literal constants of the class:

| constant                | meaning                                                                            | default |
|-------------------------|------------------------------------------------------------------------------------|---------|
| `RELEASES`              | sums over all records that it learns from, each of which is noised and charged     | 0       |
| `REPLACE_SENSITIVITIES` | of each sum, how far a record that replaces another moves it, over the bound of 1  | 2 each  |
| `FLATTENS`              | whether examples are rows of features after it, so that no model sees images       | False   |
| `AT_MOST_FEATURES`      | name of the argument that is at most the number of features of an example          |         |
| `DIVIDES_CHANNELS`      | name of the argument that divides the number of channels of an example             |         |

One with `RELEASES` takes the argument `noise_multiplier`, null where a run is not private.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

Arrays = Mapping[str, Any]
STABILISER = 1e-5  # added to variances, as in batch normalisation


class Preprocessing(Protocol):
    """Done to every example before the model sees it; frozen, so that programs of equal preprocessings are the same."""

    def output_shape(self, example_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an example as the model sees it."""

    def transformed(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        """Examples as the model sees them, float32 [batch, *output_shape].

        Guarantee: an example becomes the same whatever else is in the batch.

        Args:
          arrays: The result of `Learning.learned`; empty where nothing is learned.
          x: float32 [batch, ...].
        """


class Learning(Preprocessing, Protocol):
    """A preprocessing that learns from sums over all training records."""

    def sums(self, x: np.ndarray, bounded: bool) -> tuple[np.ndarray, ...]:
        """Sums over records, float64, `RELEASES` of them.

        Guarantee: where `bounded`, each record contributes to each sum a vector (or matrix) of L2 norm at most 1, whatever
        it holds, infinities and NaN included.

        Args:
          x: float32 [records, ...], some of the training examples.
          bounded: Whether contributions are cut to the bound, as noise needs it.
        """

    def learned(self, means: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays that examples are transformed by, float32, from the sums over the number of records, noise included."""
