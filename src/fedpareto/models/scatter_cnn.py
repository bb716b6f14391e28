"""The network on scattering features."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedpareto.models.layers import Conv, Dense, flat, images, max_pool


class ScatterCNN(nn.Module):
    """The CNN on 8 x 8 scattering features of CIFAR-10 (Tramer and Boneh 2021): 187,210 parameters on 243 channels."""

    NAME: ClassVar = "scatter_cnn"
    INPUT_SHAPE: ClassVar = (8, 8, None)
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(jnp.tanh(Conv(64, 3)(images(x))), stride=2)
        return Dense(self.outputs)(flat(jnp.tanh(Conv(64, 3)(x))))
