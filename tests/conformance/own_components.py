"""Components of a user's own that the soundness table refuses for what their constants say, or leave out."""

from dataclasses import dataclass
from typing import ClassVar

from fedpareto.federated.algorithms.fedavg import FedAvg
from fedpareto.privacy.mechanisms.gaussian import Gaussian


@dataclass(frozen=True)
class SilentMechanism(Gaussian):
    """Says nowhere that it is sound."""

    NAME: ClassVar = "silent"


@dataclass(frozen=True)
class SilentAlgorithm(FedAvg):
    """Says nowhere that it is sound."""

    REMEMBERS_CLIENTS: ClassVar = False


@dataclass(frozen=True)
class Forgetful(FedAvg):
    """Does not say whether it remembers who took part."""

    SOUND_FOR: ClassVar = (("client", "central"),)


@dataclass(frozen=True)
class Pair(FedAvg):
    """Sends two vectors, which are accounted for with a trusted server alone."""

    SOUND_FOR: ClassVar = (("client", "central"), ("client", "local"))
    REMEMBERS_CLIENTS: ClassVar = False
    VECTORS: ClassVar = 2


@dataclass(frozen=True)
class Mindful(FedAvg):
    """Remembers who took part."""

    SOUND_FOR: ClassVar = (("client", "central"),)
    REMEMBERS_CLIENTS: ClassVar = True
