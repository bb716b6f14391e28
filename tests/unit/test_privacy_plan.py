"""The privacy plan: what it derives, and what it refuses."""

import math

import dp_accounting
import pytest
from scipy.stats import binom

from fedpareto.privacy.accounting.epsilon import guarantee, guarantees
from fedpareto.privacy.accounting.events import step_event, whole_event
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError
from fedpareto.privacy.setting import PrivacySetting, SecureAggregation

PLAN = PrivacyPlan(
    PrivacySetting(sampling_rate=0.1), population=1000, rounds=100, clip_norm=0.5, noise_multiplier=2.0, delta=1e-5
)


def test_divisor_is_the_expected_cohort():
    assert PLAN.expected_cohort == 100


def test_noise_is_relative_to_the_clip_norm():
    assert PLAN.noise_stddev == 1.0
    assert PLAN.sensitivity == 0.5


def test_replacing_a_client_doubles_the_sensitivity_and_the_event_says_so():
    fixed = PLAN.replace(sampling="fixed_size")
    assert fixed.setting.adjacency == "replace_one"
    assert fixed.sensitivity == 1.0
    assert step_event(fixed) == dp_accounting.SampledWithoutReplacementDpEvent(
        1000, 100, dp_accounting.GaussianDpEvent(1.0)
    )


@pytest.mark.parametrize(("population", "rate", "size"), [(10, 0.15, 2), (7, 0.4, 3), (3, 0.1, 1), (105, 0.1, 10)])
def test_cohorts_of_a_fixed_size_are_whole_and_accounted_for_as_they_are(population, rate, size):
    plan = PLAN.replace(population=population, sampling_rate=rate, sampling="fixed_size", delta=1e-3)
    assert plan.max_cohort_size == plan.expected_cohort == size
    assert plan.inclusion_probability == size / population
    whole = SecureAggregation(dimension=10, participants=size, bits=12, threshold=0.6)
    discrete = plan.replace(trust="distributed", mechanism="skellam", sum=whole, noise_multiplier=4.0)
    for kind in (plan, discrete, discrete.replace(participation="seen")):
        stated = kind.replace(sampling_rate=size / population)
        assert guarantee(kind, only=("rdp",)) == guarantee(stated, only=("rdp",))


def test_no_more_bands_than_rounds_between_two_participations_of_whole_cohorts():
    cyclic = PLAN.replace(population=10, sampling_rate=0.15, sampling="cyclic", participation="seen")
    assert cyclic.setting.min_separation == 5  # of two clients each, where 1 / 0.15 is above 6
    with pytest.raises(PrivacyPlanError, match="at most as many bands"):
        cyclic.replace(mechanism="banded", strategy=(0.5,) * 6)


def test_event_of_a_poisson_run():
    assert whole_event(PLAN) == dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0)), 100
    )


@pytest.mark.parametrize(("population", "rate"), [(100, 0.3), (1000, 0.1), (100_000, 0.001), (50, 1.0)])
def test_pad_is_the_smallest_that_overflows_negligibly(population, rate):
    plan = PLAN.replace(population=population, sampling_rate=rate)
    budget = 1e-3 * plan.delta
    assert plan.rounds * binom.sf(plan.max_cohort_size, population, rate) <= budget
    if plan.max_cohort_size < population:
        assert plan.rounds * binom.sf(plan.max_cohort_size - 1, population, rate) > budget


def test_overflow_is_paid_for_out_of_delta():
    assert PLAN.overflow_probability == pytest.approx(100 * binom.sf(PLAN.max_cohort_size, 1000, 0.1), rel=1e-9)
    assert PLAN.overflow_probability > 0
    assert PLAN.accounted_delta == pytest.approx(PLAN.delta - PLAN.overflow_probability, rel=1e-12)


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
        ({"trust": "local", "participation": "secret"}, "everybody sees the update"),
        ({"trust": "nobody"}, "trust"),
        ({"mechanism": "skellam"}, "secure aggregation"),
        ({"clipping": "adaptive", "count_noise": 0.5}, "count_noise"),
    ],
)
def test_unsound_plans_are_refused_with_the_reason(change, reason):
    with pytest.raises(PrivacyPlanError, match=reason):
        PLAN.replace(**change)


def test_what_is_released_before_the_first_round_is_spent_before_it():
    records = PLAN.replace(unit="record", preprocessing_noise_multipliers=(4.0,))
    first, last = guarantees(records, [0, 100])
    alone = guarantee(PLAN.replace(sampling_rate=1.0, rounds=1, noise_multiplier=4.0))
    assert first.epsilon_rdp == pytest.approx(
        alone.epsilon_rdp, rel=1e-3
    )  # a pad of its own, hence another share of delta
    assert first.epsilon_pld == pytest.approx(alone.epsilon_pld, rel=1e-3)
    assert (first.releases, last.releases) == (1, 101)
    # So many rounds ask for a finer grid of losses than one release alone.
    long = guarantees(records.replace(sampling_rate=0.01, rounds=20_000), [0, 10, 20_000])
    assert [one.epsilon_pld for one in long] == sorted(one.epsilon_pld for one in long)
    assert long[0].epsilon_pld == pytest.approx(first.epsilon_pld, rel=2e-3)
    assert last.epsilon_rdp > guarantee(records.replace(preprocessing_noise_multipliers=())).epsilon_rdp


def test_swapping_a_record_doubles_what_a_preliminary_release_gives_away():
    swapped = PLAN.replace(
        unit="record", sampling="shuffled", participation="seen", preprocessing_noise_multipliers=(4.0, 6.0)
    )
    assert swapped.preprocessing_relative_noise == (2.0, 3.0)


@pytest.mark.parametrize("other", [{"unit": "client"}, {"unit": "client", "trust": "local", "participation": "seen"}])
def test_only_records_that_a_trusted_server_protects_may_be_learned_from_first(other):
    with pytest.raises(PrivacyPlanError, match="preprocessing must be none"):
        PLAN.replace(**{"unit": "record"} | other, preprocessing_noise_multipliers=(4.0,))


def test_a_preliminary_release_without_noise_is_refused():
    with pytest.raises(PrivacyPlanError, match="preliminary"):
        PLAN.replace(unit="record", preprocessing_noise_multipliers=(4.0, 0.0))
