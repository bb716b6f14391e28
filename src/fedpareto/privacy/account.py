"""The accounting stage: from a bundle's runs to their plans and epsilons by round, before anything is trained."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from fedpareto.plan import Bundle, Run
from fedpareto.privacy.guarantee import Guarantee
from fedpareto.privacy.plan import PrivacyPlan


@dataclass(frozen=True)
class AccountedRun:
    """A run's plan, and what it proves after each evaluation.

    Attributes:
      plan: The plan that trains the run, its noise calibrated where the run names a target epsilon.
      guarantees: One for each of `Run.evaluation_rounds`.
    """

    plan: PrivacyPlan
    guarantees: tuple[Guarantee, ...]

    @property
    def final(self) -> Guarantee:
        """The guarantee of the whole run."""
        return self.guarantees[-1]


def privacy_plan(run: Run) -> PrivacyPlan:
    """The plan of a run; its noise is still to be calibrated if the run names a target epsilon."""
    return PrivacyPlan(
        population=run.clients if run.records is None else run.records,
        sampling_rate=run.sampling_rate,
        rounds=run.rounds,
        clip_norm=run.clip_norm,
        noise_multiplier=run.noise_multiplier or 0.0,
        delta=run.delta,
        sampling=run.sampling,
        unit=run.unit,
        trust=run.trust,
    )


def account(bundle: Bundle) -> dict[str, AccountedRun]:
    """Plans and guarantees of all runs of a bundle, by run id.

    Runs that differ only in clip norm or seed prove the same epsilon, which is computed once.
    """
    # The trainer reads what was proven, and need not wait for the accountants to be imported.
    from fedpareto.privacy.accounting import guarantees
    from fedpareto.privacy.calibration import calibrate

    calibrated: dict[tuple[Any, ...], PrivacyPlan] = {}
    proven: dict[tuple[Any, ...], tuple[Guarantee, ...]] = {}
    accounted = {}
    for run in bundle.runs:
        plan = privacy_plan(run)
        if run.target_epsilon is not None:
            key = (replace(plan, clip_norm=1.0), run.target_epsilon, run.accountant)
            if key not in calibrated:
                calibrated[key] = calibrate(plan, run.target_epsilon, run.accountant)
            plan = replace(plan, noise_multiplier=calibrated[key].noise_multiplier)
        schedule = (replace(plan, clip_norm=1.0), run.evaluation_rounds)
        if schedule not in proven:
            proven[schedule] = tuple(guarantees(plan, run.evaluation_rounds))
        accounted[run.run_id] = AccountedRun(plan, proven[schedule])
    return accounted


def to_json(accounted: dict[str, AccountedRun]) -> str:
    """The accounted runs as JSON text; infinities and NaN are the strings `inf` and `nan`."""
    return json.dumps(
        {
            run_id: {
                "plan": run.plan.to_dict(),
                "guarantees": [{k: _encode(v) for k, v in vars(g).items()} for g in run.guarantees],
            }
            for run_id, run in accounted.items()
        },
        indent=1,
    )


def from_json(text: str) -> dict[str, AccountedRun]:
    """Reads what `to_json` wrote."""
    fields = PrivacyPlan.__dataclass_fields__
    accounted = {}
    for run_id, entry in json.loads(text).items():
        plan = PrivacyPlan(**{k: v for k, v in entry["plan"].items() if k in fields})
        proven = []
        for stored in entry["guarantees"]:
            values: dict[str, Any] = {key: _decode(value) for key, value in stored.items() if key != "warnings"}
            proven.append(Guarantee(**values, warnings=tuple(stored["warnings"])))
        accounted[run_id] = AccountedRun(plan, tuple(proven))
    return accounted


def _encode(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _decode(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
