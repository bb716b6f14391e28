"""The lattice: its scale, its sensitivity, and bounds that hold against exact divergences."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ive, logsumexp

from fedpareto.privacy.mechanisms.discrete import (
    FLOAT32_ROOM,
    EncodingError,
    IntegerEncoding,
    discrete_gaussian_rdp,
    discrete_gaussian_tau,
    l1_bound,
    padded,
    skellam_rdp,
)

LATTICE = IntegerEncoding(
    distribution="skellam",
    dimension=2**14,
    bits=16,
    shares=100,
    threshold=80,
    contributions=95.0,
    clip_norm=0.5,
    noise_stddev=0.4,
)
BOTH = pytest.mark.parametrize("distribution", ["skellam", "discrete_gaussian"])
ORDERS = (1.01, 1.3, 2.0, 2.5, 3.0, 5.0, 8.0, 16.0, 32.0)
SHIFTS = (1, 2, 3, 5, 10)


def exact_divergence(log_mass, shift, order):
    """Renyi divergence between a law on -R..R and its shift; None where the sum reaches the ends of the support."""
    moved, base = log_mass[:-shift], log_mass[shift:]
    terms = order * moved + (1 - order) * base
    terms = terms[np.isfinite(terms)]
    if max(terms[0], terms[-1]) - terms.max() > -30:
        return None
    return logsumexp(terms) / (order - 1)


def compare(log_mass, bound):
    """Ratios of the exact divergence to its bound, for all shifts and orders that float64 can hold."""
    ratios = []
    for shift in SHIFTS:
        for order in ORDERS:
            exact = exact_divergence(log_mass, shift, order)
            if exact is not None:
                ratios.append(exact / bound(shift, order))
    return np.array(ratios)


@pytest.mark.parametrize("variance", [0.25, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0, 1000.0])
def test_skellam_divergence_is_below_its_bound(variance):
    radius = int(60 + 40 * math.sqrt(variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = np.log(ive(np.abs(np.arange(-radius, radius + 1)), variance))
        ratios = compare(log_mass, lambda shift, a: skellam_rdp(np.array([a]), shift, variance, 1)[0])
    assert len(ratios) >= 15
    assert ratios.max() <= 1 + 1e-9
    if variance >= 100:
        assert ratios.max() > 0.95  # the bound is not idle: it tends to the Gaussian's


@pytest.mark.parametrize("variance", [0.25, 0.3, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("shares", [1, 2, 3, 10, 30])
def test_discrete_gaussian_sum_is_below_its_bound(variance, shares):
    radius = int(38 * math.sqrt(variance)) + 1
    one = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * variance))
    one /= one.sum()
    mass = one
    for _ in range(shares - 1):
        mass = np.convolve(mass, one)  # not by FFT: the tails must be right relative to themselves
    tau = discrete_gaussian_tau(variance, shares)
    total = variance * shares
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = compare(np.log(mass), lambda shift, a: discrete_gaussian_rdp(np.array([a]), shift, total, 1, tau)[0])
    assert len(ratios) >= 10
    assert ratios.max() <= 1 + 1e-8
    if variance >= 1:
        assert ratios.max() > 0.99


def test_granularity_solves_its_equation():
    encoding, gamma = LATTICE, LATTICE.granularity
    n = encoding.contributions
    noise = encoding.shares * encoding.share_variance * gamma**2
    spread = (encoding.clip_norm * n) ** 2 / encoding.dimension + gamma**2 / 4 * n + noise
    assert 2**encoding.bits * gamma == pytest.approx(2 * 4 * math.sqrt(spread), rel=1e-12)


def test_the_fewest_shares_make_up_the_noise():
    encoding = LATTICE
    stddev = math.sqrt(encoding.threshold * encoding.share_variance) * encoding.granularity
    assert stddev == pytest.approx(encoding.noise_stddev, rel=1e-12)


@BOTH
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("bits", "threshold"), [(16, 80), (6, 10)])  # on the coarse grid the laws are far from normal
def test_rdp_of_the_sum_by_hand(distribution, swapped, bits, threshold):
    encoding = replace(LATTICE, distribution=distribution, bits=bits, threshold=threshold)
    d, gamma = encoding.dimension, encoding.granularity
    c, s2 = 0.5 / gamma, (0.4 / gamma) ** 2 / threshold
    d2 = math.sqrt(min(c**2 + d / 4 + (c + math.sqrt(d) / 2), (c + math.sqrt(d)) ** 2)) * (2 if swapped else 1)
    d1, v = min(math.sqrt(d) * d2, d2**2), threshold * s2
    normal = np.array((2, 8, 64)) / 2 * d2**2 / v
    assert (encoding.rdp((2, 8, 64), swapped) > normal * (1.005 if bits == 6 else 1)).all()
    for a, found in zip((2, 8, 64), encoding.rdp((2, 8, 64), swapped), strict=True):
        if distribution == "skellam":
            extra = min(((2 * a - 1) * d2**2 + 6 * d1) / (4 * v**2), 3 * d1 / (2 * v))
            expected = a * d2**2 / (2 * v) + extra
        else:
            tau = 10 * sum(math.exp(-2 * math.pi**2 * s2 * k / (k + 1)) for k in range(1, 100))
            expected = min(
                a / 2 * d2**2 / v + tau * d,
                a / 2 * (d2**2 / v + 2 * d1 * tau / math.sqrt(v) + tau**2 * d),
                a / 2 * (d2 / math.sqrt(v) + math.sqrt(d) * tau) ** 2,
            )
        assert found == pytest.approx(expected, rel=4 * FLOAT32_ROOM)
        assert found >= expected


@BOTH
def test_more_noise_proves_more(distribution):
    encodings = [replace(LATTICE, distribution=distribution, noise_stddev=s) for s in (0.2, 0.4, 0.8, 1.6)]
    assert np.all(np.diff([encoding.rdp(ORDERS, False) for encoding in encodings], axis=0) < 0)


@BOTH
def test_more_bits_prove_more_and_tend_to_the_gaussian(distribution):
    encodings = [replace(LATTICE, distribution=distribution, bits=b) for b in (10, 12, 14, 16, 20)]
    found = np.array([encoding.rdp((2, 8, 32), False) for encoding in encodings])
    assert np.all(np.diff(found, axis=0) < 0)
    gaussian = np.array([2, 8, 32]) / 2 * (LATTICE.clip_norm / LATTICE.noise_stddev) ** 2
    assert np.all(found > gaussian)
    assert found[-1] == pytest.approx(gaussian, rel=1e-4)


@BOTH
def test_rdp_does_not_decrease_with_the_order_and_swapping_costs_more(distribution):
    encoding = replace(LATTICE, distribution=distribution, bits=12)
    found = encoding.rdp(np.linspace(1.01, 80, 500), False)
    assert np.all(np.diff(found) >= 0)
    # Twice the sensitivity is four times the divergence where the noise is nearly Gaussian.
    assert encoding.rdp((2,), True)[0] == pytest.approx(4 * encoding.rdp((2,), False)[0], rel=0.05)


def test_orders_between_integers_are_rounded_up_where_the_bound_needs_it():
    assert LATTICE.rdp((2.2,), False) == LATTICE.rdp((3.0,), False)
    gaussian = replace(LATTICE, distribution="discrete_gaussian")
    assert gaussian.rdp((2.2,), False) < gaussian.rdp((3.0,), False)


def test_more_shares_are_the_worst_case_of_discrete_gaussians():
    assert np.all(np.diff([discrete_gaussian_tau(0.4, n) for n in (1, 2, 10, 20, 80)]) > 0)
    coarse = replace(LATTICE, distribution="discrete_gaussian", bits=6, threshold=10)
    found = [replace(coarse, shares=n).rdp((4.0,), False)[0] for n in (10, 20, 40, 80)]
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) > 0)


def test_too_coarse_a_discrete_gaussian_proves_nothing():
    coarse = replace(LATTICE, distribution="discrete_gaussian", bits=6)
    assert coarse.share_variance < 0.25
    assert np.all(np.isinf(coarse.rdp((2, 3), False)))
    assert np.all(np.isfinite(replace(coarse, distribution="skellam").rdp((2, 3), False)))


@pytest.mark.parametrize("bits", [6, 10, 16, 24])
@pytest.mark.parametrize("dimension", [1, 2, 64, 2**18])
@pytest.mark.parametrize("clip_norm", [1e-3, 1.0, 1e4])
def test_a_rounded_vector_may_be_longer_than_before(bits, dimension, clip_norm):
    encoding = replace(LATTICE, bits=bits, dimension=dimension, clip_norm=clip_norm)
    assert encoding.norm_bound > encoding.integer_clip_norm
    assert encoding.norm_bound <= (encoding.integer_clip_norm + math.sqrt(dimension)) * (1 + 2 * FLOAT32_ROOM)


def test_too_few_bits_are_refused_with_how_many_would_do():
    with pytest.raises(EncodingError, match="bits = 5 are too few for 95 contributions: at least 6 are needed"):
        replace(LATTICE, bits=5)
    assert replace(LATTICE, bits=6).granularity > 0
    with pytest.raises(EncodingError, match="not even 24 would do"):
        replace(LATTICE, contributions=1e15)


@pytest.mark.parametrize(
    "wrong",
    [
        {"distribution": "laplace"},
        {"dimension": 100},
        {"dimension": 0},
        {"bits": 1},
        {"bits": 25},
        {"threshold": 0},
        {"threshold": 101},
        {"clip_norm": 0.0},
        {"noise_stddev": 0.0},
        {"noise_stddev": math.inf},
        {"contributions": math.nan},
    ],
)
def test_values_without_a_meaning_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(LATTICE, **wrong)


def test_orders_at_or_below_one_are_refused():
    with pytest.raises(EncodingError, match="order"):
        LATTICE.rdp((1.0, 2.0), False)


def test_padding():
    assert [padded(n) for n in (1, 2, 3, 4, 5, 1000, 1024)] == [1, 2, 4, 4, 8, 1024, 1024]


def test_l1_bound_of_integer_vectors():
    assert l1_bound(3.0, 4) == 6.0
    assert l1_bound(3.0, 10_000) == 9.0
