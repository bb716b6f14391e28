"""From studies to runs to bundles.

A run's name is a hash of what it means, so that it can be found again whatever study asks for it; a bundle's name is a
hash of its runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from fedpareto import facts
from fedpareto.config import Config, Study

EVALUATIONS = 20
FIGURES_OF_ANY_STUDY = ("rounds", "cost", "partition")
FIGURES_OF_PRIVATE_STUDIES = ("pareto", "heatmap")
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
)


@dataclass(frozen=True)
class Run:
    """One fully resolved point of a study's grid with one seed. All fields are JSON.

    Attributes:
      dataset: A registered data set or one of the configuration's own.
      partition: Scheme (`name`), its arguments, and `minimum`.
      clients: Number of clients n.
      model: `name`, and for `mlp` also `width` and `depth`.
      algorithm: `fedavg`, or `alone`: every client trains by itself.
      baseline: `non_private`, `centralised` or `alone` for a reference run, else None.
      sampling: `poisson`.
      sampling_rate: Probability that a client (or record) joins a round.
      rounds: Rounds in all.
      local_epochs: Passes over a client's data a round, or None where `local_steps` is set.
      local_steps: SGD steps a round, or None.
      batch_size: Examples a local step, None for all of a client's.
      client_learning_rate: Learning rate of local SGD; None where the unit is `record`.
      server_optimizer: optax `name`, `learning_rate` and further arguments.
      unit: Unit of privacy: `client`, or `record`, with which every sampled record contributes one clipped gradient.
      records: Number of training records, from which the cohort is drawn where the unit is `record`; else None.
      trust: Trust model.
      clip_norm: L2 bound on a client's update, or None.
      noise_multiplier: Noise standard deviation / clip norm; None where `target_epsilon` is set.
      target_epsilon: Epsilon to calibrate the noise to, or None.
      accountant: Accountant of that calibration.
      delta: None exactly where the run is not private.
      evaluate_every: Rounds between evaluations.
      seed: Seed of partition, initialisation and shuffling.
    """

    dataset: str
    partition: dict[str, Any]
    clients: int
    model: dict[str, Any]
    algorithm: str
    baseline: str | None
    sampling: str
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
    clip_norm: float | None
    noise_multiplier: float | None
    target_epsilon: float | None
    accountant: str
    delta: float | None
    evaluate_every: int
    seed: int

    @cached_property
    def run_id(self) -> str:
        """16 hexadecimal digits that stand for everything above that is set, but the label of a baseline.

        What is None says nothing, so that an option of a later version does not rename the runs that do without it.
        """
        return _digest({k: v for k, v in self.to_dict().items() if v is not None and k != "baseline"})

    @property
    def private(self) -> bool:
        """Whether the run carries a guarantee."""
        return bool(self.noise_multiplier) or self.target_epsilon is not None

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
        return _canonical(shared)

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
        return _digest([run.run_id for run in self.runs])

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


@dataclass(frozen=True)
class Plan:
    """All that a configuration asks for.

    Attributes:
      studies: Study -> its runs.
      runs: Run id -> run.
      bundles: Bundle id -> bundle.
      titles: Study -> headline.
      datasets: The user's own data sets that are used: name -> options.
      execution: How training is laid out on the machine, where the user has a say in it; changes no run.
    """

    studies: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, Run]
    bundles: Mapping[str, Bundle]
    titles: Mapping[str, str]
    datasets: Mapping[str, Mapping[str, Any]]
    execution: Mapping[str, int]

    @cached_property
    def digest(self) -> str:
        """Stands for the studies, their titles and runs: tables are made again when it changes."""
        return _digest([list(map(list, self.studies.items())), dict(self.titles)])

    def figures(self, study: str) -> tuple[str, ...]:
        """The figures that make sense for a study: a trade-off needs a private run."""
        private = any(self.runs[run].private for run in self.studies[study])
        return (*(FIGURES_OF_PRIVATE_STUDIES if private else ()), *FIGURES_OF_ANY_STUDY)

    def dataset_arguments(self, dataset: str) -> str:
        """Command-line arguments that describe a user's own data set; empty for a registered one."""
        options = self.datasets.get(dataset)
        return "" if options is None else f"--options {shlex.quote(_canonical(dict(options)))}"

    def summary(self) -> str:
        """One line for a person."""
        return f"{len(self.runs)} runs of {len(self.studies)} studies in {len(self.bundles)} bundles"

    def to_json(self) -> str:
        """The plan as JSON text."""
        return json.dumps(
            {
                "studies": {name: {"title": self.titles[name], "runs": runs} for name, runs in self.studies.items()},
                "runs": {name: run.to_dict() for name, run in self.runs.items()},
                "bundles": {name: [run.run_id for run in bundle.runs] for name, bundle in self.bundles.items()},
                "datasets": {name: dict(options) for name, options in self.datasets.items()},
                "execution": dict(self.execution),
            }
        )

    @staticmethod
    def from_json(text: str) -> Plan:
        """Reads what `to_json` wrote."""
        tree = json.loads(text)
        runs = {name: Run(**entry) for name, entry in tree["runs"].items()}
        return Plan(
            studies={name: tuple(study["runs"]) for name, study in tree["studies"].items()},
            runs=runs,
            bundles={name: Bundle(tuple(runs[run] for run in members)) for name, members in tree["bundles"].items()},
            titles={name: study["title"] for name, study in tree["studies"].items()},
            datasets=tree["datasets"],
            execution=tree["execution"],
        )


def make_plan(config: Config) -> Plan:
    """The runs of all studies, and the bundles that train them. A run that two studies ask for is trained once."""
    runs: dict[str, Run] = {}
    studies = {}
    for study in config.studies:
        members: dict[str, None] = {}
        for run in expand(study, config.datasets):
            # A grid point that is also a baseline keeps the label, so that figures know it for the reference.
            if run.run_id not in runs or run.baseline is not None:
                runs[run.run_id] = run
            members[run.run_id] = None
        studies[study.name] = tuple(members)
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        groups[run.static_key].append(run)
    bundles = [Bundle(tuple(sorted(group, key=lambda run: run.run_id))) for group in groups.values()]
    used = {run.dataset for run in runs.values()}
    return Plan(
        studies=studies,
        runs=runs,
        bundles={bundle.bundle_id: bundle for bundle in bundles},
        titles={study.name: study.title for study in config.studies},
        datasets={name: options for name, options in config.datasets.items() if name in used},
        execution=config.execution,
    )


def expand(study: Study, datasets: Mapping[str, Mapping[str, Any]]) -> Iterator[Run]:
    """The runs of one study: its grid, then its baselines."""
    axes = dict(study.axes)
    noise = [(None, e) if e is not None else (0.0, None) for e in axes.pop("target_epsilon", ())] or [
        (float(z), None) for z in axes.pop("noise_multiplier", (0.0,))
    ]
    axes.pop("noise_multiplier", None)
    clips, deltas, accountants = axes.pop("clip_norm"), axes.pop("delta", (None,)), axes.pop("accountant")
    private_study = any(z or e is not None for z, e in noise)
    wanted = dict.fromkeys((*study.baselines, *(("non_private",) if private_study else ())))
    axes.setdefault("clients", (None,))
    for values in product(*axes.values()):
        cell = _cell(dict(zip(axes, values, strict=True)), datasets)
        for clip, (z, epsilon), delta, accountant, seed in product(clips, noise, deltas, accountants, study.seeds):
            private = bool(z) or epsilon is not None
            yield replace(
                cell,
                clip_norm=None if clip is None else float(clip),
                noise_multiplier=z,
                target_epsilon=None if epsilon is None else float(epsilon),
                # What only matters to a private run is blank on others, which would else be trained several times.
                accountant=accountant if private else "rdp",
                delta=float(delta) if private and delta is not None else None,
                seed=seed,
            )
        for baseline, seed in product(wanted, study.seeds):
            yield _baseline(baseline, replace(cell, seed=seed), datasets)


def describe(spec: Mapping[str, Any]) -> str:
    """A spec in one word: `mlp(depth=1,width=32)`."""
    rest = ",".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in sorted(spec.items())
        if key != "name"
    )
    return f"{spec['name']}({rest})" if rest else str(spec["name"])


def facts_of(dataset: str, datasets: Mapping[str, Mapping[str, Any]]) -> facts.Facts:
    """Facts of a registered data set or of one of the user's own."""
    return facts.of_user_file(datasets[dataset]) if dataset in datasets else facts.REGISTERED[dataset]


def write(plan: Plan, path: str) -> None:
    """Writes the plan in one step."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_text(plan.to_json(), encoding="utf-8")
    os.replace(partial, target)


def _cell(axes: dict[str, Any], datasets: Mapping[str, Mapping[str, Any]]) -> Run:
    """The non-private run of one point of all axes but those of the mechanism."""
    clients = axes["clients"]
    if clients is None:
        clients = facts_of(axes["dataset"], datasets).clients
    epochs, steps, unit = axes.get("local_epochs"), axes.get("local_steps"), axes["unit"]
    if unit == "record":
        epochs, steps = None, 1
    client_learning_rate = axes["client_learning_rate"]
    return Run(
        dataset=axes["dataset"],
        partition=axes["partition"],
        clients=clients,
        model=axes["model"],
        algorithm="fedavg",
        baseline=None,
        sampling="poisson",
        sampling_rate=float(axes["sampling_rate"]),
        rounds=axes["rounds"],
        local_epochs=1 if epochs is None and steps is None else epochs,
        local_steps=steps,
        batch_size=axes["batch_size"],
        client_learning_rate=None if client_learning_rate is None else float(client_learning_rate),
        server_optimizer=axes["server_optimizer"],
        unit=unit,
        records=facts_of(axes["dataset"], datasets).train if unit == "record" else None,
        trust=axes["trust"],
        clip_norm=None,
        noise_multiplier=0.0,
        target_epsilon=None,
        accountant="rdp",
        delta=None,
        evaluate_every=axes["evaluate_every"] or math.ceil(axes["rounds"] / EVALUATIONS),
        seed=0,
    )


def _baseline(name: str, cell: Run, datasets: Mapping[str, Mapping[str, Any]]) -> Run:
    """A reference run for a cell.

    `centralised` is the federated program with one client that holds everything, and makes in each round as many
    steps as the cohort would together in expectation: the same work, and nothing lost to averaging.
    """
    if name == "non_private":
        return replace(cell, baseline=name)
    if name == "alone":
        plain = {"name": "sgd", "learning_rate": 1.0}
        return replace(cell, baseline=name, algorithm="alone", server_optimizer=plain)
    examples = facts_of(cell.dataset, datasets).train or cell.clients
    own = examples / cell.clients
    steps = cell.local_steps or (cell.local_epochs or 1) * math.ceil(own / (cell.batch_size or own))
    return replace(
        cell,
        baseline=name,
        clients=1,
        partition={"name": "iid", "minimum": 1},
        sampling_rate=1.0,
        local_epochs=None,
        local_steps=max(1, round(cell.sampling_rate * cell.clients * steps)),
        batch_size=cell.batch_size or max(1, round(own)),
        server_optimizer={"name": "sgd", "learning_rate": 1.0},
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:16]
