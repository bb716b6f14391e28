"""The setting of a run: all that decides whether its guarantee is sound, and the properties that follow from it alone.

The soundness table judges a `PrivacySetting`, and a `PrivacyPlan` holds the one that was judged. Only the standard library,
because a configuration is checked before any job starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Unit = Literal["client", "record"]
Trust = Literal["central", "distributed", "local"]
Sampling = Literal["poisson", "fixed_size", "shuffled", "cyclic"]
Participation = Literal["secret", "seen"]
Adjacency = Literal["add_or_remove_one", "zero_out", "replace_one"]
Summand = Literal["update", "gradient", "integers"]

DISCRETE = ("discrete_gaussian", "skellam")
SCHEDULED = ("shuffled", "cyclic")  # who takes part when follows a schedule: there is nothing secret to amplify with
VALUES = {
    "sampling": get_args(Sampling),
    "unit": get_args(Unit),
    "trust": get_args(Trust),
    "participation": (None, *get_args(Participation)),
}


@dataclass(frozen=True)
class PrivacySetting:
    """The privacy setting of a run: it decides whether a mechanism is sound.

    >>> PrivacySetting(unit="client", trust="central", sampling="poisson").adjacency
    'add_or_remove_one'
    >>> PrivacySetting(unit="client", trust="distributed", sampling="fixed_size").adjacency
    'replace_one'

    Attributes:
      unit: The unit in which neighbouring data sets differ.
      trust: Who adds the noise: a trusted server, clients under secure aggregation, or each client by itself.
      sampling: `poisson` (each unit joins each round by itself), `fixed_size` (exactly the expected number of them),
        `shuffled` (batches of an order drawn afresh for each pass) or `cyclic` (of one order).
      participation: Whether the adversary sees who took part in a round; None for the default of the trust model.
      mechanism: `gaussian`, `discrete_gaussian`, `skellam` or `banded`.
      clipping: `fixed`, or `adaptive`: the clip norm follows a quantile of the norms of what is clipped.
      algorithm: `fedavg`, `fedprox` or `scaffold`.
      sampling_rate: Probability q that a given unit joins a given round, or the share of them that do, in (0, 1].
      min_separation: Rounds from one participation of a unit in a schedule to its next, see `schedule_length`.
      weight_cap: Number of examples from which a client's weight grows no further; None for uniform weights, 0 for weights
        without a cap.
      several_steps: Whether a client makes more than one local step.
      dropout: Whether clients may fail to answer.
      stragglers: Whether clients may finish only some of their steps.
      bands: Bands of the `banded` mechanism.
      learns_from_records: Whether preprocessing releases something of all records before the first round.
      drawn_shards: Whether clients draw shards of a fixed size, so that a record may be with several of them, or with none.
      augmentation: `none` or `flip_and_crop`.
      views: Views of a record whose gradients are averaged before clipping.
    """

    unit: Unit = "client"
    trust: Trust = "central"
    sampling: Sampling = "poisson"
    participation: Participation | None = None
    mechanism: str = "gaussian"
    clipping: str = "fixed"
    algorithm: str = "fedavg"
    sampling_rate: float = 1.0
    min_separation: int = 1
    weight_cap: int | None = None
    several_steps: bool = False
    dropout: bool = False
    stragglers: bool = False
    bands: int = 1
    learns_from_records: bool = False
    drawn_shards: bool = False
    augmentation: str = "none"
    views: int = 1

    @property
    def effective_participation(self) -> Participation:
        """`participation`, or the default of the trust model."""
        return self.participation or default_participation(self.trust, self.sampling, self.unit)

    @property
    def scheduled(self) -> bool:
        """Whether a schedule, and no draw, says who takes part when."""
        return self.sampling in SCHEDULED

    @property
    def discrete(self) -> bool:
        """Whether the noise is a sum of integers."""
        return self.mechanism in DISCRETE

    @property
    def clients_draw_records(self) -> bool:
        """Whether each client draws of its records by itself, by Poisson, and nobody else learns which."""
        return self.unit == "record" and self.trust != "central"

    @property
    def sums_records(self) -> bool:
        """Whether one noisy sum a round protects records: each adds one clipped gradient, and is used once."""
        return self.unit == "record" and self.trust != "local"

    @property
    def trains_records_locally(self) -> bool:
        """Whether clients run DP-SGD on their records: their sizes decide the epsilon of each."""
        return self.unit == "record" and self.trust == "local"

    @property
    def summand(self) -> Summand:
        """The summand of a cohort's member: a client's update, a record's gradient, or integers that hide either."""
        if self.trust == "distributed":
            return "integers"
        return "gradient" if self.sums_records else "update"

    @property
    def adjacency(self) -> Adjacency:
        """Neighbouring data sets.

        A Poisson sample may gain or lose a unit, if nobody sees who is in it: who does sees that a unit is there, and learns
        little of what it contributes against its having contributed nothing (`zero_out`, Kairouz et al. 2021). A cohort of a
        fixed size can only swap one, and so can a set of messages that each client signs for.
        """
        secret_sample = self.sampling == "poisson" and self.trust == "central"
        if not (secret_sample or self.clients_draw_records):
            return "replace_one"
        shown = self.effective_participation == "seen" and not self.trains_records_locally
        return "zero_out" if shown else "add_or_remove_one"


@dataclass(frozen=True)
class SecureAggregation:
    """The parameters of secure aggregation that a `PrivacyPlan` needs.

    Attributes:
      dimension: Number of model parameters.
      participants: Clients asked for a contribution in each round.
      bits: Bits a coordinate.
      threshold: Share of the participants that must answer, above 1/2.
    """

    dimension: int
    participants: int
    bits: int
    threshold: float

    @property
    def fewest(self) -> int:
        """Answers below which nothing is released."""
        return min(self.participants, max(1, math.ceil(self.threshold * self.participants)))


@dataclass(frozen=True)
class LocalSteps:
    """DP-SGD on the clients: the steps of each in a round that it joins.

    Attributes:
      steps: Steps a round.
      record_rates: Poisson sampling rate of its own records at every step, for each client.
    """

    steps: int
    record_rates: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest of the rates, whose client has the largest epsilon."""
        return max(self.record_rates)


def schedule_length(population: int, sampling_rate: float) -> int:
    """Rounds in which a schedule uses every unit once, in batches of one size; units that are left over sit out.

    >>> schedule_length(population=100, sampling_rate=0.1)
    10
    """
    return max(1, population // max(1, round(population * sampling_rate)))


def default_participation(trust: str, sampling: str, unit: str) -> Participation:
    """Whether the adversary of a trust model sees who took part in a round, where the user does not say.

    A trusted server tells nobody. The server of secure aggregation talks to those who take part, and under local trust everybody
    sees every update. Which of its records a client drew is known to that client alone.
    """
    if sampling in SCHEDULED:
        return "seen"
    return "secret" if trust == "central" or (unit == "record" and trust == "distributed") else "seen"
