"""ROC curves, areas and rates at small false positive rates."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from fedpareto.attacks.intervals import clopper_pearson
from fedpareto.attacks.membership.roc import area, curve, thinned, tpr_at, trials
from fedpareto.attacks.membership.scores import InOut
from fedpareto.attacks.membership.shadow_runs import balanced_halves


def drawn(pairs, units, gain, seed=0, digits=None):
    rng = np.random.default_rng(seed)
    scores = InOut(rng.normal(gain, 1, (pairs, units)), rng.normal(0, 1, (pairs, units)))
    if digits is not None:
        scores = InOut(*(np.round(part, digits) for part in scores))
    return scores, balanced_halves(units, 2 * pairs, rng)


@pytest.mark.parametrize("digits", [None, 1])
def test_curve_and_area_are_those_of_scikit_learn(digits):
    scores, runs = drawn(8, 60, 0.7, digits=digits)
    inside, outside = trials(scores)
    labels, values = np.repeat([1, 0], [len(inside), len(outside)]), np.concatenate([inside, outside])
    fpr, tpr = curve(inside, outside)
    known = roc_curve(labels, values, drop_intermediate=False)
    np.testing.assert_allclose(fpr, known[0], atol=1e-12)
    np.testing.assert_allclose(tpr, known[1], atol=1e-12)
    found = area(scores, runs)
    assert found.value == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    assert found.low < found.value < found.high


def test_a_thinned_curve_is_a_part_of_the_curve():
    scores, _ = drawn(8, 1500, 0.5)
    inside, outside = trials(scores)
    fpr, tpr = curve(inside, outside)
    few, of = thinned(fpr, tpr, len(outside))
    assert len(few) <= 60
    assert set(zip(few, of, strict=True)) <= set(zip(fpr, tpr, strict=True))
    assert (few[0], few[-1], of[-1]) == (0, 1, 1)
    # At 1 % it is the largest true positive rate there is: within one step of the grid below.
    assert 0.008 < few[few <= 0.01].max() <= 0.01


def test_rates_at_a_level_by_hand():
    outside = np.arange(1000.0)[None]
    inside = np.concatenate([np.full(30, 2000.0), np.full(20, 995.5), np.full(950, -1.0)])[None]
    at = tpr_at(InOut(inside, outside), 0.01)
    # Ten of the 1000 are allowed: the threshold is the eleventh from above, 989.
    assert (at.value, at.realised_fpr) == (0.05, 0.01)
    assert at.low < 0.03 < 0.05 < at.high
    few = tpr_at(InOut(inside, outside), 0.0005)
    assert (few.value, few.realised_fpr, few.low) == (0.03, 0.0, 0.0)
    # Four negatives know no threshold that is surely as strict as 1 %.
    few = tpr_at(InOut(inside, outside[:, :4]), 0.01)
    assert (few.value, few.realised_fpr, few.low) == (0.05, 0.0, 0.0)


def test_ties_are_not_split():
    scores = InOut(np.ones((1, 50)), np.ones((1, 500)))
    found = tpr_at(scores, 0.1)
    assert (found.value, found.realised_fpr) == (0.0, 0.0)
    fpr, tpr = curve(*trials(scores))
    np.testing.assert_array_equal((fpr, tpr), ([0, 1], [0, 1]))


def test_intervals_cover():
    """False alarms below 1e-3: of 200 intervals at 95 % fewer than 178 hold the truth with that probability."""
    fewest = stats.binom.ppf(1e-3, 200, 0.95)
    truths = {level: stats.norm.sf(stats.norm.isf(level) - 1) for level in (0.01, 0.1)}
    rates, areas = dict.fromkeys(truths, 0), 0
    for seed in range(200):
        scores, runs = drawn(4, 100, 1.0, seed)
        found = area(scores, runs)
        areas += found.low <= stats.norm.cdf(1 / np.sqrt(2)) <= found.high
        for level, truth in truths.items():
            at = tpr_at(scores, level)
            assert at.low <= at.value <= at.high
            assert at.realised_fpr <= level
            rates[level] += at.low <= truth <= at.high
    assert areas >= fewest
    assert min(rates.values()) >= fewest


def test_dependent_trials_widen_the_interval():
    # What moves a unit's members and non-members alike is no matter; what moves members by unit, or by target, is.
    rng = np.random.default_rng(0)
    runs = balanced_halves(400, 16, rng)
    noise = InOut(rng.normal(size=(8, 400)), rng.normal(size=(8, 400)))
    widths = {}
    for name, luck in {
        "none": 0.0,
        "unit": rng.normal(size=400),
        "target": rng.normal(size=16)[runs.inside],
    }.items():
        found = area(noise._replace(inside=noise.inside + luck), runs)
        widths[name] = found.high - found.low
    assert widths["unit"] > 1.5 * widths["none"]
    assert widths["target"] > 3 * widths["none"]


def test_a_perfect_area_is_not_certain():
    scores = InOut(np.full((8, 1), 1.0), np.zeros((8, 1)))
    found = area(scores, balanced_halves(1, 16, np.random.default_rng(0)))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 8))


def test_clopper_pearson_is_that_of_scipy():
    for k, n in ((0, 10), (3, 10), (10, 10), (57, 1000)):
        known = stats.binomtest(k, n).proportion_ci(0.9, method="exact")
        assert clopper_pearson(k, n, 0.1) == pytest.approx((known.low, known.high))
