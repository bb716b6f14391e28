"""A run and a bundle: what is trained, and what it is called.

A run's name is a hash of what it means, so that it can be found again whatever study asks for it; a bundle's name is a
hash of its runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

# What may differ between runs of one compiled program.
TRACED = (
    "clip_norm",
    "noise_multiplier",
    "target_epsilon",
    "accountant",
    "delta",
    "client_learning_rate",
    "seed",
    "baseline",
    "stop_at_epsilon",
    "stop_at_accuracy",
    "participation",
    "dropout",
    "stragglers",
    "client_learning_rate_decay",
)


@dataclass(frozen=True)
class Run:
    """One fully resolved point of a study's grid with one seed. All fields are JSON.

    Attributes:
      dataset: A registered data set or one of the configuration's own.
      partition: Scheme (`name`), its arguments, and `minimum`.
      clients: Number of clients n.
      model: `name`, and its arguments, for `mlp` `hidden` and perhaps `bias`.
      algorithm: `fedavg`, `fedprox` (then `proximal` is set), `scaffold`, or `alone`: every client trains by itself.
      baseline: `non_private`, `centralised` or `alone` for a reference run, else None.
      sampling: `poisson`, `fixed_size`, `shuffled` or `cyclic`.
      participation: `secret` or `seen` by the adversary; None for what its trust model says.
      sampling_rate: Probability that a client (or record) joins a round, or the share of them that do.
      rounds: Rounds in all.
      local_epochs: Passes over a client's data a round, or None where `local_steps` is set.
      local_steps: SGD steps a round, or None.
      batch_size: Examples a local step, None for all of a client's. With `record` and `local`, expected ones.
      client_learning_rate: Learning rate of local SGD; None where the unit is `record`.
      server_optimizer: optax `name`, `learning_rate` and further arguments.
      unit: Unit of privacy: `client` or `record`.
      records: Number of training records, from which the cohort is drawn where the unit is `record` and the server (or
        secure aggregation) protects the sum; else None.
      trust: Trust model.
      mechanism: `name`, and the arguments of discrete or banded noise; None for Gaussian noise.
      clipping: `name` and the arguments of adaptive clipping; None for a fixed clip norm.
      weighting: `name` and `cap`; None for uniform weights.
      proximal: Strength of FedProx's proximal term, or None.
      dropout: Probability that a sampled client never answers, or None for 0.
      stragglers: Probability that a client finishes only some of its steps, or None for 0.
      clip_norm: L2 bound on a client's update, or None.
      noise_multiplier: Noise standard deviation / clip norm; None where `target_epsilon` is set.
      target_epsilon: Epsilon to calibrate the noise to, or None.
      accountant: Accountant of that calibration, and of `stop_at_epsilon`.
      stop_at_epsilon: Training ends after the last round within it; None for all rounds.
      delta: None exactly where the run is not private.
      evaluate_every: Rounds between evaluations.
      seed: Seed of partition, initialisation and shuffling.
      preprocessing: `name` and its arguments, without noise where the run has none; None for nothing.
      stop_at_accuracy: Training ends at the first evaluation that reaches it; None for all rounds.
      augmentation: `name` and arguments of the random views of training images, or None.
      averaging: `name` and `decay` of the moving average of the parameters that is scored and kept, or None.
      client_learning_rate_decay: Factor on the clients' learning rate from one round to the next, or None for 1.
      task: `name` and arguments; None for classification.
    """

    dataset: str
    partition: dict[str, Any]
    clients: int
    model: dict[str, Any]
    algorithm: str
    baseline: str | None
    sampling: str
    participation: str | None
    sampling_rate: float
    rounds: int
    local_epochs: int | None
    local_steps: int | None
    batch_size: int | None
    client_learning_rate: float | None
    server_optimizer: dict[str, Any]
    unit: str
    records: int | None
    trust: str
    mechanism: dict[str, Any] | None
    clipping: dict[str, Any] | None
    weighting: dict[str, Any] | None
    proximal: float | None
    dropout: float | None
    stragglers: float | None
    clip_norm: float | None
    noise_multiplier: float | None
    target_epsilon: float | None
    accountant: str
    delta: float | None
    stop_at_epsilon: float | None
    evaluate_every: int
    seed: int
    preprocessing: dict[str, Any] | None = None
    stop_at_accuracy: float | None = None
    augmentation: dict[str, Any] | None = None
    averaging: dict[str, Any] | None = None
    client_learning_rate_decay: float | None = None
    task: dict[str, Any] | None = None

    @cached_property
    def run_id(self) -> str:
        """16 hexadecimal digits that stand for everything above that is set, but the label of a baseline.

        What is None says nothing, so that an option of a later version does not rename the runs that do without it.
        """
        return digest({k: v for k, v in self.to_dict().items() if v is not None and k != "baseline"})

    @property
    def private(self) -> bool:
        """Whether the run carries a guarantee."""
        return bool(self.noise_multiplier) or self.target_epsilon is not None

    @property
    def trains_records_locally(self) -> bool:
        """Whether clients run DP-SGD on their own records: their sizes decide what each of them proves."""
        return self.unit == "record" and self.trust == "local"

    @property
    def needs_data_to_account(self) -> bool:
        """Whether epsilon depends on the clients' sizes, or on the number of parameters."""
        return self.private and self.trust != "central"

    @property
    def evaluation_rounds(self) -> tuple[int, ...]:
        """Rounds after which the model is scored: 0 first, `rounds` last."""
        return (*range(0, self.rounds, self.evaluate_every), self.rounds)

    @property
    def static_key(self) -> str:
        """Equal for runs that can share one compiled program."""
        shared = {key: value for key, value in self.to_dict().items() if key not in TRACED}
        shared["server_optimizer"] = {
            key: None if isinstance(value, float) else value for key, value in self.server_optimizer.items()
        }
        shared["preprocessing"] = {k: v for k, v in (self.preprocessing or {}).items() if k != "noise_multiplier"}
        for name in ("proximal", "dropout", "stragglers", "client_learning_rate_decay"):
            shared[name] = getattr(self, name) is not None
        return canonical(shared)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Bundle:
    """Runs that share one compiled program, sorted by run id."""

    runs: tuple[Run, ...]

    @cached_property
    def bundle_id(self) -> str:
        """16 hexadecimal digits that stand for the runs."""
        return digest([run.run_id for run in self.runs])

    @property
    def dataset(self) -> str:
        """The data set that all runs train on."""
        return self.runs[0].dataset

    def to_json(self) -> str:
        """The bundle as JSON text."""
        return json.dumps([run.to_dict() for run in self.runs], indent=1)

    @staticmethod
    def from_json(text: str) -> Bundle:
        """Reads what `to_json` wrote."""
        return Bundle(tuple(Run(**entry) for entry in json.loads(text)))


def describe(spec: Mapping[str, Any]) -> str:
    """A spec in one word: `mlp(hidden=64-32)`."""
    rest = ",".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in sorted(spec.items())
        if key != "name"
    )
    return f"{spec['name']}({rest})" if rest else str(spec["name"])


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
