"""The form of an attack: one frozen dataclass whose fields are its arguments, called with its target."""

from __future__ import annotations

from typing import ClassVar, Protocol

from fedpareto.attacks.results import AttackResults
from fedpareto.attacks.target import Target
from fedpareto.components import threats
from fedpareto.sweep.run import Run
from fedpareto.tasks.build import spec_of


class Attack(Protocol):
    """An attack, built in or a user's own.

    The constants are literals: the configuration and the tables read them without importing the attack.

    Attributes:
      NAME: Its name.
      FAMILY: `membership`, `reconstruction` or `audit`: the figures and the limits of policies that it belongs to.
      SECRET: `record`, `client`, `class`, or `unit` for whatever the run's guarantee protects.
      SEES: The least that its adversary sees: `final_model`, `first_round` or `every_release`.
    """

    NAME: ClassVar[str]
    FAMILY: ClassVar[str]
    SECRET: ClassVar[str]
    SEES: ClassVar[str]

    def not_applicable(self, run: Run) -> str | None:
        """Why the attack cannot be made on a run; None where it can."""
        ...

    def __call__(self, target: Target) -> AttackResults:
        """Makes the attack on the runs of a target, but for those that it is not applicable to.

        Rows of other runs are dropped; the attack stage gives the reason in their place.
        """
        ...


def refusal(attack: Attack, run: Run) -> str | None:
    """The reason of the attack's `REFUSES` for a run, None where there is none: settings that the configuration knows too."""
    task = spec_of(run.task)["name"]
    settings = threats.settings(run.contribution.unit, run.contribution.trust, run.training.algorithm, task)
    return threats.refusal(getattr(attack, "REFUSES", ()), settings)
