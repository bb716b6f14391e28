"""The arguments of a bundle's program: its static configuration, and the numbers of its runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import optax

from fedpareto.federated.algorithms.interface import Algorithm, LocalWork
from fedpareto.federated.augmentation import Augmentation
from fedpareto.federated.engine.server import server_optimizer
from fedpareto.federated.inputs.canaries import Canaries
from fedpareto.federated.preprocessings.interface import Preprocessing
from fedpareto.federated.preprocessings.learning import prepend
from fedpareto.models.model import Model
from fedpareto.privacy.mechanisms.adaptive_clipping import AdaptiveClip
from fedpareto.privacy.mechanisms.interface import Mechanism
from fedpareto.tasks.interface import Task

PyTree = Any


@dataclass(frozen=True)
class ProgramConfig:
    """The configuration of a compiled program. Runs that differ here cannot share one.

    Attributes:
      model: The model.
      task: Its loss and scores.
      algorithm: The algorithm; its numbers are in `RunParams`.
      mechanism: The mechanism, likewise.
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
      unit: The sampled, clipped and protected unit: `client` or `record`. With `trust` the row of the table of contributions.
      trust: Who adds the noise.
      batches: Rounds in which a schedule uses everybody once.
      weight_cap: Examples from which a client's weight grows no further; None for uniform weights.
      drops: Whether clients may fail to answer.
      straggles: Whether clients may finish only some of their steps.
      fewest_answers: Answers below which secure aggregation releases nothing.
      local_steps: Noisy steps of a client that protects its own records.
      max_batch_size: Size of a client's buffer of its own records, drawn at every step.
      examples_pad: Examples of the largest client.
      preprocessing: Transformation of examples before the model, or None; arrays that it has learned are in `RunParams`.
      augmentation: How training images are seen, or None.
      averaging: Decay of the moving average of the parameters that is scored and kept, or None.
      at_once: Members of the cohort in one vectorised chunk. 1 trains clients one after another, so that one client's
        weights stay in a CPU's cache.
      cohort_devices: Devices that share one run's cohort.
    """

    model: Model
    task: Task
    algorithm: Algorithm
    mechanism: Mechanism
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
    batches: int = 1
    weight_cap: int | None = None
    drops: bool = False
    straggles: bool = False
    fewest_answers: int = 0
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

    def algorithm_of(self, run_params: RunParams) -> Algorithm:
        """The algorithm with the numbers of one run."""
        return replace(self.algorithm, **run_params.algorithm)

    def public_divisor(self, run_params: RunParams) -> float | jax.Array:
        """The divisor of a sum: the public expected number of answers, never the realised one, which depends on the data.

        Dividing by that would break the sensitivity bound.
        """
        return self.expected_cohort * (1 - run_params.dropout) if self.drops else self.expected_cohort

    def preprocessed(self, run_params: RunParams) -> ProgramConfig:
        """The same for one run: its model takes the examples as they are."""
        if self.preprocessing is None:
            return self
        return replace(self, model=prepend(self.model, self.preprocessing, run_params.preprocessing or {}))


class RunParams(NamedTuple):
    """The numbers of the runs of one program; every leaf has a leading runs axis outside `jax.lax.map`.

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
      algorithm: float32 arguments of the algorithm by name.
      dropout: float32, probability that a client does not answer.
      stragglers: float32, probability that a client finishes only some steps.
      adaptive: The clip norm's rule, or None.
      mechanism: The run's entry of `Mechanism.device_params`.
      record_draws: uint32 [clients], `last_to_join` of each client's rate for its own records, or None.
      preprocessing: Learned arrays of the preprocessing, or None.
      client_decay: float32, factor on the clients' learning rate from one round to the next; or None.
      canaries: Canaries of an audit; None in a run that is trained.
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
    algorithm: dict[str, jax.Array]
    dropout: jax.Array
    stragglers: jax.Array
    adaptive: AdaptiveClip | None = None
    mechanism: PyTree | None = None
    record_draws: jax.Array | None = None
    preprocessing: dict[str, jax.Array] | None = None
    client_decay: jax.Array | None = None
    canaries: Canaries | None = None
