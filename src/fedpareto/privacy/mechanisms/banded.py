"""Noise that is correlated over rounds: DP-FTRL by a banded Toeplitz matrix factorisation.

Round t gets w_t, where C w = z, the z_t are independent Gaussians and C is a lower-triangular Toeplitz matrix of
`bands` bands. Releasing all noisy sums is one Gaussian mechanism on C x, where x are the noiseless sums (Kairouz et
al. 2021; Denisov et al. 2022, also where a sum depends on earlier releases), and later noise takes back a part of
earlier noise, so that the sums over rounds, which are what a model is made of, are less noisy. The bands let a unit
take part again every `bands` rounds or later, as Choquette-Choo et al. 2023 show ("(Amplified) Banded Matrix
Factorization", arXiv:2306.08153); Toeplitz matrices of bands scale to any number of rounds (McKenna 2024,
arXiv:2405.15913). The coefficients come from jax_privacy, which this module alone imports.

White noise is that of `gaussian`: right for simulation, not for a deployment. It ends at 11.6 standard deviations before it is
correlated; `normal_tail` has the charge to delta for that.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fedpareto.components.rules import AT_LEAST_ONE
from fedpareto.privacy.mechanisms.gaussian import gaussian_noise
from fedpareto.privacy.mechanisms.interface import Mechanism, NoiseParams
from fedpareto.privacy.mechanisms.normal import NUMERICS
from fedpareto.privacy.plan import PrivacyPlan

PyTree = Any

# The optimiser stops where its loss is flat in float64, some 1e-8 from the optimum. Fewer decimals are kept than that,
# so that processors that round differently agree on the mechanism.
DECIMALS = 6


@dataclass(frozen=True)
class Banded(Mechanism):
    """Gaussian noise that takes back a part of the noise of the last `bands` - 1 rounds.

    Attributes:
      bands: Rounds over which noise is correlated.
    """

    NAME: ClassVar[str] = "banded"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (("client", "central"),)
    bands: Annotated[int, AT_LEAST_ONE] = 4

    def event(self, plan: PrivacyPlan) -> Any:
        """The Gaussian that `compositions` scales to the whole run."""
        import dp_accounting

        return dp_accounting.GaussianDpEvent(plan.relative_noise)

    def strategy(self, rounds: int) -> tuple[float, ...]:
        """The coefficients of as many bands as there are rounds for."""
        return band_coefficients(rounds, min(self.bands, rounds))

    def compositions(self, plan: PrivacyPlan, rounds: int) -> float:
        """The squared sensitivity of all participations of a unit jointly: the whole run is one Gaussian mechanism."""
        return participation_sensitivity(plan.strategy, rounds, plan.setting.min_separation) ** 2 if rounds else 0.0

    def numerics(self, plan: PrivacyPlan) -> str:
        """That of all normal noise."""
        return NUMERICS

    def device_params(self, plans: Sequence[PrivacyPlan]) -> Sequence[np.ndarray]:
        """The first column of each plan's strategy matrix, float32 [bands]."""
        return [np.asarray(plan.strategy, np.float32) for plan in plans]

    def init(self, like: PyTree, device: jax.Array) -> jax.Array:
        """The noise of the last rounds, float32 [bands - 1, coordinates]: none yet."""
        return jnp.zeros((device.shape[0] - 1, sum(leaf.size for leaf in jax.tree.leaves(like))), jnp.float32)

    def privatize(
        self, key: jax.Array, total: PyTree, state: jax.Array, params: NoiseParams
    ) -> tuple[PyTree, jax.Array]:
        """Adds the noise of the round, and remembers it in the place of the oldest."""
        white, unravel = ravel_pytree(gaussian_noise(key, total, params.stddev))
        noise, past = correlated_noise(white, state, params.device, params.round_index)
        return jax.tree.map(jnp.add, total, unravel(noise)), past

    def first_stddev(self, stddev: float, device: jax.Array) -> float:
        """That of white noise over the strategy's first entry."""
        return stddev / float(device[0])


@lru_cache
def band_coefficients(rounds: int, bands: int) -> tuple[float, ...]:
    """The strategy matrix C with the least mean squared error of all prefix sums over `rounds` rounds.

    It is optimised in a process of its own, on the CPU (a few seconds, once for each pair of arguments). JAX in this
    process is left as it was: no device is started, hence their number and kind can still be chosen, and no memory of
    an accelerator is taken. Nor do JAX settings made in this process change the result.

    Args:
      rounds: Number of rounds T, at least 1.
      bands: Number of bands b, in 1..T.

    Returns:
      c_0..c_{b-1}, the first column of C down to its last band. Their L2 norm is 1, so that one participation has
      sensitivity 1. The optimum is above 0 and never increases, but nothing here relies on that, beyond c_0 > 0. One
      band is (1.0,): independent noise.

    Raises:
      ValueError: `bands` is not in 1..`rounds`.
      subprocess.CalledProcessError: The optimiser failed; its standard error says why.
    """
    if not 1 <= bands <= rounds:
        raise ValueError(f"bands = {bands} must be in 1..rounds = {rounds}")
    if bands == 1:
        return (1.0,)
    settings = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-m", __name__, str(rounds), str(bands)]
    optimum = json.loads(subprocess.check_output(command, env=os.environ | settings, text=True))
    rounded = [round(coefficient, DECIMALS) for coefficient in optimum]
    norm = math.sqrt(math.fsum(coefficient**2 for coefficient in rounded))
    return tuple(coefficient / norm for coefficient in rounded)


def participation_sensitivity(coefficients: Sequence[float], rounds: int, min_separation: int) -> float:
    """L2 sensitivity of C x over a whole run, relative to the clip norm, to all that one unit contributes.

    The bound is exact for units whose participations are at least `min_separation` rounds apart, and for a cyclic schedule,
    in which they are exactly so far apart. Columns of C that are at least `bands` apart have no row in common, hence
    the squared norms of a unit's columns add up, whatever the directions of its contributions; and as a column that
    starts later is cut off sooner, taking part in rounds 0, s, 2s, ... is the worst (arXiv:2306.08153, algorithm 3). It
    is the value of jax_privacy's `minsep_sensitivity_squared`, in float64 and without starting a device.

    Args:
      coefficients: c_0..c_{b-1}.
      rounds: Number of rounds, at least 0; fewer than C was optimised for is a run stopped early.
      min_separation: Least number of rounds s from one participation of a unit to its next; 1 is every round.

    Returns:
      The sensitivity, above 0, or 0 for no rounds. The whole run is a Gaussian mechanism, the noise multiplier of
      which is that of z over this number.

    Raises:
      ValueError: `min_separation` is below the number of bands, there are no coefficients, or `rounds` is below 0.
    """
    bands = len(coefficients)
    if bands < 1 or rounds < 0:
        raise ValueError(f"{bands} coefficients and rounds = {rounds} must be at least 1 and 0")
    if min_separation < bands:
        raise ValueError(
            f"separation = {min_separation} is below bands = {bands}: the noise of one participation of a unit would "
            "overlap with that of its next, and its sensitivity be larger than this bound"
        )
    squares = (c**2 for first in range(0, rounds, min_separation) for c in coefficients[: rounds - first])
    return math.sqrt(math.fsum(squares))


def correlated_noise(
    white: jax.Array, past: jax.Array, coefficients: jax.Array, round_index: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """The noise of one round: w_t = (z_t - sum over j = 1..b-1 of c_j w_{t-j}) / c_0, one step of C^-1 z.

    Args:
      white: z_t, float32 [n], independent noise. Its standard deviation is what the sensitivity of C x is set against.
      past: float32 [b-1, n], the noise of the last rounds, round i in row i mod (b-1). All 0 before the first round.
      coefficients: c_0..c_{b-1}, float32 [b], c_0 above 0.
      round_index: t, int32 scalar, from 0 and one more each round.

    Returns:
      w_t, float32 [n], and `past` with w_t in the place of its oldest row. One band with c_0 = 1 returns `white` to
      the bit.

    Raises:
      ValueError: `past` has not one row less than there are coefficients.
    """
    remembered = past.shape[0]
    if coefficients.shape[0] != remembered + 1:
        raise ValueError(
            f"{coefficients.shape[0]} bands need {coefficients.shape[0] - 1} rows of past, not {remembered}"
        )
    if remembered == 0:
        return white / coefficients[0], past
    slot = jnp.asarray(round_index, jnp.int32) % remembered
    # Row r holds round t - j for j = 1 + (t - 1 - r) mod (b-1). Weights are turned, not rows: rows are large.
    lag = 1 + (slot - 1 - jnp.arange(remembered, dtype=jnp.int32)) % remembered
    # Accelerators multiply matrices in fewer bits than float32 has, unless told otherwise.
    echo = jnp.matmul(coefficients[lag], past, precision=jax.lax.Precision.HIGHEST)
    noise = (white - echo) / coefficients[0]
    return noise, jax.lax.dynamic_update_index_in_dim(past, noise, slot, axis=0)


def _optimised(rounds: int, bands: int) -> list[float]:
    """The coefficients c_0..c_{bands-1} that jax_privacy optimises, in the precision that JAX is set to."""
    from jax_privacy.matrix_factorization import toeplitz

    return [float(coefficient) for coefficient in toeplitz.optimize_banded_toeplitz(rounds, bands)]


if __name__ == "__main__":
    print(json.dumps(_optimised(int(sys.argv[1]), int(sys.argv[2]))))
