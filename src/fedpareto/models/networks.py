"""Networks for CIFAR-10 and for scattering features, as the papers have them that are reproduced with them.

All take images as [batch, height, width, channels] with pixels in [0, 1], and standardise them first: how is an argument,
because papers differ in it. The constants are published ones. They were once computed from training images without
privacy; like everybody, we take them for public knowledge.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedpareto.models.layers import Conv, Dense, StandardizedConv, flat, images, max_pool

# Mean and standard deviation of a channel.
CONSTANTS = {
    "cifar10": ((0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
CROP = 24  # height and width of what the TensorFlow tutorial's network sees


class WideResNet(nn.Module):
    """Wide residual network of De et al. (2022): standardised weights, group norm after each ReLU; 2,753,818 parameters.

    The original WRN-16-4 (Zagoruyko and Komodakis 2016) has 2.7 million. No example sees another: there is no batch norm.

    Attributes:
      classes: Number of classes.
      depth: 6 n + 4, with n blocks in each of three stages.
      width: Factor on 16, 32 and 64 channels.
      normalisation: See `normalised`.
    """

    classes: int
    depth: int = 16
    width: int = 4
    normalisation: str = "cifar10"

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
        return Dense(self.classes)(jnp.mean(_norm(x), axis=(1, 2)))


class CifarCNN(nn.Module):
    """The CIFAR-10 CNN of Papernot et al. (2021) and Tramer and Boneh (2021): tanh, 550,570 parameters."""

    classes: int
    normalisation: str = "imagenet"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = images(normalised(x, self.normalisation))
        for channels in (32, 64, 128):
            for _ in range(2):
                x = jnp.tanh(Conv(channels, 3)(x))
            x = max_pool(x, stride=2)
        return Dense(self.classes)(jnp.tanh(Dense(128)(flat(x))))


class ScatterCNN(nn.Module):
    """The CNN on 8 x 8 scattering features of CIFAR-10 (Tramer and Boneh 2021): 187,210 parameters on 243 channels."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(jnp.tanh(Conv(64, 3)(images(x))), stride=2)
        return Dense(self.classes)(flat(jnp.tanh(Conv(64, 3)(x))))


class FedAvgCifarCNN(nn.Module):
    """The CIFAR-10 network of TensorFlow's tutorial, as McMahan et al. (2017) used it: 1,068,298 parameters.

    It sees the middle 24 x 24 pixels; augmentation may have cut out others already.
    """

    classes: int
    normalisation: str = "per_image"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        top, left = ((side - CROP) // 2 for side in x.shape[1:3])
        x = images(normalised(x[:, top : top + CROP, left : left + CROP], self.normalisation))
        x = _local_response_norm(max_pool(nn.relu(Conv(64, 5)(x)), stride=2, window=3, padding="SAME"))
        x = max_pool(_local_response_norm(nn.relu(Conv(64, 5)(x))), stride=2, window=3, padding="SAME")
        return Dense(self.classes)(nn.relu(Dense(192)(nn.relu(Dense(384)(flat(x))))))


def normalised(x: jax.Array, how: str) -> jax.Array:
    """Images float32 [batch, height, width, channels] with channels of about mean 0 and standard deviation 1.

    Args:
      x: Pixels in [0, 1].
      how: `cifar10` or `imagenet` for these data sets' published constants; `per_image` for every image by its own mean and
        standard deviation over all pixels and channels, the latter at least that of one level in so many (as
        `tf.image.per_image_standardization`); `none`.
    """
    if how == "none":
        return x
    if how == "per_image":
        axes, n = (1, 2, 3), x[0].size
        centred = x - jnp.mean(x, axes, keepdims=True)
        deviation = jnp.sqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + 1e-12)
        # TensorFlow's floor is 1/sqrt(n) for pixels up to 255.
        return centred / jnp.maximum(deviation, n**-0.5 / 255)
    mean, deviation = (jnp.asarray(constants) for constants in CONSTANTS[how])
    return (x - mean) / deviation


def _norm(x: jax.Array) -> jax.Array:
    """ReLU, then group norm with 16 groups: in this order, as the paper's program has it."""
    return nn.GroupNorm(num_groups=16, epsilon=1e-5, use_fast_variance=False)(nn.relu(x))


def _local_response_norm(x: jax.Array) -> jax.Array:
    """Each channel over (1 + alpha * sum of squares of nine)^0.75: [channels, height, width, batch] -> the same."""
    squares = jnp.pad(jnp.square(x), ((4, 4), (0, 0), (0, 0), (0, 0)))
    near = sum(jax.lax.slice_in_dim(squares, i, i + x.shape[0]) for i in range(9))
    return x * (1.0 + 0.001 / 9 * near) ** -0.75
