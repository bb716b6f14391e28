"""Standardisation of pixels, by published constants or by each image itself.

Models of images take pixels in [0, 1] and standardise them first: how is an argument, because papers differ in it. The
constants were once computed from training images without privacy; like everybody, we take them for public knowledge.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Mean and standard deviation of a channel.
CONSTANTS = {
    "cifar10": ((0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


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
