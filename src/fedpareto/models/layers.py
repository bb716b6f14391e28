"""Layers whose gradients can be taken example by example without being stored (Goodfellow 2015; Bu et al. 2023).

`Dense` and `Conv` have the parameters of flax's layers of the same names, and beside their output they can say what
a per-example gradient is made of: what comes in (`sow`, collection `INPUTS`) and, through `perturb`, what the loss's
gradient with respect to the output is (collection `OUTPUTS`). Asked for neither, they are plain layers.

Inside a model, images are [channels, height, width, batch]: a convolution is then one matrix product over patches
that are copied in long contiguous pieces, and the windows of a pooling are slices along leading axes. On a CPU this
trains several times faster than `flax.linen.Conv` and `max_pool` (docs/performance.md), and per-client weights only
add a batch axis to a matrix product, where a grouped convolution would be needed. `numerics` can ask for XLA's own convolution
instead. `StandardizedConv` always is one.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedpareto.models.numerics import convolution

INPUTS = "layer_inputs"
OUTPUTS = "layer_outputs"
SMALLEST_SQUARES = 1e-4  # a sum of squared weights below this is not scaled up further


class Dense(nn.Module):
    """Affine layer [batch, n] -> [batch, features], parameters as in `flax.linen.Dense`.

    Attributes:
      features: Outputs.
      initial_scale: Standard deviation of the first weights over that of flax's default.
      bias: Whether there is a bias.
    """

    features: int
    initial_scale: float = 1.0
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        initializer = nn.initializers.variance_scaling(self.initial_scale**2, "fan_in", "truncated_normal")
        kernel = self.param("kernel", initializer, (x.shape[1], self.features))
        self.sow(INPUTS, "x", x)
        y = x @ kernel
        if self.bias:
            y = y + self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return self.perturb("y", y, collection=OUTPUTS)


class Conv(nn.Module):
    """2-D convolution [channels, height, width, batch] -> the same with `features` channels.

    Parameters as in `flax.linen.Conv`: kernel [size, size, channels, features], bias [features].

    Attributes:
      features: Output channels.
      size: Height and width of the kernel.
      stride: In both directions.
      padding: `SAME` or `VALID`, as in `flax.linen.Conv`.
    """

    features: int
    size: int
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[0]
        shape = (self.size, self.size, channels, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        window, strides = (self.size, self.size), (self.stride, self.stride)
        pads = jax.lax.padtype_to_pads(x.shape[1:3], window, strides, self.padding)
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        # The patches that a per-example gradient wants; they cost nothing where nobody asks for it.
        by_example = self._patches(x.transpose(3, 0, 1, 2), channels_axis=1)
        self.sow(INPUTS, "x", by_example.reshape(*by_example.shape[:2], -1))
        y = self._over_patches(kernel, x) if convolution() == "patches" else self._over_images(kernel, x)
        return self.perturb("y", y + bias[:, None, None, None], collection=OUTPUTS)

    def _over_patches(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        patches = self._patches(x, channels_axis=0)
        rows = patches.reshape(patches.shape[0], -1)
        return (kernel.reshape(-1, self.features).T @ rows).reshape(self.features, *patches.shape[1:])

    def _over_images(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        strides, dimensions = (self.stride, self.stride), ("CHWN", "HWIO", "CHWN")
        return jax.lax.conv_general_dilated(x, kernel, strides, "VALID", dimension_numbers=dimensions)

    def _patches(self, x: jax.Array, channels_axis: int) -> jax.Array:
        """The patch of each output pixel: `x` with size * size * channels channels, its next two axes those of the output.

        Columns are gathered first, then rows of these: size + size slices instead of size * size.
        """
        for axis in (channels_axis + 2, channels_axis + 1):
            last = x.shape[axis] - self.size
            shifted = [jax.lax.slice_in_dim(x, i, i + last + 1, self.stride, axis) for i in range(self.size)]
            x = jnp.concatenate(shifted, axis=channels_axis)
        return x


class StandardizedConv(nn.Module):
    """2-D convolution [batch, height, width, channels] with standardised weights (Qiao et al. 2019; Brock et al. 2021).

    Each output channel's weights are shifted and scaled to mean 0 and sum of squares 1, then multiplied by a learned gain;
    padding is `SAME`. What is learned (and clipped) are the weights before that, so that a per-example gradient is not the
    product of what comes in and what goes out: the layer says nothing of either, and is differentiated as a whole.

    Attributes:
      features: Output channels.
      size: Height and width of the kernel.
      stride: In both directions.
    """

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.variance_scaling(1.0, "fan_in", "normal"), shape)
        gain = self.param("gain", nn.initializers.ones_init(), (self.features,))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        centred = kernel - jnp.mean(kernel, axis=(0, 1, 2))
        squares = jnp.sum(jnp.square(centred), axis=(0, 1, 2))
        kernel = centred * gain * jax.lax.rsqrt(jnp.maximum(squares, SMALLEST_SQUARES))
        strides, dimensions = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=dimensions) + bias


def images(x: jax.Array) -> jax.Array:
    """[batch, height, width, channels] -> [channels, height, width, batch]."""
    return x.transpose(3, 1, 2, 0)


def flat(x: jax.Array) -> jax.Array:
    """An image inside a model, [channels, height, width, batch] -> [batch, height * width * channels]."""
    return x.transpose(3, 1, 2, 0).reshape(x.shape[3], -1)


def max_pool(x: jax.Array, stride: int, window: int = 2, padding: str = "VALID") -> jax.Array:
    """Maximum over square windows: [channels, height, width, batch] -> the same, smaller.

    Where values tie, the gradient goes to the first of them, row by row, as with `flax.linen.max_pool`. Columns come
    first for that, then rows; XLA's own gradient of a pooling is many times slower on a CPU.

    Args:
      x: Images in the layout of this module.
      stride: In both directions.
      window: Height and width of a window.
      padding: `SAME` or `VALID`, as in `flax.linen.max_pool`.
    """
    pads = jax.lax.padtype_to_pads(x.shape[1:3], (window, window), (stride, stride), padding)
    if padding != "VALID":
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    for axis in (2, 1):
        last = x.shape[axis] - window
        slices = [jax.lax.slice_in_dim(x, i, i + last + 1, stride, axis) for i in range(window)]
        x = functools.reduce(_first_max, slices)
    return x


@jax.custom_vjp
def _first_max(a: jax.Array, b: jax.Array) -> jax.Array:
    """Elementwise maximum whose gradient goes to `a` where both are equal."""
    return jnp.maximum(a, b)


def _first_max_forward(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.maximum(a, b), a >= b


def _first_max_backward(first: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.where(first, gradient, 0), jnp.where(first, 0, gradient)


_first_max.defvjp(_first_max_forward, _first_max_backward)
