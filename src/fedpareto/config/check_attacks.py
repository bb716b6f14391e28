"""Checks of what a study attacks, and of the policy by which a point is recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from fedpareto.config.attackable import why_not
from fedpareto.config.problems import Problems, nearest
from fedpareto.config.study import Config, Study, study_key

# Keys of a study that pick the points to attack: plain values that stand in a run.
PICKING = (
    "dataset",
    "clients",
    "sampling_rate",
    "rounds",
    "batch_size",
    "local_epochs",
    "local_steps",
    "client_learning_rate",
    "clip_norm",
    "noise_multiplier",
    "target_epsilon",
    "unit",
    "trust",
    "sampling",
    "dropout",
    "stragglers",
)

FEWEST_RUNS = 32  # of which the sixteen that are counted, if all are right, show an epsilon above 0
DENSE = ("logistic", "mlp", "2nn")  # models whose first layer is dense
# Limit of a policy -> the attacks whose success it limits.
MEASURED_BY = {
    "largest_membership": {"membership", "client_membership"},
    "largest_reconstruction": {"gradient_inversion"},
}


def check_attacks(study: Study, problems: Problems) -> None:
    """Adds every problem of `attacks` and `attacked`."""
    for i, attack in enumerate(study.attacks):
        key: list[str | int] = ["studies", study.name, "attacks", *([i] if len(study.attacks) > 1 else [])]
        reasons = [why_not(attack["name"], *kind) for kind in _kinds(study)]
        if all(reasons):
            problems.add(key, attack["name"], f"not be made on this study: {reasons[0]}", "leave it out")
        if not all(reasons):
            _check_sense(study, attack, key, problems)
    for name, values in study.attacked.items():
        key = [*study_key(study, "attacked"), name]
        if name not in PICKING:
            problems.add(key, _shown(values), "be a key that picks points of the grid", nearest(name, PICKING))
            continue
        known = study.axes.get(name, ())
        for value in values:
            if value not in known:
                given = ", ".join(map(str, known)) or "nothing"
                problems.add(key, value, f"be a value of {name} in this study", f"it has {given}")
    if study.attacked and not study.attacks:
        must, hint = "stand beside attacks", "say which attacks, or remove the key"
        picked = {name: _shown(values) for name, values in study.attacked.items()}
        problems.add(study_key(study, "attacked"), picked, must, hint)


def _check_sense(study: Study, attack: Mapping[str, Any], key: Sequence[str | int], problems: Problems) -> None:
    """An attack that can be made and would find nothing."""
    name, axes = attack["name"], study.axes
    if name == "client_membership" and axes.get("clients") == (1,):
        problems.add(key, name, "have more than one client to tell from another", "leave it out")
    if name == "audit":
        noises = [*axes.get("noise_multiplier", ()), *axes.get("target_epsilon", ())]
        if not any(noises):
            problems.add(key, name, "be made on noise: there is no epsilon to audit", "leave it out")
        if attack["method"] == "many_runs" and attack["runs"] < FEWEST_RUNS:
            must = f"be at least {FEWEST_RUNS} with many_runs, half of which are counted"
            problems.add([*key, "runs"], attack["runs"], must, "e.g. 500")
        if attack["method"] == "many_runs" and attack["canaries"] not in (None, 1):
            problems.add([*key, "canaries"], attack["canaries"], "be null with many_runs: one canary a run", "null")
    if name == "gradient_inversion" and attack["method"] == "analytic":
        dense = any(spec["name"] in DENSE for spec in axes["model"])
        if not dense or all(spec["name"] != "none" for spec in axes["preprocessing"]):
            must = "not be analytic where no dense layer sees the records as they are"
            problems.add([*key, "method"], attack["method"], must, "use cosine or dlg")


def check_policies(config: Config, problems: Problems) -> None:
    """Adds every problem of the policies: what is to be limited must be measured."""
    studies = {study.name: study for study in config.studies}
    for study in config.studies:
        if study.policy:
            _check_policy(study_key(study, "policy"), study.policy, [study], problems)
    for name, comparison in config.comparisons.items():
        if comparison.policy:
            members = [studies[one] for one in comparison.studies]
            _check_policy(["comparisons", name, "policy"], comparison.policy, members, problems)


def _check_policy(
    key: Sequence[str | int], policy: Mapping[str, Any], studies: Sequence[Study], problems: Problems
) -> None:
    tried = {attack["name"] for study in studies for attack in study.attacks}
    for limit, attacks in MEASURED_BY.items():
        if policy[limit] is not None and not tried & attacks:
            must = f"stand beside an attack that measures it: {' or '.join(sorted(attacks))}"
            problems.add([*key, limit], policy[limit], must, "add one to attacks")
    if policy["trust"] == []:
        problems.add([*key, "trust"], [], "hold at least one value", "null for all of them")


def _kinds(study: Study) -> list[tuple[str, str, str]]:
    algorithms = [spec["name"] for spec in study.axes["algorithm"]]
    return [(u, t, a) for u, t, a in product(study.axes["unit"], study.axes["trust"], algorithms)]


def _shown(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)
