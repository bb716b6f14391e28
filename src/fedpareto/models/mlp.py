"""Logistic regression and fully connected networks."""

from __future__ import annotations

from typing import Annotated, ClassVar

import flax.linen as nn
import jax

from fedpareto.components.rules import Rule
from fedpareto.models.layers import Dense

WIDTHS = Rule(
    minimum=1,
    maximum=99999,
    pattern=r"^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})*\Z",
    must="be widths from 1 to 99999, joined by -",
    hint="e.g. 32, or 64-32 for two layers",
)


class LogisticRegression(nn.Module):
    """Multinomial logistic regression.

    Attributes:
      outputs: Number of outputs.
      initial_scale: Standard deviation of the first weights over that of flax's default.
    """

    NAME: ClassVar = "logistic"
    FIRST_LAYER: ClassVar = "dense"
    outputs: int
    initial_scale: Annotated[float, Rule(exclusiveMinimum=0, usual=True)] = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return Dense(self.outputs, self.initial_scale)(x.reshape(x.shape[0], -1))


class MLP(nn.Module):
    """Fully connected network with ReLU.

    Attributes:
      outputs: Number of outputs.
      hidden: Widths of the hidden ReLU layers.
      bias: Whether layers have biases.
    """

    NAME: ClassVar = "mlp"
    FIRST_LAYER: ClassVar = "dense"
    outputs: int
    hidden: Annotated[int | str, WIDTHS] = "32"
    bias: Annotated[bool, Rule(usual=True)] = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _fully_connected(x, widths(str(self.hidden)), self.outputs, self.bias)


class TwoNN(nn.Module):
    """The MNIST 2NN of McMahan et al. (2017): two hidden layers of 200 units; 199,210 parameters."""

    NAME: ClassVar = "2nn"
    FIRST_LAYER: ClassVar = "dense"
    INPUT_SHAPE: ClassVar = (28, 28, 1)
    FLATTENS: ClassVar = True
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _fully_connected(x, (200, 200), self.outputs, bias=True)


def _fully_connected(x: jax.Array, hidden: tuple[int, ...], outputs: int, bias: bool) -> jax.Array:
    x = x.reshape(x.shape[0], -1)
    for width in hidden:
        x = nn.relu(Dense(width, bias=bias)(x))
    return Dense(outputs, bias=bias)(x)


def widths(hidden: str) -> tuple[int, ...]:
    """The widths of hidden layers from their text: `64-32` is (64, 32)."""
    return tuple(map(int, hidden.split("-")))
