"""Unit `record`, drawn by its client: the message of a client about records that it draws for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.contributions.interface import Contribution, Members, Round, Sums
from fedpareto.federated.contributions.members import behaviour, one_by_one, sums_of_one
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams

PyTree = Any


@dataclass(frozen=True)
class HeldRecords:
    """The records of one client in a round, and the keys and rates of its draws.

    Attributes:
      examples: All clients' examples.
      index: int32 [pad], the client's rows of `examples`.
      count: int32 scalar, how many of them are real: public.
      eligible: bool [pad], which of them take part.
      last: uint32 scalar, `last_to_join` of the records' sampling rate.
      key_records: Key of which records are drawn.
      key_noise: Key of rounding and noise.
      share_of_steps: float32 scalar, the share of its steps that the client finishes; None for all.
    """

    examples: Examples
    index: jax.Array
    count: jax.Array
    eligible: jax.Array
    last: jax.Array
    key_records: jax.Array
    key_noise: jax.Array
    share_of_steps: jax.Array | None


class RecordStats(NamedTuple):
    """Statistics of a client's records in a round, float32 scalars.

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


@dataclass(frozen=True)
class LocalRecords(Contribution):
    """A client's message about the records that it draws; subclasses say which message."""

    OF_RECORDS: ClassVar[bool] = True

    def message(
        self, static: ProgramConfig, run_params: RunParams, this: Round, held: HeldRecords
    ) -> tuple[PyTree, RecordStats]:
        """The message of a client, and statistics of its records."""
        raise NotImplementedError

    def members(self, static: ProgramConfig, data: DeviceData, run_params: RunParams, this: Round) -> Members:
        """The messages of several clients."""
        if run_params.record_draws is None:
            raise ValueError("clients that draw their records need the rates at which they do (RunParams.record_draws)")
        last = run_params.record_draws

        def one(client: jax.Array) -> tuple[Sums, None]:
            index, count = (
                data.train_index[run_params.partition, client],
                data.train_count[run_params.partition, client],
            )
            responds, share_of_steps = behaviour(static, run_params, this, client)
            eligible = jnp.arange(index.shape[0]) < count
            if data.record_mask is not None:
                eligible &= data.record_mask[run_params.partition, index]
            held = HeldRecords(
                examples=data.train,
                index=index,
                count=count,
                eligible=eligible,
                last=last[client],
                key_records=jax.random.fold_in(this.key_records, client),
                key_noise=jax.random.fold_in(this.key_noise, client),
                share_of_steps=share_of_steps,
            )
            update, stats = self.message(static, run_params, this, held)
            drawn = jnp.maximum(stats.records, 1)
            sums = sums_of_one(update, responds, stats.clipped / drawn, stats.norm / drawn)
            return sums._replace(overflow=stats.overflow), None

        return one_by_one(one)
