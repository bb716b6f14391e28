"""DP-SGD on the clients (Abadi et al. 2016): every hospital noises each of its steps, and sends the resulting update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.federated.contributions.interface import Round
from fedpareto.federated.contributions.local_records import HeldRecords, LocalRecords, RecordStats
from fedpareto.federated.contributions.members import is_clipped
from fedpareto.federated.contributions.per_example import clipped_gradient_sum, mask_rows
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.privacy.sampling import poisson_subset

PyTree = Any


@dataclass(frozen=True)
class NoisySteps(LocalRecords):
    """New minus old parameters after noisy local steps."""

    def message(
        self, static: ProgramConfig, run_params: RunParams, this: Round, held: HeldRecords
    ) -> tuple[PyTree, RecordStats]:
        """The update; an adversary that sees it learns no more than the steps' guarantee allows.

        Each step draws a Poisson sample of the client's records, adds up their clipped gradients and noise of
        `run_params.noise_stddev`, and divides by the public expected size of the sample, as all of the client's records count.
        Fewer steps than planned (a straggler) release less than was accounted for.
        """
        expected = jnp.maximum((held.last.astype(jnp.float32) + 1) * 2.0**-32 * held.count, 1e-6)
        steps: int | jax.Array = static.local_steps
        if held.share_of_steps is not None:
            steps = jnp.ceil(held.share_of_steps * static.local_steps).astype(jnp.int32)

        def step(s: jax.Array, carry: tuple[PyTree, RecordStats]) -> tuple[PyTree, RecordStats]:
            local, stats = carry
            key_records = jax.random.fold_in(held.key_records, s)
            drawn = poisson_subset(key_records, held.eligible, held.last, static.max_batch_size)
            rows, real = held.index[drawn.members], jnp.arange(static.max_batch_size) < drawn.size
            x, y = held.examples.x[rows], held.examples.y[rows]
            total = clipped_gradient_sum(
                static.model, static.task.loss, local, x, y, real=real, clip_norm=run_params.clip_norm
            )
            key_noise = jax.random.fold_in(held.key_noise, s)
            noisy = self.noise.on_member(static, run_params, this, key_noise, total.gradient)
            rate = run_params.client_learning_rate / expected
            local = jax.tree.map(lambda p, g: p - rate * g, local, noisy)
            long = jnp.sum(mask_rows(real, is_clipped(total.norms, run_params.clip_norm)))
            return local, RecordStats(
                stats.records + drawn.size,
                stats.clipped + long,
                stats.norm + jnp.sum(total.norms),
                stats.overflow + drawn.overflow,
            )

        zero, params = jnp.float32(0), this.params
        trained, stats = jax.lax.fori_loop(0, steps, step, (params, RecordStats(zero, zero, zero, zero)))
        # A client without records has nothing to protect and nothing to say.
        return jax.tree.map(lambda new, old: jnp.where(held.count > 0, new - old, 0.0), trained, params), stats

    def simulated(self, static: ProgramConfig, run_params: RunParams, params: PyTree, examples: Examples) -> PyTree:
        """The update after steps on all of the examples, each taken for one on a sample of them, in proportion."""
        rate, real = run_params.client_learning_rate / len(examples.x), jnp.ones(len(examples.x), bool)

        def step(local: PyTree, _: None) -> tuple[PyTree, None]:
            total = clipped_gradient_sum(
                static.model, static.task.loss, local, examples.x, examples.y, real=real, clip_norm=run_params.clip_norm
            )
            return jax.tree.map(lambda p, g: p - rate * g, local, total.gradient), None

        trained, _ = jax.lax.scan(step, params, None, length=static.local_steps)
        return jax.tree.map(jnp.subtract, trained, params)

    def local_steps(self, static: ProgramConfig, records: int) -> int:
        """Noisy steps of a client."""
        return static.local_steps

    def first_stddev(self, static: ProgramConfig, run_params: RunParams, records: int, by_server: bool) -> float:
        """The noise of all steps together, in the scale of one client's update."""
        if run_params.record_draws is None:
            raise ValueError("clients that draw their records need the rates at which they do (RunParams.record_draws)")
        expected = max(1e-6, records * (float(np.max(run_params.record_draws)) + 1) * 2.0**-32)
        of_member = float(run_params.noise_stddev)
        of_member *= float(run_params.client_learning_rate) * static.local_steps**0.5 / expected
        return self.noise.first_stddev(static, run_params, of_member, by_server)
