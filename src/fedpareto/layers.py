"""Layers whose gradients can be taken example by example without being stored (Goodfellow 2015; Bu et al. 2023).

`Dense` and `Conv` have the parameters of flax's layers of the same names, and beside their output they can say what
a per-example gradient is made of: what comes in (`sow`, collection `INPUTS`) and, through `perturb`, what the loss's
gradient with respect to the output is (collection `OUTPUTS`). Asked for neither, they are plain layers.

Inside a model, images are [channels, height, width, batch]: a convolution is then one matrix product over patches
that are copied in long contiguous pieces, and the windows of a pooling are slices along leading axes. On a CPU this
trains several times faster than `flax.linen.Conv` and `max_pool` (docs/performance.md), and per-client weights only
add a batch axis to a matrix product, where a grouped convolution would be needed.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

INPUTS = "layer_inputs"
OUTPUTS = "layer_outputs"


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
        patches = self._patches(x, channels_axis=0)
        # What a per-example gradient wants of the same patches; costs nothing where nobody asks for it.
        by_example = self._patches(x.transpose(3, 0, 1, 2), channels_axis=1)
        self.sow(INPUTS, "x", by_example.reshape(*by_example.shape[:2], -1))
        rows = patches.reshape(patches.shape[0], -1)
        y = (kernel.reshape(-1, self.features).T @ rows).reshape(self.features, *patches.shape[1:])
        return self.perturb("y", y + bias[:, None, None, None], collection=OUTPUTS)

    def _patches(self, x: jax.Array, channels_axis: int) -> jax.Array:
        """What each output pixel sees: `x` with size * size * channels channels, its next two axes those of the output.

        Columns are gathered first, then rows of these: size + size slices instead of size * size.
        """
        for axis in (channels_axis + 2, channels_axis + 1):
            last = x.shape[axis] - self.size
            shifted = [jax.lax.slice_in_dim(x, i, i + last + 1, self.stride, axis) for i in range(self.size)]
            x = jnp.concatenate(shifted, axis=channels_axis)
        return x


def images(x: jax.Array) -> jax.Array:
    """[batch, height, width, channels] -> [channels, height, width, batch]."""
    return x.transpose(3, 1, 2, 0)


def flat(x: jax.Array) -> jax.Array:
    """An image inside a model, [channels, height, width, batch] -> [batch, height * width * channels]."""
    return x.transpose(3, 1, 2, 0).reshape(x.shape[3], -1)


def max_pool(x: jax.Array, stride: int) -> jax.Array:
    """Maximum over windows of 2 x 2, without padding: [channels, height, width, batch] -> the same, smaller.

    Where values tie, the gradient goes to the first of them, row by row, as with `flax.linen.max_pool`. Columns come
    first for that, then rows; XLA's own gradient of a pooling is many times slower on a CPU.
    """
    height, width = ((n - 2) // stride + 1 for n in x.shape[1:3])
    across = _first_max(x[:, :, : (width - 1) * stride + 1 : stride], x[:, :, 1 : (width - 1) * stride + 2 : stride])
    return _first_max(
        across[:, : (height - 1) * stride + 1 : stride], across[:, 1 : (height - 1) * stride + 2 : stride]
    )


@jax.custom_vjp
def _first_max(a: jax.Array, b: jax.Array) -> jax.Array:
    """Elementwise maximum whose gradient goes to `a` where both are equal."""
    return jnp.maximum(a, b)


def _first_max_forward(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.maximum(a, b), a >= b


def _first_max_backward(first: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.where(first, gradient, 0), jnp.where(first, 0, gradient)


_first_max.defvjp(_first_max_forward, _first_max_backward)
