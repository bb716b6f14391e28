"""Audit: how large epsilon must be at least, seen from canaries planted in copies of a run.

The adversary knows all there is to know but the canaries' coins: the plan, the data, the canaries' directions. Those who take part
see every release, an outsider the final model. With secure aggregation the server sees what participants see; a trusted server
sees everything, and no guarantee is against it. Three scores for each:

- `epsilon_lower`: a lower bound on epsilon at the run's delta, at 95 % confidence (`epsilon_bounds`). Beside it stands the proven
  epsilon: by privacy loss distributions where there is such a proof, else by Renyi divergence. A sound run's bound is above it
  with probability 5 % at most; a bound above it says that plan and program disagree.
- `epsilon_estimate`: what two Gaussians fitted to the scores of present and absent canaries have: no bound, in neither direction.
- `auc` of telling present from absent.

`one_run` plants many canaries in each of few copies: its theorem allows for what they have to do with each other. `many_runs`
plants one in each of many copies, and counts errors: the way where members are few, or where delta is so large that twice delta
times all canaries is not small, which is what one run pays.

What it cannot say: a small bound proves nothing. Canaries may be too weak, trials too few (with n guesses all right, no bound is
above log(p / (1 - p)) for p = 0.05^(1/n)), and the scores too plain. Not audited yet: trust `local`, records under trust
`distributed`, algorithm `scaffold`, what preprocessing learns of the records before the first round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import jax
import numpy as np

from fedpareto.attacks.audit.canary_runs import CanaryTrace, copies_of, observe, population_of
from fedpareto.attacks.audit.epsilon_bounds import CONFIDENCE, area, gaussian_fit, guess_counts, many_runs, one_run
from fedpareto.attacks.audit.scores import canary_law, log_likelihood_ratio, simulated_scores
from fedpareto.attacks.guarantee_bounds import covers, max_auc
from fedpareto.attacks.interface import Attack
from fedpareto.attacks.results import AttackResult, AttackResults, concatenate
from fedpareto.attacks.target import Target
from fedpareto.components.rules import Rule
from fedpareto.components.threats import OUTSIDER, PARTICIPANTS, SERVER
from fedpareto.federated.inputs.setup import key_data
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.run import Run

MOST_CANARIES = 256
PARAMETERS_A_CANARY = 8


@dataclass(frozen=True)
class Audit(Attack):
    """A lower bound on epsilon, shown by canaries in copies of a run; the runs' final models are not needed.

    Attributes:
      method: Many canaries in each of few copies, or one in each of many.
      canaries: Members of the population that are planted; null for half of the members, at most one for 8 parameters and at most
        256. Always 1 with `many_runs`.
      runs: Runs of the mechanism with canaries.
    """

    NAME: ClassVar = "audit"
    FAMILY: ClassVar = "audit"
    SECRET: ClassVar = "unit"
    SEES: ClassVar = "every_release"
    REFUSES: ClassVar = (
        ({"algorithm": "scaffold"}, "scaffold's clients send two vectors, and no attack here reads both"),
        ({"several_vectors": True}, "its clients send several vectors, and no attack here reads all of them"),
        ({"trust": "local"}, "clients add the noise by themselves, and no canary here speaks for a client"),
        (
            {"unit": "record", "trust": "distributed"},
            "clients draw their own records for a sum, and no canary here is a record of theirs",
        ),
    )
    POINTLESS: ClassVar = (({"private": False}, "be made on noise: there is no epsilon to audit"),)
    TOGETHER: ClassVar = (
        # Of fewer runs the half that is counted shows no epsilon above 0, even if all of them are right.
        (
            {"method": "many_runs"},
            "runs",
            {"minimum": 32, "must": "be at least 32 with many_runs, half of which are counted", "hint": "e.g. 500"},
        ),
        (
            {"method": "many_runs"},
            "canaries",
            {"enum": [None, 1], "must": "be null with many_runs: one canary a run", "hint": "null"},
        ),
    )

    method: Literal["one_run", "many_runs"] = "one_run"
    canaries: Annotated[int | None, Rule(minimum=1, hint="null for as many as suit the study")] = None
    runs: Annotated[int, Rule(minimum=1)] = 16

    def not_applicable(self, run: Run) -> str | None:
        """Why a run is not audited; None where it is."""
        if run.privacy is None:
            return "it adds no noise: there is no epsilon to audit"
        if run.contribution.clipping is not None:
            return (
                "its clip norm adapts: no canary here is counted among the long and the short as its neighbour would be"
            )
        return super().not_applicable(run)

    def __call__(self, target: Target) -> AttackResults:
        """Audits the runs of a target."""
        groups: dict[float, list[int]] = {}
        for i, run in enumerate(target.runs):
            if self.not_applicable(run) is None:  # an absent canary sends something else under another adjacency
                groups.setdefault(canary_law(target.plans[run.run_id], 0.0).absent, []).append(i)
        return concatenate(_audited(self, target, rows, absent) for absent, rows in sorted(groups.items()))


def _audited(attack: Audit, target: Target, rows: Sequence[int], absent: float) -> AttackResults:
    """The audits of the runs at `rows`, whose absent canaries send their vectors times `absent`."""
    runs, method, copies = [target.runs[i] for i in rows], attack.method, attack.runs
    static, data = target.static, target.device_data
    count = canaries_in(population_of(static, data), static.model.parameters, method, attack.canaries)
    run_params = jax.tree.map(lambda leaf: leaf[np.asarray(rows)], target.run_params)
    names = [f"{method}/{run.run_id}" for run in runs]
    # Runs that are counted one by one must be independent: what to expect is then learned from those that are not counted.
    known = np.ones(copies, bool) if method == "one_run" else np.arange(copies) % 2 == 0
    seen = observe(static, data, copies_of(run_params, names, copies), canaries=count, absent=absent, known=known)
    findings: list[AttackResult] = []
    for i, run in enumerate(runs):
        own = jax.tree.map(lambda leaf, i=i: leaf[i * copies : (i + 1) * copies], seen)
        findings += findings_of(run, target.accounted[run.run_id], own, method)
    return AttackResults(findings)


def canaries_in(population: int, parameters: int, method: str, asked: int | None) -> int:
    """Canaries in each copy."""
    if method == "many_runs":
        return 1
    if asked is not None:
        return max(1, min(asked, population, parameters))
    return max(1, min(population // 2, parameters // PARAMETERS_A_CANARY, MOST_CANARIES))


def findings_of(run: Run, accounted: AccountedRun, copies: CanaryTrace, method: str) -> list[AttackResult]:
    """Evidence from the copies of one run, for each adversary that its guarantee covers.

    Args:
      run: The run.
      accounted: Its plan and guarantee.
      copies: The observed copies, [copies, ...].
      method: `one_run` or `many_runs`.
    """
    law = canary_law(accounted.plan, run.cohort.dropout or 0.0)
    rounds = law.rounds
    ratios = log_likelihood_ratio(copies.released[:, :rounds], copies.sampled[:, :rounds], law)
    rng = np.random.default_rng(key_data(f"audit/{run.run_id}/guesses"))
    expected_ratios, expected_sums, simulated = simulated_scores(law, rng)
    present = np.asarray(copies.present).ravel()
    possible = max_auc(accounted)
    found = []
    for adversary, scores, expected in (
        (PARTICIPANTS, ratios, expected_ratios),
        (OUTSIDER, np.nan_to_num(copies.moved.astype(np.float64)), expected_sums),
    ):
        found += _scores(run, accounted, method, adversary, scores.ravel(), present, expected, simulated, possible)
    if covers(run, SERVER, run.contribution.unit):  # It sees the sums that it releases.
        found += [replace(row, adversary=SERVER) for row in found if row.adversary == PARTICIPANTS]
    return found


def _scores(
    run: Run,
    accounted: AccountedRun,
    method: str,
    adversary: str,
    scores: np.ndarray,
    present: np.ndarray,
    expected: np.ndarray,
    simulated: np.ndarray,
    possible: float,
) -> list[AttackResult]:
    """The findings on one adversary.

    `expected` are simulated scores of canaries of which `simulated` were present, `possible` is the largest area under a ROC curve.
    """
    delta = accounted.plan.delta
    assert delta is not None  # a private run has one
    if method == "one_run":
        lower = one_run(scores, present, delta, guess_counts(expected, simulated, len(scores), delta))
    else:
        lower = many_runs(scores, present, delta)
    auc, low, high = area(scores, present)
    about: dict[str, Any] = {
        "run_id": run.run_id,
        "attack": Audit.NAME,
        "method": method,
        "adversary": adversary,
        "covered": covers(run, adversary, run.contribution.unit),
        "confidence": CONFIDENCE,
        "positives": int(present.sum()),
        "negatives": int((~present).sum()),
    }
    proven = accounted.final.epsilon
    estimate = gaussian_fit(scores[present], scores[~present], delta)
    found = [
        AttackResult(score="epsilon_lower", value=lower, low=lower, baseline=0.0, bound=proven, **about),
        AttackResult(score="epsilon_estimate", value=estimate, baseline=0.0, bound=proven, **about),
        AttackResult(score="auc", value=auc, low=low, high=high, baseline=0.5, bound=possible, **about),
    ]
    return [row for row in found if not math.isnan(row.value)]
