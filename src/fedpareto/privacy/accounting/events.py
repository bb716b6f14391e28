"""A plan as events of dp-accounting: one step, and the whole run."""

from __future__ import annotations

import math

import dp_accounting

from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError


def step_event(plan: PrivacyPlan) -> dp_accounting.DpEvent:
    """The `DpEvent` that composes.

    Under `replace_one` the sensitivity is twice the clip norm, which dp-accounting's RDP does not do by itself
    (its noise multiplier is relative to the sensitivity): the multiplier handed over is
    `noise_multiplier * clip_norm / sensitivity`, so that RDP is right.

    Raises:
      PrivacyPlanError: The mechanism has no event in dp-accounting: one that states its divergence itself (discrete
        noise), and participations in secret of several steps each (`accounting.rdp.rdp_curve` has both).
    """
    if not plan.private:
        return dp_accounting.NonPrivateDpEvent()
    release = plan.noise.event(plan)
    if release is None or (plan.local is not None and plan.amplified):
        raise PrivacyPlanError(
            f"{plan.setting.mechanism} noise with trust {plan.setting.trust} has no event in dp-accounting"
        )
    if plan.local is not None:
        return dp_accounting.PoissonSampledDpEvent(plan.local.worst, release)
    if not plan.amplified:
        # Full participation by Poisson stays what it says: the accountant knows that rate 1 amplifies nothing.
        poisson = plan.setting.sampling == "poisson" and plan.setting.effective_participation == "secret"
        return dp_accounting.PoissonSampledDpEvent(plan.setting.sampling_rate, release) if poisson else release
    if plan.setting.sampling == "poisson":
        return dp_accounting.PoissonSampledDpEvent(plan.setting.sampling_rate, release)
    return dp_accounting.SampledWithoutReplacementDpEvent(plan.population, plan.max_cohort_size, release)


def whole_event(plan: PrivacyPlan) -> dp_accounting.DpEvent:
    """The `DpEvent` of the whole run, preliminary releases first; raises where `step_event` does, but for correlated noise."""
    if plan.noise.compositions(plan, plan.rounds) is not None:
        return dp_accounting.GaussianDpEvent(plan.relative_noise / math.sqrt(plan.releases(plan.rounds)))
    rounds = dp_accounting.SelfComposedDpEvent(step_event(plan), int(plan.releases(plan.rounds)))
    if not plan.preprocessing_noise_multipliers:
        return rounds
    before = [dp_accounting.GaussianDpEvent(noise) for noise in plan.preprocessing_relative_noise]
    return dp_accounting.ComposedDpEvent([*before, rounds])
