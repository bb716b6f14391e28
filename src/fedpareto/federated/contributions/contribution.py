"""The contribution of a cohort's member to a round, by unit of privacy and trust model.

| unit   | trust       | a member | its contribution                                             |
|--------|-------------|----------|--------------------------------------------------------------|
| client | central     | client   | its clipped update                                           |
| client | local       | client   | its clipped update and noise of its own                      |
| client | distributed | client   | its clipped update as integers, and an integer noise share   |
| record | central     | record   | its clipped gradient                                         |
| record | local       | client   | its update by noisy steps on its records                     |
| record | distributed | client   | its records' clipped gradients as integers, and a noise share |
"""

from __future__ import annotations

from collections.abc import Mapping

from fedpareto.federated.contributions.client import ClientUpdates
from fedpareto.federated.contributions.interface import Contribution
from fedpareto.federated.contributions.local_dpsgd import NoisySteps
from fedpareto.federated.contributions.noise import CentralNoise, DistributedNoise, LocalNoise
from fedpareto.federated.contributions.records import RecordGradients
from fedpareto.federated.contributions.secure_sum import RoundedGradients
from fedpareto.federated.inputs.program_inputs import ProgramConfig

CONTRIBUTIONS: Mapping[tuple[str, str], Contribution] = {
    ("client", "central"): ClientUpdates(CentralNoise()),
    ("client", "local"): ClientUpdates(LocalNoise()),
    ("client", "distributed"): ClientUpdates(DistributedNoise()),
    ("record", "central"): RecordGradients(CentralNoise()),
    ("record", "local"): NoisySteps(LocalNoise()),
    ("record", "distributed"): RoundedGradients(DistributedNoise()),
}


def contribution_of(static: ProgramConfig) -> Contribution:
    """The row of the table for the unit and the trust model of a program."""
    return CONTRIBUTIONS[static.unit, static.trust]
