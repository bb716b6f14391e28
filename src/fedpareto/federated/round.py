"""One federated round of one run: cohort, client updates, clipping, sum, noise, server step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fedpareto.federated.client import Examples, LocalWork, client_update
from fedpareto.federated.server import noisy_mean, server_optimizer, server_update
from fedpareto.models import Model
from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.sampling import poisson_cohort

PyTree = Any


@dataclass(frozen=True)
class Static:
    """What shapes the compiled program. Runs that differ here cannot share one.

    Attributes:
      model: The model.
      work: Local training.
      clients: Population n.
      sampling_rate: Poisson sampling rate.
      cohort_pad: Size of the cohort buffer.
      expected_cohort: The public divisor.
      optimizer: optax name of the server optimizer.
      optimizer_flags: Its arguments that are not floats.
      rounds: Rounds in all.
      evaluation_rounds: Rounds after which the model is scored, 0 first and `rounds` last.
      clients_at_once: 1 trains clients one after another (a CPU: one client's weights stay in cache); more trains
        them in vectorised chunks (a GPU).
    """

    model: Model
    work: LocalWork
    clients: int
    sampling_rate: float
    cohort_pad: int
    expected_cohort: float
    optimizer: str
    optimizer_flags: tuple[tuple[str, Any], ...]
    rounds: int
    evaluation_rounds: tuple[int, ...]
    clients_at_once: int = 1

    def server(self, arguments: dict[str, jax.Array]) -> optax.GradientTransformation:
        """The server optimizer with its traced float arguments."""
        return server_optimizer(self.optimizer, dict(self.optimizer_flags) | arguments)


class Hyper(NamedTuple):
    """What varies between runs of one program; every leaf has a leading runs axis outside `jax.lax.map`.

    Attributes:
      partition: int32, which of the data's partitions the run uses.
      public_key: uint32 [2], key data of initialisation and shuffling, from the seed: runs of one seed share it, so
        that they are compared on equal terms.
      secret_key: uint32 [2], key data of cohorts and noise, from the whole run: never shared between runs.
      client_learning_rate: float32.
      server: float32 arguments of the server optimizer by name.
      clip_norm: float32; infinite for a run without clipping, which then has no noise either.
      noise_stddev: float32, standard deviation of the noise on the sum.
    """

    partition: jax.Array
    public_key: jax.Array
    secret_key: jax.Array
    client_learning_rate: jax.Array
    server: dict[str, jax.Array]
    clip_norm: jax.Array
    noise_stddev: jax.Array


class Data(NamedTuple):
    """Device arrays, passed as arguments and never closed over.

    Attributes:
      train: Training examples of all clients.
      test: Test examples.
      train_index: int32 [partitions, clients, pad].
      train_count: int32 [partitions, clients].
      test_client: int32 [partitions, test examples].
    """

    train: Examples
    test: Examples
    train_index: jax.Array
    train_count: jax.Array
    test_client: jax.Array


class RoundReport(NamedTuple):
    """What one round looked like, float32 scalars: simulation diagnostics that no epsilon covers.

    Attributes:
      cohort_size: Realised number of clients.
      clipped_fraction: Share of them whose update was longer than the clip norm.
      update_norm: Mean L2 norm of their updates before clipping.
      local_loss: Mean training loss over clients.
      overflow: Sampled clients that the buffer had no place for.
    """

    cohort_size: jax.Array
    clipped_fraction: jax.Array
    update_norm: jax.Array
    local_loss: jax.Array
    overflow: jax.Array


class _Sums(NamedTuple):
    """Running sums over a cohort."""

    update: PyTree
    clipped: jax.Array
    norm: jax.Array
    loss: jax.Array


def one_round(
    static: Static, data: Data, hyper: Hyper, params: PyTree, optimizer_state: PyTree, round_index: jax.Array
) -> tuple[PyTree, PyTree, RoundReport]:
    """Runs round `round_index` (int32, from 0) and returns parameters, optimizer state and a report."""
    secret = jax.random.fold_in(jax.random.wrap_key_data(hyper.secret_key), round_index)
    key_cohort, key_noise = jax.random.split(secret)
    key_local = jax.random.fold_in(jax.random.wrap_key_data(hyper.public_key), round_index)
    cohort = poisson_cohort(key_cohort, static.clients, static.sampling_rate, static.cohort_pad)

    def contribution(client: jax.Array) -> _Sums:
        update = client_update(
            static.model.apply,
            static.work,
            params,
            data.train,
            data.train_index[hyper.partition, client],
            data.train_count[hyper.partition, client],
            hyper.client_learning_rate,
            jax.random.fold_in(key_local, client),
        )
        norm = global_norm(update.delta)
        clipped = scale(update.delta, clip_factor(norm, hyper.clip_norm))
        # `not <=` counts an update that is not finite as clipped: its contribution is zero.
        return _Sums(clipped, jnp.float32(~(norm <= hyper.clip_norm)), norm, update.loss)

    sums = _sum_over_cohort(static, contribution, cohort.clients, cohort.size, params)
    mean_update = noisy_mean(sums.update, key_noise, hyper.noise_stddev, static.expected_cohort)
    params, optimizer_state = server_update(static.server(hyper.server), params, optimizer_state, mean_update)
    size = jnp.maximum(cohort.size, 1)
    report = RoundReport(
        cohort_size=cohort.size.astype(jnp.float32),
        clipped_fraction=sums.clipped / size,
        update_norm=sums.norm / size,
        local_loss=sums.loss / size,
        overflow=cohort.overflow.astype(jnp.float32),
    )
    return params, optimizer_state, report


def _sum_over_cohort(static: Static, contribution: Any, clients: jax.Array, size: jax.Array, params: PyTree) -> _Sums:
    """Sums `contribution(client)` over the first `size` of `clients`, none of the padding.

    The loop runs over the realised cohort, so that the pad costs nothing where clients come one at a time.
    """
    zero = _Sums(jax.tree.map(jnp.zeros_like, params), jnp.float32(0), jnp.float32(0), jnp.float32(0))
    chunk = min(static.clients_at_once, static.cohort_pad)
    if chunk == 1:
        return jax.lax.fori_loop(0, size, lambda i, sums: jax.tree.map(jnp.add, sums, contribution(clients[i])), zero)
    padded = jnp.pad(clients, (0, -static.cohort_pad % chunk))

    def add_chunk(i: jax.Array, sums: _Sums) -> _Sums:
        members = jax.lax.dynamic_slice(padded, (i * chunk,), (chunk,))
        real = i * chunk + jnp.arange(chunk) < size
        several = jax.vmap(contribution)(members)

        def total(leaf: jax.Array) -> jax.Array:
            mask = real.reshape(-1, *(1,) * (leaf.ndim - 1))
            return jnp.sum(jnp.where(mask, leaf, 0.0), axis=0)

        return jax.tree.map(lambda sum_, leaf: sum_ + total(leaf), sums, several)

    return jax.lax.fori_loop(0, (size + chunk - 1) // chunk, add_chunk, zero)
