"""Independent Gaussian noise.

Its numbers are those of `normal`, in float32: right for simulation, not for a deployment. They end at 11.6 standard deviations:
`normal_tail` is the charge to delta for releases that are therefore impossible for the neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fedpareto.privacy.mechanisms.interface import Mechanism, NoiseParams
from fedpareto.privacy.mechanisms.normal import NUMERICS, standard_normal
from fedpareto.privacy.plan import PrivacyPlan

PyTree = Any


@dataclass(frozen=True)
class Gaussian(Mechanism):
    """Independent Gaussian noise on every coordinate, drawn afresh for every release."""

    NAME: ClassVar[str] = "gaussian"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (
        ("client", "central"),
        ("client", "local"),
        ("record", "central"),
        ("record", "local"),
    )

    def event(self, plan: PrivacyPlan) -> Any:
        """A Gaussian release, of the noise over the sensitivity."""
        import dp_accounting

        return dp_accounting.GaussianDpEvent(plan.relative_noise)

    def numerics(self, plan: PrivacyPlan) -> str:
        """That of all normal noise."""
        return NUMERICS

    def privatize(self, key: jax.Array, total: PyTree, state: None, params: NoiseParams) -> tuple[PyTree, None]:
        """Adds N(0, stddev^2) to every coordinate."""
        return jax.tree.map(jnp.add, total, gaussian_noise(key, total, params.stddev)), None


def gaussian_noise(key: jax.Array, like: PyTree, stddev: jax.Array | float) -> PyTree:
    """Independent N(0, stddev^2) noise for every coordinate of every leaf.

    Args:
      key: A typed PRNG key, never used for anything else.
      like: A pytree of arrays; only shapes and dtypes are read.
      stddev: Standard deviation, scalar, at least 0.

    Returns:
      A pytree like `like`. All coordinates come from one draw: with one key for several draws, leaves of equal shape
      would get the very same noise, which an adversary can subtract.
    """
    leaves, structure = jax.tree.flatten(like)
    ends = list(accumulate(leaf.size for leaf in leaves))
    draw = standard_normal(key, (ends[-1],))
    noise = [
        (stddev * draw[end - leaf.size : end]).reshape(leaf.shape).astype(leaf.dtype)
        for leaf, end in zip(leaves, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, noise)
