"""A plan as the event of dp-accounting that its own accountant takes: Gaussians on everybody or on a Poisson sample, composed."""

import math

import dp_accounting

from fedpareto.privacy.accounting.round_law import gaussian_round


def whole_event(plan):
    """The `DpEvent` of the whole run, preliminary releases first."""
    law = gaussian_round(plan)
    assert law.participation == 1
    assert law.sample != "without_replacement"
    times = plan.releases(plan.rounds)
    if not float(times).is_integer():  # correlated noise: one Gaussian
        rounds = dp_accounting.GaussianDpEvent(law.noise / math.sqrt(times))
    else:
        release = dp_accounting.GaussianDpEvent(law.noise)
        sampled = release if law.sample == "everybody" else dp_accounting.PoissonSampledDpEvent(law.rate, release)
        rounds = dp_accounting.SelfComposedDpEvent(sampled, int(times))
    before = [dp_accounting.GaussianDpEvent(noise) for noise in plan.preprocessing_relative_noise]
    return dp_accounting.ComposedDpEvent([*before, rounds])
