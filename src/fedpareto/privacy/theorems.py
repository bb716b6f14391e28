"""The theorems that a guarantee rests on: the rows of the table "All mechanisms" of docs/privacy.md that apply to a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedpareto.privacy.plan import PrivacyPlan


@dataclass(frozen=True)
class Theorem:
    """A row of the table.

    Attributes:
      mechanism: Its first cell.
      source: Its cell `proof`.
      applies: Whether it is about a plan.
    """

    mechanism: str
    source: str
    applies: Callable[[PrivacyPlan], bool]


def _independent(plan: PrivacyPlan) -> bool:
    """Whether a unit's participations are Gaussian releases of their own, which the server or each client noises in one step."""
    return plan.setting.mechanism == "gaussian" and plan.local is None


def _drawn(plan: PrivacyPlan, participation: str) -> bool:
    setting = plan.setting
    return _independent(plan) and not setting.scheduled and setting.effective_participation == participation


# T1 to T4 and lemmas are those of docs/proofs.md.
THEOREMS = (
    Theorem(
        "Gaussian, Poisson, secret",
        "Mironov et al. 2019, Thm 4",
        lambda plan: _drawn(plan, "secret") and plan.setting.sampling == "poisson",
    ),
    Theorem(
        "Gaussian, fixed size, secret",
        "T1",
        lambda plan: _drawn(plan, "secret") and plan.setting.sampling == "fixed_size",
    ),
    Theorem("Gaussian, drawn cohorts, seen", "T2", lambda plan: _drawn(plan, "seen")),
    Theorem("Gaussian, shuffled or cyclic", "Mironov 2017", lambda plan: _independent(plan) and plan.setting.scheduled),
    Theorem(
        "adaptive clipping", "Andrew et al. 2021, Thm 1; Lemma 1", lambda plan: plan.setting.clipping == "adaptive"
    ),
    Theorem(
        "DP-SGD on clients, drawn cohorts",
        "Abadi et al. 2016; T2",
        lambda plan: plan.local is not None and not plan.setting.scheduled,
    ),
    Theorem(
        "DP-SGD on clients, shuffled",
        "Abadi et al. 2016",
        lambda plan: plan.local is not None and plan.setting.scheduled,
    ),
    Theorem(
        "Skellam",
        "Agarwal et al. 2021; drawn: T2, Zhu and Wang 2019, Thm 5",
        lambda plan: plan.setting.mechanism == "skellam",
    ),
    Theorem(
        "discrete Gaussian",
        "Kairouz et al. 2021a, Prop. 14; drawn: T2, Zhu and Wang 2019, Thm 5",
        lambda plan: plan.setting.mechanism == "discrete_gaussian",
    ),
    Theorem("banded (DP-FTRL)", "Choquette-Choo et al. 2023", lambda plan: plan.setting.mechanism == "banded"),
    Theorem(
        "preprocessing that learns from records",
        "Abadi et al. 2016; Lemma 2",
        lambda plan: bool(plan.preprocessing_noise_multipliers),
    ),
    Theorem(
        "FedProx, weights with a cap",
        "one clipped vector a client",
        lambda plan: plan.setting.algorithm == "fedprox" or plan.setting.weight_cap is not None,
    ),
    Theorem("SCAFFOLD", "Noble et al. 2022; T3", lambda plan: plan.setting.algorithm == "scaffold"),
)


def theorems(plan: PrivacyPlan) -> Iterator[Theorem]:
    """The rows that are about a private plan, in their order; none where its mechanism is the user's own."""
    if plan.private:
        yield from (theorem for theorem in THEOREMS if theorem.applies(plan))
