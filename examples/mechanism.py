"""A mechanism of one's own: its noise and its proof in one class."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from fedpareto.components.rules import Rule
from fedpareto.privacy.mechanisms.gaussian import gaussian_noise
from fedpareto.privacy.mechanisms.interface import Mechanism


@dataclass(frozen=True)
class RoundedGaussian(Mechanism):
    """Gaussian noise on the sum, which is then rounded to a grid, so that it takes fewer bits to send.

    The rounded sum is a function of the noisy sum alone: post-processing, which proves what the noise proves.

    Attributes:
      step: Distance of the grid's points, in standard deviations of the noise.
    """

    SOUND_FOR: ClassVar = (("client", "central"), ("record", "central"))

    step: Annotated[float, Rule(exclusiveMinimum=0)] = 0.25

    def rdp(self, plan, orders):
        """Order over twice the squared noise, both in units of the sensitivity (Mironov 2017, Corollary 3)."""
        return orders / (2 * plan.relative_noise**2)

    def privatize(self, key, total, state, params):
        """The noisy sum on the grid; a mechanism without memory hands its state on."""
        noise = gaussian_noise(key, total, params.stddev)
        grid = self.step * params.stddev
        return jax.tree.map(lambda leaf, draw: jnp.round((leaf + draw) / grid) * grid, total, noise), state
