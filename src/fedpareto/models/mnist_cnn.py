"""Convolutional networks for MNIST."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax

from fedpareto.models.layers import Conv, Dense, flat, images, max_pool


class DPCNN(nn.Module):
    """The MNIST CNN of the DP literature (TensorFlow Privacy tutorial; Papernot et al. 2021): 26,010 parameters.

    Both poolings have window 2 and stride 1.
    """

    NAME: ClassVar = "dp_cnn"
    INPUT_SHAPE: ClassVar = (28, 28, 1)
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # A ReLU after the pooling gives what one before it does, and has fewer pixels to look at.
        x = nn.relu(max_pool(Conv(16, 8, stride=2)(images(x)), stride=1))
        x = nn.relu(max_pool(Conv(32, 4, stride=2, padding="VALID")(x), stride=1))
        x = nn.relu(Dense(32)(flat(x)))
        return Dense(self.outputs)(x)


class FedAvgCNN(nn.Module):
    """The MNIST CNN of McMahan et al. (2017): two 5x5 convolutions, 512 units; 1,663,370 parameters."""

    NAME: ClassVar = "fedavg_cnn"
    INPUT_SHAPE: ClassVar = (28, 28, 1)
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = images(x)
        for channels in (32, 64):
            x = nn.relu(max_pool(Conv(channels, 5)(x), stride=2))
        x = nn.relu(Dense(512)(flat(x)))
        return Dense(self.outputs)(x)
