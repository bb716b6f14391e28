"""Answers of the command line that need no training: epsilon of a run, and the noise that proves an epsilon."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from fedpareto.cli import question
from fedpareto.cli.explain import explanation, lines
from fedpareto.cli.failures import FlagError
from fedpareto.cli.question import Question
from fedpareto.columns.declared import ACCOUNTANTS
from fedpareto.privacy.plan import PrivacyPlanError
from fedpareto.sweep.account import AccountedRun, account
from fedpareto.sweep.components import proved_by
from fedpareto.sweep.run import Bundle


def epsilon(arguments: argparse.Namespace) -> None:
    """Prints the epsilon that the flags of `fedpareto epsilon` prove.

    Raises:
      FlagError: They describe no run with a sound guarantee.
    """
    _answer(arguments, {})


def calibrate(arguments: argparse.Namespace) -> None:
    """Prints the smallest noise multiplier that proves the epsilon asked for by the flags of `fedpareto calibrate`.

    Raises:
      FlagError: They describe no run with a sound guarantee, or the epsilon is out of reach.
    """
    _answer(arguments, {"accountant": arguments.accountant, "target_epsilon": arguments.epsilon})


def _answer(arguments: argparse.Namespace, asked: Mapping[str, Any]) -> None:
    """Accounts for the run that flags describe, and prints what it proves."""
    asking = question.read(arguments)
    try:
        accounted = account(Bundle((asking.run,)), asking.sizes)[asking.run.run_id]
    except PrivacyPlanError as error:
        raise FlagError(str(error)) from error
    said = {**_said(asking, accounted), **asked}
    explained = explanation(asking, accounted) if arguments.explain else {}
    warnings = accounted.final.warnings
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.json:
        more = {"private": accounted.plan.private, "warnings": [*warnings]}
        print(json.dumps(_strict(said | more | ({"explanation": explained} if arguments.explain else {}))))
        return
    for key, value in said.items():
        if value is not None:
            print(f"{key:<20} {value:.6g}" if isinstance(value, float) else f"{key:<20} {value}")
    if explained:
        print("", *lines(explained), sep="\n")


def _said(asking: Question, accounted: AccountedRun) -> dict[str, Any]:
    plan, proven = accounted.plan, accounted.final
    setting = plan.setting
    own = {} if plan.local is None else {"epsilon_median": proven.epsilon_median}
    return {
        "epsilon": proven.epsilon,
        "epsilon_by": proven.epsilon_by,
        **{accountant.column.name: proven.epsilons[accountant.name] for accountant in ACCOUNTANTS},
        "rdp_order": proven.rdp_order,
        **own,
        "delta": asking.delta,
        "delta_rule": asking.suggestion,
        "unit": setting.unit,
        "trust": setting.trust,
        "adjacency": setting.adjacency,
        "sampling": setting.sampling,
        "sampling_rate": setting.sampling_rate,
        "participation": setting.effective_participation,
        "mechanism": setting.mechanism,
        "rounds": plan.rounds,
        "noise_multiplier": plan.noise_multiplier,
        "proved_by": proved_by(asking.run),
    }


def _strict(value: Any) -> Any:
    """The value in strict JSON, which has neither infinity nor NaN: a run without noise proves nothing, and says null."""
    if isinstance(value, Mapping):
        return {key: _strict(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
