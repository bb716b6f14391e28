"""Images in MNIST's idx format, and pixels as numbers."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from fedpareto.data import DataError


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped idx file of bytes, uint8 of the shape that its header gives.

    Raises:
      DataError: It is no such file, or its header claims another number of bytes than there are.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}): get it again") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an idx file of bytes")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if len(content) < start or math.prod(shape) != len(content) - start:
        claimed = " x ".join(map(str, shape))
        raise DataError(
            f"{path}: the header says {claimed} bytes, and {max(0, len(content) - start)} are there (get it again)"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def scale(images: np.ndarray) -> np.ndarray:
    """uint8 [n, height, width] to float32 [n, height, width, 1] in [0, 1]."""
    return (images.astype(np.float32) / np.float32(255))[..., None]
