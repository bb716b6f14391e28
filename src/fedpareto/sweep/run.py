"""A run and a bundle: settings of training, and their names.

A run's name is a hash of what it means, so that it can be found again whatever study asks for it; a bundle's name is a
hash of its runs.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from fedpareto.config.privacy_setting import privacy_setting
from fedpareto.privacy.setting import PrivacySetting
from fedpareto.sweep.groups import (
    GROUPS,
    Cohort,
    Contribution,
    Data,
    Evaluation,
    Multiplier,
    Privacy,
    Spec,
    TargetEpsilon,
    Training,
)

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

# Key of a run's flat form -> the group and the field that hold it ("" is the run itself), for keys with a name of their own or with
# a rule in `expand`. The order is that of the stored files.
NAMED = {
    "dataset": ("data", "dataset"),
    "partition": ("data", "partition"),
    "clients": ("data", "clients"),
    "model": ("", "model"),
    "algorithm": ("training", "algorithm"),
    "baseline": ("", "baseline"),
    "sampling": ("cohort", "sampling"),
    "participation": ("privacy", "participation"),
    "sampling_rate": ("cohort", "sampling_rate"),
    "rounds": ("training", "rounds"),
    "local_epochs": ("training", "local_epochs"),
    "local_steps": ("training", "local_steps"),
    "batch_size": ("training", "batch_size"),
    "client_learning_rate": ("training", "client_learning_rate"),
    "server_optimizer": ("training", "server_optimizer"),
    "unit": ("contribution", "unit"),
    "records": ("data", "records"),
    "trust": ("contribution", "trust"),
    "mechanism": ("privacy", "mechanism"),
    "clipping": ("contribution", "clipping"),
    "weighting": ("contribution", "weighting"),
    "proximal": ("training", "proximal"),
    "dropout": ("cohort", "dropout"),
    "stragglers": ("cohort", "stragglers"),
    "clip_norm": ("contribution", "clip_norm"),
    "noise_multiplier": ("privacy", "noise_multiplier"),
    "target_epsilon": ("privacy", "target_epsilon"),
    "accountant": ("privacy", "accountant"),
    "delta": ("privacy", "delta"),
    "stop_at_epsilon": ("privacy", "stop_at_epsilon"),
    "evaluate_every": ("evaluation", "every"),
    "seed": ("", "seed"),
    "preprocessing": ("training", "preprocessing"),
    "stop_at_accuracy": ("evaluation", "stop_at_accuracy"),
    "augmentation": ("training", "augmentation"),
    "averaging": ("training", "averaging"),
    "client_learning_rate_decay": ("training", "client_learning_rate_decay"),
    "task": ("", "task"),
    "algorithm_arguments": ("training", "algorithm_arguments"),
}
# A further field of a group is a key of its own name.
KEYS = NAMED | {
    field.name: (group, field.name)
    for group, class_ in GROUPS.items()
    for field in fields(class_)
    if (group, field.name) not in {*NAMED.values(), ("privacy", "noise")}
}


# What stands for the accountant in the name of a run for which none decides anything: what stood there when runs got their names.
NO_ACCOUNTANT = "rdp"

# The flat form of a run without noise.
NOT_PRIVATE = {
    "participation": None,
    "mechanism": None,
    "noise_multiplier": 0.0,
    "target_epsilon": None,
    "accountant": None,
    "delta": None,
    "stop_at_epsilon": None,
}


@dataclass(frozen=True)
class Run:
    """One fully resolved point of a study's grid with one seed. All fields are JSON.

    Attributes:
      data: The examples, and who holds them.
      model: `name`, and its arguments, for `mlp` `hidden` and perhaps `bias`.
      training: Rounds and steps.
      cohort: Who joins a round.
      contribution: The summand of one unit in a round.
      privacy: Noise and guarantee; None where the run is not private.
      evaluation: When the model is scored.
      seed: Seed of partition, initialisation and shuffling.
      baseline: `non_private`, `centralised` or `alone` for a reference run, else None.
      task: `name` and arguments; None for classification.
    """

    data: Data
    model: Spec
    training: Training
    cohort: Cohort
    contribution: Contribution
    privacy: Privacy | None
    evaluation: Evaluation
    seed: int
    baseline: str | None = None
    task: Spec | None = None

    @cached_property
    def run_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all keys that are set, except `baseline`.

        A key that is None is left out, so that an option of a later version does not rename the runs that do without it.
        """
        named = self._flat | {"accountant": self._flat["accountant"] or NO_ACCOUNTANT}
        return digest({k: v for k, v in named.items() if v is not None and k != "baseline"})

    @cached_property
    def setting(self) -> PrivacySetting:
        """The privacy setting of the run, by which its guarantee is judged sound."""
        return privacy_setting(self.to_dict())

    @property
    def needs_data_to_account(self) -> bool:
        """Whether epsilon depends on the clients' sizes, or on the number of parameters."""
        return self.privacy is not None and self.contribution.trust != "central"

    @property
    def evaluation_rounds(self) -> tuple[int, ...]:
        """Rounds after which the model is scored: 0 first, `rounds` last."""
        return (*range(0, self.training.rounds, self.evaluation.every), self.training.rounds)

    @property
    def static_key(self) -> str:
        """Equal for runs that can share one compiled program."""
        keys = self._flat
        shared = {key: value for key, value in keys.items() if key not in TRACED}
        shared["server_optimizer"] = {
            key: None if isinstance(value, float) else value for key, value in keys["server_optimizer"].items()
        }
        shared["preprocessing"] = {k: v for k, v in (keys["preprocessing"] or {}).items() if k != "noise_multiplier"}
        shared["algorithm_arguments"] = {
            key: None if isinstance(value, float) else value
            for key, value in (keys["algorithm_arguments"] or {}).items()
        }
        for name in ("proximal", "dropout", "stragglers", "client_learning_rate_decay"):
            shared[name] = keys[name] is not None
        return canonical(shared)

    def replace(self, **keys: Any) -> Run:
        """The run with other values at some keys of its flat form."""
        return Run.from_dict(self.to_dict() | keys)

    def to_dict(self) -> dict[str, Any]:
        """The flat form, as JSON: the keys of a configuration, each with one value."""
        return dict(self._flat)

    @cached_property
    def _flat(self) -> dict[str, Any]:
        """The flat form, which planning asks for several times a run; nobody changes it."""
        parts = {group: getattr(self, group) for group in GROUPS} | {"": self}
        return {
            key: NOT_PRIVATE[key] if parts[group] is None else getattr(parts[group], name)
            for key, (group, name) in KEYS.items()
        }

    @staticmethod
    def from_dict(flat: Mapping[str, Any]) -> Run:
        """Reads the result of `to_dict`. A missing key has its default.

        Raises:
          ValueError: Noise is given both by its multiplier and by its epsilon.
        """
        groups: dict[str, dict[str, Any]] = defaultdict(dict)
        for key, value in flat.items():
            group, name = KEYS[key]
            groups[group][name] = value
        multiplier, epsilon = (groups["privacy"].pop(name, None) for name in ("noise_multiplier", "target_epsilon"))
        if multiplier and epsilon is not None:
            raise ValueError(
                f"noise_multiplier = {multiplier} and target_epsilon = {epsilon}: a run has one of the two"
            )
        noise = Multiplier(multiplier) if multiplier else None if epsilon is None else TargetEpsilon(epsilon)
        return Run(
            data=Data(**groups["data"]),
            training=Training(**groups["training"]),
            cohort=Cohort(**groups["cohort"]),
            contribution=Contribution(**groups["contribution"]),
            privacy=None if noise is None else Privacy(noise, **groups["privacy"]),
            evaluation=Evaluation(**groups["evaluation"]),
            **groups[""],
        )


@dataclass(frozen=True)
class Bundle:
    """Runs that share one compiled program, sorted by run id."""

    runs: tuple[Run, ...]

    @cached_property
    def bundle_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the runs' ids, in their order."""
        return digest([run.run_id for run in self.runs])

    @property
    def dataset(self) -> str:
        """The data set that all runs train on."""
        return self.runs[0].data.dataset

    @property
    def needs_data_to_account(self) -> bool:
        """Whether epsilon of any of the runs depends on the clients' sizes, or on the number of parameters."""
        return any(run.needs_data_to_account for run in self.runs)

    def to_json(self) -> str:
        """The bundle as JSON text."""
        return json.dumps([run.to_dict() for run in self.runs], indent=1)

    @staticmethod
    def from_json(text: str) -> Bundle:
        """Reads the JSON of `to_json`."""
        return Bundle(tuple(Run.from_dict(entry) for entry in json.loads(text)))


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
    """First 16 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
