"""Scattering features: kymatio's numbers, what theory says of them, and the data sets made of them."""

import gzip
from dataclasses import replace

import numpy as np
import pytest

from fedpareto.components import registry
from fedpareto.data import DataError, facts
from fedpareto.data.fetch import fetch, remote_files
from fedpareto.data.loaders.idx import read_idx, scale
from fedpareto.data.loaders.mnist import MNIST, images
from fedpareto.data.loaders.scattering import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    PATHS,
    STRIDE,
    filters_for,
    scattered,
    scattering,
)

# Computed by kymatio 0.3.0, Scattering2D(J=2, shape=(side, side)) with its numpy backend, for `image(side, channels)`.
KYMATIO = {
    (28, 1): {
        (0, 0, 0): 0.4129858613,
        (3, 3, 0): 0.5072208643,
        (3, 2, 5): 0.0776055828,
        (6, 0, 12): 0.0376078412,
        (1, 5, 17): 0.0052083004,
        (4, 4, 40): 0.0046580322,
        (2, 6, 80): 0.0061296186,
    },
    (32, 3): {
        (0, 0, 0): 0.4135707021,
        (3, 3, 0): 0.5072209239,
        (6, 0, 12): 0.0429747030,
        (1, 5, 17): 0.0051458450,
        (7, 0, 84): 0.0577285551,
        (4, 7, 242): 0.0035309615,
    },
}
KYMATIO_SUMS = {28: (26.2086831, 40.1235631, 21.1027084), 32: (33.9770871, 51.1935521, 27.6182974)}
# The same for the first training image of MNIST over 255.
KYMATIO_DIGIT = {
    (3, 3, 0): 0.4085755348,
    (3, 2, 5): 0.0183967240,
    (4, 4, 12): 0.0572549403,
    (1, 5, 17): 0.0068363440,
    (4, 4, 40): 0.0060681505,
    (2, 3, 80): 0.0058948831,
}


def image(side, channels=1):
    """float32 [1, side, side, channels] of numbers that any program can make."""
    row, column, channel = np.mgrid[:side, :side, :channels]
    return ((row**2 + 3 * row * column + 5 * column + 7 * channel) % 17 / 16).astype(np.float32)[None]


def few(load, n=5):
    """A loader of the first `n` examples of either part."""

    def cut(self, files):
        data, report = load(self, files)
        parts = {key: getattr(data, key)[:n] for key in ("x_train", "y_train", "x_test", "y_test")}
        return replace(data, **parts), report

    return cut


@pytest.mark.parametrize(("side", "channels"), KYMATIO)
def test_kymatios_values(side, channels):
    ours = scattering(image(side, channels))[0]
    assert ours.dtype == np.float32
    assert ours.shape == (side // 4, side // 4, 81 * channels)
    for place, value in KYMATIO[side, channels].items():
        assert ours[place] == pytest.approx(value, abs=1e-6)
    orders = (ours[..., order].sum(dtype=np.float64) for order in (slice(1), slice(1, 17), slice(17, 81)))
    assert tuple(orders) == pytest.approx(KYMATIO_SUMS[side], abs=1e-4)


def test_kymatios_values_of_a_digit(data_folder):
    digits = read_idx(data_folder / "mnist" / "train-images-idx3-ubyte.gz")
    ours = scattering(scale(digits[:1]))[0]
    for place, value in KYMATIO_DIGIT.items():
        assert ours[place] == pytest.approx(value, abs=1e-6)


def test_wavelets_and_smoothing_keep_no_more_energy_than_there_is():
    filters = filters_for(36)
    # What smoothing does in both directions is the product of what it does in each: on rows that are all alike, that to a row.
    wave = np.exp(2j * np.pi * np.outer(np.arange(36), np.arange(36)) / 36)
    phi = np.abs(filters.smooth @ wave).max(axis=0)
    psi = np.concatenate([filters.fine, filters.coarse])
    mirrored = np.roll(psi[:, ::-1, ::-1], (1, 1), (1, 2))  # real images have both w and -w
    energy = np.outer(phi, phi) ** 2 + np.sum(psi**2 + mirrored**2, axis=0) / 2
    assert energy.max() < 1.001
    assert energy.min() > 0.1


def test_two_images_are_never_farther_apart_than_their_pixels():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 20, 28, 28, 1), np.float32)
    b[10:] = a[10:] + rng.normal(0, 0.01, b[10:].shape).astype(np.float32)
    apart = scattering(a) - scattering(b)
    padded = np.pad(a - b, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    # A feature stands for sixteen pixels.
    assert (4 * np.linalg.norm(apart.reshape(20, -1), axis=1) <= np.linalg.norm(padded.reshape(20, -1), axis=1)).all()


def test_a_constant_image_has_its_value_and_nothing_else():
    features = scattering(np.full((1, 28, 28, 1), 0.7, np.float32))
    np.testing.assert_allclose(features[..., 0], 0.7, atol=1e-4)
    np.testing.assert_allclose(features[..., 1:], 0, atol=1e-6)


def test_brightness_scales_all_features():
    x = image(28)
    np.testing.assert_allclose(scattering(3 * x), 3 * scattering(x), rtol=1e-4, atol=1e-6)


def test_a_small_shift_moves_features_less_than_pixels():
    stroke = np.zeros((1, 28, 28, 1), np.float32)
    stroke[0, 6:22, 12:15] = 1
    moved = np.roll(stroke, 1, axis=2)
    before, after = scattering(stroke), scattering(moved)
    change = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert change < 0.6 * np.linalg.norm(moved - stroke) / np.linalg.norm(stroke)


def test_images_do_not_depend_on_those_beside_them():
    x = np.concatenate([image(28) * value for value in np.linspace(0, 1, 37, dtype=np.float32)])
    np.testing.assert_allclose(scattering(x)[30], scattering(x[30:31])[0], atol=1e-7)


def test_channels_come_one_after_the_other_each_normalised_by_its_own_numbers():
    x = image(32, 3)
    together = scattering(x, IMAGENET_MEAN, IMAGENET_DEVIATION)
    for c in range(3):
        alone = scattering((x[..., c : c + 1] - np.float32(IMAGENET_MEAN[c])) / np.float32(IMAGENET_DEVIATION[c]))
        np.testing.assert_allclose(together[..., 81 * c : 81 * (c + 1)], alone, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 28, 32, 1), (1, 30, 30, 1), (1, 4, 4, 1)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(DataError, match="square, the side a multiple of 4"):
        scattering(np.zeros(shape, np.float32))


def test_features_of_a_loaders_images(tmp_path):
    files, rng = {}, np.random.default_rng(0)
    for part, n in (("train", 3), ("t10k", 2)):
        for kind, content in (("images-idx3", rng.integers(0, 256, (n, 28, 28))), ("labels-idx1", np.arange(n))):
            header = b"\x00\x00\x08" + bytes([content.ndim]) + np.array(content.shape, ">u4").tobytes()
            files[f"{part}-{kind}-ubyte.gz"] = tmp_path / f"{part}-{kind}"
            files[f"{part}-{kind}-ubyte.gz"].write_bytes(gzip.compress(header + content.astype(np.uint8).tobytes()))
    loaded = images(files, ("0", "1", "2"))
    data, report = scattered(loaded, mean=(0.5,))
    assert (data.x_train.shape, data.x_test.shape) == ((3, 7, 7, 81), (2, 7, 7, 81))
    assert data.y_train.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(data.x_train, scattering(loaded[0].x_train - np.float32(0.5)))
    assert "divided by 255, channels standardised with the public mean (0.5,)" in report["preprocessing"]
    assert report["fitted_on"] == "nothing"


def test_the_registered_set_is_prepared_from_the_files_of_its_images(data_folder, monkeypatch):
    monkeypatch.setattr(MNIST, "load", few(MNIST.load))
    constants = registry.find("dataset", "mnist_scattering").constants
    files = {file.name: fetch(constants["FOLDER"], file) for file in remote_files(constants)}
    data, _ = registry.build("dataset", {"name": "mnist_scattering"}).load(files)
    assert data.x_train.shape == (5, 7, 7, 81)
    assert data.y_train.tolist() == [5, 0, 4, 1, 9]
    assert data.x_train[0][3, 3, 0] == pytest.approx(KYMATIO_DIGIT[3, 3, 0], abs=1e-6)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_features_have_the_facts_of_their_images(name):
    known = facts.of_class(name)
    height, width, channels = known.shape
    features = (height // STRIDE, width // STRIDE, channels * PATHS)
    assert facts.of_class(f"{name}_scattering") == replace(known, shape=features)
