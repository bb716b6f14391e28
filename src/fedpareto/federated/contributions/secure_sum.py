"""Records under secure aggregation: a client's sum of clipped gradients, each rounded to integers by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedpareto.federated.contributions.interface import Round
from fedpareto.federated.contributions.local_records import HeldRecords, LocalRecords, RecordStats
from fedpareto.federated.contributions.members import is_clipped
from fedpareto.federated.contributions.noise import integers, signs_key
from fedpareto.federated.contributions.records import negated_gradients
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.sampling import poisson_subset

PyTree = Any


@dataclass(frozen=True)
class RoundedGradients(LocalRecords):
    """A client's sum of its drawn records' clipped gradients (negated), each rounded by itself, and one noise share."""

    ASKS_EVERYBODY: ClassVar[bool] = True

    def message(
        self, static: ProgramConfig, run_params: RunParams, this: Round, held: HeldRecords
    ) -> tuple[jax.Array, RecordStats]:
        """The integers, int32 [dimension], not yet reduced.

        Rounding each record's vector bounds what one record adds to the integers; rounding their sum would not.
        """
        drawn = poisson_subset(held.key_records, held.eligible, held.last, static.max_batch_size)
        key_round, key_share = jax.random.split(held.key_noise)
        mechanism, signs, params = integers(static), signs_key(run_params, this.number), this.params

        def add(i: jax.Array, carry: tuple[jax.Array, RecordStats]) -> tuple[jax.Array, RecordStats]:
            total, stats = carry
            row = held.index[drawn.members[i]]
            x, y = held.examples.x[row][None], held.examples.y[row][None]
            gradient = jax.grad(lambda p: static.task.loss(static.model.apply(p, x), y)[0])(params)
            norm = global_norm(gradient)
            clipped = jax.tree.map(jnp.negative, scale(gradient, clip_factor(norm, run_params.clip_norm)))
            rounded = mechanism.encode(jax.random.fold_in(key_round, i), signs, clipped, run_params.mechanism)
            long = is_clipped(norm, run_params.clip_norm)
            return total + rounded, RecordStats(
                stats.records + 1, stats.clipped + long, stats.norm + norm, stats.overflow
            )

        zero = jnp.float32(0)
        parameters = ravel_pytree(params)[0].shape[0]
        start = (
            jnp.zeros(mechanism.dimension(parameters), jnp.int32),
            RecordStats(zero, zero, zero, drawn.overflow.astype(jnp.float32)),
        )
        total, stats = jax.lax.fori_loop(0, drawn.size, add, start)
        return total + mechanism.share(key_share, parameters, run_params.mechanism), stats

    def simulated(self, static: ProgramConfig, run_params: RunParams, params: PyTree, examples: Examples) -> PyTree:
        """The sum of the records' clipped gradients, negated and not rounded."""
        return negated_gradients(static, run_params, params, examples)
