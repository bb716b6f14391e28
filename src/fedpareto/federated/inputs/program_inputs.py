"""The arguments of a bundle's program: what shapes it, what varies between its runs, its data, and what rounds remember."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import optax

from fedpareto.federated.algorithms.local_sgd import Examples, LocalWork
from fedpareto.federated.augmentation import Augmentation
from fedpareto.federated.engine.server import server_optimizer
from fedpareto.federated.inputs.canaries import Canaries
from fedpareto.federated.preprocessings.interface import Preprocessing
from fedpareto.federated.preprocessings.learning import prepend
from fedpareto.models.model import Model
from fedpareto.privacy.mechanisms.discrete_encoding import DeviceAliasTable

PyTree = Any


@dataclass(frozen=True)
class IntegerSum:
    """What shapes secure aggregation.

    Attributes:
      dimension: Coordinates after padding to a power of two.
      bits: Bits a coordinate.
      fewest: Answers below which nothing is released.
    """

    dimension: int
    bits: int
    fewest: int


class AdaptiveClip(NamedTuple):
    """How the clip norm follows a quantile of the updates' norms (Andrew et al. 2021); float32 scalars of a run.

    Attributes:
      quantile: Share of the updates that should not be shortened.
      learning_rate: Step of the clip norm's logarithm.
      count_stddev: Standard deviation of the noise on the centred count of those that were not, in clients.
    """

    quantile: jax.Array
    learning_rate: jax.Array
    count_stddev: jax.Array


class IntegerGrid(NamedTuple):
    """A run's `Lattice` on the device: `granularity` and `norm_bound` float32 scalars, and the table of a noise share."""

    granularity: jax.Array
    norm_bound: jax.Array
    share: DeviceAliasTable


@dataclass(frozen=True)
class ProgramConfig:
    """What shapes the compiled program. Runs that differ here cannot share one.

    Attributes:
      model: The model.
      work: Local training of a client; not used where the unit is `record`.
      clients: Number of clients.
      sampling: How the cohort is drawn.
      sampling_rate: Poisson sampling rate, or the share of everybody that joins a round.
      max_cohort_size: Size of the cohort buffer.
      expected_cohort: The public divisor.
      optimizer: optax name of the server optimizer.
      optimizer_flags: Its arguments that are not floats.
      rounds: Rounds in all.
      evaluation_rounds: Rounds after which the model is scored, 0 first and `rounds` last.
      unit: What is sampled, clipped and protected: `client` or `record`.
      trust: Who adds the noise.
      algorithm: `fedavg`, `fedprox` or `scaffold`.
      batches: Rounds in which a schedule uses everybody once.
      adaptive: Whether the clip norm follows a quantile.
      weight_cap: Examples from which a client's weight grows no further; None for uniform weights.
      drops: Whether clients may fail to answer.
      straggles: Whether clients may finish only some of their steps.
      sum: Secure aggregation, or None.
      local_steps: Noisy steps of a client that protects its own records.
      max_batch_size: Size of a client's buffer of its own records, drawn at every step.
      examples_pad: Examples of the largest client.
      preprocessing: What is done to an example before the model sees it, or None; arrays that it has learned are in `RunParams`.
      augmentation: How training images are seen, or None.
      averaging: Decay of the moving average of the parameters that is scored and kept, or None.
      at_once: Members of the cohort in one vectorised chunk. 1 trains clients one after another, so that one client's
        weights stay in a CPU's cache.
      cohort_devices: Devices that share one run's cohort.
    """

    model: Model
    work: LocalWork
    clients: int
    sampling_rate: float
    max_cohort_size: int
    expected_cohort: float
    optimizer: str
    optimizer_flags: tuple[tuple[str, Any], ...]
    rounds: int
    evaluation_rounds: tuple[int, ...]
    unit: str = "client"
    trust: str = "central"
    sampling: str = "poisson"
    algorithm: str = "fedavg"
    batches: int = 1
    adaptive: bool = False
    weight_cap: int | None = None
    drops: bool = False
    straggles: bool = False
    sum: IntegerSum | None = None
    local_steps: int = 1
    max_batch_size: int = 1
    examples_pad: int = 1
    preprocessing: Preprocessing | None = None
    augmentation: Augmentation | None = None
    averaging: float | None = None
    at_once: int = 1
    cohort_devices: int = 1

    def server(self, arguments: dict[str, jax.Array]) -> optax.GradientTransformation:
        """The server optimizer with its traced float arguments."""
        return server_optimizer(self.optimizer, dict(self.optimizer_flags) | arguments)

    def preprocessed(self, hyper: RunParams) -> ProgramConfig:
        """The same for one run: its model takes the examples as they are."""
        if self.preprocessing is None:
            return self
        return replace(self, model=prepend(self.model, self.preprocessing, hyper.preprocessing or {}))


class RunParams(NamedTuple):
    """What varies between runs of one program; every leaf has a leading runs axis outside `jax.lax.map`.

    Attributes:
      partition: int32, which of the data's partitions the run uses.
      public_key: uint32 [2], key data of initialisation and shuffling, from the seed: runs of one seed share it, so
        that they are compared on equal terms.
      secret_key: uint32 [2], key data of cohorts and noise, from the whole run: never shared between runs.
      client_learning_rate: float32.
      server: float32 arguments of the server optimizer by name.
      clip_norm: float32; infinite for a run without clipping, which then has no noise either. With adaptive clipping the
        first one.
      noise_stddev: float32, standard deviation of the noise on what is noised: the sum, a client's update, a local step.
      max_rounds: int32, rounds after which the run stops, its budget spent.
      target_accuracy: float32, accuracy at which the run stops; infinite for never.
      proximal: float32, FedProx's pull to the global parameters.
      dropout: float32, probability that a client does not answer.
      stragglers: float32, probability that a client finishes only some steps.
      adaptive: The clip norm's rule, or None.
      strategy: float32 [bands], first column of the strategy matrix of correlated noise, or None.
      lattice: The integers of secure aggregation, or None.
      record_draws: uint32 [clients], `last_to_join` of each client's rate for its own records, or None.
      preprocessing: What the preprocessing has learned, or None.
      client_decay: float32, factor on the clients' learning rate from one round to the next; or None.
      canaries: What an audit plants; None in a run that is trained.
    """

    partition: jax.Array
    public_key: jax.Array
    secret_key: jax.Array
    client_learning_rate: jax.Array
    server: dict[str, jax.Array]
    clip_norm: jax.Array
    noise_stddev: jax.Array
    max_rounds: jax.Array
    target_accuracy: jax.Array
    proximal: jax.Array
    dropout: jax.Array
    stragglers: jax.Array
    adaptive: AdaptiveClip | None = None
    strategy: jax.Array | None = None
    lattice: IntegerGrid | None = None
    record_draws: jax.Array | None = None
    preprocessing: dict[str, jax.Array] | None = None
    client_decay: jax.Array | None = None
    canaries: Canaries | None = None


class DeviceData(NamedTuple):
    """Device arrays, passed as arguments and never closed over.

    Attributes:
      train: Training examples of all clients.
      test: Test examples.
      train_index: int32 [partitions, clients, pad].
      train_count: int32 [partitions, clients].
      test_client: int32 [partitions, test examples], numbers without gaps; that of all test examples for whose owner is no client.
      record_mask: bool [partitions, training examples], whether a record takes part where records are what is drawn (by the
        server, or by its client for itself); None where all do. One that does not contributes nothing, and what is public
        (counts, rates, expected sizes) stays: adding it would make the neighbouring data set.
    """

    train: Examples
    test: Examples
    train_index: jax.Array
    train_count: jax.Array
    test_client: jax.Array
    record_mask: jax.Array | None = None


class ServerState(NamedTuple):
    """What a run remembers from round to round beside model and optimizer; None where it need not.

    Attributes:
      clip_norm: float32 scalar, the adaptive clip norm.
      past_noise: float32 [bands - 1, parameters], correlated noise of the last rounds.
      control: SCAFFOLD's control variate of the server, like the parameters.
      client_controls: Those of the clients, [clients, ...].
      average: Moving average of the parameters, like them.
    """

    clip_norm: jax.Array | None = None
    past_noise: jax.Array | None = None
    control: PyTree | None = None
    client_controls: PyTree | None = None
    average: PyTree | None = None
