"""Members of a cohort: several from one, whether each responds, and its sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.contributions.interface import Members, Round, Sums
from fedpareto.federated.contributions.per_example import mask_rows
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams

PyTree = Any
Member = Callable[[jax.Array], tuple[Sums, PyTree | None]]


def one_by_one(one: Member) -> Members:
    """The contributions of several members from that of one."""

    def several(members: jax.Array, real: jax.Array) -> tuple[Sums, PyTree | None]:
        if members.shape[0] == 1:  # A chunk has at least one real member.
            sums, kept = one(members[0])
            return sums, jax.tree.map(lambda leaf: leaf[None], kept)
        sums, kept = jax.vmap(one)(members)
        return jax.tree.map(lambda leaf: jnp.sum(mask_rows(real, leaf), axis=0).astype(leaf.dtype), sums), kept

    return several


def behaviour(
    static: ProgramConfig, run_params: RunParams, this: Round, client: jax.Array
) -> tuple[jax.Array | None, jax.Array | None]:
    """Whether the client answers (bool), and the share of its steps that it finishes; None where all do."""
    key_drop, key_late, key_share = jax.random.split(jax.random.fold_in(this.key_responses, client), 3)
    responds = jax.random.uniform(key_drop) >= run_params.dropout if static.drops else None
    if not static.straggles:
        return responds, None
    late = jax.random.uniform(key_late) < run_params.stragglers
    return responds, jnp.where(late, jax.random.uniform(key_share), 1.0)


def sums_of_one(update: PyTree, responds: jax.Array | None, clipped: jax.Array, norm: jax.Array) -> Sums:
    """The sums of one member; all zero if it does not answer."""
    one, zero = jnp.float32(1), jnp.float32(0)
    sums = Sums(update, one, 0.5 - clipped, clipped, norm, zero)
    if responds is None:
        return sums
    return jax.tree.map(lambda leaf: jnp.where(responds, leaf, jnp.zeros_like(leaf)), sums)


def is_clipped(norm: jax.Array, clip_norm: jax.Array) -> jax.Array:
    """1.0 where clipping shortens; a norm that is not finite counts, for such a contribution is zero."""
    return (~(norm <= clip_norm)).astype(jnp.float32)
