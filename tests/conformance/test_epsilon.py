"""Epsilon by both accountants of the two kinds of central runs, Poisson and fixed size."""

import math

import pytest
from scipy.stats import norm

from fedpareto.privacy.accounting.epsilon import guarantee, guarantees
from fedpareto.privacy.accounting.rdp import ORDERS
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import PrivacySetting

GAUSSIAN = PrivacyPlan(PrivacySetting(), population=1, rounds=1, clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)


def exact_gaussian_delta(epsilon, noise_multiplier):
    """Balle and Wang (2018), Theorem 8."""
    half, shift = 0.5 / noise_multiplier, epsilon * noise_multiplier
    return norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift)


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0, 20.0])
def test_one_gaussian_has_its_closed_form(noise):
    proven = guarantee(GAUSSIAN.replace(noise_multiplier=noise))
    # A valid epsilon never claims less than the truth; PLD is tight, RDP is not far off.
    assert exact_gaussian_delta(proven.epsilon_pld, noise) <= 1e-5
    assert exact_gaussian_delta(0.98 * proven.epsilon_pld - 0.002, noise) > 1e-5
    assert proven.epsilon_pld <= proven.epsilon_rdp <= 1.35 * proven.epsilon_pld + 0.02


def test_full_participation_composes_like_one_gaussian():
    many = GAUSSIAN.replace(rounds=100, noise_multiplier=10.0)
    assert guarantee(many).epsilon_pld == pytest.approx(guarantee(GAUSSIAN).epsilon_pld, rel=2e-3)
    assert guarantee(many).epsilon_rdp == pytest.approx(guarantee(GAUSSIAN).epsilon_rdp, rel=1e-6)


def test_noise_without_bound_costs_nothing_by_pld():
    assert guarantee(GAUSSIAN.replace(noise_multiplier=1e6)).epsilon_pld < 1e-3


def test_fixed_size_sampling_pays_for_the_doubled_sensitivity():
    # 10 of 1,000 for 1,000 rounds at noise 1: 3.58 is what comes out where the doubling is forgotten.
    plan = GAUSSIAN.replace(
        population=1000, sampling_rate=0.01, rounds=1000, sampling="fixed_size", noise_multiplier=1.0
    )
    assert guarantee(plan).epsilon_rdp == pytest.approx(20.99, abs=0.01)


def test_fixed_size_of_everybody_is_a_gaussian_at_half_the_noise():
    whole = GAUSSIAN.replace(population=10, sampling="fixed_size", noise_multiplier=2.0)
    assert guarantee(whole).epsilon_rdp == pytest.approx(guarantee(GAUSSIAN).epsilon_rdp, rel=1e-3)


def test_epsilon_by_round_grows_and_ends_at_the_whole_run():
    plan = GAUSSIAN.replace(population=100, sampling_rate=0.2, rounds=60)
    by_round = guarantees(plan, [0, 1, 10, 30, 60])
    for name in ("epsilon_rdp", "epsilon_pld"):
        values = [getattr(g, name) for g in by_round]
        assert values == sorted(values)
        assert values[-1] == pytest.approx(getattr(guarantee(plan), name))


def test_pld_is_never_above_rdp():
    for noise in (0.6, 1.0, 4.0):
        proven = guarantee(GAUSSIAN.replace(population=200, sampling_rate=0.1, rounds=50, noise_multiplier=noise))
        assert proven.epsilon_pld <= proven.epsilon_rdp


def test_what_would_run_without_bound_is_said_and_not_done():
    proven = guarantee(GAUSSIAN.replace(noise_multiplier=0.2, rounds=100))
    assert math.isnan(proven.epsilon_pld)
    assert any("PLD not computed" in line for line in proven.warnings)
    tiny = guarantee(GAUSSIAN.replace(sampling_rate=1e-6, noise_multiplier=0.2, rounds=10))
    assert any("coarser grid" in line for line in tiny.warnings) or tiny.epsilon_pld >= 0


def test_an_optimal_order_at_the_end_of_the_grid_is_reported():
    proven = guarantee(GAUSSIAN.replace(noise_multiplier=500.0))
    assert proven.rdp_order == ORDERS[-1]
    assert any("largest of the grid" in line for line in proven.warnings)
