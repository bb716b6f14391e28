"""From studies to runs to bundles."""

from __future__ import annotations

import json
import math
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from fedpareto.config.study import Config, Study
from fedpareto.data import facts
from fedpareto.privacy.soundness import default_participation
from fedpareto.sweep.run import Bundle, Run, canonical, digest
from fedpareto.system.files import whole

EVALUATIONS = 20
OF_PRIVACY = ("clip_norm", "noise_multiplier", "target_epsilon", "unit", "trust")
FIGURES_OF_ANY_STUDY = ("rounds", "cost", "partition")
FIGURES_OF_PRIVATE_STUDIES = ("pareto", "heatmap")
FIGURES_OF_COMPARISONS = ("comparison",)
FIGURES_OF_ATTACKS = {
    "leakage": ("gradient_inversion", "membership", "client_membership"),
    "reconstructions": ("gradient_inversion", "model_inversion"),
    "roc": ("membership", "client_membership"),
    "audit": ("audit",),
    "riskfront": ("gradient_inversion", "membership", "client_membership"),
}


@dataclass(frozen=True)
class Sweep:
    """All that a configuration asks for.

    Attributes:
      studies: Study -> its runs.
      runs: Run id -> run.
      bundles: Bundle id -> bundle.
      titles: Study -> headline.
      datasets: The user's own data sets that are used: name -> options.
      execution: How training is laid out on the machine, where the user has a say in it; changes no run.
      comparisons: Name -> the studies that one figure sets side by side.
      attacks: Run id -> what is tried on it, for runs that are attacked.
      policies: Study or comparison -> what a point must keep to be recommended.
    """

    studies: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, Run]
    bundles: Mapping[str, Bundle]
    titles: Mapping[str, str]
    datasets: Mapping[str, Mapping[str, Any]]
    execution: Mapping[str, int | str]
    comparisons: Mapping[str, tuple[str, ...]]
    attacks: Mapping[str, tuple[Mapping[str, Any], ...]]
    policies: Mapping[str, Mapping[str, Any]]

    @cached_property
    def digest(self) -> str:
        """Stands for all that tables say beside what the runs' files hold: they are made again when it changes."""
        said = (dict(self.titles), dict(self.comparisons), dict(self.policies), dict(self.attacks))
        return digest([list(map(list, self.studies.items())), *said])

    @property
    def attacked(self) -> tuple[str, ...]:
        """The bundles that hold a run that is attacked."""
        return tuple(name for name, bundle in self.bundles.items() if self.attacks_on(bundle))

    def attacks_on(self, bundle: Bundle) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """What is tried on each attacked run of a bundle."""
        return {run.run_id: self.attacks[run.run_id] for run in bundle.runs if run.run_id in self.attacks}

    def figures(self, study: str) -> tuple[str, ...]:
        """The figures that make sense for a study or a comparison: a trade-off needs a private run, leakage an attack."""
        members = self.comparisons.get(study, (study,))
        runs = [run for member in members for run in self.studies[member]]
        tried = {attack["name"] for run in runs for attack in self.attacks.get(run, ())}
        leaks = tuple(figure for figure, attacks in FIGURES_OF_ATTACKS.items() if tried & set(attacks))
        if not any(self._has_pictures(self.runs[run].dataset) for run in runs):
            leaks = tuple(figure for figure in leaks if figure != "reconstructions")
        recommended = ("recommendation",) if study in self.policies else ()
        if study in self.comparisons:
            # The other figures of attacks are those of one trust model.
            return (*FIGURES_OF_COMPARISONS, *(figure for figure in leaks if figure == "riskfront"), *recommended)
        tradeoffs = FIGURES_OF_PRIVATE_STUDIES if any(self.runs[run].private for run in runs) else ()
        return (*tradeoffs, *FIGURES_OF_ANY_STUDY, *leaks, *recommended)

    def _has_pictures(self, dataset: str) -> bool:
        shape = facts.FLAT_IMAGE_SHAPES.get(dataset) or dataset_info(dataset, self.datasets).shape
        return shape is not None and shape[-1] in facts.COLOURS

    def dataset_arguments(self, dataset: str) -> str:
        """Command-line arguments that describe a user's own data set; empty for a registered one."""
        options = self.datasets.get(dataset)
        return "" if options is None else f"--options {shlex.quote(canonical(dict(options)))}"

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
                "comparisons": {
                    name: {"title": self.titles[name], "studies": members} for name, members in self.comparisons.items()
                },
                "attacks": self.attacks,
                "policies": self.policies,
            }
        )

    @staticmethod
    def from_json(text: str) -> Sweep:
        """Reads what `to_json` wrote."""
        tree = json.loads(text)
        runs = {name: Run(**entry) for name, entry in tree["runs"].items()}
        return Sweep(
            studies={name: tuple(study["runs"]) for name, study in tree["studies"].items()},
            runs=runs,
            bundles={name: Bundle(tuple(runs[run] for run in members)) for name, members in tree["bundles"].items()},
            titles={name: body["title"] for part in ("studies", "comparisons") for name, body in tree[part].items()},
            datasets=tree["datasets"],
            execution=tree["execution"],
            comparisons={name: tuple(body["studies"]) for name, body in tree["comparisons"].items()},
            attacks={name: tuple(specs) for name, specs in tree["attacks"].items()},
            policies=tree["policies"],
        )


def plan_sweep(config: Config) -> Sweep:
    """The runs of all studies, and the bundles that train them. A run that two studies ask for is trained once."""
    runs: dict[str, Run] = {}
    studies = {}
    attacks: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for study in config.studies:
        members: dict[str, None] = {}
        for run in expand(study, config.datasets):
            # A grid point that is also a baseline keeps the label, so that figures know it for the reference.
            if run.run_id not in runs or run.baseline is not None:
                runs[run.run_id] = run
            members[run.run_id] = None
        studies[study.name] = tuple(members)
        for name in members:
            run = runs[name]
            if study.attacks and run.seed == study.seeds[0] and _is_attacked(run, study):
                attacks[name] = (*attacks.get(name, ()), *(a for a in study.attacks if a not in attacks.get(name, ())))
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        groups[run.static_key].append(run)
    bundles = [Bundle(tuple(sorted(group, key=lambda run: run.run_id))) for group in groups.values()]
    used = {run.dataset for run in runs.values()}
    return Sweep(
        studies=studies,
        runs=runs,
        bundles={bundle.bundle_id: bundle for bundle in bundles},
        titles={study.name: study.title for study in config.studies}
        | {name: comparison.title for name, comparison in config.comparisons.items()},
        datasets={name: options for name, options in config.datasets.items() if name in used},
        execution=config.execution,
        comparisons={name: comparison.studies for name, comparison in config.comparisons.items()},
        attacks=attacks,
        policies={study.name: study.policy for study in config.studies if study.policy}
        | {name: comparison.policy for name, comparison in config.comparisons.items() if comparison.policy},
    )


def expand(study: Study, datasets: Mapping[str, Mapping[str, Any]]) -> Iterator[Run]:
    """The runs of one study: its grid, then its baselines."""
    axes = dict(study.axes)
    noise = [(None, e) if e is not None else (0.0, None) for e in axes.pop("target_epsilon", ())] or [
        (float(z), None) for z in axes.pop("noise_multiplier", (0.0,))
    ]
    axes.pop("noise_multiplier", None)
    clips, deltas, accountants = axes.pop("clip_norm"), axes.pop("delta", (None,)), axes.pop("accountant")
    stops = axes.pop("stop_at_epsilon")
    private_study = any(z or e is not None for z, e in noise)
    wanted = dict.fromkeys((*study.baselines, *(("non_private",) if private_study and study.baselines else ())))
    axes.setdefault("clients", (None,))
    for values in product(*axes.values()):
        cell = _cell(dict(zip(axes, values, strict=True)), datasets)
        for clip, (z, epsilon), delta, accountant, stop, seed in product(
            clips, noise, deltas, accountants, stops, study.seeds
        ):
            private = bool(z) or epsilon is not None
            yield replace(
                cell if private else _without_privacy(cell),
                clip_norm=None if clip is None else float(clip),
                noise_multiplier=z,
                target_epsilon=None if epsilon is None else float(epsilon),
                # What only matters to a private run is blank on others, which would else be trained several times.
                accountant=accountant if private else "rdp",
                delta=float(delta) if private and delta is not None else None,
                stop_at_epsilon=float(stop) if private and stop is not None else None,
                seed=seed,
            )
        for baseline, seed in product(wanted, study.seeds):
            yield _baseline(baseline, replace(_without_privacy(cell), seed=seed), datasets)


def dataset_info(dataset: str, datasets: Mapping[str, Mapping[str, Any]]) -> facts.DatasetInfo:
    """Facts of a registered data set or of one of the user's own."""
    return facts.of_user_file(datasets[dataset]) if dataset in datasets else facts.REGISTERED[dataset]


def write(plan: Sweep, path: str) -> None:
    """Writes the plan in one step."""
    with whole(Path(path)) as partial:
        partial.write_text(plan.to_json(), encoding="utf-8")


def _is_attacked(run: Run, study: Study) -> bool:
    """Whether a run is at one of the points that the study wants attacked.

    Of reference runs only that without privacy is: it has no noise, clip norm, unit or trust model to be picked by.
    """
    reference = run.baseline is not None
    if reference and run.baseline != "non_private":
        return False
    blank = OF_PRIVACY if reference else ()
    return all(key in blank or getattr(run, key) in values for key, values in study.attacked.items())


def _cell(axes: dict[str, Any], datasets: Mapping[str, Mapping[str, Any]]) -> Run:
    """The non-private run of one point of all axes but those of the mechanism."""
    clients = axes["clients"]
    if clients is None:
        clients = dataset_info(axes["dataset"], datasets).clients
    epochs, steps, unit, trust = axes.get("local_epochs"), axes.get("local_steps"), axes["unit"], axes["trust"]
    protects_sum = unit == "record" and trust != "local"
    if protects_sum:
        epochs, steps = None, 1
    usual = default_participation(trust, axes["sampling"], unit)
    client_learning_rate, algorithm = axes["client_learning_rate"], axes["algorithm"]
    decay = axes["client_learning_rate_decay"]
    return Run(
        dataset=axes["dataset"],
        partition=axes["partition"],
        clients=clients,
        model=axes["model"],
        algorithm=algorithm["name"],
        baseline=None,
        sampling=axes["sampling"],
        participation=None if axes["participation"] == usual else axes["participation"],
        sampling_rate=float(axes["sampling_rate"]),
        rounds=axes["rounds"],
        local_epochs=1 if epochs is None and steps is None else epochs,
        local_steps=steps,
        batch_size=axes["batch_size"],
        client_learning_rate=None if client_learning_rate is None else float(client_learning_rate),
        server_optimizer=axes["server_optimizer"],
        unit=unit,
        records=dataset_info(axes["dataset"], datasets).train if protects_sum else None,
        trust=trust,
        mechanism=_unless_named(axes["mechanism"], "gaussian"),
        clipping=_unless_named(axes["clipping"], "fixed"),
        weighting=_unless_named(axes["weighting"], "uniform"),
        preprocessing=_unless_named(axes["preprocessing"], "none"),
        stop_at_accuracy=None if axes["stop_at_accuracy"] is None else float(axes["stop_at_accuracy"]),
        proximal=algorithm.get("proximal"),
        dropout=float(axes["dropout"]) or None,
        stragglers=float(axes["stragglers"]) or None,
        clip_norm=None,
        noise_multiplier=0.0,
        target_epsilon=None,
        accountant="rdp",
        delta=None,
        stop_at_epsilon=None,
        evaluate_every=axes["evaluate_every"] or math.ceil(axes["rounds"] / EVALUATIONS),
        seed=0,
        augmentation=_unless_named(axes["augmentation"], "none"),
        averaging=_unless_named(axes["averaging"], "none"),
        task=_unless_named(axes["task"], "classification"),
        client_learning_rate_decay=None if decay == 1 else float(decay),
    )


def _unless_named(spec: dict[str, Any], default: str) -> dict[str, Any] | None:
    """The spec, or None where it says what is usual: a run's name then does without it."""
    return None if spec["name"] == default else spec


def _without_privacy(cell: Run) -> Run:
    """The cell as it trains without noise: whom the noise would protect from whom makes no difference then."""
    federated = cell.trains_records_locally
    return replace(
        cell,
        trust="central",
        unit="client" if federated else cell.unit,
        participation=None,
        mechanism=None,
        clipping=None,
        # It learns the same, exactly: the noise is no part of what such a run means.
        preprocessing=cell.preprocessing and {k: v for k, v in cell.preprocessing.items() if k != "noise_multiplier"},
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
        return replace(
            cell,
            baseline=name,
            algorithm="alone",
            averaging=None,
            client_learning_rate_decay=None,
            server_optimizer=plain,
            weighting=None,
            proximal=None,
            dropout=None,
            stragglers=None,
        )
    examples = dataset_info(cell.dataset, datasets).train or cell.clients
    drawn = cell.partition.get("shard_size", 0) * cell.partition.get("shards_per_client", 0)
    own = drawn or examples / cell.clients
    steps = cell.local_steps or (cell.local_epochs or 1) * math.ceil(own / (cell.batch_size or own))
    return replace(
        cell,
        baseline=name,
        clients=1,
        partition={"name": "iid", "minimum": 1},
        sampling="poisson",
        sampling_rate=1.0,
        weighting=None,
        dropout=None,
        stragglers=None,
        algorithm="fedavg",
        proximal=None,
        local_epochs=None,
        local_steps=max(1, round(cell.sampling_rate * cell.clients * steps)),
        batch_size=cell.batch_size or max(1, round(own)),
        server_optimizer={"name": "sgd", "learning_rate": 1.0},
    )
