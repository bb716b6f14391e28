"""Which choices have a sound guarantee or a meaning together, and why the others have none.

One table for both places that must refuse: the configuration, which names file and key, and `PrivacyPlan`. Nothing heavy is
imported and no component is run, because a configuration is checked before any job starts: what a user's own mechanism or
algorithm says of itself is read from its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fedpareto.components import registry
from fedpareto.privacy.setting import PrivacySetting


@dataclass(frozen=True)
class Violation:
    """Why a choice is refused: the value at `key` must `must`, because of `why`."""

    key: str
    must: str
    why: str


@dataclass(frozen=True)
class _Rule:
    broken: Callable[[PrivacySetting], bool]
    key: str
    must: str
    why: str


def _own(kind: str, name: str) -> dict[str, Any] | None:
    """The class constants of a user's own component; None for a built-in one, whose rules stand in the table."""
    try:
        component = registry.find(kind, name)
    except registry.ComponentError:  # reported where the name is read
        return None
    return dict(component.constants) if component.own else None


def unproved(kind: str, name: str, unit: str, trust: str) -> bool:
    """Whether a user's own component does not say that it is sound for a unit and a trust model."""
    own = _own(kind, name)
    return own is not None and (unit, trust) not in map(tuple, own.get("SOUND_FOR", ()))


_RULES = (
    _Rule(
        lambda c: c.sums_records and c.several_steps,
        "local_steps",
        "not ask for several steps with unit: record under this trust",
        "several steps use a record again and again, and one noise on the sum does not cover that; trust: local noises every step",
    ),
    _Rule(
        lambda c: c.weight_cap == 0,
        "weighting",
        "have a cap",
        "without one a client with many examples moves the sum by more than the clip norm; write {name: examples, cap: 100}",
    ),
    _Rule(
        lambda c: c.weight_cap is not None and (c.unit, c.trust) != ("client", "central"),
        "weighting",
        "be uniform here",
        "weights by size are offered for unit: client with trust: central",
    ),
    _Rule(
        lambda c: c.trust == "distributed" and not c.discrete,
        "mechanism",
        "be discrete_gaussian or skellam with trust: distributed",
        "secure aggregation adds integers, so the noise shares must be integers too",
    ),
    _Rule(
        lambda c: c.trust != "distributed" and c.discrete,
        "mechanism",
        "be gaussian or banded without trust: distributed",
        "discrete noise shares belong to secure aggregation",
    ),
    _Rule(
        lambda c: c.trust == "distributed" and c.unit == "client" and c.sampling == "poisson" and c.sampling_rate < 1,
        "sampling",
        "be fixed_size, shuffled or cyclic with trust: distributed",
        "the strength of the noise tells how many shares are in it, so the size of the cohort must be public",
    ),
    _Rule(
        lambda c: c.trust == "distributed" and c.unit == "record" and c.sampling != "poisson",
        "sampling",
        "be poisson with unit: record and trust: distributed",
        "every client draws its own records, and nobody could make the number drawn from all clients fixed",
    ),
    _Rule(
        lambda c: c.trust == "local" and c.unit == "client" and c.participation == "secret",
        "participation",
        "be seen with unit: client and trust: local",
        "everybody sees the update that a client sends, hence that it took part",
    ),
    _Rule(
        lambda c: (
            c.trust == "distributed" and c.unit == "client" and c.participation == "secret" and c.sampling_rate < 1
        ),
        "participation",
        "be seen with unit: client and trust: distributed",
        "the server of secure aggregation asks clients and routes their messages: it knows who took part",
    ),
    _Rule(
        lambda c: c.scheduled and c.participation == "secret",
        "participation",
        "be seen with this sampling",
        "a schedule uses everybody once a pass: amplification by sampling may not be claimed for it",
    ),
    _Rule(
        lambda c: c.unit == "record" and c.sampling == "cyclic",
        "sampling",
        "be poisson, fixed_size or shuffled with unit: record",
        "cyclic schedules are for clients that return",
    ),
    _Rule(
        lambda c: c.mechanism == "banded" and (c.sampling != "cyclic" or c.unit != "client"),
        "sampling",
        "be cyclic with mechanism: banded and unit: client",
        "correlated noise is proved for clients that return after a known number of rounds",
    ),
    _Rule(
        lambda c: c.mechanism == "banded" and c.bands > c.min_separation,
        "mechanism",
        "have at most as many bands as rounds from one participation to the next (1/sampling_rate)",
        "with more bands the noise of a client's two participations overlaps, and the sensitivity is not that of one",
    ),
    _Rule(
        lambda c: c.mechanism == "banded" and c.trust != "central",
        "trust",
        "be central with mechanism: banded",
        "one party must remember the noise of earlier rounds",
    ),
    _Rule(
        lambda c: c.clipping == "adaptive" and (c.trust, c.mechanism) != ("central", "gaussian"),
        "clipping",
        "be fixed here",
        "the adaptive clip norm is proved for a server that adds Gaussian noise to sum and count: trust: central",
    ),
    _Rule(
        lambda c: (
            c.algorithm == "scaffold"
            and (c.unit, c.trust, c.mechanism, c.clipping) != ("client", "central", "gaussian", "fixed")
        ),
        "algorithm",
        "be fedavg or fedprox here",
        "scaffold sends two vectors, whose joint clip norm is accounted for unit: client, trust: central, Gaussian noise",
    ),
    _Rule(
        lambda c: (
            (c.algorithm, c.unit) == ("scaffold", "client")
            and c.sampling_rate < 1
            and c.sampling != "poisson"
            and c.effective_participation == "secret"
        ),
        "participation",
        "be seen with algorithm: scaffold and this sampling",
        "control variates remember who took part; where others take part does not depend on one client, with sampling: poisson, "
        "that is hidden as well",
    ),
    _Rule(
        lambda c: c.algorithm != "fedavg" and c.unit == "record",
        "algorithm",
        "be fedavg with unit: record",
        "one clipped gradient a record leaves nothing for a local algorithm to change",
    ),
    _Rule(
        lambda c: c.learns_from_records and (c.unit, c.trust) != ("record", "central"),
        "preprocessing",
        "be none, rescale or group_norm here",
        "what it learns of all records is noised by a trusted server, and bounded record by record: unit: record, trust: central",
    ),
    _Rule(
        lambda c: c.dropout and c.unit == "record" and c.trust == "central",
        "dropout",
        "be 0 with unit: record and trust: central",
        "records are drawn from all clients together: give trust: distributed or local, where clients answer",
    ),
    _Rule(
        lambda c: c.drawn_shards and c.unit == "record",
        "partition",
        "have no shard_size with unit: record",
        "a record that several clients hold is used several times, and the noise hides one use; a client with all it holds "
        "is one unit still (unit: client)",
    ),
    _Rule(
        lambda c: c.stragglers and c.sums_records,
        "stragglers",
        "be 0 with unit: record under this trust",
        "there is one local step only",
    ),
    _Rule(
        lambda c: c.stragglers and c.algorithm == "scaffold",
        "stragglers",
        "be 0 with algorithm: scaffold",
        "its control variates divide by the number of steps, which the server must know",
    ),
    _Rule(
        lambda c: c.augmentation != "none" and c.unit == "record" and c.trust != "central",
        "augmentation",
        "be none with unit: record under this trust",
        "views are drawn for records that the server sums, and in the local steps of unit: client",
    ),
    _Rule(
        lambda c: c.views > 1 and c.unit == "client",
        "augmentation",
        "have multiplicity 1 with unit: client",
        "several views are averaged before a record's gradient is clipped, and here a client's update is",
    ),
    _Rule(
        lambda c: unproved("mechanism", c.mechanism, c.unit, c.trust),
        "mechanism",
        "say that it is sound here",
        "a mechanism of your own is refused until the pair (unit, trust) is in its SOUND_FOR, which is its author's proof",
    ),
    _Rule(
        lambda c: unproved("algorithm", c.algorithm, c.unit, c.trust),
        "algorithm",
        "say that it is sound here",
        "an algorithm of your own is refused until the pair (unit, trust) is in its SOUND_FOR, which is its author's proof",
    ),
    _Rule(
        lambda c: (
            (_own("algorithm", c.algorithm) or {}).get("VECTORS", 1) > 1
            and (c.unit, c.trust, c.mechanism, c.clipping) != ("client", "central", "gaussian", "fixed")
        ),
        "algorithm",
        "send one vector here",
        "the joint clip norm of several vectors is accounted for unit: client, trust: central, Gaussian noise",
    ),
    _Rule(
        lambda c: "REMEMBERS_CLIENTS" not in (_own("algorithm", c.algorithm) or {"REMEMBERS_CLIENTS": False}),
        "algorithm",
        "say whether its state remembers who took part",
        "write REMEMBERS_CLIENTS: ClassVar = False, or True; what remembers is not amplified by secret participation",
    ),
    _Rule(
        lambda c: (
            bool((_own("algorithm", c.algorithm) or {}).get("REMEMBERS_CLIENTS"))
            and c.sampling_rate < 1
            and c.effective_participation != "seen"
        ),
        "participation",
        "be seen with this algorithm",
        "its state remembers who took part; amplification is proved for rounds that know released models alone",
    ),
)


def violations(choice: PrivacySetting) -> Iterator[Violation]:
    """Every reason for which the choice is refused, in the order of the table."""
    for rule in _RULES:
        if rule.broken(choice):
            yield Violation(rule.key, rule.must, rule.why)
