"""The models, in flax, by name.

Images come as [batch, height, width, channels], tables as [batch, features]; all models return float32 logits
[batch, classes] and flatten what they need to. Inside, images have the layout of `fedpareto.models.layers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from fedpareto.models.layers import INPUTS, OUTPUTS, Conv, Dense, flat, images, max_pool
from fedpareto.models.networks import CifarCNN, FedAvgCifarCNN, ScatterCNN, WideResNet
from fedpareto.models.numerics import PLAIN, Numerics

PyTree = Any


class LogisticRegression(nn.Module):
    """Multinomial logistic regression; `initial_scale` is that of `fedpareto.models.layers.Dense`."""

    classes: int
    initial_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return Dense(self.classes, self.initial_scale)(x.reshape(x.shape[0], -1))


class MLP(nn.Module):
    """Fully connected network with hidden ReLU layers of the widths `hidden`; without biases where `bias` is false."""

    classes: int
    hidden: tuple[int, ...]
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(Dense(width, bias=self.bias)(x))
        return Dense(self.classes, bias=self.bias)(x)


def widths(hidden: str) -> tuple[int, ...]:
    """The widths of hidden layers from their text: `64-32` is (64, 32)."""
    return tuple(map(int, hidden.split("-")))


class DPCNN(nn.Module):
    """The MNIST CNN of the DP literature (TensorFlow Privacy tutorial; Papernot et al. 2021): 26,010 parameters.

    Both poolings have window 2 and stride 1.
    """

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # A ReLU after the pooling gives what one before it does, and has fewer pixels to look at.
        x = nn.relu(max_pool(Conv(16, 8, stride=2)(images(x)), stride=1))
        x = nn.relu(max_pool(Conv(32, 4, stride=2, padding="VALID")(x), stride=1))
        x = nn.relu(Dense(32)(flat(x)))
        return Dense(self.classes)(x)


class FedAvgCNN(nn.Module):
    """The MNIST CNN of McMahan et al. (2017): two 5x5 convolutions, 512 units; 1,663,370 parameters."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = images(x)
        for channels in (32, 64):
            x = nn.relu(max_pool(Conv(channels, 5)(x), stride=2))
        x = nn.relu(Dense(512)(flat(x)))
        return Dense(self.classes)(x)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "logistic": LogisticRegression,
    "mlp": lambda classes, hidden, bias=True: MLP(classes, widths(hidden), bias),
    "2nn": lambda classes: MLP(classes, (200, 200)),
    "dp_cnn": DPCNN,
    "fedavg_cnn": FedAvgCNN,
    "fedavg_cifar_cnn": FedAvgCifarCNN,
    "cifar_cnn": CifarCNN,
    "scatter_cnn": ScatterCNN,
    "wrn": WideResNet,
}


@dataclass(frozen=True)
class Model:
    """A model as pure functions of its parameters.

    Attributes:
      init: PRNG key -> parameters.
      apply: (parameters, x float32 [batch, ...]) -> logits float32 [batch, classes].
      parameters: Number of parameters.
      example_shape: Shape of one example.
      layers: Paths of the `Dense` and `Conv` layers, if these hold all parameters and each is used once; else None.
      observed: (parameters, perturbations, x) -> (logits, layer inputs), both by layer path: the gradient with respect
        to the perturbations, which are added to the layers' outputs, is that with respect to the outputs.
      perturbations: batch size -> zeros, by layer path, shaped like the layers' outputs.
      numerics: How `apply` and `observed` compute their products.
    """

    init: Callable[[jax.Array], PyTree]
    apply: Callable[[PyTree, jax.Array], jax.Array]
    parameters: int
    example_shape: tuple[int, ...]
    layers: tuple[tuple[str, ...], ...] | None
    observed: Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, PyTree]]
    perturbations: Callable[[int], PyTree]
    numerics: Numerics = PLAIN


def build(spec: Mapping[str, Any], example_shape: tuple[int, ...], classes: int, numerics: Numerics = PLAIN) -> Model:
    """The model that `spec` names.

    Args:
      spec: `name`, a key of `MODELS`, and the arguments that config.schema.yaml lists for it.
      example_shape: Shape of one example without the batch axis.
      classes: Number of classes.
      numerics: How products are computed.
    """
    arguments = {key: value for key, value in spec.items() if key != "name"}
    return from_module(MODELS[spec["name"]](classes=classes, **arguments), example_shape, numerics)


def from_module(module: nn.Module, example_shape: tuple[int, ...], numerics: Numerics = PLAIN) -> Model:
    """A flax module, [batch, *example_shape] -> logits [batch, classes], as a `Model`."""

    def variables(key: jax.Array, batch: int) -> PyTree:
        return module.init(key, jnp.zeros((batch, *example_shape), jnp.float32))

    def shapes(batch: int) -> PyTree:
        return jax.eval_shape(lambda key: variables(key, batch), jax.ShapeDtypeStruct((), jax.random.key(0).dtype))

    def observed(params: PyTree, perturbations: PyTree, x: jax.Array) -> tuple[jax.Array, PyTree]:
        tree = traverse_util.unflatten_dict({(*path, "y"): value for path, value in perturbations.items()})
        with numerics.applied():
            logits, sown = module.apply({"params": params, OUTPUTS: tree}, x, mutable=[INPUTS])
        inputs = traverse_util.flatten_dict(sown[INPUTS])
        return logits, {path[:-1]: calls[0] for path, calls in inputs.items()}

    def apply(params: PyTree, x: jax.Array) -> jax.Array:
        with numerics.applied():
            return module.apply({"params": params}, x)

    def perturbations(batch: int) -> PyTree:
        outputs = traverse_util.flatten_dict(shapes(batch).get(OUTPUTS, {}))
        return {path[:-1]: jnp.zeros(leaf.shape, leaf.dtype) for path, leaf in outputs.items()}

    one = shapes(1)
    return Model(
        init=lambda key: variables(key, 1)["params"],
        apply=apply,
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(one["params"])),
        example_shape=example_shape,
        layers=_layers(one),
        observed=observed,
        perturbations=perturbations,
        numerics=numerics,
    )


def _layers(shapes: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | None:
    """The layers that hold all parameters, each used once, or None if there are parameters of any other kind."""
    calls = {path[:-1]: leaf for path, leaf in traverse_util.flatten_dict(shapes.get(INPUTS, {})).items()}
    holders = {path[:-1] for path in traverse_util.flatten_dict(shapes["params"])}
    return tuple(sorted(calls)) if holders == set(calls) and all(len(c) == 1 for c in calls.values()) else None
