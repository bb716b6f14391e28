"""Checks of the attacks of a study, and of the policy by which a point is recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from fedpareto.components import registry, threats
from fedpareto.config.problems import Problems, nearest, valid
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


def check_attacks(study: Study, problems: Problems) -> None:
    """Adds every problem of `attacks` and `attacked`."""
    for i, attack in enumerate(study.attacks):
        key: list[str | int] = ["studies", study.name, "attacks", *([i] if len(study.attacks) > 1 else [])]
        constants = registry.find("attack", attack["name"]).constants
        if unsaid := [name for name, values in threats.LITERALS.items() if constants.get(name) not in values]:
            must = f"define {unsaid[0]}, a literal of its class"
            problems.add(key, attack["name"], must, "one of " + ", ".join(threats.LITERALS[unsaid[0]]))
            continue
        reasons = [threats.refusal(constants.get("REFUSES", ()), settings) for settings in _settings(study)]
        if all(reasons):
            problems.add(key, attack["name"], f"not be made on this study: {reasons[0]}", "leave it out")
        else:
            _check_sense(study, attack, constants, key, problems)
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


def _check_sense(
    study: Study,
    attack: Mapping[str, Any],
    constants: Mapping[str, Any],
    key: Sequence[str | int],
    problems: Problems,
) -> None:
    """An attack that can be made and would find nothing, by the literals of its class.

    | constant    | entries                               | a problem where                                          |
    |-------------|---------------------------------------|----------------------------------------------------------|
    | `POINTLESS` | settings, words                       | every point of the study has these settings              |
    | `TOGETHER`  | arguments, another argument, its rule | the arguments are these, and the other breaks the rule   |
    | `STUDIES`   | arguments, traits by component, words | the arguments are these, and no component has the traits |
    """
    known = {**study.axes, "private": (any(_noises(study)),)}
    for when, must in constants.get("POINTLESS", ()):
        if all(set(known.get(name, ())) == {value} for name, value in when.items()):
            problems.add(key, attack["name"], must, "leave it out")
    for when, argument, rule in constants.get("TOGETHER", ()):
        if _asks_for(attack, when):
            valid([*key, argument], attack[argument], rule, problems)
    for when, traits, words in constants.get("STUDIES", ()):
        if _asks_for(attack, when) and not all(_has(study, kind, wanted) for kind, wanted in traits.items()):
            argument = next(iter(when))
            problems.add([*key, argument], attack[argument], words["must"], words["hint"])


def _asks_for(attack: Mapping[str, Any], when: Mapping[str, Any]) -> bool:
    return all(attack[argument] == value for argument, value in when.items())


def _has(study: Study, kind: str, wanted: Mapping[str, Any]) -> bool:
    """Whether one of a study's components of a kind has a name and class constants; a user's own may leave them unsaid."""
    return any(_is_such(kind, spec["name"], wanted) for spec in study.axes[kind])


def _is_such(kind: str, name: str, wanted: Mapping[str, Any]) -> bool:
    known, unsaid = {"name": name}, False
    if registry.is_path(name) or name in registry.names(kind):  # else a choice of the schema, such as `none`
        component = registry.find(kind, name)
        known, unsaid = {**component.constants, "name": name}, component.own
    return all(known[trait] == value if trait in known else unsaid for trait, value in wanted.items())


def _noises(study: Study) -> list[Any]:
    return [*study.axes.get("noise_multiplier", ()), *study.axes.get("target_epsilon", ())]


def check_policies(config: Config, problems: Problems) -> None:
    """Adds every problem of the policies: a limited quantity must be measured."""
    studies = {study.name: study for study in config.studies}
    for study in config.studies:
        if study.policy:
            _check_policy(study_key(study, "policy"), study.policy, [study], problems)
    for name, comparison in config.comparisons.items():
        if comparison.policy:
            members = [studies[member] for member in comparison.studies]
            _check_policy(["comparisons", name, "policy"], comparison.policy, members, problems)


def _check_policy(
    key: Sequence[str | int], policy: Mapping[str, Any], studies: Sequence[Study], problems: Problems
) -> None:
    tried = {attack["name"] for study in studies for attack in study.attacks}
    for limit in threats.LIMITS:
        if policy[limit] is not None and not any(threats.limited(attack, limit) for attack in tried):
            must = f"stand beside an attack that measures it: {' or '.join(sorted(threats.attacks_on(limit)))}"
            problems.add([*key, limit], policy[limit], must, "add one to attacks")
    if policy["trust"] == []:
        problems.add([*key, "trust"], [], "hold at least one value", "null for all of them")


def _settings(study: Study) -> list[dict[str, Any]]:
    """The settings of the study's points that attacks may refuse, as `attacks.interface.Attack` takes them from a run."""
    units, trusts = study.axes["unit"], study.axes["trust"]
    algorithms = [spec["name"] for spec in study.axes["algorithm"]]
    tasks = sorted({spec["name"] for spec in study.axes["task"]})
    return [threats.settings(*setting) for setting in product(units, trusts, algorithms, tasks)]


def _shown(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)
