"""Lower bounds on epsilon: they hold at their confidence, and mechanisms that are tight for them come close.

Seeds are fixed; with another seed, each test of a correct implementation fails with probability `ALARM`.
"""

import math

import numpy as np
import pytest
from jax_privacy import auditing
from scipy import stats

from fedpareto.attacks.audit.epsilon_bounds import (
    LARGEST,
    area,
    gaussian_epsilon,
    gaussian_fit,
    guess_counts,
    many_runs,
    one_run,
    one_run_p_value,
)
from fedpareto.attacks.intervals import clopper_pearson
from fedpareto.privacy.conformance import check_audit

ALARM = 1e-3
DELTA = 1e-5
AUDITS = 200


def joined(inside, outside):
    """Scores and presence in an order that tells nothing."""
    present = np.repeat([True, False], [len(inside), len(outside)])
    order = np.random.default_rng(len(inside)).permutation(len(present))
    return np.concatenate([inside, outside])[order], present[order]


def too_many(wrong, audits=AUDITS, share=0.05):
    return stats.binom.sf(wrong - 1, audits, share) < ALARM


def response(rng, trials, epsilon, delta=0.0):
    """Randomised response, which tells all with probability `delta`: (epsilon, delta) exactly."""
    present = rng.random(trials) < 0.5
    right = rng.random(trials) < delta + (1 - delta) / (1 + math.exp(-epsilon))
    return np.where(right == present, 1.0, -1.0), present


@pytest.mark.parametrize("guesses", [(40, 40), (80, 0), (0, 80), (200, 200)])
def test_one_run_holds_its_level_without_a_leak(guesses):
    assert check_audit(lambda i, o: one_run(*joined(i, o), DELTA, guesses), share=0.05) == []


def test_many_runs_holds_its_level_without_a_leak():
    assert check_audit(lambda i, o: many_runs(*joined(i, o), DELTA), share=0.05) == []


def test_a_bound_that_is_chosen_on_the_scores_it_counts_does_not_hold():
    def greedy(inside, outside):
        scores, present = joined(inside, outside)
        return max(one_run(scores, present, DELTA, (k, 0)) for k in range(5, 100, 5))

    assert check_audit(greedy, share=0.05) != []


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
@pytest.mark.parametrize("delta", [0.0, 1e-3])
def test_bounds_hold_and_are_close_for_randomised_response(epsilon, delta):
    rng = np.random.default_rng(1)
    trials = 1000
    found = {"one": [], "many": []}
    for _ in range(AUDITS):
        scores, present = response(rng, trials, epsilon, delta)
        found["one"].append(one_run(scores, present, delta, (trials // 4, trials // 4)))
        found["many"].append(many_runs(scores, present, delta))
    for bounds in found.values():
        assert not too_many(sum(bound > epsilon for bound in bounds))
        assert max(bounds) > 0.8 * epsilon


@pytest.mark.parametrize("apart", [0.5, 1.0, 2.0])
def test_bounds_hold_for_the_gaussian_mechanism(apart):
    rng = np.random.default_rng(2)
    true, trials = gaussian_epsilon(apart, DELTA), 1000
    present = rng.random((AUDITS, trials)) < 0.5
    scores = rng.normal(size=present.shape) + apart * present
    guesses = guess_counts(rng.normal(size=present.size) + apart * present.ravel(), present.ravel(), trials, DELTA)
    one = [one_run(*pair, DELTA, guesses) for pair in zip(scores, present, strict=True)]
    many = [many_runs(*pair, DELTA) for pair in zip(scores[:40], present[:40], strict=True)]
    assert not too_many(sum(bound > true for bound in one))
    assert not too_many(sum(bound > true for bound in many), 40)
    assert np.median(one) > 0.25 * true


def test_one_run_agrees_with_jax_privacy():
    rng = np.random.default_rng(3)
    inside, outside = rng.normal(size=300) + 1.5, rng.normal(size=320)
    theirs = auditing.CanaryScoreAuditor(inside, outside)
    scores, present = joined(inside, outside)
    for delta in (1e-6, 1e-4):
        for guessed in (20, 100, 250):
            cut = np.sort(scores)[-guessed]
            expected = theirs.epsilon_one_run(0.05, delta, threshold_strategy=auditing.Explicit(cut))
            assert one_run(scores, present, delta, (guessed, 0)) == pytest.approx(expected, abs=1e-3)


def test_the_p_value_is_that_of_the_paper():
    def theirs(m, r, v, eps, delta):  # Steinke et al. 2023, Appendix D
        q = 1 / (1 + math.exp(-eps))
        beta, alpha, total = stats.binom.sf(v - 1, r, q), 0.0, 0.0
        for i in range(1, v + 1):
            total += stats.binom.pmf(v - i, r, q)
            if total > i * alpha:
                alpha = total / i
        return min(beta + alpha * delta * 2 * m, 1)

    for case in [(100, 20, 18, 1.0, 1e-3), (1000, 300, 250, 1.2, 1e-5), (50, 50, 50, 3.0, 0.0), (10, 5, 0, 0.1, 1e-2)]:
        assert one_run_p_value(*case) == pytest.approx(theirs(*case), rel=1e-9)


def test_many_runs_agrees_with_jax_privacy():
    rng = np.random.default_rng(4)
    chosen, counted = rng.normal(size=(2, 600)), rng.normal(size=(2, 600))
    # The halves take turns; a threshold that the first half leaves no choice about.
    chosen = np.where(np.arange(2)[:, None] == 1, 5.0, -5.0) + 0 * chosen
    counted[1] += 2.0
    halves = [(np.ravel(part), np.repeat([False, True], 600)) for part in (chosen, counted)]
    scores, present = (np.ravel(np.stack(parts, axis=1)) for parts in zip(*halves, strict=True))
    theirs = auditing.CanaryScoreAuditor(counted[1], counted[0])
    expected = theirs.epsilon_clopper_pearson(0.05, DELTA, one_sided=False, threshold_strategy=auditing.Explicit(5.0))
    assert many_runs(scores, present, DELTA) == pytest.approx(expected, abs=1e-9)
    assert clopper_pearson(3, 600, 0.05)[1] == pytest.approx(stats.binomtest(3, 600).proportion_ci(0.95).high)
    assert clopper_pearson(0, 0, 0.05)[1] == 1.0


def test_what_tells_nothing_is_bounded_by_nothing():
    present = np.array([True, False] * 20)
    assert one_run(np.where(present, 0.0, 1.0), present, DELTA, (10, 10)) == 0.0
    assert many_runs(np.zeros(40), present, DELTA) == 0.0
    assert many_runs(np.zeros(0), np.zeros(0, bool), DELTA) == 0.0
    # All guesses right: as much as so many trials can show, and no more.
    most = 0.05 ** (1 / 20)
    assert one_run(np.where(present, 1.0, 0.0), present, 0.0, (10, 10)) == pytest.approx(
        math.log(most / (1 - most)), abs=1e-3
    )


def test_the_fit_is_right_for_gaussians_and_signed():
    rng = np.random.default_rng(5)
    for apart in (0.5, 1.0, 3.0):
        epsilon = gaussian_epsilon(apart, DELTA)
        x = np.linspace(-12, 12 + apart, 200_001)
        over = np.maximum(0, stats.norm.pdf(x, apart) - math.exp(epsilon) * stats.norm.pdf(x))
        assert np.trapezoid(over, x) == pytest.approx(DELTA, rel=1e-3)
        fitted = gaussian_fit(7 + 2 * (rng.normal(size=20_000) + apart), 7 + 2 * rng.normal(size=20_000), DELTA)
        assert fitted == pytest.approx(epsilon, rel=0.1)
    # In half of the null audits absent canaries score higher; their distance may not count (jax_privacy 2.0.0 takes it so).
    null = [gaussian_fit(rng.normal(size=200), rng.normal(size=200), DELTA) for _ in range(AUDITS)]
    assert stats.binomtest(sum(one > 0 for one in null), AUDITS, 0.5).pvalue > ALARM
    assert math.isnan(gaussian_fit(np.ones(1), np.ones(5), DELTA))
    assert gaussian_fit(np.ones(3), np.zeros(3), DELTA) == LARGEST


def test_the_area_and_its_interval():
    rng = np.random.default_rng(6)
    true, held = stats.norm.cdf(1 / math.sqrt(2)), 0
    for _ in range(AUDITS):
        value, low, high = area(*joined(rng.normal(size=150) + 1, rng.normal(size=100)))
        assert low <= value <= high
        held += low <= true <= high
    assert not too_many(AUDITS - held, share=0.06)  # DeLong's interval is an approximation
    assert area(np.array([1.0, 2.0, 3.0, 3.0]), np.array([False, False, True, True]))[0] == 1.0
    assert area(np.zeros(6), np.array([True, False] * 3))[0] == 0.5


def test_guesses_are_where_the_scores_are_telling():
    rng = np.random.default_rng(7)
    present = rng.random(8000) < 0.5
    # Every tenth present canary is certain, and nothing is known of the others.
    scores = np.where(present & (rng.random(8000) < 0.1), 10.0, 0.0) + rng.normal(size=8000)
    high, low = guess_counts(scores, present, 1000, DELTA)
    assert 20 <= high <= 60
    assert low == 0
    high, low = guess_counts(rng.normal(size=8000) + 0.2 * present, present, 1000, DELTA)
    assert high + low > 100  # nothing to be shown, and yet something to be found
