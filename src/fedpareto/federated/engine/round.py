"""One federated round of one run: cohort, contributions, what is released of them, server step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.contributions.contribution import Round, contribution_of
from fedpareto.federated.engine.release import release
from fedpareto.federated.engine.server import moving_average, server_update
from fedpareto.federated.execution.cohort_sum import sum_over_cohort
from fedpareto.federated.inputs.program_inputs import DeviceData, ProgramConfig, RunParams, ServerState
from fedpareto.privacy.sampling import Cohort, fixed_size_cohort, poisson_cohort, scheduled_cohort

PyTree = Any


class RoundReport(NamedTuple):
    """What one round looked like, float32 scalars: simulation diagnostics that no epsilon covers.

    Attributes:
      cohort_size: Members that answered.
      clipped_fraction: Share of their contributions that were longer than the clip norm.
      update_norm: Mean L2 norm of these before clipping.
      clip_norm: Clip norm of the round.
      wrapped_fraction: Share of coordinates whose sum left the range of the integers and came back at its other end.
      overflow: Sampled members that a buffer had no place for.
      refused: 1 where too few answered for secure aggregation, and the round changed nothing.
    """

    cohort_size: jax.Array
    clipped_fraction: jax.Array
    update_norm: jax.Array
    clip_norm: jax.Array
    wrapped_fraction: jax.Array
    overflow: jax.Array
    refused: jax.Array


def one_round(
    static: ProgramConfig,
    data: DeviceData,
    hyper: RunParams,
    params: PyTree,
    optimizer_state: PyTree,
    memory: ServerState,
    round_index: jax.Array,
) -> tuple[PyTree, PyTree, ServerState, RoundReport]:
    """Runs round `round_index` (int32, from 0) and returns parameters, optimizer state, memory and a report."""
    return observed_round(static, data, hyper, params, optimizer_state, memory, round_index)[:4]


def observed_round(
    static: ProgramConfig,
    data: DeviceData,
    hyper: RunParams,
    params: PyTree,
    optimizer_state: PyTree,
    memory: ServerState,
    round_index: jax.Array,
) -> tuple[PyTree, PyTree, ServerState, RoundReport, PyTree]:
    """`one_round`, and behind its results the mean update that the server stepped with: all that is released of the round."""
    if hyper.client_decay is not None:
        rate = hyper.client_learning_rate * hyper.client_decay**round_index
        hyper = hyper._replace(client_learning_rate=rate)
    cohort, this = begin(static, data, hyper, params, memory, round_index)
    at_once = min(static.at_once, cohort.members.shape[0])
    sums, kept = sum_over_cohort(
        contribution_of(static)(static, data, hyper, this), cohort, at_once, static.cohort_devices
    )
    mean_update, memory, wrapped, refused = release(static, hyper, this, cohort, sums, kept)
    stepped = server_update(static.server(hyper.server), params, optimizer_state, mean_update)
    if static.sum is not None:
        stepped = jax.tree.map(lambda new, old: jnp.where(refused, old, new), stepped, (params, optimizer_state))
    if static.averaging is not None:
        average = moving_average(memory.average, stepped[0], round_index, static.averaging)
        if static.sum is not None:
            average = jax.tree.map(lambda new, old: jnp.where(refused, old, new), average, memory.average)
        memory = memory._replace(average=average)
    size = jnp.maximum(sums.answered, 1)
    report = RoundReport(
        cohort_size=sums.answered,
        clipped_fraction=sums.clipped / size,
        update_norm=sums.norm / size,
        clip_norm=this.clip_norm,
        wrapped_fraction=wrapped,
        overflow=cohort.overflow.astype(jnp.float32) + sums.overflow,
        refused=refused.astype(jnp.float32),
    )
    return *stepped, memory, report, mean_update


def begin(
    static: ProgramConfig,
    data: DeviceData,
    hyper: RunParams,
    params: PyTree,
    memory: ServerState,
    round_index: jax.Array,
) -> tuple[Cohort, Round]:
    """Who takes part in round `round_index`, and what all of them share."""
    secret = jax.random.fold_in(jax.random.wrap_key_data(hyper.secret_key), round_index)
    key_cohort, key_noise, key_answers, key_records = jax.random.split(secret, 4)
    cohort = _cohort(static, data, hyper, key_cohort, round_index)
    return cohort, Round(
        number=round_index,
        params=params,
        memory=memory,
        clip_norm=hyper.clip_norm if memory.clip_norm is None else memory.clip_norm,
        key_noise=key_noise,
        key_answers=key_answers,
        key_records=key_records,
    )


def _cohort(
    static: ProgramConfig, data: DeviceData, hyper: RunParams, key: jax.Array, round_index: jax.Array
) -> Cohort:
    """Who takes part: clients, or records where the server itself draws them."""
    if static.unit == "record" and static.trust == "distributed":
        # Every client is asked; which of its records it uses it draws for itself.
        return Cohort(jnp.arange(static.clients, dtype=jnp.int32), jnp.int32(static.clients), jnp.int32(0))
    drawn_by_server = static.unit == "record" and static.trust == "central"
    population = data.train.x.shape[0] if drawn_by_server else static.clients
    if static.sampling == "poisson":
        return poisson_cohort(key, population, static.sampling_rate, static.max_cohort_size)
    if static.sampling == "fixed_size":
        return fixed_size_cohort(key, population, static.max_cohort_size)
    order = jax.random.wrap_key_data(hyper.secret_key)
    # A key that no round has: rounds count from 0.
    one_pass = jax.random.fold_in(jax.random.fold_in(order, 2**31 - 1), round_index // static.batches)
    order = one_pass if static.sampling == "shuffled" else jax.random.fold_in(order, 2**31 - 1)
    return scheduled_cohort(order, population, static.max_cohort_size, round_index % static.batches)
