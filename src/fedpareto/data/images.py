"""Image files: MNIST's idx format and MedMNIST's npz."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from fedpareto.data import DataError


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped idx file of bytes, uint8 of the shape that its header gives."""
    content = gzip.decompress(path.read_bytes())
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an idx file of bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def scale(images: np.ndarray) -> np.ndarray:
    """uint8 [n, height, width] to float32 [n, height, width, 1] in [0, 1]."""
    return (images.astype(np.float32) / np.float32(255))[..., None]
