"""Statistical tests of sampler and noise. Seeds are fixed; the false-alarm rate of each is stated beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.mechanisms.gaussian import gaussian_noise
from fedpareto.privacy.sampling import poisson_cohort

ALARM = 1e-3  # probability that a correct implementation, with another seed, would fail a test here


def tree(n=20_000):
    return {"a": jnp.zeros((n,)), "b": jnp.zeros((n,)), "c": jnp.zeros((2, n // 2))}


@pytest.mark.parametrize("leaf", ["a", "b", "c"])
def test_noise_has_the_right_scale_and_shape(leaf):
    noise = np.ravel(gaussian_noise(jax.random.key(1), tree(), 0.7)[leaf])
    assert stats.kstest(noise, stats.norm(0, 0.7).cdf).pvalue > ALARM
    # A mechanism with the wrong scale must fail the very same test.
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(noise, stats.norm(0, 0.7 * wrong).cdf).pvalue < ALARM


def test_noise_is_independent_between_leaves_rounds_and_runs():
    draws = []
    for run in range(3):
        for round_index in range(3):
            key = jax.random.fold_in(jax.random.key(run), round_index)
            noise = gaussian_noise(key, tree(4000), 1.0)
            draws += [np.ravel(leaf) for leaf in jax.tree.leaves(noise)]
    correlation = np.corrcoef(draws)[~np.eye(len(draws), dtype=bool)]
    pairs = len(draws) * (len(draws) - 1) / 2
    assert np.abs(correlation).max() < stats.norm.isf(ALARM / 2 / pairs) / np.sqrt(4000)


def test_poisson_cohorts():
    n, rate, rounds = 50, 0.3, 4000
    keys = jax.random.split(jax.random.key(2), rounds)
    cohorts = jax.vmap(lambda key: poisson_cohort(key, n, rate, n))(keys)
    sizes = np.asarray(cohorts.size)
    joined = np.zeros((rounds, n))
    for r in range(rounds):
        members = np.asarray(cohorts.members[r, : sizes[r]])
        assert len(set(members)) == len(members)
        joined[r, members] = 1
    # Every client joins at the stated rate (Bonferroni over clients).
    totals = joined.sum(axis=0)
    assert min(stats.binomtest(int(t), rounds, rate).pvalue for t in totals) > ALARM / n
    # The cohort size has the binomial distribution, with its spread: a fixed-size sampler fails here.
    observed = np.bincount(np.clip(sizes, 8, 22), minlength=23)[8:23]
    expected = stats.binom.pmf(np.arange(8, 23), n, rate)
    expected[0], expected[-1] = stats.binom.cdf(8, n, rate), stats.binom.sf(21, n, rate)
    assert stats.chisquare(observed, expected / expected.sum() * rounds).pvalue > ALARM
    # Clients join independently of each other and of earlier rounds.
    bound = stats.norm.isf(ALARM / 2 / (n * n)) / np.sqrt(rounds)
    assert np.abs(np.corrcoef(joined.T)[~np.eye(n, dtype=bool)]).max() < bound
    assert max(abs(np.corrcoef(joined[1:, i], joined[:-1, i])[0, 1]) for i in range(n)) < bound


def test_an_overflowing_cohort_is_noticed():
    cohort = poisson_cohort(jax.random.key(3), 100, 1.0, 60)
    assert int(cohort.size) == 60
    assert int(cohort.overflow) == 40


@pytest.mark.parametrize("norm", [0.0, 0.3, 1.0, 7.0])
def test_clipping_has_its_closed_form(norm):
    update = {"a": jnp.full((4,), norm / 5), "b": jnp.full((3, 7), norm / 5)}  # 25 coordinates: L2 norm is `norm`
    for clip_norm in (0.5, 1.0, 3.0):
        clipped = scale(update, clip_factor(global_norm(update), clip_norm))
        assert float(global_norm(clipped)) == pytest.approx(min(norm, clip_norm), rel=1e-6)


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf, -jnp.inf, 1e30])
def test_an_update_that_is_not_finite_adds_nothing_beyond_the_bound(poison):
    update = {"a": jnp.array([poison, 1.0]), "b": jnp.ones(3)}
    clipped = scale(update, clip_factor(global_norm(update), 1.0))
    assert float(global_norm(clipped)) <= 1.0
