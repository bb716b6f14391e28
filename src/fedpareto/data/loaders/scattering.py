"""Wavelet scattering of images (Mallat 2012; Bruna and Mallat 2013): features that no data were used to learn.

An image is filtered by complex wavelets, their modulus is taken, and what is left is smoothed and kept at every fourth pixel:

    order 0: x * phi      order 1: |x * psi_a| * phi      order 2: ||x * psi_a| * psi_b| * phi,  b coarser than a

Tramer and Boneh (2021) train linear models on them with differential privacy. Filters, padding and subsampling are those of
kymatio's `Scattering2D(J=2)` (Andreux et al. 2020), to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.fft import fft2, ifft2

from fedpareto.data import DataError
from fedpareto.data.loaders.interface import Loaded

ANGLES = 8
PATHS = 1 + 2 * ANGLES + ANGLES**2
STRIDE = 4  # two scales
PADDING = 4
CHUNK = 16  # Images at a time: what they become at order 2 stays in a CPU cache.
PROGRESS = 10_000
PI = 3.1415  # As kymatio normalises its filters: the digits left out are 3e-5 of every feature.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Filters:
    """The filters for padded images of one size.

    Attributes:
      fine: float32 [angle, size, size], Fourier transforms of the wavelets of scale 1; they are real.
      coarse: float32 [angle, size, size], those of scale 2.
      smooth: float32 [size / 4 - 2, size]: of a line of pixels, its smoothed values at every fourth, without padding.
      smooth_halved: float32 [size / 4 - 2, size / 2]: the same for a line of which every other pixel is kept.
    """

    fine: np.ndarray
    coarse: np.ndarray
    smooth: np.ndarray
    smooth_halved: np.ndarray


def scattered(loaded: Loaded, mean: Sequence[float] = (0.0,), deviation: Sequence[float] = (1.0,)) -> Loaded:
    """The scattering features of images.

    Args:
      loaded: Images [n, height, width, channels], and the report of them.
      mean: Subtracted from every channel first; public constants, such as ImageNet's for colour photographs.
      deviation: Divisor of every channel after that.
    """
    data, report = loaded
    shifted = any(mean) or any(one != 1 for one in deviation)
    steps = [
        report["preprocessing"],
        *([f"channels standardised with the public mean {mean} and deviation {deviation}"] if shifted else []),
        f"scattering with 2 scales, {ANGLES} angles and order 2",
    ]
    features = [scattering(x, mean, deviation) for x in (data.x_train, data.x_test)]
    return replace(data, x_train=features[0], x_test=features[1]), report | {"preprocessing": ", ".join(steps)}


def scattering(images: np.ndarray, mean: Sequence[float] = (0.0,), deviation: Sequence[float] = (1.0,)) -> np.ndarray:
    """Scattering coefficients with two scales, eight angles and order 2.

    Args:
      images: float32 [n, side, side, channels], side a multiple of 4.
      mean: Taken from every channel first.
      deviation: Every channel is divided by it then.

    Returns:
      float32 [n, side / 4, side / 4, 81 * channels], kymatio's order: channel of the image first, then path. Of the 81
      paths of a channel the first is order 0; the next 16 are order 1, by scale, then angle; the other 64 are order 2, by
      angle of the fine wavelet, then of the coarse one. Angle i is (3 - i) pi / 8 from the vertical axis.

    Raises:
      DataError: The images are not square with a side that is a multiple of 4.
    """
    n, side, width, channels = images.shape
    if side != width or side % STRIDE or side <= PADDING:
        raise DataError(
            f"images of {side} x {width} cannot be scattered: they must be square, the side a multiple of 4"
        )
    filters = filters_for(side + 2 * PADDING)
    out = np.empty((n, side // STRIDE, side // STRIDE, channels * PATHS), np.float32)
    shift, scale = np.asarray(mean, np.float32), np.asarray(deviation, np.float32)
    margin = (PADDING, PADDING)
    for first in range(0, n, CHUNK):
        chunk = (images[first : first + CHUNK] - shift) / scale
        planes = chunk.transpose(0, 3, 1, 2).reshape(-1, side, side)
        coefficients = _coefficients(np.pad(planes, ((0, 0), margin, margin), mode="reflect"), filters)
        out[first : first + CHUNK] = coefficients.reshape(len(chunk), -1, *out.shape[1:3]).transpose(0, 2, 3, 1)
        if (first + CHUNK) % PROGRESS == 0:
            print(f"scattering: {first + CHUNK} of {n} images", flush=True)
    return out


@cache
def filters_for(size: int) -> Filters:
    """The filters for padded images of `size` x `size`, which are taken to be periodic."""
    fine, coarse = (
        np.stack([fft2(_morlet(size, 2**j, (ANGLES // 2 - 1 - i) * np.pi / ANGLES)).real for i in range(ANGLES)])
        for j in range(2)
    )
    # The Gaussian that smooths is a product of one in each direction, so two small matrices do what a transform would.
    u = np.arange(-2 * size, 3 * size)
    line = (np.exp(-(u**2) / (2 * 1.6**2)) / np.sqrt(2 * PI * 1.6**2)).reshape(5, size).sum(axis=0)
    spectrum = np.fft.fft(line)
    # On every other pixel: the lower half of its frequencies, for those above would alias.
    halved = np.fft.ifft(np.concatenate([spectrum[: -(-size // 4)], spectrum[size - size // 4 :]])).real
    return Filters(
        fine=fine.astype(np.float32),
        coarse=coarse.astype(np.float32),
        smooth=_sampled(line, STRIDE),
        smooth_halved=_sampled(halved, STRIDE // 2),
    )


def _coefficients(x: np.ndarray, filters: Filters) -> np.ndarray:
    """float32 [n, size, size] -> float32 [n, 81, size / 4 - 2, size / 4 - 2]."""
    spectrum = fft2(x)[:, None]
    fine = np.abs(ifft2(spectrum * filters.fine))
    coarse = np.abs(ifft2(_halved(spectrum * filters.coarse)))
    both = np.abs(ifft2(_halved(fft2(fine)[:, :, None] * filters.coarse)))
    both = both.reshape(len(x), ANGLES**2, *both.shape[-2:])
    return np.concatenate(
        [
            _smoothed(x[:, None], filters.smooth),
            _smoothed(fine, filters.smooth),
            _smoothed(coarse, filters.smooth_halved),
            _smoothed(both, filters.smooth_halved),
        ],
        axis=1,
    )


def _halved(spectrum: np.ndarray) -> np.ndarray:
    """The Fourier transform of every other pixel in both directions, from that of all: frequencies fold over."""
    half = spectrum.shape[-1] // 2
    rows = spectrum[..., :half, :] + spectrum[..., half:, :]
    return (rows[..., :half] + rows[..., half:]) / np.float32(4)


def _smoothed(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return matrix @ x @ matrix.T


def _sampled(line: np.ndarray, stride: int) -> np.ndarray:
    """Periodic convolution with `line` at every `stride`-th place but the first and the last, which padding fills."""
    places = np.arange(0, len(line), stride)[1:-1]
    return line[(places[:, None] - np.arange(len(line))) % len(line)].astype(np.float32)


def _morlet(size: int, scale: int, angle: float) -> np.ndarray:
    """A plane wave in a Gaussian, less so much of the Gaussian that its mean is zero: complex128 [size, size]."""
    wave, envelope = (_gabor(size, scale, angle, frequency) for frequency in (0.75 * np.pi / scale, 0.0))
    return wave - wave.sum() / envelope.sum() * envelope


def _gabor(size: int, scale: int, angle: float, frequency: float) -> np.ndarray:
    """A plane wave in a Gaussian, made periodic: complex128 [size, size]. The Gaussian is twice as long across the wave."""
    sigma, slant = 0.8 * scale, 4 / ANGLES
    u = np.arange(-2 * size, 3 * size)
    down, right = np.meshgrid(u, u, indexing="ij")
    along = np.cos(angle) * down + np.sin(angle) * right
    across = np.cos(angle) * right - np.sin(angle) * down
    values = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2) + 1j * frequency * along)
    return values.reshape(5, size, 5, size).sum(axis=(0, 2)) * slant / (2 * PI * sigma**2)
