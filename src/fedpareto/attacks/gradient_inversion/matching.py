"""Records by optimisation: those whose simulated update looks most like the one that was seen.

| method   | distance of updates u (seen) and s (simulated)                 | step                  | paper               |
|----------|----------------------------------------------------------------|-----------------------|---------------------|
| `dlg`    | |u - s|^2 / |u|^2, and a prior as strong as the noise on u      | Adam                  | Zhu et al. 2019     |
| `cosine` | 1 - <u, s> / (|u| |s|), and total variation of pictures        | Adam on signs         | Geiping et al. 2020 |

The prior of `dlg` is normal with the public means and deviations of features, so that what it finds is the most probable record
given the update (Balunovic et al. 2022, arXiv:2111.04706); without noise it is nothing. Of several restarts the one with the lowest
distance (with its prior) is kept: the truth has no say in it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from fedpareto.attacks.auxiliary_data import AuxiliaryData
from fedpareto.attacks.gradient_inversion.simulation import update_of
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.clipping import global_norm

PyTree = Any
ITEMS = "items"
ITEMS_AT_ONCE = 64  # in one vectorised batch on an accelerator; one after another on a CPU
FIRST_SPREAD = 0.05  # standard deviation of the first guess around the mean record, in a feature's unit
LEARNING_RATES = {"dlg": 0.05, "cosine": 0.03}  # in a feature's unit, decaying to 0 along a cosine
TOTAL_VARIATION = 1e-2


class Recipe(NamedTuple):
    """How to search; static.

    Attributes:
      method: `dlg` or `cosine`.
      steps: Steps of Adam.
      restarts: Searches from random first guesses, of which the best is kept.
      total_variation: Weight of the mean absolute difference of neighbouring pixels, in the pixels' range.
      picture: Height, width and channels, or None for a table.
      example: Shape of a record before any preprocessing.
    """

    method: str
    steps: int
    restarts: int
    total_variation: float
    picture: tuple[int, int, int] | None
    example: tuple[int, ...]


class Item(NamedTuple):
    """One update to be inverted; every leaf has a leading items axis outside `jax.lax.map`.

    Attributes:
      run: int32, whose hyper-parameters and parameters.
      update: The observed update, a pytree like the parameters.
      labels: int32 [records], as counted.
      noise: float32, standard deviation of the noise on each coordinate.
      key: uint32 [2], key data of the first guesses.
    """

    run: jax.Array
    update: PyTree
    labels: jax.Array
    noise: jax.Array
    key: jax.Array


class _Known(NamedTuple):
    """Public knowledge on the device, float32 [features] each."""

    mean: jax.Array
    deviation: jax.Array
    unit: jax.Array
    low: jax.Array
    high: jax.Array


def search(
    static: ProgramConfig, run_params: RunParams, params: PyTree, items: Item, public: AuxiliaryData, *, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """The records that each item was computed from.

    Args:
      static: The runs' program.
      run_params: Hyper-parameters [runs, ...].
      params: First parameters [runs, ...].
      items: The updates.
      public: Auxiliary data.
      recipe: How to search.

    Returns:
      float32 [items, records, features], and the distances reached, float32 [items].
    """
    where = jax.local_devices()
    count = len(items.run)
    devices = tuple(where[: min(len(where), count)])
    padded = np.minimum(np.arange(-(-count // len(devices)) * len(devices)), count - 1)
    spread = jax.tree.map(lambda leaf: leaf[padded], items)
    known = _Known(*(jnp.asarray(v) for v in (public.mean, public.deviation, public.unit, *public.box)))
    found, distance = _search(static, recipe, devices, run_params, params, known, spread)
    return np.asarray(found)[:count], np.asarray(distance)[:count]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _search(
    static: ProgramConfig,
    recipe: Recipe,
    devices: tuple[jax.Device, ...],
    run_params: RunParams,
    params: PyTree,
    known: _Known,
    items: Item,
) -> tuple[jax.Array, jax.Array]:
    def one(item: Item) -> tuple[jax.Array, jax.Array]:
        own, start = jax.tree.map(lambda leaf: leaf[item.run], (run_params, params))
        own_static = static.preprocessed(own)
        keys = jax.random.split(jax.random.wrap_key_data(item.key), recipe.restarts)
        found, distance = jax.vmap(lambda key: _descend(own_static, recipe, own, start, known, item, key))(keys)
        best = jnp.argmin(jnp.where(jnp.isfinite(distance), distance, jnp.inf))
        return found[best], distance[best]

    at_once = None if devices[0].platform == "cpu" else ITEMS_AT_ONCE
    mesh, split, whole = Mesh(np.asarray(devices), (ITEMS,)), PartitionSpec(ITEMS), PartitionSpec()
    mapped = jax.shard_map(
        lambda h, p, k, i: jax.lax.map(lambda item: one(item), i, batch_size=at_once),
        mesh=mesh,
        in_specs=(whole, whole, whole, split),
        out_specs=split,
        check_vma=False,
    )
    return mapped(run_params, params, known, items)


def _descend(
    static: ProgramConfig,
    recipe: Recipe,
    run_params: RunParams,
    params: PyTree,
    known: _Known,
    item: Item,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """One search: records float32 [records, features] and the distance reached."""
    shape = (len(item.labels), len(known.mean))
    low, high = (known.low - known.mean) / known.unit, (known.high - known.mean) / known.unit
    rate = optax.cosine_decay_schedule(LEARNING_RATES[recipe.method], recipe.steps)
    optimizer = optax.adam(rate)

    def distance(z: jax.Array) -> jax.Array:
        x = known.mean + known.unit * z
        simulated = update_of(static, run_params, params, x.reshape(len(z), *recipe.example), item.labels)
        return _distance(recipe, known, item, simulated, z)

    def step(_: int, carry: tuple[jax.Array, PyTree]) -> tuple[jax.Array, PyTree]:
        z, state = carry
        gradient = jax.grad(distance)(z)
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        if recipe.method == "cosine":
            gradient = jnp.sign(gradient)
        change, state = optimizer.update(gradient, state)
        return jnp.clip(z + change, low, high), state

    first = jnp.clip(FIRST_SPREAD * jax.random.normal(key, shape), low, high)
    z, _ = jax.lax.fori_loop(0, recipe.steps, step, (first, optimizer.init(first)))
    return known.mean + known.unit * z, distance(z)


def _distance(recipe: Recipe, known: _Known, item: Item, simulated: PyTree, z: jax.Array) -> jax.Array:
    if recipe.method == "dlg":
        apart = global_norm_squared(jax.tree.map(jnp.subtract, item.update, simulated))
        prior = jnp.sum(jnp.square(z * known.unit / known.deviation))
        value = (apart + jnp.square(item.noise) * prior) / global_norm_squared(item.update)
    else:
        inner = sum(
            jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)
            for a, b in zip(jax.tree.leaves(item.update), jax.tree.leaves(simulated), strict=True)
        )
        lengths = global_norm(item.update) * jnp.sqrt(global_norm_squared(simulated) + jnp.finfo(jnp.float32).tiny)
        value = 1 - inner / lengths
    if recipe.picture is not None and recipe.total_variation:
        value += recipe.total_variation * total_variation(z.reshape(-1, *recipe.picture))
    return value


def global_norm_squared(tree: PyTree) -> jax.Array:
    """Squared L2 norm over all leaves jointly: unlike the norm it has a gradient at 0."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), jnp.float32(0))


def total_variation(pictures: jax.Array) -> jax.Array:
    """Mean absolute difference of neighbouring pixels, [n, height, width, channels] -> scalar."""
    return jnp.mean(jnp.abs(jnp.diff(pictures, axis=1))) + jnp.mean(jnp.abs(jnp.diff(pictures, axis=2)))
