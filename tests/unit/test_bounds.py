"""What a guarantee leaves possible."""

import numpy as np
import pytest
from membership_targets import OF_RECORDS, target
from scipy import stats

from fedpareto.attacks import guarantee_bounds as bounds


def accounted(**changes):
    attacked = target(**changes)
    (run,) = attacked.runs
    return attacked.accounted[run.run_id]


@pytest.mark.parametrize("group_size", [1, 2])
def test_the_curve_of_one_gaussian_is_above_its_own_and_not_far(group_size):
    # Everybody joins every round, so that the whole run is one Gaussian with noise sigma / sqrt(T) of the sensitivity.
    proven = accounted(noise_multiplier=4.0, rounds=4)
    shift = group_size * np.sqrt(4) / 4.0
    fpr = np.geomspace(1e-4, 1, 50)
    exact = stats.norm.sf(stats.norm.isf(fpr) - shift)
    possible = bounds.max_tpr(fpr, proven, group_size)
    assert (possible >= exact - 1e-9).all()
    assert (possible <= exact + 0.13 * group_size).all()
    assert (np.diff(possible) >= 0).all()
    area = bounds.max_auc(proven, group_size)
    assert stats.norm.cdf(shift / np.sqrt(2)) < area < stats.norm.cdf(shift / np.sqrt(2)) + 0.07 * group_size
    grid = np.linspace(0, 1, 20001)
    assert area >= np.trapezoid(bounds.max_tpr(grid, proven, group_size), grid)


def test_nothing_is_bounded_without_a_guarantee():
    assert (bounds.max_tpr([0.0, 0.5], accounted(noise_multiplier=0, clip_norm="null")) == 1).all()
    assert bounds.max_auc(accounted(noise_multiplier=0, clip_norm="null")) == pytest.approx(1.0)


def test_a_record_of_a_client_is_two_steps_away_unless_neighbours_swap():
    clients, swapped, records = (
        accounted(**changes).plan for changes in ({}, {"sampling": "fixed_size", "sampling_rate": 0.5}, OF_RECORDS)
    )
    assert (clients.setting.adjacency, swapped.setting.adjacency) == ("add_or_remove_one", "replace_one")
    assert [bounds.group_size(plan, "record") for plan in (clients, swapped, records)] == [2, 1, 1]
    assert [bounds.group_size(plan, "client") for plan in (clients, swapped)] == [1, 1]


def test_a_client_that_is_left_out_counts_as_one_with_a_short_update_and_a_record_does_not():
    adaptive = [accounted(clipping="adaptive", **changes).plan for changes in ({}, OF_RECORDS)]
    assert [bounds.group_size(plan, plan.setting.unit) for plan in adaptive] == [2, 1]


def test_who_is_known_to_take_part_is_bounded_by_what_its_round_allows():
    """One round in which the client is known to be: no bound may be below the optimal test of that round alone."""
    proven = accounted(noise_multiplier=1.0, rounds=3, sampling_rate=0.2)
    assert proven.plan.amplified
    for prior in (0.01, 0.05, 0.2):
        optimal = stats.norm.sf(stats.norm.isf(prior) - 1 / 1.0)
        assert bounds.max_success_if_sampled(prior, proven) >= min(1.0, optimal)
    everybody = accounted(noise_multiplier=4.0, rounds=4)
    assert bounds.max_success_if_sampled(0.1, everybody) == pytest.approx(bounds.max_tpr(0.1, everybody)[0])
