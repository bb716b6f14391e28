"""The view of each adversary in one round, computed by the run's code with the run's keys.

The transcript is that of a run's first round, whose model everybody knows, with three changes that let runs be compared on equal
terms. The clients that are looked at hold `records` of their records only, so that an attack can be tried on batches of a given
size. Clients are renamed so that those in a run's cohort hold the records of the first clients: the same records are looked for
in every run. And every sampled client answers, and finishes its steps: silence gives nothing away. Nothing else reaches an attack.

| trust         | the coordinator sees                | those who see the models see    |
|---------------|-------------------------------------|---------------------------------|
| `central`     | each client's clipped update        | the sum and the server's noise  |
| `local`       | each client's update and its noise  | the sum of these                |
| `distributed` | the sum, with all noise shares      | the same                        |

Where the server draws records, it sees the clipped gradients of a client's records in place of the client's update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components.threats import PARTICIPANTS, SERVER
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.engine.round import begin, one_round
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import first_state

PyTree = Any


@dataclass(frozen=True)
class Transcript:
    """The messages of the first round of one run.

    Attributes:
      params: The global parameters, which every adversary knows.
      rows: int32 [victims, records], the training records of each victim; what an attack tries to find.
      seen: By adversary, what it sees of each victim: a pytree like the parameters, [victims, ...], on the host. A sum over
        the cohort is the same for all victims. In the scale of one client's update.
    """

    params: PyTree
    rows: np.ndarray
    seen: Mapping[str, PyTree]


def first_rounds(
    static: ProgramConfig, data: DeviceData, run_params: RunParams, records: int, victims: int
) -> list[Transcript]:
    """The transcripts of runs (hyper-parameters [runs, ...]) with up to `victims` clients of `records` records each.

    There are fewer victims where fewer clients hold enough records, or the run's first cohort has fewer members.
    """
    if static.algorithm.VECTORS != 1:
        raise ValueError("a client that sends several vectors gives an attack on its update no single one to match")
    partitions = np.asarray(run_params.partition)
    eligible = [np.flatnonzero(counts >= records)[:victims] for counts in np.asarray(data.train_count)]
    owners = np.stack([np.pad(own, (0, victims - len(own)), mode="empty") for own in eligible])[partitions]
    most = np.asarray([len(own) for own in eligible])[partitions]
    owners = np.where(np.arange(victims) < most[:, None], owners, 0).astype(np.int32)
    rows = np.asarray(data.train_index)[partitions[:, None], owners, :records]
    if rows.shape[2] < records or not most.any():
        return [Transcript(None, np.zeros((0, records), np.int32), {}) for _ in partitions]
    run_params = run_params._replace(dropout=0 * run_params.dropout, stragglers=0 * run_params.stragglers)
    # Only where the server draws records does their number shape the program.
    shown = rows if contribution_of(static).DRAWS_RECORDS else rows[:, :, :1]
    looked = jax.device_get(_look(static, data, run_params, owners, most.astype(np.int32), shown, jnp.int32(records)))
    transcripts = []
    for i in range(len(partitions)):
        own = jax.tree.map(lambda leaf, run=i: leaf[run], looked)
        count = int(own.victims)
        seen = {PARTICIPANTS: jax.tree.map(lambda leaf, n=count: np.stack([leaf] * n), own.summed)} if count else {}
        if count and own.sent is None:
            seen[SERVER] = seen[PARTICIPANTS]
        elif count:
            seen[SERVER] = jax.tree.map(lambda leaf, n=count: leaf[:n], own.sent)
        transcripts.append(Transcript(own.params, rows[i, :count], seen))
    return transcripts


class _Looked(NamedTuple):
    """One run's first parameters, how many victims it has, what each sent (None under secure aggregation), and the sum."""

    params: PyTree
    victims: jax.Array
    sent: PyTree | None
    summed: PyTree


@partial(jax.jit, static_argnums=0)
def _look(
    static: ProgramConfig,
    data: DeviceData,
    run_params: RunParams,
    owners: np.ndarray,
    most: np.ndarray,
    rows: np.ndarray,
    records: jax.Array,
) -> _Looked:
    """For runs [runs, ...].

    Args:
      static: Their program.
      data: Its data.
      run_params: Their hyper-parameters.
      owners: int32 [runs, victims], whose records are looked for.
      most: int32 [runs], how many of these are real.
      rows: int32 [runs, victims, records], the records; only where the server draws records are they all needed.
      records: int32 scalar, records that a victim holds.
    """

    def one(item: tuple[RunParams, jax.Array, jax.Array, jax.Array]) -> _Looked:
        row, own, real, own_rows = item
        mine = static.preprocessed(row)
        start = first_state(mine, row).carried
        number, contribution = jnp.int32(0), contribution_of(static)
        cohort, this = begin(mine, data, row, start, number)
        each, wanted = (own_rows.shape[1], own_rows.reshape(-1)) if contribution.DRAWS_RECORDS else (1, own)
        members = jnp.pad(cohort.members, (0, max(0, len(wanted) - len(cohort.members))))[: len(wanted)]
        victims = jnp.minimum(cohort.size // each, real)
        renamed, row = _renamed(static, data, row, members, wanted, victims * each, records)
        released = one_round(mine, renamed, row, start, number).mean_update
        summed = jax.tree.map(lambda leaf: leaf * static.expected_cohort, released)
        if contribution.noise.HIDES_MEMBERS:
            return _Looked(start.params, victims, None, summed)
        member = contribution.members(mine, renamed, row, this)
        sent = jax.lax.map(lambda group: member(group, jnp.ones(each, bool))[0].update, members.reshape(-1, each))
        return _Looked(start.params, victims, sent, summed)

    return jax.lax.map(one, (run_params, jnp.asarray(owners), jnp.asarray(most), jnp.asarray(rows)))


def _renamed(
    static: ProgramConfig,
    data: DeviceData,
    run_params: RunParams,
    members: jax.Array,
    wanted: jax.Array,
    real: jax.Array,
    records: jax.Array,
) -> tuple[DeviceData, RunParams]:
    """Data in which the first `real` of `members` are who those of `wanted` were; as clients they hold `records` records."""
    if contribution_of(static).DRAWS_RECORDS:
        order = _swapped(data.train.x.shape[0], members, wanted, real)
        train = Examples(data.train.x[order], data.train.y[order])
        if data.record_mask is None:
            return data._replace(train=train), run_params
        record_mask = data.record_mask[run_params.partition][order]
        return data._replace(train=train, record_mask=record_mask[None]), run_params._replace(partition=jnp.int32(0))
    order = _swapped(static.clients, members, wanted, real)
    index, count = data.train_index[run_params.partition][order], data.train_count[run_params.partition][order]
    watched = jnp.where(jnp.arange(len(members)) < real, members, static.clients)
    count = count.at[watched].min(records, mode="drop")
    return data._replace(train_index=index[None], train_count=count[None]), run_params._replace(partition=jnp.int32(0))


def _swapped(population: int, members: jax.Array, wanted: jax.Array, real: jax.Array) -> jax.Array:
    """Permutation, int32 [population], that swaps `members[i]` and `wanted[i]` for i < `real`."""

    def swap(i: jax.Array, order: jax.Array) -> jax.Array:
        place = jnp.argmax(order == wanted[i])
        return order.at[place].set(order[members[i]]).at[members[i]].set(wanted[i])

    return jax.lax.fori_loop(0, real, swap, jnp.arange(population, dtype=jnp.int32))
