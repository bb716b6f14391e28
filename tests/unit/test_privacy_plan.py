"""The privacy plan: what it derives, and what it refuses."""

import math
from dataclasses import replace

import dp_accounting
import pytest
from scipy.stats import binom

from fedpareto.privacy.accounting import guarantee
from fedpareto.privacy.parties import Sum
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError

PLAN = PrivacyPlan(population=1000, sampling_rate=0.1, rounds=100, clip_norm=0.5, noise_multiplier=2.0, delta=1e-5)


def test_divisor_is_the_expected_cohort():
    assert PLAN.expected_cohort == 100


def test_noise_is_relative_to_the_clip_norm():
    assert PLAN.noise_stddev == 1.0
    assert PLAN.sensitivity == 0.5


def test_replacing_a_client_doubles_the_sensitivity_and_the_event_says_so():
    fixed = replace(PLAN, sampling="fixed_size")
    assert fixed.adjacency == "replace_one"
    assert fixed.sensitivity == 1.0
    assert fixed.step_event() == dp_accounting.SampledWithoutReplacementDpEvent(
        1000, 100, dp_accounting.GaussianDpEvent(1.0)
    )


@pytest.mark.parametrize(("population", "rate", "size"), [(10, 0.15, 2), (7, 0.4, 3), (3, 0.1, 1), (105, 0.1, 10)])
def test_cohorts_of_a_fixed_size_are_whole_and_accounted_for_as_they_are(population, rate, size):
    plan = replace(PLAN, population=population, sampling_rate=rate, sampling="fixed_size", delta=1e-3)
    assert plan.cohort_pad == plan.expected_cohort == size
    assert plan.inclusion == size / population
    whole = Sum(dimension=10, participants=size, bits=12, threshold=0.6)
    discrete = replace(plan, trust="distributed", mechanism="skellam", sum=whole, noise_multiplier=4.0)
    for kind in (plan, discrete, replace(discrete, participation="seen")):
        stated = replace(kind, sampling_rate=size / population)
        assert guarantee(kind, with_pld=False) == guarantee(stated, with_pld=False)


def test_no_more_bands_than_rounds_between_two_participations_of_whole_cohorts():
    cyclic = replace(PLAN, population=10, sampling_rate=0.15, sampling="cyclic", participation="seen")
    assert cyclic.batches == 5  # of two clients each, where 1 / 0.15 is above 6
    with pytest.raises(PrivacyPlanError, match="at most as many bands"):
        replace(cyclic, mechanism="banded", strategy=(0.5,) * 6)


def test_event_of_a_poisson_run():
    assert PLAN.dp_event() == dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0)), 100
    )


@pytest.mark.parametrize(("population", "rate"), [(100, 0.3), (1000, 0.1), (100_000, 0.001), (50, 1.0)])
def test_pad_is_the_smallest_that_overflows_negligibly(population, rate):
    plan = replace(PLAN, population=population, sampling_rate=rate)
    budget = 1e-3 * plan.delta
    assert plan.rounds * binom.sf(plan.cohort_pad, population, rate) <= budget
    if plan.cohort_pad < population:
        assert plan.rounds * binom.sf(plan.cohort_pad - 1, population, rate) > budget


def test_overflow_is_paid_for_out_of_delta():
    assert PLAN.overflow_probability == pytest.approx(100 * binom.sf(PLAN.cohort_pad, 1000, 0.1), rel=1e-9)
    assert PLAN.overflow_probability > 0
    assert PLAN.accounted_delta == PLAN.delta - PLAN.overflow_probability


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clip_norm": None}, "no bound"),
        ({"delta": None}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"sampling_rate": 0.0}, "sampling_rate"),
        ({"sampling_rate": 1.1}, "sampling_rate"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"noise_multiplier": math.nan}, "noise_multiplier"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"trust": "local"}, "everybody sees the update"),
        ({"trust": "nobody"}, "trust"),
        ({"mechanism": "skellam"}, "secure aggregation"),
        ({"adaptive": True, "count_noise": 0.5}, "count_noise"),
    ],
)
def test_unsound_plans_are_refused_with_the_reason(change, reason):
    with pytest.raises(PrivacyPlanError, match=reason):
        replace(PLAN, **change)
