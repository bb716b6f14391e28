"""The theorems of docs/proofs.md against brute force: every value below is computed without the accountants' code."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from plans import CENTRAL, by_rdp, proven
from scipy.special import logsumexp
from scipy.stats import norm

from fedpareto.privacy.accounting import subsampled
from fedpareto.privacy.accounting.epsilon import guarantee

ORDERS = np.array([1.05, 1.1, 1.44, 2.0, 2.5, 7.3, 16.0, 64.0])


def fixed_size(n, m, rounds, noise, delta=1e-5):
    return CENTRAL.replace(
        population=n, sampling_rate=m / n, rounds=rounds, noise_multiplier=noise, delta=delta, sampling="fixed_size"
    )


def log_densities(noise, step=0.02):
    """A grid, and the log-mass on it of a Gaussian around a place."""
    grid = np.arange(-9 * noise - 4, 9 * noise + 4, step)
    return lambda at: norm.logpdf(grid, loc=at, scale=noise) + math.log(step)


def mix(*parts):
    return logsumexp([np.log(weight) + part for weight, part in parts], axis=0)


def hockey_stick(epsilon, p, q):
    return float(np.maximum(0.0, np.exp(p) - np.exp(epsilon + q)).sum())


# --- Theorem 1: a secret sample, neighbours by replacing ---------------------------------------------------------------


@cache
def two_cohorts_of_two():
    """The log-masses of two releases of 2 of 4 values at noise 1.7, for all data of +-1, with the first value and with its negative."""
    log_mass, found = log_densities(1.7, 0.1), []
    for others in itertools.product((1, -1), repeat=3):
        pair = []
        for first in (1, -1):
            sums = [sum(two) for two in itertools.combinations((first, *others), 2)]
            one = mix(*((1 / len(sums), log_mass(total)) for total in sums))
            pair.append((one[:, None] + one[None]).ravel())
        found.append(pair)
    return found


@pytest.mark.parametrize(
    ("epsilon", "exact", "bound"),
    [(0.1, 0.290, 0.317), (0.5, 0.199, 0.216), (1, 0.116, 0.126), (2, 0.0323, 0.0341), (3, 0.00690, 0.00711)],
)
def test_no_data_tell_more_of_two_fixed_size_cohorts_than_the_symmetrised_curve(epsilon, exact, bound):
    pairs = two_cohorts_of_two()
    worst = max(hockey_stick(epsilon, *either) for pair in pairs for either in (pair, pair[::-1]))
    assert worst == pytest.approx(exact, rel=5e-3)
    plan = fixed_size(4, 2, 2, 1.7, delta=bound)
    # At the bound's delta the accountant's epsilon is that of the bound.
    assert proven(plan).epsilon_pld == pytest.approx(epsilon, abs=0.01)
    assert proven(plan.replace(delta=worst)).epsilon_pld >= epsilon


@pytest.mark.parametrize("noise", [0.7, 1.5, 6.0])
@pytest.mark.parametrize(("n", "m"), [(2, 1), (5, 1), (5, 4), (7, 3)])
def test_no_data_tell_more_of_one_cohort_at_any_order(noise, n, m):
    log_mass = log_densities(noise)
    bounds = subsampled.without_replacement(noise / 2, m / n, ORDERS)
    for ones in range(n):
        mixtures = []
        for first in (1, -1):
            values = (first,) + (1,) * ones + (-1,) * (n - 1 - ones)
            sums = [sum(subset) for subset in itertools.combinations(values, m)]
            mixtures.append(mix(*((1 / len(sums), log_mass(total)) for total in sums)))
        for order, bound in zip(ORDERS[ORDERS < 10], bounds, strict=False):
            for here, there in (mixtures, mixtures[::-1]):
                exact = logsumexp(order * here + (1 - order) * there) / (order - 1)
                assert bound >= exact * (1 - 1e-6) - 1e-9


def test_poisson_samples_are_covered_by_the_same_curve_where_a_unit_is_replaced():
    # The unit is +1 or -1 where it is in the sample, beside others whose coins are fixed.
    for noise, rate in itertools.product((0.7, 2.0), (0.05, 0.5, 0.9)):
        log_mass = log_densities(noise)
        here, there = (mix((1 - rate, log_mass(0)), (rate, log_mass(at))) for at in (1, -1))
        bounds = subsampled.without_replacement(noise / 2, rate, ORDERS)
        for order, bound in zip(ORDERS[ORDERS < 10], bounds, strict=False):
            assert bound >= logsumexp(order * here + (1 - order) * there) / (order - 1) - 1e-9


@pytest.mark.parametrize(
    ("n", "m", "rounds", "noise", "delta", "before", "by_order", "right", "attained"),
    [
        (1000, 10, 1000, 1.0, 1e-5, 20.99, 16.91, 14.82, 13.34),
        (1000, 100, 100, 4.0, 1e-5, 5.379, 2.784, 2.541, 2.337),
        (100, 20, 60, 4.0, 1e-4, 7.864, 3.896, 3.504, 3.261),
        (60_000, 600, 1000, 2.0, 1e-6, 4.021, 2.798, 2.513, 2.125),
    ],
)
def test_cohorts_of_a_fixed_size_cost_what_their_curve_says(
    n, m, rounds, noise, delta, before, by_order, right, attained
):
    found = proven(fixed_size(n, m, rounds, noise, delta))
    assert found.epsilon_rdp == pytest.approx(by_order, abs=2e-3 * by_order)
    assert found.epsilon_pld == pytest.approx(right, abs=2e-3 * right)
    assert attained < found.epsilon_pld < found.epsilon_rdp < before
    # One pair of data sets, by Poisson sampling at half the noise, attains nearly as much.
    pair = CENTRAL.replace(sampling_rate=m / n, rounds=rounds, noise_multiplier=noise / 2, delta=delta)
    assert proven(pair).epsilon_pld * (1 - 1e-3) <= found.epsilon_pld <= 1.25 * proven(pair).epsilon_pld


# --- divergences at every order ----------------------------------------------------------------------------------------


def by_trapezoid(rate, noise, order, integrand):
    x = np.linspace(-14 * noise, order + 14 * noise, 60_001)
    log_ratio = np.logaddexp(np.log1p(-rate), np.log(rate) + (2 * x - 1) / (2 * noise**2))
    weights = norm.logpdf(x, scale=noise) + math.log(x[1] - x[0])
    return float(logsumexp(weights + integrand(order, log_ratio, x))) / (order - 1)


@pytest.mark.parametrize(
    ("rate", "noise"), [(0.2, 0.5), (0.3, 0.5), (0.1, 0.4), (0.25, 51.0), (0.9, 1.3), (0.01, 1.0), (0.0122, 0.6144)]
)
def test_divergence_of_a_poisson_sample_is_exact_at_every_order(rate, noise):
    found = subsampled.poisson(noise, rate, ORDERS)
    for order, ours in zip(ORDERS, found, strict=True):
        exact = by_trapezoid(rate, noise, order, lambda a, r, _: a * r)
        assert ours == pytest.approx(exact, rel=1e-6, abs=1e-9)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("rate", "noise"), [(0.2, 0.5), (0.1, 2.0), (0.9, 1.3), (0.01, 1.0), (0.5, 20.0)])
def test_divergence_of_a_replaced_unit_is_that_of_its_loss_distribution(rate, noise):
    def folded(order, log_ratio, x):
        # Losses above 0 as they are, their mirror images, and the rest at 0.
        value = np.exp(order * log_ratio) + np.exp((1 - order) * log_ratio) - np.exp(log_ratio) - 1
        with np.errstate(divide="ignore"):
            return np.where(x > 0.5, np.log(np.maximum(value, 0.0)), -np.inf)

    orders = ORDERS[ORDERS < 8]
    for order, ours in zip(orders, subsampled.without_replacement(noise, rate, orders), strict=True):
        excess = np.exp(by_trapezoid(rate, noise, order, folded) * (order - 1))
        assert ours == pytest.approx(math.log1p(excess) / (order - 1), rel=1e-4)


@pytest.mark.parametrize(
    ("rate", "noise", "rounds", "delta", "before", "right"),
    [
        (0.2, 0.5, 60, 1e-4, 50.53, 42.20),  # digits of the default sweep
        (0.3, 0.5, 30, 1e-4, 44.93, 39.86),  # its breast_cancer
        (0.1, 0.4, 100, 1e-5, 77.02, 59.43),
        (0.0122, 0.6144, 28_170, 1e-4, 56.17, 51.81),
        (0.064, 0.44, 1572, 1e-10, 308.9, 207.1),
    ],
)
def test_epsilon_by_rdp_is_not_held_up_by_orders_whose_series_do_not_converge(
    rate, noise, rounds, delta, before, right
):
    plan = CENTRAL.replace(sampling_rate=rate, noise_multiplier=noise, rounds=rounds, delta=delta)
    found = guarantee(plan, only=("rdp",))
    assert right <= found.epsilon_rdp <= 1.002 * right < before
    assert not found.warnings


# --- Theorem 3: clients that remember their own coins -------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "noise"), [(0.3, 1.0), (0.5, 0.8), (0.1, 2.0)])
def test_a_client_that_remembers_its_own_coins_tells_no_more_than_one_that_does_not(rate, noise):
    step = noise / 8
    grid = np.arange(-7 * noise - 2, 7 * noise + 2, step)
    nothing = norm.logpdf(grid, scale=noise) + math.log(step)
    rng = np.random.default_rng(0)
    for _ in range(20):
        # What it sends in the second round, by whether it took part in the first and by what was released then.
        first, second = rng.uniform(-1, 1), rng.choice([-1.0, 1.0, 0.3], size=(2, 5))
        cells = np.digitize(grid, np.quantile(grid, [0.2, 0.4, 0.6, 0.8]))

        def second_release(took_part, second=second, cells=cells):
            moved = norm.logpdf(grid[None], loc=second[took_part][cells][:, None], scale=noise) + math.log(step)
            return mix((1 - rate, np.broadcast_to(nothing, moved.shape)), (rate, moved))

        in_first = norm.logpdf(grid, loc=first, scale=noise) + math.log(step)
        with_it = mix(
            (1 - rate, nothing[:, None] + second_release(0)),
            (rate, in_first[:, None] + second_release(1)),
        )
        without = nothing[:, None] + nothing[None]
        for order in (2.0, 3.0, 5.0, 10.0):
            bound = 2 * subsampled.poisson(noise, rate, [order])[0]
            for here, there in ((with_it, without), (without, with_it)):
                assert logsumexp(order * here + (1 - order) * there) / (order - 1) <= bound * (1 + 1e-6) + 1e-9


def test_scaffold_with_secret_poisson_cohorts_costs_what_fedavg_does():
    plan = CENTRAL.replace(population=1000, sampling_rate=0.1, rounds=100, noise_multiplier=4.0)
    hidden = plan.replace(algorithm="scaffold")
    assert proven(hidden) == proven(plan)
    assert by_rdp(hidden) == pytest.approx(1.08, abs=0.01)
    assert by_rdp(hidden.replace(participation="seen")) > 3 * by_rdp(hidden)
