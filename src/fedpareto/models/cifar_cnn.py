"""Convolutional networks for CIFAR-10, as the papers have them that are reproduced with them."""

from __future__ import annotations

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedpareto.models.layers import Conv, Dense, flat, images, max_pool
from fedpareto.models.normalisation import normalised

Normalisation = Literal["cifar10", "imagenet", "per_image", "none"]


class CifarCNN(nn.Module):
    """The CIFAR-10 CNN of Papernot et al. (2021) and Tramer and Boneh (2021): tanh, 550,570 parameters.

    Attributes:
      outputs: Number of outputs.
      normalisation: How pixels are standardised: by published constants, or every image by itself.
    """

    NAME: ClassVar = "cifar_cnn"
    INPUT_SHAPE: ClassVar = (32, 32, 3)
    outputs: int
    normalisation: Normalisation = "imagenet"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = images(normalised(x, self.normalisation))
        for channels in (32, 64, 128):
            for _ in range(2):
                x = jnp.tanh(Conv(channels, 3)(x))
            x = max_pool(x, stride=2)
        return Dense(self.outputs)(jnp.tanh(Dense(128)(flat(x))))


class FedAvgCifarCNN(nn.Module):
    """The CIFAR-10 network of TensorFlow's tutorial, as McMahan et al. (2017) used it: 1,068,298 parameters.

    It sees the middle 24 x 24 pixels; augmentation may have cut out others already.

    Attributes:
      outputs: Number of outputs.
      normalisation: How pixels are standardised: by published constants, or every image by itself.
    """

    NAME: ClassVar = "fedavg_cifar_cnn"
    INPUT_SHAPE: ClassVar = (32, 32, 3)
    CROP: ClassVar = 24
    outputs: int
    normalisation: Normalisation = "per_image"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        top, left = ((side - self.CROP) // 2 for side in x.shape[1:3])
        x = images(normalised(x[:, top : top + self.CROP, left : left + self.CROP], self.normalisation))
        x = _local_response_norm(max_pool(nn.relu(Conv(64, 5)(x)), stride=2, window=3, padding="SAME"))
        x = max_pool(_local_response_norm(nn.relu(Conv(64, 5)(x))), stride=2, window=3, padding="SAME")
        return Dense(self.outputs)(nn.relu(Dense(192)(nn.relu(Dense(384)(flat(x))))))


def _local_response_norm(x: jax.Array) -> jax.Array:
    """Each channel over (1 + alpha * sum of squares of nine)^0.75: [channels, height, width, batch] -> the same."""
    squares = jnp.pad(jnp.square(x), ((4, 4), (0, 0), (0, 0), (0, 0)))
    near = sum(jax.lax.slice_in_dim(squares, i, i + x.shape[0]) for i in range(9))
    return x * (1.0 + 0.001 / 9 * near) ** -0.75
