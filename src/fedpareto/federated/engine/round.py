"""One federated round of one run: cohort, contributions, release, server step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.contributions.interface import Round
from fedpareto.federated.engine.release import release
from fedpareto.federated.engine.server import moving_average, server_update
from fedpareto.federated.execution.cohort_sum import sum_over_cohort
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import Carried
from fedpareto.privacy.sampling import Cohort, fixed_size_cohort, poisson_cohort, scheduled_cohort

PyTree = Any


class RoundReport(NamedTuple):
    """Diagnostics of one round, float32 scalars. They are of the simulation: no epsilon covers them.

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


class RoundResult(NamedTuple):
    """Results of one round.

    Attributes:
      carried: The state that the next round starts from.
      report: Diagnostics.
      mean_update: The released mean update: the server steps with it, and nothing else is released.
    """

    carried: Carried
    report: RoundReport
    mean_update: PyTree


def one_round(
    static: ProgramConfig, data: DeviceData, run_params: RunParams, carried: Carried, round_index: jax.Array
) -> RoundResult:
    """Runs round `round_index` (int32, from 0), and returns the released mean update as well."""
    if run_params.client_decay is not None:
        rate = run_params.client_learning_rate * run_params.client_decay**round_index
        run_params = run_params._replace(client_learning_rate=rate)
    params, optimizer_state, memory = carried
    cohort, this = begin(static, data, run_params, carried, round_index)
    at_once = min(static.at_once, cohort.members.shape[0])
    contribution = contribution_of(static).members(static, data, run_params, this)
    sums, kept = sum_over_cohort(contribution, cohort, at_once, static.cohort_devices)
    released = release(static, run_params, this, sums, cohort=cohort, kept=kept)
    memory = released.memory
    stepped = server_update(static.server(run_params.server), params, optimizer_state, released.mean_update)
    if released.refused is not None:
        stepped = _unless(released.refused, stepped, (params, optimizer_state))
    if memory.average is not None and static.averaging is not None:
        average = moving_average(memory.average, stepped[0], round_index, static.averaging)
        if released.refused is not None:
            average = _unless(released.refused, average, memory.average)
        memory = memory._replace(average=average)
    size = jnp.maximum(sums.answered, 1)
    report = RoundReport(
        cohort_size=sums.answered,
        clipped_fraction=sums.clipped / size,
        update_norm=sums.norm / size,
        clip_norm=this.clip_norm,
        wrapped_fraction=released.wrapped,
        overflow=cohort.overflow.astype(jnp.float32) + sums.overflow,
        refused=jnp.float32(0) if released.refused is None else released.refused.astype(jnp.float32),
    )
    return RoundResult(Carried(*stepped, memory), report, released.mean_update)


def _unless(refused: jax.Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda after, before: jnp.where(refused, before, after), new, old)


def begin(
    static: ProgramConfig, data: DeviceData, run_params: RunParams, carried: Carried, round_index: jax.Array
) -> tuple[Cohort, Round]:
    """The cohort of round `round_index`, and the values that its members share."""
    secret = jax.random.fold_in(jax.random.wrap_key_data(run_params.secret_key), round_index)
    key_cohort, key_noise, key_responses, key_records = jax.random.split(secret, 4)
    cohort = cohort_of(static, data, run_params, key_cohort, round_index)
    return cohort, Round(
        number=round_index,
        params=carried.params,
        memory=carried.memory,
        clip_norm=run_params.clip_norm if carried.memory.clip_norm is None else carried.memory.clip_norm,
        key_noise=key_noise,
        key_responses=key_responses,
        key_records=key_records,
    )


def cohort_of(
    static: ProgramConfig, data: DeviceData, run_params: RunParams, key: jax.Array, round_index: jax.Array
) -> Cohort:
    """Who takes part: clients, or records where the server itself draws them."""
    row = contribution_of(static)
    if row.ASKS_EVERYBODY:
        return Cohort(jnp.arange(static.clients, dtype=jnp.int32), jnp.int32(static.clients), jnp.int32(0))
    population = data.train.x.shape[0] if row.DRAWS_RECORDS else static.clients
    if static.sampling == "poisson":
        return poisson_cohort(key, population, static.sampling_rate, static.max_cohort_size)
    if static.sampling == "fixed_size":
        return fixed_size_cohort(key, population, static.max_cohort_size)
    order = jax.random.wrap_key_data(run_params.secret_key)
    # A key that no round has: rounds count from 0.
    one_pass = jax.random.fold_in(jax.random.fold_in(order, 2**31 - 1), round_index // static.batches)
    order = one_pass if static.sampling == "shuffled" else jax.random.fold_in(order, 2**31 - 1)
    return scheduled_cohort(order, population, static.max_cohort_size, round_index % static.batches)
