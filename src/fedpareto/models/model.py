"""A flax module as pure functions of its parameters.

Images come as [batch, height, width, channels], tables as [batch, features]; all models return float32 outputs
[batch, outputs] and flatten what they need to. Inside the built-in ones, images have the layout of
`fedpareto.models.layers`, whose per-example gradients are cheap; any other flax layer works, by one backward pass an example.
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

from fedpareto.components import registry
from fedpareto.components.registry import ComponentError
from fedpareto.models.layers import INPUTS, OUTPUTS
from fedpareto.models.numerics import PLAIN, Numerics

PyTree = Any

LONGEST_REASON = 300  # characters


class UnfitModelError(ValueError):
    """A flax module that is no model: what it must be, and the way out."""


@dataclass(frozen=True)
class Model:
    """A model as pure functions of its parameters.

    Attributes:
      init: PRNG key -> parameters.
      apply: (parameters, x float32 [batch, ...]) -> outputs float32 [batch, outputs].
      parameters: Number of parameters.
      example_shape: Shape of one example.
      layers: Paths of the `Dense` and `Conv` layers, if these hold all parameters and each is used once; else None.
      observed: (parameters, perturbations, x) -> (outputs, layer inputs), both by layer path: the gradient with respect
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


def build(spec: Mapping[str, Any], example_shape: tuple[int, ...], outputs: int, numerics: Numerics = PLAIN) -> Model:
    """The model that `spec` names.

    Args:
      spec: `name` of a component of the kind `model`, and its arguments.
      example_shape: Shape of one example without the batch axis.
      outputs: Number of outputs: classes of a classification.
      numerics: How products are computed.

    Raises:
      ComponentError: The module is no model of such examples, see `from_module`.
    """
    component = registry.find("model", spec["name"])
    module = registry.build("model", spec, outputs=outputs)
    try:
        model = from_module(module, example_shape, numerics)
        _check_outputs(model, outputs)
    except UnfitModelError as error:
        raise ComponentError(spec["name"], *error.args) from None
    except Exception as error:
        if not component.own:
            raise
        shape = " x ".join(map(str, example_shape))
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_REASON]
        raise ComponentError(spec["name"], f"be a flax module of examples of {shape} numbers", reason) from error
    return model


def from_module(module: nn.Module, example_shape: tuple[int, ...], numerics: Numerics = PLAIN) -> Model:
    """A flax module, [batch, *example_shape] -> outputs float32 [batch, outputs], as a `Model`.

    Raises:
      UnfitModelError: The module has no parameters, or some that are not float32; or it keeps something beside them (running
        means of a batch norm, say): it would hand data of one record to the gradient of another, outside of any clip norm.
    """

    def variables(key: jax.Array, batch: int) -> PyTree:
        return module.init(key, jnp.zeros((batch, *example_shape), jnp.float32))

    def shapes(batch: int) -> PyTree:
        return jax.eval_shape(lambda key: variables(key, batch), jax.ShapeDtypeStruct((), jax.random.key(0).dtype))

    def observed(params: PyTree, perturbations: PyTree, x: jax.Array) -> tuple[jax.Array, PyTree]:
        tree = traverse_util.unflatten_dict({(*path, "y"): value for path, value in perturbations.items()})
        with numerics.applied():
            outputs, sown = module.apply({"params": params, OUTPUTS: tree}, x, mutable=[INPUTS])
        inputs = traverse_util.flatten_dict(sown[INPUTS])
        return outputs, {path[:-1]: calls[0] for path, calls in inputs.items()}

    def apply(params: PyTree, x: jax.Array) -> jax.Array:
        with numerics.applied():
            return module.apply({"params": params}, x)

    def perturbations(batch: int) -> PyTree:
        outputs = traverse_util.flatten_dict(shapes(batch).get(OUTPUTS, {}))
        return {path[:-1]: jnp.zeros(leaf.shape, leaf.dtype) for path, leaf in outputs.items()}

    one = shapes(1)
    if "params" not in one:
        raise UnfitModelError("have parameters", "there is nothing to train")
    if others := sorted({str(leaf.dtype) for leaf in jax.tree.leaves(one["params"])} - {"float32"}):
        raise UnfitModelError(
            f"have parameters of float32, and none of {', '.join(others)}",
            "a sum of clipped updates in fewer bits is off by more than one of them may add",
        )
    if more := sorted(set(one) - {"params", INPUTS, OUTPUTS}):
        raise UnfitModelError(
            f"keep nothing beside its parameters, unlike {', '.join(more)}",
            "what is kept from one record to the next is clipped nowhere; use GroupNorm or LayerNorm instead of BatchNorm",
        )
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


def _check_outputs(model: Model, outputs: int) -> None:
    """Refuses outputs that are not one row an example, as the engine takes them to be."""
    params = jax.eval_shape(model.init, jax.ShapeDtypeStruct((), jax.random.key(0).dtype))
    made = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((3, *model.example_shape), jnp.float32))
    shape, dtype = getattr(made, "shape", None), getattr(made, "dtype", None)
    if shape != (3, outputs) or dtype != jnp.float32:
        raise UnfitModelError(
            f"return float32 [batch, {outputs}]", f"for a batch of 3 it returns {dtype} {list(shape or ())}"
        )
