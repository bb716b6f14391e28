"""The models, in flax, by name.

Images have shape [batch, height, width, channels], tables [batch, features]; all models return float32 logits
[batch, classes] and flatten what they need to. Convolutions are plain `nn.Conv`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

PyTree = Any


class LogisticRegression(nn.Module):
    """Multinomial logistic regression."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.classes)(_flat(x))


class MLP(nn.Module):
    """Fully connected network with `depth` hidden ReLU layers of `width` units."""

    classes: int
    width: int
    depth: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = _flat(x)
        for _ in range(self.depth):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(self.classes)(x)


class DPCNN(nn.Module):
    """The MNIST CNN of the DP literature (TensorFlow Privacy tutorial; Papernot et al. 2021): 26,010 parameters.

    Both poolings have window 2 and stride 1.
    """

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(16, (8, 8), strides=(2, 2), padding="SAME")(x))
        x = nn.max_pool(x, (2, 2), strides=(1, 1))
        x = nn.relu(nn.Conv(32, (4, 4), strides=(2, 2), padding="VALID")(x))
        x = nn.max_pool(x, (2, 2), strides=(1, 1))
        x = nn.relu(nn.Dense(32)(_flat(x)))
        return nn.Dense(self.classes)(x)


class FedAvgCNN(nn.Module):
    """The MNIST CNN of McMahan et al. (2017): two 5x5 convolutions, 512 units; 1,663,370 parameters."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for channels in (32, 64):
            x = nn.relu(nn.Conv(channels, (5, 5), padding="SAME")(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(nn.Dense(512)(_flat(x)))
        return nn.Dense(self.classes)(x)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "logistic": LogisticRegression,
    "mlp": MLP,
    "2nn": lambda classes: MLP(classes, width=200, depth=2),
    "dp_cnn": DPCNN,
    "fedavg_cnn": FedAvgCNN,
}


@dataclass(frozen=True)
class Model:
    """A model as pure functions of its parameters.

    Attributes:
      init: PRNG key -> parameters.
      apply: (parameters, x float32 [batch, ...]) -> logits float32 [batch, classes].
      parameters: Number of parameters.
    """

    init: Callable[[jax.Array], PyTree]
    apply: Callable[[PyTree, jax.Array], jax.Array]
    parameters: int


def build(spec: Mapping[str, Any], example_shape: tuple[int, ...], classes: int) -> Model:
    """The model that `spec` names.

    Args:
      spec: `name`, a key of `MODELS`, and for `mlp` also `width` and `depth`.
      example_shape: Shape of one example without the batch axis.
      classes: Number of classes.
    """
    arguments = {key: value for key, value in spec.items() if key != "name"}
    module = MODELS[spec["name"]](classes=classes, **arguments)
    example = jax.ShapeDtypeStruct((1, *example_shape), jnp.float32)

    def init(key: jax.Array) -> PyTree:
        return module.init(key, jnp.zeros(example.shape, example.dtype))["params"]

    shapes = jax.eval_shape(init, jax.ShapeDtypeStruct((), jax.random.key(0).dtype))
    return Model(
        init=init,
        apply=lambda params, x: module.apply({"params": params}, x),
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)),
    )


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1)
