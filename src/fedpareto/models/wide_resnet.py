"""The wide residual network of De et al. (2022)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedpareto.components.rules import AT_LEAST_ONE
from fedpareto.models.layers import Dense, StandardizedConv
from fedpareto.models.normalisation import normalised


class WideResNet(nn.Module):
    """Wide residual network of De et al. (2022): standardised weights, group norm after each ReLU; 2,753,818 parameters.

    The original WRN-16-4 (Zagoruyko and Komodakis 2016) has 2.7 million. No example sees another: there is no batch norm.

    Attributes:
      outputs: Number of outputs.
      depth: 6 n + 4, with n blocks in each of three stages.
      width: Factor on 16, 32 and 64 channels.
      normalisation: How pixels are standardised: by published constants, or every image by itself.
    """

    NAME: ClassVar = "wrn"
    INPUT_SHAPE: ClassVar = (32, 32, 3)
    outputs: int
    depth: Literal[10, 16, 22, 28, 34, 40] = 16
    width: Annotated[int, AT_LEAST_ONE] = 4
    normalisation: Literal["cifar10", "imagenet", "per_image", "none"] = "cifar10"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = StandardizedConv(16, 3)(normalised(x, self.normalisation))
        for stage in range(3):
            channels = 16 * 2**stage * self.width
            for block in range((self.depth - 4) // 6):
                stride = 2 if stage and not block else 1
                skip = StandardizedConv(channels, 1, stride)(_norm(x)) if block == 0 else x
                for i in range(2):
                    x = StandardizedConv(channels, 3, 1 if i else stride)(_norm(x))
                x = x + skip
        return Dense(self.outputs)(jnp.mean(_norm(x), axis=(1, 2)))


def _norm(x: jax.Array) -> jax.Array:
    """ReLU, then group norm with 16 groups: in this order, as the paper's program has it."""
    return nn.GroupNorm(num_groups=16, epsilon=1e-5, use_fast_variance=False)(nn.relu(x))
