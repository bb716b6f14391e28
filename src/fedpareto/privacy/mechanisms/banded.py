"""Noise that is correlated over rounds: DP-FTRL by a banded Toeplitz matrix factorisation.

Round t gets w_t, where C w = z, the z_t are independent Gaussians and C is a lower-triangular Toeplitz matrix of
`bands` bands. Releasing all noisy sums is one Gaussian mechanism on C x, where x are the noiseless sums (Kairouz et
al. 2021; Denisov et al. 2022, also where a sum depends on earlier releases), and later noise takes back a part of
earlier noise, so that the sums over rounds, which are what a model is made of, are less noisy. The bands let a unit
take part again every `bands` rounds or later, as Choquette-Choo et al. 2023 show ("(Amplified) Banded Matrix
Factorization", arXiv:2306.08153); Toeplitz matrices of bands scale to any number of rounds (McKenna 2024,
arXiv:2405.15913). The coefficients come from jax_privacy, which this module alone imports.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache

# The optimiser stops where its loss is flat in float64, some 1e-8 from the optimum. Fewer decimals are kept than that,
# so that processors that round differently agree on the mechanism.
DECIMALS = 6


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


def _optimised(rounds: int, bands: int) -> list[float]:
    """What jax_privacy finds: c_0..c_{bands-1}, in the precision that JAX is set to."""
    from jax_privacy.matrix_factorization import toeplitz

    return [float(coefficient) for coefficient in toeplitz.optimize_banded_toeplitz(rounds, bands)]


if __name__ == "__main__":
    print(json.dumps(_optimised(int(sys.argv[1]), int(sys.argv[2]))))
