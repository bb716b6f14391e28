"""Membership inference: how well somebody who sees a final model tells whether a record, or a client, was trained on.

The game. For each attacked run, S shadow runs of the same procedure are trained on random halves of its records (or clients):
`shadow_runs` says what they share. Each shadow in turn is the target, and the others are what the adversary has trained itself to
compare with. So what is attacked is the run's procedure on a random half of its data, with its noise, its clip norm and the public
sizes of the whole. Every record is inside half of the shadows, so that without an attack the chances are even.

The adversary is the outsider: it sees the final model. It knows the model's architecture and initial weights, hyper-parameters, the
records (clients) in question, the others among which the half was drawn, and, for `rmia`, the test records as its own sample of
the population. Everybody else sees at least as much. That it does badly proves nothing: a better attack may do well.

What a guarantee covers. A record (client) that is out sends nothing. With `add_or_remove_one` this is precisely the neighbouring
data set, and with `replace_one` and `zero_out` it is one of them, its contribution being replaced by none. Where the unit is the
client and the secret a record, the record's client is another one without it, which is up to two such steps away
(`guarantee_bounds.group_size`). A record that several clients hold, or none, is not asked for: no guarantee is for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedpareto.attacks import guarantee_bounds as bounds
from fedpareto.attacks.interface import Attack
from fedpareto.attacks.membership.roc import Estimate, area, curve, thinned, tpr_at, trials
from fedpareto.attacks.membership.scores import InOut, lira_offline, lira_online, loss_threshold, rmia, whole_pairs
from fedpareto.attacks.membership.shadow_runs import (
    Signals,
    balanced_halves,
    membership_of,
    paired,
    places_of,
    shadow_signals,
)
from fedpareto.attacks.results import AttackResult, AttackResults, RocPoint, concatenate, not_made
from fedpareto.attacks.target import Target
from fedpareto.components.rules import Rule
from fedpareto.components.threats import CLIENT, OUTSIDER
from fedpareto.federated.inputs.setup import key_data
from fedpareto.sweep.run import Run

# Per-client ROC curves are kept for this score only: it uses the most information.
CLIENT_CURVES_OF = "lira_online"
LEVELS = (0.01, 0.001)
MOST_CLIENTS = 20  # up to which each has rows of its own
POPULATION = 500  # records that `rmia` compares with

_Scores = Mapping[str, InOut]


@dataclass(frozen=True)
class _Shadowed(Attack):
    """A game of membership on the final model, which shadow runs prepare.

    Attributes:
      shadows: Further runs, each on a random half, that an attack learns from and is tried on.
    """

    FAMILY: ClassVar = "membership"
    SEES: ClassVar = "final_model"
    REFUSES: ClassVar = (
        ({"targets": "numbers"}, "it reads the scores of classes, and the targets of the task are numbers"),
    )

    shadows: Annotated[int, Rule(minimum=4, multipleOf=2, must="be an even number of at least 4")] = 16


@dataclass(frozen=True)
class Membership(_Shadowed):
    """Whether a record was trained on, told from the final model; with few clients, also for the records of each."""

    NAME: ClassVar = "membership"
    SECRET: ClassVar = "record"

    def __call__(self, target: Target) -> AttackResults:
        """Plays the game for every run: scores by method over all records, and over those of each client."""
        return _play(self, target, _of_records)


@dataclass(frozen=True)
class ClientMembership(_Shadowed):
    """Whether a whole client was trained on, told from the final model; with few clients, also for each.

    A client's statistic is the mean of log p over its records. A mean of phi would be that of its surest records, whose phi is
    large and says little: on breast cancer without privacy LiRA has an area of 0.56 with it, and 0.65 with log p.
    """

    NAME: ClassVar = "client_membership"
    SECRET: ClassVar = "client"
    POINTLESS: ClassVar = (({"clients": 1}, "have more than one client to tell from another"),)

    def not_applicable(self, run: Run) -> str | None:
        """Why the attack cannot be made on a run; None where it can."""
        reason = super().not_applicable(run)
        return (
            "there is one client, and no other to tell it from" if reason is None and run.data.clients == 1 else reason
        )

    def __call__(self, target: Target) -> AttackResults:
        """Plays the game for every run: scores by method over all clients, and for each client."""
        return _play(self, target, _of_clients)


@dataclass(frozen=True)
class _Game:
    """One run's trials.

    Attributes:
      run: The run.
      places: bool [clients, pad], which places of `index` hold a record.
      index: int32 [clients, pad], rows of the training set.
      in_out_split: The shadows of each pair.
      train: float64 [shadows, records], phi.
      test: float64 [shadows, test records], phi.
    """

    run: Run
    places: np.ndarray
    index: np.ndarray
    in_out_split: InOut
    train: np.ndarray
    test: np.ndarray

    def owners(self) -> np.ndarray:
        """The only client that holds each record, int64 [records]: -1 where none does, -2 where several do."""
        holders = np.bincount(self.index[self.places], minlength=self.train.shape[1])
        owner = np.full(self.train.shape[1], -1)
        clients = np.broadcast_to(np.arange(len(self.index))[:, None], self.index.shape)
        owner[self.index[self.places]] = clients[self.places]
        return np.where(holders > 1, -2, owner)


def _play(
    attack: Membership | ClientMembership, target: Target, scored: Callable[[_Game], tuple[_Scores, np.ndarray]]
) -> AttackResults:
    """Plays the game for every run, and makes rows of `scored`: scores by method, and whose each unit is."""
    whole_clients, shadows = attack.SECRET == CLIENT, attack.shadows
    units = target.static.clients if whole_clients else len(target.data.y_train)
    # Runs of one seed share their halves, so that noise levels are compared on equal terms.
    in_out_split = [
        balanced_halves(
            units, shadows, np.random.default_rng(key_data(f"{attack.NAME}/{target.runs[0].data.dataset}/{seed}"))
        )
        for seed in target.partitions
    ]
    signals = shadow_signals(
        target, attack.NAME, np.stack([membership_of(half) for half in in_out_split]), whole_clients
    )
    parts = []
    for number, run in enumerate(target.runs):
        game = _game(target, run, in_out_split, signals, number)
        scores, client = scored(game)
        parts.append(AttackResults(*_rows(target, run, attack, scores, client, game.in_out_split)))
    return concatenate(parts)


def _game(target: Target, run: Run, in_out_split: list[InOut], signals: Signals, number: int) -> _Game:
    partition = list(target.partitions).index(run.seed)
    index = np.asarray(target.device_data.train_index[partition])
    places = places_of(target.device_data, partition, np.ones((1, len(target.data.y_train)), bool), False)[0]
    phi = (part[number].astype(np.float64) for part in signals)
    # A model with one score that is not finite has diverged, and says nothing of any record.
    train, test = phi
    lost = ~(np.isfinite(train).all(axis=1) & np.isfinite(test).all(axis=1))
    train[lost], test[lost] = np.nan, np.nan
    return _Game(run, places, index, in_out_split[partition], train, test)


def _of_records(game: _Game) -> tuple[_Scores, np.ndarray]:
    owner = game.owners()
    drawn_by_server = game.run.setting.sums_records and not game.run.setting.clients_draw_records
    signals = paired(np.where(drawn_by_server | (owner >= 0), game.train, np.nan), game.in_out_split)
    some = np.unique(np.linspace(0, game.test.shape[1] - 1, POPULATION).astype(int))
    scores = {
        "loss_threshold": loss_threshold(signals),
        CLIENT_CURVES_OF: lira_online(signals),
        "lira_offline": lira_offline(signals),
        "rmia": rmia(signals, game.in_out_split, game.test[:, some]),
    }
    return scores, owner


def _of_clients(game: _Game) -> tuple[_Scores, np.ndarray]:
    count = game.places.sum(axis=1)
    of_records = loss_threshold(InOut(game.train, game.train)).inside
    sums = np.where(game.places, of_records[:, game.index], 0.0).sum(axis=-1)
    signals = whole_pairs(paired(np.where(count > 0, sums / np.maximum(count, 1), np.nan), game.in_out_split))
    scores = {
        "loss_threshold": signals,
        CLIENT_CURVES_OF: lira_online(signals),
        "lira_offline": lira_offline(signals),
    }
    return scores, np.arange(len(count))


def _rows(
    target: Target, run: Run, attack: Membership | ClientMembership, scores: _Scores, owner: np.ndarray, runs: InOut
) -> tuple[list[AttackResult], list[RocPoint]]:
    findings: list[AttackResult] = []
    points: list[RocPoint] = []
    own = range(run.data.clients) if 1 < run.data.clients <= MOST_CLIENTS else range(0)
    for client in (None, *own):
        chosen = np.ones(len(owner), bool) if client is None else owner == client
        for method, all_scores in scores.items():
            part, of = (InOut(*(one[:, chosen] for one in pair)) for pair in (all_scores, runs))
            inside, outside = trials(part)
            if not (len(inside) and len(outside)):
                if client is None:
                    reason = "no unit is inside one and outside another shadow run whose scores are finite"
                    findings.append(not_made(run.run_id, attack.NAME, reason, method=method, adversary=OUTSIDER))
                continue
            findings += _findings(target, run, attack, method, client, part, of)
            if client is None or method == CLIENT_CURVES_OF:
                points += _points(target, run, attack, method, client, inside, outside)
    return findings, points


def _findings(
    target: Target,
    run: Run,
    attack: Membership | ClientMembership,
    method: str,
    client: int | None,
    scores: InOut,
    runs: InOut,
) -> Iterator[AttackResult]:
    secret = attack.SECRET
    covered = bounds.covers(run, OUTSIDER, secret)
    accounted = target.accounted[run.run_id]
    group_size = bounds.group_size(accounted.plan, secret)
    inside, outside = trials(scores)

    def row(score: str, found: Estimate, baseline: float, bound: float) -> AttackResult:
        return AttackResult(
            run.run_id,
            attack.NAME,
            method,
            OUTSIDER,
            score,
            *found[:3],
            baseline=baseline,
            bound=bound if covered else np.nan,
            covered=covered,
            success=client is None and score == "auc",
            client=client,
            positives=len(inside),
            negatives=len(outside),
            realised_fpr=found.realised_fpr,
        )

    yield row("auc", area(scores, runs), 0.5, bounds.max_auc(accounted, group_size))
    for level in LEVELS:
        possible = float(bounds.max_tpr(level, accounted, group_size)[0])
        yield row(f"tpr_at_fpr_{level}", tpr_at(scores, level), level, possible)


def _points(
    target: Target,
    run: Run,
    attack: Membership | ClientMembership,
    method: str,
    client: int | None,
    inside: np.ndarray,
    outside: np.ndarray,
) -> Iterator[RocPoint]:
    secret = attack.SECRET
    fpr, tpr = thinned(*curve(inside, outside), len(outside))
    accounted = target.accounted[run.run_id]
    allowed = np.ones_like(fpr)
    if bounds.covers(run, OUTSIDER, secret):
        allowed = bounds.max_tpr(fpr, accounted, bounds.group_size(accounted.plan, secret))
    for a, b, c in zip(fpr, tpr, allowed, strict=True):
        yield RocPoint(run.run_id, attack.NAME, method, OUTSIDER, client, float(a), float(b), float(c))
