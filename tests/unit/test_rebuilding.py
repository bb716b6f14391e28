"""The parts of an inversion that need no program: quotients, counts of labels, public knowledge, scores."""

import math

import numpy as np
import pytest

from fedpareto.attacks.auxiliary_data import AuxiliaryData, whole_counts
from fedpareto.attacks.gradient_inversion import scores
from fedpareto.attacks.gradient_inversion.closed_form import records_of
from fedpareto.attacks.gradient_inversion.labels import count_labels
from fedpareto.attacks.intervals import clopper_pearson, mean_interval

FEATURES, UNITS, CLASSES = 6, 40, 3


@pytest.fixture(scope="module")
def public():
    rng = np.random.default_rng(0)
    x = (np.arange(FEATURES) + 1) * rng.standard_normal((300, FEATURES)) + 5
    return AuxiliaryData(
        x.astype(np.float32), rng.integers(CLASSES, size=300).astype(np.int32), CLASSES, None, (FEATURES,)
    )


def picture(height, width, channels=1):
    x = np.stack([np.zeros(height * width * channels), np.ones(height * width * channels)]).astype(np.float32)
    return AuxiliaryData(x, np.zeros(2, np.int32), 1, (height, width, channels), (height, width, channels))


def layer(x, d):
    """The first layer's gradient of records x [records, features] whose loss moves its units by d [records, units]."""
    return x.T @ d, d.sum(axis=0)


def test_one_record_is_a_quotient(public):
    rng = np.random.default_rng(1)
    x, d = public.x[:1], rng.standard_normal((1, UNITS))
    kernel, bias = layer(x, d)
    # Several steps add up, and clipping scales: neither changes the quotient.
    np.testing.assert_allclose(records_of(-0.3 * kernel, -0.3 * bias, 1, 0.0, public), x, rtol=1e-5)


def test_records_alone_at_a_unit_are_found_among_mixtures(public):
    rng = np.random.default_rng(2)
    x, d = public.x[:4], rng.standard_normal((4, UNITS))
    d *= rng.random((4, UNITS)) < 0.3
    d[:, :8] = np.repeat(np.eye(4), 2, axis=1) * rng.standard_normal(8)
    found = records_of(*layer(x, d), 4, 0.0, public)
    np.testing.assert_allclose(scores.matched(found, x, public), x, atol=1e-3)


def test_too_few_quotients_leave_the_mean_record(public):
    x = public.x[:1]
    found = records_of(*layer(x, np.ones((1, UNITS))), 2, 0.0, public)
    np.testing.assert_allclose(found, [x[0], public.mean], rtol=1e-4)


@pytest.mark.parametrize(("noise", "near"), [(1e-3, "truth"), (1e3, "mean")])
def test_noise_brings_a_quotient_to_the_mean(public, noise, near):
    rng = np.random.default_rng(3)
    kernel, bias = layer(public.x[:1], rng.standard_normal((1, UNITS)))
    kernel, bias = (part + noise * rng.standard_normal(part.shape) for part in (kernel, bias))
    found = records_of(kernel, bias, 1, noise, public)
    wanted = public.x[:1] if near == "truth" else public.mean[None]
    assert scores.errors(found, wanted, public)[0] < 0.2


@pytest.mark.parametrize("records", [1, 2, 4, 8, 16, 32])
def test_labels_are_counted_from_a_bias(records):
    rng = np.random.default_rng(records)
    predicted = rng.dirichlet(np.full(10, 20.0), size=10)
    for _ in range(20):
        counts = np.bincount(rng.integers(10, size=records), minlength=10)
        bias = counts / records - counts @ predicted / records
        for scale in (0.5, None):
            first = count_labels(0.5 * bias, predicted, records, scale)[0]
            # Nothing but the length of the update tells (1, 1, 2) from (2, 2, 3): without that a count may be off.
            assert (
                scores.shared_labels(first, np.repeat(np.arange(10), counts))
                >= (0.85 if scale is None else 1) * records
            )


def test_without_a_bias_labels_are_those_of_the_prediction():
    predicted = np.tile([0.5, 0.25, 0.25], (3, 1))
    np.testing.assert_array_equal(count_labels(np.zeros(3), predicted, 4), [[2, 1, 1]])


@pytest.mark.parametrize(
    ("shares", "total", "counts"),
    [
        ([0.5, 0.5], 4, [2, 2]),
        ([0.4, 0.35, 0.25], 4, [2, 1, 1]),
        ([1.5, -0.5, 0], 3, [3, 0, 0]),
        ([0, 0, 1], 1, [0, 0, 1]),
    ],
)
def test_whole_counts(shares, total, counts):
    np.testing.assert_array_equal(whole_counts(np.asarray(shares), total), counts)


def test_what_is_known_in_public(public):
    np.testing.assert_allclose(public.unit, public.x.std(axis=0), rtol=1e-5)
    rows = public.x / public.unit
    apart = np.sqrt(np.square(rows[:, None] - rows).mean(axis=2)) + np.diag(np.full(300, np.inf))
    assert public.threshold == pytest.approx(np.median(apart.min(axis=0)), rel=1e-4)
    within = apart <= public.threshold
    to_mean = np.sqrt(np.square(rows - rows.mean(axis=0)).mean(axis=1)) <= public.threshold
    kappa, most = public.prior_success(1)
    assert kappa >= max(within.mean(axis=1).max(), to_mean.mean())
    assert kappa < most <= 1
    chances = [public.prior_success(records)[0] for records in (1, 2, 4, 300)]
    assert chances == sorted(chances)
    assert 0 < chances[0] < chances[2] < chances[3] <= 1
    assert public.label_guess(5).sum() == 5
    assert all(
        np.sum(column == most) == max(np.unique(column, return_counts=True)[1])
        for column, most in zip(public.x.T, public.mode, strict=True)
    )


def test_a_picture_has_one_range():
    public = picture(8, 8)
    assert public.shape == "8x8x1"
    assert set(public.span) == {1.0}
    np.testing.assert_array_equal(public.box, [np.zeros(64), np.ones(64)])


def test_ssim_is_that_of_scikit_image():
    """skimage.metrics.structural_similarity 0.25 with data_range=1, and with channel_axis=2 for the last."""
    rng = np.random.default_rng(0)
    a = rng.random((2, 9, 11, 1))
    b = np.clip(a + 0.2 * rng.standard_normal(a.shape), 0, 1)
    found = scores.ssim(b.reshape(2, -1), a.reshape(2, -1), picture(9, 11))
    np.testing.assert_allclose(found, [0.8294066490568539, 0.8824447702877559], rtol=1e-9)
    c = np.linspace(0, 1, 192).reshape(1, -1)
    np.testing.assert_allclose(scores.ssim(c**2, c, picture(8, 8, 3)), 0.8704874299431514, rtol=1e-9)
    assert np.isnan(scores.ssim(c[:, :36], c[:, :36], picture(6, 6))).all()


def test_scores_of_a_table(public):
    truth = public.x[:3]
    off = truth + 0.1 * public.unit
    np.testing.assert_allclose(scores.feature_error(off, truth, public), 0.1, rtol=1e-3)
    np.testing.assert_allclose(scores.errors(off, truth, public), 0.1, rtol=1e-3)
    np.testing.assert_array_equal(scores.matched(truth[[2, 0, 1]] + 1e-3, truth, public), truth + 1e-3)
    np.testing.assert_array_equal(scores.exact_matches(truth + 1e-6, truth, public), 1)
    halfway = np.sort(public.x, axis=0)[::30][:3]
    assert scores.exact_matches(halfway, truth, public).max() < 0.5
    np.testing.assert_array_equal(scores.psnr(truth, truth, public), scores.BEST_PSNR)
    np.testing.assert_allclose(scores.psnr(truth + 0.1 * public.span, truth, public), 20, rtol=1e-3)


def test_intervals():
    assert all(math.isnan(end) for end in mean_interval(np.ones(1), 0, 1))
    assert mean_interval(np.asarray([0.0, 1.0]), 0, 1) == (0, 1)
    low, high = mean_interval(np.asarray([1.0, 2.0, 3.0]), -np.inf, np.inf)
    assert (low, high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert clopper_pearson(4, 4, 0.05) == pytest.approx((0.3976, 1), abs=1e-4)
    assert scores.shared_labels(np.asarray([2, 0, 1]), np.asarray([0, 1, 1])) == 1
