"""Contributions and sums under secure aggregation: integers modulo 2^bits (Kairouz, Liu and Steinke 2021, Algorithm 1).

Inside a sweep the plain modular sum stands in for the protocol of `fedpareto.privacy.secure_aggregation.cost`, whose result it
equals to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedpareto.federated.algorithms.local_sgd import Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.mechanisms.discrete_encoding import noise_share, rotate, round_conditionally, unrotate, wrap
from fedpareto.privacy.sampling import poisson_subset

PyTree = Any


class Seen(NamedTuple):
    """What a client saw of its own records in a round, float32 scalars.

    Attributes:
      records: Records drawn, over all steps.
      clipped: How many of their gradients were longer than the clip norm.
      norm: Sum of the gradients' norms.
      overflow: Records drawn that the buffer had no place for.
    """

    records: jax.Array
    clipped: jax.Array
    norm: jax.Array
    overflow: jax.Array


def integer_contribution(
    static: ProgramConfig, hyper: RunParams, round_index: jax.Array, key: jax.Array, clipped: PyTree
) -> jax.Array:
    """A clipped update as integers with a noise share: int32 [dimension], not yet reduced."""
    key_round, key_share = jax.random.split(key)
    return _rounded(static, hyper, round_index, key_round, clipped) + _share(static, hyper, key_share)


def integer_records(
    static: ProgramConfig,
    train: Examples,
    hyper: RunParams,
    params: PyTree,
    index: jax.Array,
    count: jax.Array,
    last: jax.Array,
    key_records: jax.Array,
    key_noise: jax.Array,
    round_index: jax.Array,
    record_mask: jax.Array | None = None,
) -> tuple[jax.Array, Seen]:
    """A client's sum of its drawn records' clipped gradients (negated), each rounded by itself, and one noise share.

    Rounding each record's vector bounds what one record adds to the integers; rounding their sum would not.

    Args:
      static: What shapes the program.
      train: All clients' examples.
      hyper: The run's numbers.
      params: Global parameters.
      index: int32 [pad], the client's rows of `train`.
      count: int32 scalar, how many of them are real.
      last: uint32 scalar, `last_to_join` of the records' sampling rate.
      key_records: Key of which records are drawn.
      key_noise: Key of rounding and noise.
      round_index: int32 scalar.
      record_mask: bool [pad], which of the client's records take part, or None for all.

    Returns:
      int32 [dimension], not yet reduced, and what the client saw.
    """
    eligible = jnp.arange(index.shape[0]) < count
    if record_mask is not None:
        eligible &= record_mask
    drawn = poisson_subset(key_records, eligible, last, static.max_batch_size)
    key_round, key_share = jax.random.split(key_noise)

    def add(i: jax.Array, carry: tuple[jax.Array, Seen]) -> tuple[jax.Array, Seen]:
        total, seen = carry
        row = index[drawn.members[i]]
        x, y = train.x[row][None], train.y[row][None]
        gradient = jax.grad(lambda p: static.task.loss(static.model.apply(p, x), y)[0])(params)
        norm = global_norm(gradient)
        clipped = jax.tree.map(jnp.negative, scale(gradient, clip_factor(norm, hyper.clip_norm)))
        own = _rounded(static, hyper, round_index, jax.random.fold_in(key_round, i), clipped)
        long = (~(norm <= hyper.clip_norm)).astype(jnp.float32)
        return total + own, Seen(seen.records + 1, seen.clipped + long, seen.norm + norm, seen.overflow)

    zero = jnp.float32(0)
    assert static.sum is not None
    start = (
        jnp.zeros(static.sum.dimension, jnp.int32),
        Seen(zero, zero, zero, drawn.overflow.astype(jnp.float32)),
    )
    total, seen = jax.lax.fori_loop(0, drawn.size, add, start)
    return total + _share(static, hyper, key_share), seen


def decoded_sum(
    static: ProgramConfig, hyper: RunParams, round_index: jax.Array, total: jax.Array, like: PyTree
) -> tuple[PyTree, jax.Array]:
    """The server's reading of the modular sum, and the share of coordinates that wrapped around.

    Args:
      static: What shapes the program.
      hyper: The run's numbers.
      round_index: int32 scalar.
      total: int32 [dimension], the sum before it is reduced.
      like: The parameters, for the shape.
    """
    assert static.sum is not None
    assert hyper.lattice is not None
    reduced = wrap(total, static.sum.bits)
    wrapped = jnp.mean((reduced != total).astype(jnp.float32))
    flat, unravel = ravel_pytree(like)
    rotated = reduced.astype(jnp.float32) * hyper.lattice.granularity
    return unravel(unrotate(_signs_key(hyper, round_index), rotated, flat.shape[0])), wrapped


def _rounded(
    static: ProgramConfig, hyper: RunParams, round_index: jax.Array, key: jax.Array, clipped: PyTree
) -> jax.Array:
    assert static.sum is not None
    assert hyper.lattice is not None
    flat, _ = ravel_pytree(clipped)
    rotated = rotate(_signs_key(hyper, round_index), flat, static.sum.dimension)
    return round_conditionally(key, rotated / hyper.lattice.granularity, hyper.lattice.norm_bound)


def _share(static: ProgramConfig, hyper: RunParams, key: jax.Array) -> jax.Array:
    assert static.sum is not None
    assert hyper.lattice is not None
    return noise_share(key, hyper.lattice.share, (static.sum.dimension,))


def _signs_key(hyper: RunParams, round_index: jax.Array) -> jax.Array:
    """The public key of a round's rotation: everybody turns their vector the same way."""
    public = jax.random.fold_in(jax.random.wrap_key_data(hyper.public_key), 2**31 - 1)
    return jax.random.fold_in(public, round_index)
