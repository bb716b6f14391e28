"""What a member of the cohort contributes to a round, by unit of privacy and trust model.

| unit   | trust       | a member | its contribution                                             |
|--------|-------------|----------|--------------------------------------------------------------|
| client | central     | client   | its clipped update                                           |
| client | local       | client   | its clipped update and noise of its own                      |
| client | distributed | client   | its clipped update as integers, and an integer noise share   |
| record | central     | record   | its clipped gradient                                         |
| record | local       | client   | its update by noisy steps on its records                     |
| record | distributed | client   | its records' clipped gradients as integers, and a noise share |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.local_sgd import client_update
from fedpareto.federated.algorithms.scaffold import scaffold_update
from fedpareto.federated.augmentation import keys_of
from fedpareto.federated.contributions.local_dpsgd import noisy_update
from fedpareto.federated.contributions.per_example import clipped_gradient_sum, only
from fedpareto.federated.contributions.secure_sum import integer_contribution, integer_records
from fedpareto.federated.inputs.canaries import in_place_of, planted_sum
from fedpareto.federated.inputs.program_inputs import DeviceData, ProgramConfig, RunParams, ServerState
from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.mechanisms.gaussian import gaussian_noise

PyTree = Any


class Round(NamedTuple):
    """What all contributions of a round share.

    Attributes:
      number: int32 scalar, from 0.
      params: Global parameters.
      memory: What earlier rounds left.
      clip_norm: float32 scalar, that of this round.
      key_noise: Key of the round's noise, whoever adds it.
      key_answers: Key of who fails to answer and who is late.
      key_records: Key of which of its records a client draws.
    """

    number: jax.Array
    params: PyTree
    memory: ServerState
    clip_norm: jax.Array
    key_noise: jax.Array
    key_answers: jax.Array
    key_records: jax.Array


class Sums(NamedTuple):
    """Sums over members of a cohort; float32 scalars but for `update`.

    Attributes:
      update: What is to be released: a pytree like the parameters, a pair of them (SCAFFOLD), or integers int32 [dimension].
      answered: Members that answered.
      within: Sum of 1/2 for each that was within the clip norm and -1/2 for each that was not.
      clipped: How many were longer than the clip norm.
      norm: Sum of their norms before clipping.
      overflow: Records that a client drew and its buffer had no place for.
    """

    update: PyTree
    answered: jax.Array
    within: jax.Array
    clipped: jax.Array
    norm: jax.Array
    overflow: jax.Array


# (members int32 [at_once], real bool [at_once]) -> (sums over the real ones, what each leaves behind or None)
Contribution = Callable[[jax.Array, jax.Array], tuple[Sums, PyTree | None]]
_Member = Callable[[jax.Array], tuple[Sums, PyTree | None]]


def contribution_of(static: ProgramConfig) -> Callable[[ProgramConfig, DeviceData, RunParams, Round], Contribution]:
    """The contribution that unit and trust model ask for."""
    if static.unit == "record" and static.trust == "central":
        return _records
    member = _own_records if static.unit == "record" else _client
    return lambda *arguments: _one_by_one(member(*arguments))


def _one_by_one(one: _Member) -> Contribution:
    """A contribution of several members from that of one."""

    def several(members: jax.Array, real: jax.Array) -> tuple[Sums, PyTree | None]:
        if members.shape[0] == 1:  # A chunk has at least one real member.
            sums, kept = one(members[0])
            return sums, jax.tree.map(lambda leaf: leaf[None], kept)
        sums, kept = jax.vmap(one)(members)
        return jax.tree.map(lambda leaf: jnp.sum(only(real, leaf), axis=0).astype(leaf.dtype), sums), kept

    return several


def _client(static: ProgramConfig, data: DeviceData, hyper: RunParams, this: Round) -> _Member:
    """The update of a whole client, clipped as one."""
    key_local = jax.random.fold_in(jax.random.wrap_key_data(hyper.public_key), this.number)

    def one(client: jax.Array) -> tuple[Sums, PyTree | None]:
        index, count = data.train_index[hyper.partition, client], data.train_count[hyper.partition, client]
        key = jax.random.fold_in(key_local, client)
        answers, share_of_steps = _behaviour(static, hyper, this, client)
        arguments = (static.model.apply, static.work, this.params, data.train, index, count)
        kept: PyTree | None = None
        if static.algorithm == "scaffold":
            update, kept = scaffold_update(
                *(*arguments, hyper.client_learning_rate, key, this.memory, client, answers), static.augmentation
            )
        else:
            update = client_update(
                *arguments,
                hyper.client_learning_rate,
                key,
                proximal=hyper.proximal if static.algorithm == "fedprox" else None,
                share_of_steps=share_of_steps,
                augmentation=static.augmentation,
            )
        if hyper.canaries is not None:
            update = update._replace(delta=in_place_of(hyper.canaries, client, update.delta))
        norm = global_norm(update.delta)
        factor = clip_factor(norm, this.clip_norm)
        if static.weight_cap is not None:
            factor = factor * jnp.minimum(count, static.weight_cap) / static.weight_cap
        clipped = scale(update.delta, factor)
        noise_key = jax.random.fold_in(this.key_noise, client)
        if static.trust == "local":
            clipped = jax.tree.map(jnp.add, clipped, gaussian_noise(noise_key, clipped, hyper.noise_stddev))
        elif static.sum is not None:
            clipped = integer_contribution(static, hyper, this.number, noise_key, clipped)
        return _sums(clipped, answers, _is_clipped(norm, this.clip_norm), norm), kept

    return one


def _records(static: ProgramConfig, data: DeviceData, hyper: RunParams, this: Round) -> Contribution:
    """Clipped gradients of records, negated: an update points downhill."""
    key_views = jax.random.fold_in(jax.random.wrap_key_data(hyper.public_key), this.number)

    def several(members: jax.Array, real: jax.Array) -> tuple[Sums, None]:
        if data.record_mask is not None:
            real &= data.record_mask[hyper.partition, members]
        planted = None
        if hyper.canaries is not None:
            factors = only(real, jnp.full(members.shape, clip_factor(hyper.canaries.length, this.clip_norm)))
            planted = planted_sum(hyper.canaries, members, factors, this.params)
            real &= members < hyper.canaries.first
        x, y = data.train.x[members], data.train.y[members]
        if static.augmentation is not None:
            x = static.augmentation.views(keys_of(key_views, members), x)
        in_views = static.augmentation is not None and static.augmentation.multiplicity > 1
        total = clipped_gradient_sum(static.model, this.params, x, y, real, this.clip_norm, in_views)
        clipped = jnp.sum(only(real, _is_clipped(total.norms, this.clip_norm)))
        answered = jnp.sum(real).astype(jnp.float32)
        zero = jnp.float32(0)
        update = jax.tree.map(jnp.negative, total.gradient)
        if planted is not None:
            update = jax.tree.map(jnp.add, update, planted)
        return Sums(update, answered, zero, clipped, jnp.sum(total.norms), zero), None

    return several


def _own_records(static: ProgramConfig, data: DeviceData, hyper: RunParams, this: Round) -> _Member:
    """What a client makes of records that it draws for itself."""

    def one(client: jax.Array) -> tuple[Sums, None]:
        index, count = data.train_index[hyper.partition, client], data.train_count[hyper.partition, client]
        answers, share_of_steps = _behaviour(static, hyper, this, client)
        assert hyper.record_draws is not None
        keys = (jax.random.fold_in(this.key_records, client), jax.random.fold_in(this.key_noise, client))
        arguments = (static, data.train, hyper, this.params, index, count, hyper.record_draws[client], *keys)
        record_mask = None if data.record_mask is None else data.record_mask[hyper.partition, index]
        if static.trust == "distributed":
            update, seen = integer_records(*arguments, this.number, record_mask)
        else:
            update, seen = noisy_update(*arguments, share_of_steps, record_mask)
        drawn = jnp.maximum(seen.records, 1)
        sums = _sums(update, answers, seen.clipped / drawn, seen.norm / drawn)
        return sums._replace(overflow=seen.overflow), None

    return one


def _behaviour(
    static: ProgramConfig, hyper: RunParams, this: Round, client: jax.Array
) -> tuple[jax.Array | None, jax.Array | None]:
    """Whether the client answers (bool), and the share of its steps that it finishes; None where all do."""
    key_drop, key_late, key_share = jax.random.split(jax.random.fold_in(this.key_answers, client), 3)
    answers = jax.random.uniform(key_drop) >= hyper.dropout if static.drops else None
    if not static.straggles:
        return answers, None
    late = jax.random.uniform(key_late) < hyper.stragglers
    return answers, jnp.where(late, jax.random.uniform(key_share), 1.0)


def _sums(update: PyTree, answers: jax.Array | None, clipped: jax.Array, norm: jax.Array) -> Sums:
    """The sums of one member; all zero if it does not answer."""
    one, zero = jnp.float32(1), jnp.float32(0)
    sums = Sums(update, one, 0.5 - clipped, clipped, norm, zero)
    if answers is None:
        return sums
    return jax.tree.map(lambda leaf: jnp.where(answers, leaf, jnp.zeros_like(leaf)), sums)


def _is_clipped(norm: jax.Array, clip_norm: jax.Array) -> jax.Array:
    """1.0 where clipping shortens; a norm that is not finite counts, for such a contribution is zero."""
    return (~(norm <= clip_norm)).astype(jnp.float32)
