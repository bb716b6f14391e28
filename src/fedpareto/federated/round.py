"""One federated round of one run: cohort, clipped contributions, sum, noise, server step.

What a member of the cohort contributes depends on the unit of privacy: a client its whole update after local
training, a record the gradient of its loss. Everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fedpareto.federated.client import Examples, LocalWork, client_update
from fedpareto.federated.cohort_sum import sum_over_cohort
from fedpareto.federated.per_example import clipped_gradient_sum, only
from fedpareto.federated.server import noisy_mean, server_optimizer, server_update
from fedpareto.models import Model
from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.sampling import poisson_cohort

PyTree = Any
_Contribution = Callable[[jax.Array, jax.Array], "_Sums"]


@dataclass(frozen=True)
class Static:
    """What shapes the compiled program. Runs that differ here cannot share one.

    Attributes:
      model: The model.
      work: Local training of a client; not used where the unit is `record`.
      clients: Number of clients.
      sampling_rate: Poisson sampling rate.
      cohort_pad: Size of the cohort buffer.
      expected_cohort: The public divisor.
      optimizer: optax name of the server optimizer.
      optimizer_flags: Its arguments that are not floats.
      rounds: Rounds in all.
      evaluation_rounds: Rounds after which the model is scored, 0 first and `rounds` last.
      unit: What is sampled, clipped and protected: `client` or `record`.
      at_once: Members of the cohort in one vectorised chunk. 1 trains clients one after another, so that one client's
        weights stay in a CPU's cache.
      cohort_devices: Devices that share one run's cohort.
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
    unit: str = "client"
    at_once: int = 1
    cohort_devices: int = 1

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
      test_client: int32 [partitions, test examples], numbers without gaps.
    """

    train: Examples
    test: Examples
    train_index: jax.Array
    train_count: jax.Array
    test_client: jax.Array


class RoundReport(NamedTuple):
    """What one round looked like, float32 scalars: simulation diagnostics that no epsilon covers.

    Attributes:
      cohort_size: Realised number of members.
      clipped_fraction: Share of them whose update was longer than the clip norm.
      update_norm: Mean L2 norm of their updates before clipping.
      local_loss: Mean training loss over members.
      overflow: Sampled members that the buffer had no place for.
    """

    cohort_size: jax.Array
    clipped_fraction: jax.Array
    update_norm: jax.Array
    local_loss: jax.Array
    overflow: jax.Array


class _Sums(NamedTuple):
    """Sums over members of a cohort."""

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
    population = static.clients if static.unit == "client" else data.train.x.shape[0]
    cohort = poisson_cohort(key_cohort, population, static.sampling_rate, static.cohort_pad)
    contribution = (_clients if static.unit == "client" else _records)(static, data, hyper, params, round_index)
    sums = sum_over_cohort(contribution, cohort, min(static.at_once, static.cohort_pad), static.cohort_devices)
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


def _clients(static: Static, data: Data, hyper: Hyper, params: PyTree, round_index: jax.Array) -> _Contribution:
    """Clipped updates of clients."""
    key_local = jax.random.fold_in(jax.random.wrap_key_data(hyper.public_key), round_index)

    def one(client: jax.Array) -> _Sums:
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
        return _Sums(clipped, _is_clipped(norm, hyper.clip_norm), norm, update.loss)

    def several(members: jax.Array, real: jax.Array) -> _Sums:
        if members.shape[0] == 1:  # A chunk has at least one real member.
            return one(members[0])
        return jax.tree.map(lambda leaf: jnp.sum(only(real, leaf), axis=0), jax.vmap(one)(members))

    return several


def _records(static: Static, data: Data, hyper: Hyper, params: PyTree, round_index: jax.Array) -> _Contribution:
    """Clipped gradients of records, negated: an update points downhill."""
    del round_index

    def several(members: jax.Array, real: jax.Array) -> _Sums:
        x, y = data.train.x[members], data.train.y[members]
        total = clipped_gradient_sum(static.model, params, x, y, real, hyper.clip_norm)
        clipped = jnp.sum(only(real, _is_clipped(total.norms, hyper.clip_norm)))
        return _Sums(jax.tree.map(jnp.negative, total.gradient), clipped, jnp.sum(total.norms), jnp.sum(total.losses))

    return several


def _is_clipped(norm: jax.Array, clip_norm: jax.Array) -> jax.Array:
    """1.0 where clipping shortens; a norm that is not finite counts, for such a contribution is zero."""
    return (~(norm <= clip_norm)).astype(jnp.float32)
