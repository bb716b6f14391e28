"""Bounds on amplification against exact Rényi divergences."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from plans import CENTRAL
from scipy.special import ive, logsumexp
from scipy.stats import norm

from fedpareto.privacy.accounting import amplification
from fedpareto.privacy.accounting import rdp as accounting_rdp
from fedpareto.privacy.accounting.rdp import rdp_curve

LINE = np.arange(-60.0, 100.0, 0.02)  # for Gaussians: sums over it are integrals to many digits
INTEGERS = np.arange(-400, 401).astype(float)
ORDERS = (2, 3, 5, 16, 32)
WHOLE = [float(a) for a in range(2, 33)]


def gaussian(noise):
    return LINE, lambda x: norm.logpdf(x, scale=noise) + math.log(0.02)


def discrete_gaussian(noise):
    total = logsumexp(-(INTEGERS**2) / (2 * noise**2))
    return INTEGERS, lambda x: -(x**2) / (2 * noise**2) - total


def skellam(noise):
    def log_mass(x):
        with np.errstate(divide="ignore"):
            return np.log(ive(np.abs(x), noise**2))

    return INTEGERS, log_mass


NOISES = {"gaussian": gaussian, "discrete_gaussian": discrete_gaussian, "skellam": skellam}


def divergence(p, q, order):
    """Rényi divergence of two log-densities on a grid; where one has underflowed, both are far below all that counts."""
    here = np.isfinite(p) & np.isfinite(q)
    return float(logsumexp(order * p[here] + (1 - order) * q[here])) / (order - 1)


def either_way(p, q, order):
    return max(divergence(p, q, order), divergence(q, p, order))


def mix(*parts):
    """Log-density of a mixture of (probability, log-density)."""
    return logsumexp([np.log(w) + p for w, p in parts], axis=0)


@pytest.mark.parametrize("law", NOISES)
@pytest.mark.parametrize("noise", [0.7, 1.0, 3.0])
def test_poisson_bound_is_never_below_the_exact_divergence(law, noise):
    grid, log_mass = NOISES[law](noise)

    @cache
    def alone(order):
        return either_way(log_mass(grid), log_mass(grid - 1), order)

    def curve(orders):
        return np.array([alone(a) for a in orders])

    for rate, other in itertools.product((0.01, 0.1, 0.5, 0.9), (None, -1, 1)):
        # The unit adds 1 where it is sampled, and another unit may be in the sample too.
        def sum_without(at, other=other, rate=rate):
            return log_mass(at) if other is None else mix((1 - rate, log_mass(at)), (rate, log_mass(at - other)))

        without, with_it = sum_without(grid), sum_without(grid - 1)
        sampled = mix((1 - rate, without), (rate, with_it))
        for order in ORDERS:
            bound = amplification.poisson(curve, rate, order)
            exact = either_way(sampled, without, order)
            assert bound >= exact - 1e-9
            assert bound <= curve([order])[0] + 1e-12
            if order == 2 and other is None and law == "gaussian":  # this far the bound is the divergence itself
                assert bound == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("noise", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.3, 0.9])
def test_poisson_bound_is_not_far_above_that_of_the_gaussian(noise, rate):
    plan = CENTRAL.replace(sampling_rate=rate, noise_multiplier=noise)
    orders, sharp = rdp_curve(plan, [float(a) for a in range(2, 65)])
    general = np.array([amplification.poisson(lambda a: a / (2 * noise**2), rate, int(a)) for a in orders])
    assert (general >= sharp * (1 - 1e-9) - 1e-14).all()
    assert general[0] == pytest.approx(sharp[0], rel=1e-6)  # at order 2 they are the same
    # Weak noise only: under strong noise the general bound lacks what cancels for Gaussians.
    assert (general <= 3.0 * sharp).all()


def test_a_mechanism_that_is_no_gaussian_has_the_bound_of_how_its_cohorts_are_drawn(monkeypatch):
    fixed = CENTRAL.replace(sampling="fixed_size", sampling_rate=0.3, noise_multiplier=6.0, population=100)
    exact = rdp_curve(fixed, WHOLE)[1]
    monkeypatch.setattr(accounting_rdp, "gaussian_round", lambda plan: None)
    orders, general = rdp_curve(fixed, WHOLE)
    at = fixed.inclusion_probability

    def alone(a):
        return a / (2 * fixed.relative_noise**2)

    swapped = np.array([amplification.without_replacement(alone, at, int(a)) for a in orders])
    assert general == pytest.approx(np.minimum(swapped, amplification.mixture(alone(orders), at, orders)), rel=1e-9)
    assert (general >= exact * (1 - 1e-9)).all()
    assert general[0] > 1.2 * amplification.poisson(alone, at, 2)


def plus_or_minus(n, m, ones):
    """The sums of all samples of m of n values of +-1, with the first value +1 and -1, and how many are +1 besides."""
    for first in (1, -1):
        values = (first,) + (1,) * ones + (-1,) * (n - 1 - ones)
        yield [sum(values[i] for i in subset) for subset in itertools.combinations(range(n), m)]


@pytest.mark.parametrize("law", NOISES)
@pytest.mark.parametrize("noise", [1.0, 2.5, 8.0])
@pytest.mark.parametrize(("n", "m"), [(3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2), (5, 4)])
def test_fixed_size_bound_is_never_below_the_exact_divergence(law, noise, n, m):
    grid, log_mass = NOISES[law](noise)
    orders = (2, 3, 8)

    @cache
    def swapped(order):
        return either_way(log_mass(grid), log_mass(grid - 2), order)

    def curve(at):
        return np.array([swapped(a) for a in at])

    for ones in range(n):
        here, there = (mix(*((1 / len(sums), log_mass(grid - s)) for s in sums)) for sums in plus_or_minus(n, m, ones))
        for order in orders:
            bound = amplification.without_replacement(curve, m / n, order)
            assert bound >= either_way(here, there, order) - 1e-9
            assert bound <= curve([order])[0] + 1e-12


def test_fixed_size_bound_gains_from_sampling():
    # At small rates the leading term is 4 (q^2 a (a - 1) / 2) (e^rdp - 1) / (a - 1): to first order 2 a q^2 rdp(2).
    rate, rdp_at_two = 1e-5, 2 * 4 / (2 * 20.0**2)
    for order in (2, 8):
        bound = amplification.without_replacement(lambda a: a * 4 / (2 * 20.0**2), rate, order)
        assert bound == pytest.approx(2 * order * rate**2 * rdp_at_two, rel=0.02)


@pytest.mark.parametrize("noise", [1.0, 3.0])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("order", [1.5, 2, 5, 16])
def test_mixture_bound_is_never_below_the_exact_divergence_and_is_reached(noise, rate, order):
    grid = np.arange(-400.0, 100.0, 0.02)

    def log_mass(x):
        return norm.logpdf(x, scale=noise) + math.log(0.02)

    # The unit is 1, 0 or -1 where the mechanism runs; what comes out where it does not lies elsewhere.
    for swap in (1, 2):
        (bound,) = amplification.mixture(np.array([order * swap**2 / (2 * noise**2)]), rate, np.array([order]))
        for elsewhere in (0.0, 0.5, -3.0, -300.0):
            if rate == 1:
                here, there = log_mass(grid), log_mass(grid - swap)
            else:
                away = log_mass(grid - elsewhere)
                here, there = (mix((rate, log_mass(grid - at)), (1 - rate, away)) for at in (0, swap))
            exact = either_way(here, there, order)
            assert bound >= exact - 1e-9
        assert bound == pytest.approx(exact, rel=1e-6)  # far enough away that the outputs tell the two cases apart
