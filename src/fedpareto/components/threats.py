"""The threat model in words that attacks, tables, figures and the configuration share: adversaries and their goals.

An attack says in literals what it is (`FAMILY`), what it is after (`SECRET`) and what it needs to see (`SEES`). Policies and
figures ask for these goals and never for the name of an attack, so that a new attack is in every table and figure of its goal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from fedpareto.components import registry

SERVER, PARTICIPANTS, OUTSIDER = "server", "participants", "outsider"
# Adversary -> its name and what it sees, by what it sees: each sees all that those below it see.
ADVERSARIES = {
    SERVER: ("coordinator", "what clients send it"),  # under secure aggregation the sum of that
    PARTICIPANTS: ("participants", "the model after every round"),  # and with it each round's released sum
    OUTSIDER: ("outsider", "the final model"),
}

MEMBERSHIP, RECONSTRUCTION, AUDIT = "membership", "reconstruction", "audit"
FINAL_MODEL, FIRST_ROUND, EVERY_RELEASE = "final_model", "first_round", "every_release"
# A class is a fact of the population, which no guarantee promises to hide.
RECORD, CLIENT, CLASS, UNIT = "record", "client", "class", "unit"

# Literals that every attack has, and the values that they may have.
LITERALS = {
    "FAMILY": (MEMBERSHIP, RECONSTRUCTION, AUDIT),
    "SECRET": (RECORD, CLIENT, CLASS, UNIT),
    "SEES": (FINAL_MODEL, FIRST_ROUND, EVERY_RELEASE),
}
# Limit of a policy -> the family of attacks whose success it limits.
LIMITS = {"largest_membership": MEMBERSHIP, "largest_reconstruction": RECONSTRUCTION}
# Family -> its goals whose success is leakage, which a policy may limit: a class is nobody's.
GOALS = {family: tuple((family, secret) for secret in (RECORD, CLIENT)) for family in LIMITS.values()}
# Settings of a run that no attack can be made on, and why.
REFUSED_BY_ALL = (({"algorithm": "alone"}, "every client trains by itself: there is no update and no common model"),)


class Goal(NamedTuple):
    """The goal of an attack.

    Attributes:
      family: `membership`, `reconstruction` or `audit`.
      secret: `record`, `client`, `class`, or `unit` for whatever the guarantee protects.
    """

    family: str
    secret: str


@lru_cache(maxsize=256)
def goal(attack: str) -> Goal | None:
    """The goal of the attack of a name; None where there is no such attack, as in tables of another version."""
    try:
        constants = registry.find("attack", attack).constants
    except registry.ComponentError:
        return None
    return Goal(str(constants.get("FAMILY", "")), str(constants.get("SECRET", "")))


def attacks_on(limit: str) -> tuple[str, ...]:
    """The names of the attacks whose success a limit of a policy is about."""
    return tuple(name for name in registry.names("attack") if limited(name, limit))


def limited(attack: str, limit: str) -> bool:
    """Whether the success of an attack counts against a limit of a policy."""
    return goal(attack) in GOALS[LIMITS[limit]]


def settings(unit: str, trust: str, algorithm: str, task: str) -> dict[str, Any]:
    """The settings of a run that attacks may refuse (`REFUSES`).

    `several_vectors` is whether a client of its algorithm sends more than one, `targets` what its task learns: `classes` or
    `numbers`.
    """
    vectors = registry.find("algorithm", algorithm).constants.get("VECTORS", 1)
    targets = str(registry.find("task", task).constants.get("TARGETS", ""))
    return {"unit": unit, "trust": trust, "algorithm": algorithm, "several_vectors": vectors > 1, "targets": targets}


def refusal(refuses: Iterable[tuple[Mapping[str, Any], str]], found: Mapping[str, Any]) -> str | None:
    """Why an attack is not made on a run.

    Args:
      refuses: The attack's `REFUSES`: settings and a reason each.
      found: `settings` of the run.

    Returns:
      The reason of the first entry all of whose settings are the run's; None where there is none.
    """
    for when, reason in (*REFUSED_BY_ALL, *refuses):
        if all(found[key] == value for key, value in when.items()):
            return reason
    return None
