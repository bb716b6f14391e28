"""From studies to runs to bundles."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fedpareto.components import figures
from fedpareto.config.study import Config, Study
from fedpareto.data import COLOURS, facts
from fedpareto.sweep.expand import dataset_info, expand
from fedpareto.sweep.run import Bundle, Run, canonical, digest

OF_PRIVACY = ("clip_norm", "noise_multiplier", "target_epsilon", "unit", "trust")


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
      own_figures: Study -> figures of the user's own, `./file.py:Class`.
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
    own_figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Hash of the plan fields that tables use: studies, titles, comparisons, policies, attacks. Tables follow its changes."""
        fields = (dict(self.titles), dict(self.comparisons), dict(self.policies), dict(self.attacks))
        return digest([list(map(list, self.studies.items())), *fields])

    @property
    def attacked(self) -> tuple[str, ...]:
        """The bundles that hold a run that is attacked."""
        return tuple(name for name, bundle in self.bundles.items() if self.attacks_on(bundle))

    def attacks_on(self, bundle: Bundle) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """The attacks on each attacked run of a bundle."""
        return {run.run_id: self.attacks[run.run_id] for run in bundle.runs if run.run_id in self.attacks}

    def figures(self, study: str) -> tuple[str, ...]:
        """The figures that make sense for a study or a comparison: a trade-off needs a private run, leakage an attack."""
        members = self.comparisons.get(study, (study,))
        runs = [self.runs[run] for member in members for run in self.studies[member]]
        usual = figures.of_study(
            figures.COMPARISON if study in self.comparisons else figures.STUDY,
            {
                figures.PRIVACY: lambda: any(run.privacy for run in runs),
                figures.PICTURES: lambda: any(self._has_pictures(run.data.dataset) for run in runs),
                figures.POLICY: lambda: study in self.policies,
            },
            {attack["name"] for run in runs for attack in self.attacks.get(run.run_id, ())},
        )
        return (*usual, *map(figures.file_name, self.own_figures.get(study, ())))

    def figure(self, study: str, file_name: str) -> str:
        """The name of the component that draws a study's figure of a file name."""
        own = {figures.file_name(name): name for name in self.own_figures.get(study, ())}
        return own.get(file_name, file_name)

    def _has_pictures(self, dataset: str) -> bool:
        shape = facts.flat_image_shape(dataset) or dataset_info(dataset, self.datasets).shape
        return shape is not None and shape[-1] in COLOURS

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
                "figures": self.own_figures,
            }
        )

    @staticmethod
    def from_json(text: str) -> Sweep:
        """Reads the JSON of `to_json`."""
        tree = json.loads(text)
        runs = {name: Run.from_dict(entry) for name, entry in tree["runs"].items()}
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
            own_figures={name: tuple(own) for name, own in tree["figures"].items()},
        )


def plan_sweep(config: Config) -> Sweep:
    """The runs of all studies, and the bundles that train them. A run that two studies ask for is trained once."""
    runs: dict[str, Run] = {}
    studies = {}
    attacks: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for study in config.studies:
        members: dict[str, None] = {}
        for run in expand(study, lambda name: dataset_info(name, config.datasets)):
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
    used = {run.data.dataset for run in runs.values()}
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
        own_figures={study.name: study.figures for study in config.studies if study.figures},
    )


def _is_attacked(run: Run, study: Study) -> bool:
    """Whether a run is at one of the points that the study wants attacked.

    Of reference runs only that without privacy is: it has no noise, clip norm, unit or trust model to be picked by.
    """
    reference = run.baseline is not None
    if reference and run.baseline != "non_private":
        return False
    blank, keys = OF_PRIVACY if reference else (), run.to_dict()
    return all(key in blank or keys[key] in values for key, values in study.attacked.items())
