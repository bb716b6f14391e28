"""Answers of the command line that need no training: epsilon of a run, and the noise that proves an epsilon."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from typing import Any

from fedpareto.columns.declared import ACCOUNTANTS
from fedpareto.privacy.accounting import calibration
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError
from fedpareto.privacy.setting import PrivacySetting

# Where no population is named there is no cohort buffer either, and no overflow to charge to delta.
UNSTATED_POPULATION = 1


def epsilon(arguments: argparse.Namespace) -> None:
    """Prints the epsilon that the flags of `fedpareto epsilon` prove.

    Raises:
      PrivacyPlanError: They describe no mechanism.
    """
    plan = _plan(arguments, arguments.noise_multiplier)
    _answer(plan, guarantee(plan), arguments.json)


def calibrate(arguments: argparse.Namespace) -> None:
    """Prints the smallest noise multiplier that proves the epsilon asked for by the flags of `fedpareto calibrate`.

    Raises:
      PrivacyPlanError: They describe no mechanism, or the epsilon is out of reach.
    """
    plan = calibration.calibrate(_plan(arguments, 1.0), arguments.epsilon, arguments.accountant)
    proven, doubt = guarantee(plan), calibration.end_of_search(plan, arguments.accountant)
    proven = replace(proven, warnings=(*proven.warnings, *([doubt] if doubt else [])))
    _answer(plan, proven, arguments.json, accountant=arguments.accountant, target_epsilon=arguments.epsilon)


def _plan(arguments: argparse.Namespace, noise_multiplier: float) -> PrivacyPlan:
    """The privacy plan that the flags describe."""
    if arguments.sampling == "poisson":
        if arguments.sampling_rate is None:
            raise PrivacyPlanError("poisson sampling needs --sampling-rate")
        population, rate = arguments.population or UNSTATED_POPULATION, arguments.sampling_rate
    else:
        if (
            arguments.population is None
            or arguments.sample_size is None
            or arguments.sample_size > arguments.population
        ):
            raise PrivacyPlanError("fixed_size sampling needs --population and a --sample-size that is not larger")
        population, rate = arguments.population, arguments.sample_size / arguments.population
    return PrivacyPlan(
        PrivacySetting(sampling=arguments.sampling, sampling_rate=rate),
        population=population,
        rounds=arguments.steps,
        clip_norm=1.0,
        noise_multiplier=noise_multiplier,
        delta=arguments.delta,
    )


def _answer(plan: PrivacyPlan, proven: Any, as_json: bool, **more: Any) -> None:
    answer = {
        "epsilon": proven.epsilon,
        "epsilon_by": proven.epsilon_by,
        **{accountant.column.name: proven.epsilons[accountant.name] for accountant in ACCOUNTANTS},
        "rdp_order": proven.rdp_order,
        "delta": plan.delta,
        "unit": plan.setting.unit,
        "adjacency": plan.setting.adjacency,
        "sampling": plan.setting.sampling,
        "noise_multiplier": plan.noise_multiplier,
        **more,
    }
    for warning in proven.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        # Strict JSON has no infinity: a run without noise proves nothing, and says null.
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in answer.items()}
        print(json.dumps(finite | {"private": plan.private, "warnings": list(proven.warnings)}))
        return
    for key, value in answer.items():
        print(f"{key:<20} {value:.6g}" if isinstance(value, float) else f"{key:<20} {value}")
