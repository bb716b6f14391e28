"""What each adversary sees of one round, made by the run's own code with the run's own keys.

The transcript is that of the run's first round, whose model everybody knows, with one change: the clients that are looked at hold
`records` of their records only, so that an attack can be tried on batches of a given size. Nothing else reaches an attack.

| trust         | the coordinator sees                | those who see the models see    |
|---------------|-------------------------------------|---------------------------------|
| `central`     | each client's clipped update        | the sum and the server's noise  |
| `local`       | each client's update and its noise  | the sum of these                |
| `distributed` | the sum, with all noise shares      | the same                        |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.attacks.evidence import PARTICIPANTS, SERVER
from fedpareto.federated.arguments import Data, Hyper, Static
from fedpareto.federated.contribution import contribution_of
from fedpareto.federated.program import first_state
from fedpareto.federated.round import begin, observed_round

PyTree = Any


@dataclass(frozen=True)
class Transcript:
    """What was sent in the first round of one run.

    Attributes:
      params: The global parameters, which every adversary knows.
      rows: int32 [victims, records], the training records of each victim; what an attack tries to find.
      seen: By adversary, what it sees of each victim: a pytree like the parameters, [victims, ...]. A sum over the cohort
        is the same for all victims. In the scale of one client's update.
    """

    params: PyTree
    rows: np.ndarray
    seen: Mapping[str, PyTree]


def first_round(static: Static, data: Data, hyper: Hyper, records: int, victims: int) -> Transcript:
    """The transcript of one run (hyper-parameters without a runs axis) with `victims` clients of `records` records.

    Victims are members of the run's own first cohort, all that hold enough records if they are fewer than asked for; where the
    unit is the record, their records are taken from the first clients.
    """
    own = static.preprocessed(hyper)
    state = first_state(own, hyper)
    number = jnp.int32(0)
    cohort, this = begin(own, data, hyper, state.params, state.memory, number)
    counts = np.asarray(data.train_count[hyper.partition])
    by_records = own.unit == "record" and own.trust == "central"
    members = np.arange(own.clients) if by_records else np.asarray(cohort.members[: int(cohort.size)])
    chosen = [int(member) for member in members if counts[member] >= records][:victims]
    rows = np.asarray(data.train_index[hyper.partition])[chosen, :records]
    if not chosen:
        return Transcript(state.params, rows, {})
    index = jnp.asarray(chosen, jnp.int32)
    data = data._replace(train_count=data.train_count.at[hyper.partition, index].set(records))

    round_of = jax.jit(lambda d, h, s: observed_round(own, d, h, s.params, s.optimizer_state, s.memory, number)[4])
    released = round_of(data, hyper, state)
    summed = jax.tree.map(lambda leaf: jnp.stack([leaf * _divisor(own, hyper)] * len(chosen)), released)
    seen = {PARTICIPANTS: summed}
    if own.trust == "distributed":
        seen = {SERVER: summed}
    else:

        @jax.jit
        def sent(d: Data, h: Hyper) -> PyTree:
            member = contribution_of(own)(own, d, h, this)
            if by_records:
                return jax.lax.map(
                    lambda own_rows: member(own_rows, jnp.ones(records, bool))[0].update, jnp.asarray(rows)
                )
            return jax.lax.map(lambda one: member(one[None], jnp.ones(1, bool))[0].update, index)

        seen[SERVER] = sent(data, hyper)
    return Transcript(state.params, rows, seen)


def _divisor(static: Static, hyper: Hyper) -> float:
    return float(static.expected_cohort * (1 - hyper.dropout)) if static.drops else static.expected_cohort
