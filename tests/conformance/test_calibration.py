"""Calibrated noise and rounds cut at a budget keep the promise, and waste nothing."""

import itertools
import math

import pytest
from plans import AFTER_RELEASES, CENTRAL, KINDS, SCHEDULED, by_rdp, proven

from fedpareto.privacy.accounting.calibration import _spent, calibrate, end_of_search, stopped
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.plan import PrivacyPlanError


@pytest.mark.parametrize("kind", ["central", "client noises", "record, seen", "banded", "skellam, records"])
def test_a_run_that_stops_at_a_budget_ends_with_the_last_round_within_it(kind):
    # As in `account`, more rounds are asked for than are afforded.
    plan = KINDS[kind].replace(rounds=60)
    budget = 1.02 * by_rdp(plan.after(17))
    cut = stopped(plan, budget, "rdp")
    assert 17 <= cut.rounds < 60
    assert cut.replace(rounds=60) == plan
    assert by_rdp(cut) <= budget < by_rdp(plan.after(cut.rounds + 1))
    assert stopped(plan, by_rdp(plan), "rdp") == plan
    with pytest.raises(PrivacyPlanError, match="within no round"):
        stopped(plan, 0.99 * by_rdp(plan.after(1)), "rdp")


def test_a_run_stops_by_the_accountant_asked_for():
    plan = CENTRAL.replace(sampling_rate=0.1, rounds=300)
    budget = proven(plan.after(40)).epsilon_rdp
    by_pld = stopped(plan, budget, "pld")
    assert by_pld.rounds > stopped(plan, budget, "rdp").rounds >= 40
    assert proven(by_pld).epsilon_pld <= budget < proven(plan.after(by_pld.rounds + 1)).epsilon_pld


def test_schedules_stop_at_the_end_of_a_pass():
    plan = SCHEDULED.replace(rounds=100)
    assert stopped(plan, 1.001 * by_rdp(plan.after(21)), "rdp").rounds == 30


# Runs whose curve is a Gaussian's, like that of others here, are left out: calibration sees no more than the curve.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("shuffled", "adaptive")])
def test_calibrated_noise_keeps_the_promise_and_is_the_smallest(kind):
    target = 4.0
    calibrated = calibrate(KINDS[kind], target, "rdp")
    assert by_rdp(calibrated) <= target
    assert by_rdp(calibrated.replace(noise_multiplier=0.995 * calibrated.noise_multiplier)) > target
    assert calibrated.replace(noise_multiplier=KINDS[kind].noise_multiplier) == KINDS[kind]


@pytest.mark.parametrize(
    ("kind", "target"),
    [("central", 0.5), ("central", 8.0), ("client noises", 2.0), ("record, seen", 2.0), ("banded", 2.0)],
)
def test_calibration_by_pld(kind, target):
    calibrated = calibrate(KINDS[kind], target, "pld")
    assert guarantee(calibrated).epsilon_pld <= target
    less = calibrated.replace(noise_multiplier=0.995 * calibrated.noise_multiplier)
    assert guarantee(less).epsilon_pld > target


@pytest.mark.parametrize("kind", ["central", "client noises", "skellam, records"])
@pytest.mark.parametrize("noise", [1.0, 16.0, 64.0, 256.0])
@pytest.mark.parametrize("accountant", ["rdp", "pld"])
def test_the_epsilon_of_a_noise_that_the_search_tries_is_calibrated_to_it(kind, noise, accountant):
    # 1, 4, 16, ... bound the search, and there epsilon is the target to the last digit.
    proven_there = proven(KINDS[kind].replace(noise_multiplier=noise))
    target = proven_there.epsilon_rdp if accountant == "rdp" else proven_there.epsilon
    calibrated = calibrate(KINDS[kind], target, accountant).noise_multiplier
    assert noise * (1 - 3e-4) <= calibrated <= noise * (1 + 3e-4)


@pytest.mark.parametrize(("steps", "delta"), [(3000, 2e-11), (30_000, 1e-12)])
def test_what_calibration_by_pld_searches_falls_with_noise(steps, delta):
    # Below about 2e-15 a composition delta is rounding noise, and epsilon by PLD went up and down with the noise multiplier.
    plan = CENTRAL.replace(population=1, sampling_rate=0.002, rounds=steps, delta=delta)
    spent = [_spent(plan.replace(noise_multiplier=z), "pld") for z in (0.70, 0.71, 0.72, 0.74, 0.8, 0.9, 0.91, 0.92)]
    assert all(more < less for less, more in itertools.pairwise(spent))


def test_calibration_by_pld_says_that_it_ended_where_rdp_decides():
    plan = CENTRAL.replace(population=1, sampling_rate=0.1, rounds=100, delta=1e-5)
    ended = calibrate(plan, 480.0, "pld")
    assert guarantee(ended).epsilon_pld < 460  # not the smallest noise by far, and it used to say nothing
    assert "the search ended where RDP decides (PLD not computed: epsilon by RDP is 500" in end_of_search(ended, "pld")
    assert end_of_search(ended, "rdp") is None
    assert end_of_search(calibrate(plan, 20.0, "pld"), "pld") is None


@pytest.mark.parametrize(
    ("rounds", "target", "accountant"), [(10_000, 1.0, "pld"), (1, 0.01, "rdp"), (1, 0.008, "pld")]
)
def test_noise_is_searched_up_to_its_largest(rounds, target, accountant):
    plan = calibrate(CENTRAL.replace(sampling_rate=1.0, rounds=rounds), target, accountant)
    assert 256 < plan.noise_multiplier <= 1000
    assert 0.999 * target < _spent(plan, accountant) <= target


def test_calibration_says_that_it_ended_where_less_noise_proves_nothing():
    once = CENTRAL.replace(sampling_rate=1.0, rounds=1, population=1)
    assert "less noise proves nothing (no guarantee: all of delta" in end_of_search(calibrate(once, 1e3, "pld"), "pld")
    few_bits = KINDS["skellam, records"].replace(population=100)
    ended = calibrate(few_bits, 400.0, "rdp")
    assert guarantee(ended).epsilon < 300
    why = end_of_search(ended, "rdp")
    assert "less noise proves nothing (no guarantee: epsilon =" in why
    assert "the sampler of this noise" in why


def test_an_epsilon_out_of_reach_names_who_proves_the_least():
    with pytest.raises(PrivacyPlanError, match=r"only \S+ by RDP \(ask for a larger epsilon or delta, or more bits\)"):
        calibrate(KINDS["skellam, records"], 1e-4, "pld")


def test_an_epsilon_out_of_reach_is_refused():
    with pytest.raises(PrivacyPlanError, match="out of reach"):
        calibrate(CENTRAL, 1e-4, "rdp")


def test_a_budget_that_preprocessing_alone_exceeds_blames_preprocessing():
    plan = AFTER_RELEASES.replace(preprocessing_noise_multipliers=(1.0,))
    for ask in (calibrate, stopped):
        with pytest.raises(PrivacyPlanError, match="that preprocessing alone spends by RDP"):
            ask(plan, 2.0, "rdp")


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_targets_without_a_meaning_are_refused(target):
    with pytest.raises(PrivacyPlanError, match="finite and above 0"):
        calibrate(CENTRAL, target, "rdp")


def test_an_accountant_that_does_not_exist_is_refused():
    with pytest.raises(PrivacyPlanError, match="pld or rdp"):
        calibrate(CENTRAL, 1.0, "moments")
