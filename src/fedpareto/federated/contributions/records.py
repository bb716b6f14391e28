"""Unit `record`, drawn by the server: the clipped gradient of a record, at the global parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fedpareto.federated.augmentation import keys_of
from fedpareto.federated.contributions.interface import Contribution, Members, Round, Sums
from fedpareto.federated.contributions.members import is_clipped
from fedpareto.federated.contributions.per_example import clipped_gradient_sum, mask_rows
from fedpareto.federated.inputs.canaries import planted_sum
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.clipping import clip_factor

PyTree = Any


@dataclass(frozen=True)
class RecordGradients(Contribution):
    """Clipped gradients of records, negated: an update points downhill."""

    OF_RECORDS: ClassVar[bool] = True
    DRAWS_RECORDS: ClassVar[bool] = True

    def members(self, static: ProgramConfig, data: DeviceData, run_params: RunParams, this: Round) -> Members:
        """The gradients of several records."""
        key_views = jax.random.fold_in(jax.random.wrap_key_data(run_params.public_key), this.number)

        def several(members: jax.Array, real: jax.Array) -> tuple[Sums, None]:
            if data.record_mask is not None:
                real &= data.record_mask[run_params.partition, members]
            planted = None
            if run_params.canaries is not None:
                factors = mask_rows(
                    real, jnp.full(members.shape, clip_factor(run_params.canaries.length, this.clip_norm))
                )
                planted = planted_sum(run_params.canaries, members, factors, this.params)
                real &= members < run_params.canaries.first
            x, y = data.train.x[members], data.train.y[members]
            if static.augmentation is not None:
                x = static.augmentation.views(keys_of(key_views, members), x)
            in_views = static.augmentation is not None and static.augmentation.multiplicity > 1
            total = clipped_gradient_sum(
                static.model,
                static.task.loss,
                this.params,
                x,
                y,
                real=real,
                clip_norm=this.clip_norm,
                in_views=in_views,
            )
            clipped = jnp.sum(mask_rows(real, is_clipped(total.norms, this.clip_norm)))
            answered = jnp.sum(real).astype(jnp.float32)
            within, zero = answered / 2 - clipped, jnp.float32(0)
            update = jax.tree.map(jnp.negative, total.gradient)
            if planted is not None:
                update = jax.tree.map(jnp.add, update, planted)
            return Sums(update, answered, within, clipped, jnp.sum(total.norms), zero), None

        return several

    def simulated(self, static: ProgramConfig, run_params: RunParams, params: PyTree, examples: Examples) -> PyTree:
        """The sum of the records' clipped gradients, negated."""
        return negated_gradients(static, run_params, params, examples)


def negated_gradients(static: ProgramConfig, run_params: RunParams, params: PyTree, examples: Examples) -> PyTree:
    """The sum of the examples' clipped gradients, negated."""
    real = jnp.ones(len(examples.x), bool)
    total = clipped_gradient_sum(
        static.model, static.task.loss, params, examples.x, examples.y, real=real, clip_norm=run_params.clip_norm
    )
    return jax.tree.map(jnp.negative, total.gradient)
