"""The form of an attack: one frozen dataclass whose fields are its arguments, called with what it is made on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from fedpareto.attacks.results import AttackResults
from fedpareto.attacks.target import Target
from fedpareto.components import threats
from fedpareto.sweep.run import Run
from fedpareto.tasks.build import spec_of


class Attack(ABC):
    """An attack, built in or a user's own; `__call__` is all that it must define.

    The constants are literals: the configuration and the tables read them without importing the attack.

    Attributes:
      NAME: Its name.
      FAMILY: `membership`, `reconstruction` or `audit`: the figures and the limits of policies that it belongs to.
      SECRET: `record`, `client`, `class`, or `unit` for whatever the run's guarantee protects.
      SEES: The least that its adversary sees: `final_model`, `first_round` or `every_release`.
      REFUSES: Settings of a run that it cannot be made on, and why (`threats.settings`).
    """

    NAME: ClassVar[str]
    FAMILY: ClassVar[str]
    SECRET: ClassVar[str]
    SEES: ClassVar[str]
    REFUSES: ClassVar[tuple[tuple[Mapping[str, Any], str], ...]] = ()

    def not_applicable(self, run: Run) -> str | None:
        """Why the attack cannot be made on a run, None where it can; by default what `REFUSES` and all attacks refuse."""
        task = spec_of(run.task)["name"]
        settings = threats.settings(run.contribution.unit, run.contribution.trust, run.training.algorithm, task)
        return threats.refusal(self.REFUSES, settings)

    @abstractmethod
    def __call__(self, target: Target) -> AttackResults:
        """Makes the attack on the runs of a target, but for those that it is not applicable to.

        Rows of other runs are dropped; the attack stage gives the reason in their place.
        """
