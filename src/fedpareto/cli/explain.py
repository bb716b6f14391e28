"""The explanation of an epsilon, for `--explain`: whom it protects from whom, and the numbers and theorems that it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from fedpareto.analysis.tables.adversary import ADJACENCIES, NOISED_BY, UNITS, adversary, assumption, promise
from fedpareto.cli.question import Question
from fedpareto.privacy.theorems import theorems
from fedpareto.sweep.account import AccountedRun

DIGITS = 4  # of an epsilon in a sentence
NO_PROMISE = "Nothing is promised: without noise a run has no guarantee."
NO_EPSILON = "Nothing is promised, for no epsilon is proven:"


def explanation(asking: Question, accounted: AccountedRun) -> dict[str, Any]:
    """The parts of an explanation by name: texts, numbers, and the parts of delta.

    Args:
      asking: The run, as the flags describe it.
      accounted: Its plan and guarantee.
    """
    plan, proven = accounted.plan, accounted.final
    setting = plan.setting
    place = setting.unit, setting.trust
    order = {"rdp_order": proven.rdp_order} if proven.epsilon_by == "rdp" else {}
    local = {} if plan.local is None else {"record_rate": plan.local.worst, "local_steps": plan.local.steps}
    found = {
        "promise": NO_PROMISE,
        "unit": f"{setting.unit}: {UNITS[setting.unit]}",
        "adjacency": f"{setting.adjacency}: {ADJACENCIES[setting.adjacency]}",
    }
    if not plan.private:
        return found
    if not math.isfinite(proven.epsilon):
        return {**found, "promise": f"{NO_EPSILON} {proven.warnings[0].removeprefix('no guarantee: ')}."}
    said = f"epsilon = {rounded_up(proven.epsilon):g}"
    found["promise"] = promise(*place, setting.adjacency, epsilon=said, delta=f"delta = {asking.delta}")
    return {
        **found,
        "noise": f"added by {NOISED_BY[place]}",
        "adversary": adversary(*place, setting.effective_participation),
        "assumption": assumption(*place, setting.effective_participation),
        "inclusion_probability": plan.inclusion_probability,
        **({"amplified": plan.amplified} if plan.local is None else {}),
        "rounds": plan.rounds,
        **local,
        "releases": proven.releases,
        "sensitivity": plan.sensitivity,
        "relative_noise": plan.relative_noise,
        "delta": {"accounted": plan.accounted_delta} | {k: v for k, v in vars(plan.budget).items() if k != "delta"},
        "accountant": proven.epsilon_by,
        **order,
        "theorems": [": ".join(filter(None, (row.mechanism, row.source))) for row in theorems(plan)],
    }


def lines(explained: Mapping[str, Any]) -> Iterator[str]:
    """An explanation as plain lines, a part each."""
    units = {"sensitivity": " times the clip norm", "relative_noise": " standard deviations / sensitivity"}
    for name, part in explained.items():
        if isinstance(part, Mapping):
            text = " + ".join(f"{value:.6g} {event}" for event, value in part.items() if value)
        elif isinstance(part, list):
            text = "; ".join(part) or "none of this program's: the proof is the author's of the component"
        else:
            text = (f"{part:.6g}" if isinstance(part, float) else str(part)) + units.get(name, "")
        yield f"{name:<21} {text}"


def rounded_up(epsilon: float, digits: int = DIGITS) -> float:
    """Epsilon in so many digits, and never a smaller one.

    >>> rounded_up(2.31001), rounded_up(0.0), rounded_up(12345.6)
    (2.311, 0.0, 12350.0)
    """
    if epsilon <= 0:
        return 0.0
    step = digits - 1 - math.floor(math.log10(epsilon))
    return math.ceil(epsilon * 10.0**step) / 10.0**step
