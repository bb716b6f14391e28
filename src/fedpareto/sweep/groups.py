"""The groups of a run's settings: data, training, cohort, contribution, privacy, evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedpareto.columns.declared import HEADLINE

Spec = dict[str, Any]  # `name`, and the arguments of what has that name


@dataclass(frozen=True)
class Data:
    """The examples of a run, and who holds them.

    Attributes:
      dataset: A registered data set or one of the configuration's own.
      partition: Scheme (`name`), its arguments, and `minimum`.
      clients: Number of clients n.
      records: Number of training records, from which the cohort is drawn where the unit is `record` and the server (or
        secure aggregation) protects the sum; else None.
    """

    dataset: str
    partition: Spec
    clients: int
    records: int | None = None


@dataclass(frozen=True)
class Training:
    """Rounds, the steps of the clients, and the step of the server.

    Attributes:
      algorithm: `fedavg`, `fedprox` (then `proximal` is set), `scaffold`, or `alone`: every client trains by itself.
      rounds: Rounds in all.
      server_optimizer: optax `name`, `learning_rate` and further arguments.
      local_epochs: Passes over a client's data a round, or None where `local_steps` is set.
      local_steps: SGD steps a round, or None.
      batch_size: Examples a local step, None for all of a client's. With `record` and `local`, expected ones.
      client_learning_rate: Learning rate of local SGD; None where the unit is `record`.
      client_learning_rate_decay: Factor on the clients' learning rate from one round to the next, or None for 1.
      proximal: Strength of FedProx's proximal term, or None.
      algorithm_arguments: Further arguments of the algorithm; None for none.
      preprocessing: `name` and its arguments, without noise where the run has none; None for nothing.
      augmentation: `name` and arguments of the random views of training images, or None.
      averaging: `name` and `decay` of the moving average of the parameters that is scored and kept, or None.
    """

    algorithm: str
    rounds: int
    server_optimizer: Spec
    local_epochs: int | None = None
    local_steps: int | None = None
    batch_size: int | None = None
    client_learning_rate: float | None = None
    client_learning_rate_decay: float | None = None
    proximal: float | None = None
    algorithm_arguments: Spec | None = None
    preprocessing: Spec | None = None
    augmentation: Spec | None = None
    averaging: Spec | None = None


@dataclass(frozen=True)
class Cohort:
    """Who joins a round, and who of them answers.

    Attributes:
      sampling: `poisson`, `fixed_size`, `shuffled` or `cyclic`.
      sampling_rate: Probability that a client (or record) joins a round, or the share of them that do.
      dropout: Probability that a sampled client never answers, or None for 0.
      stragglers: Probability that a client finishes only some of its steps, or None for 0.
    """

    sampling: str
    sampling_rate: float
    dropout: float | None = None
    stragglers: float | None = None


@dataclass(frozen=True)
class Contribution:
    """One unit's part of a round's sum, bounded with or without noise.

    Attributes:
      unit: Unit of privacy: `client` or `record`.
      trust: Trust model.
      clip_norm: L2 bound on a unit's contribution, or None.
      clipping: `name` and the arguments of adaptive clipping; None for a fixed clip norm.
      weighting: `name` and `cap`; None for uniform weights.
    """

    unit: str = "client"
    trust: str = "central"
    clip_norm: float | None = None
    clipping: Spec | None = None
    weighting: Spec | None = None


@dataclass(frozen=True)
class Multiplier:
    """Noise of a given strength: standard deviation / clip norm."""

    value: float


@dataclass(frozen=True)
class TargetEpsilon:
    """Noise that is calibrated to an epsilon."""

    value: float


Noise = Multiplier | TargetEpsilon


@dataclass(frozen=True)
class Privacy:
    """The noise of a run that carries a guarantee.

    Attributes:
      noise: Strength of the noise, or the epsilon that it is calibrated to.
      delta: Total delta of the guarantee.
      accountant: Accountant of that calibration, and of `stop_at_epsilon`; None where there is neither, whatever was given.
      stop_at_epsilon: Training ends after the last round within it; None for all rounds.
      mechanism: `name`, and the arguments of discrete or banded noise; None for Gaussian noise.
      participation: `secret` or `seen` by the adversary; None for the default of the trust model.
    """

    noise: Noise
    delta: float
    accountant: str | None = None
    stop_at_epsilon: float | None = None
    mechanism: Spec | None = None
    participation: str | None = None

    def __post_init__(self) -> None:
        """Leaves an accountant out where it decides nothing, so that runs which mean the same are the same run."""
        decides = isinstance(self.noise, TargetEpsilon) or self.stop_at_epsilon is not None
        object.__setattr__(self, "accountant", (self.accountant or HEADLINE) if decides else None)

    @property
    def noise_multiplier(self) -> float | None:
        """The given strength, or None where the noise is calibrated."""
        return self.noise.value if isinstance(self.noise, Multiplier) else None

    @property
    def target_epsilon(self) -> float | None:
        """The epsilon to calibrate to, or None."""
        return self.noise.value if isinstance(self.noise, TargetEpsilon) else None


@dataclass(frozen=True)
class Evaluation:
    """When a model is scored, and the score that ends training.

    Attributes:
      every: Rounds between evaluations.
      stop_at_accuracy: Training ends at the first evaluation that reaches it; None for all rounds.
    """

    every: int
    stop_at_accuracy: float | None = None


# Field of a run -> the group that it holds.
GROUPS: dict[str, type[Any]] = {
    "data": Data,
    "training": Training,
    "cohort": Cohort,
    "contribution": Contribution,
    "privacy": Privacy,
    "evaluation": Evaluation,
}
