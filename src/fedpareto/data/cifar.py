"""CIFAR-10 as its authors serve it: a gzipped tar of Python 2 pickles (Krizhevsky 2009)."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
SHAPE = (3, 32, 32)  # of a stored image: channels, height, width

# All that an array's pickle calls. A pickle may name any function of any module; these can make arrays and nothing else.
_rebuild = np.empty(0).__reduce__()[0]
_HARMLESS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _rebuild,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _rebuild,  # numpy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}

_OF_BROKEN_PICKLES = (LookupError, ValueError, TypeError, AttributeError)


def cifar10(files: Mapping[str, Path]) -> tuple[PreparedData, dict[str, Any]]:
    """The 50,000 training and 10,000 test images, float32 [n, 32, 32, 3] in [0, 1].

    Papers standardise them by constants of different origin (or image by image), so that this is the model's business.

    Raises:
      DataError: The archive is not one of CIFAR-10.
    """
    path = files[ARCHIVE]
    try:
        with tarfile.open(path, "r:gz") as archive:
            names = _load(archive, "batches.meta")[b"label_names"]
            parts = [_batch(archive, name) for name in (*TRAINING, "test_batch")]
    except (OSError, EOFError, tarfile.TarError, pickle.UnpicklingError, *_OF_BROKEN_PICKLES) as error:
        raise DataError(f"{path} does not hold CIFAR-10 in pickles ({error})") from error
    train, test = parts[:-1], parts[-1]
    data = PreparedData(
        x_train=np.concatenate([images for images, _ in train]),
        y_train=np.concatenate([labels for _, labels in train]),
        x_test=test[0],
        y_test=test[1],
        class_names=np.array([name.decode() for name in names]),
    )
    return data, {"preprocessing": "pixels divided by 255", "fitted_on": "nothing"}


def _batch(archive: tarfile.TarFile, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 32, 32, 3] and labels int32 [n] of one file of the archive."""
    batch = _load(archive, name)
    images = np.asarray(batch[b"data"], np.uint8).reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
    return images.astype(np.float32) / np.float32(255), np.asarray(batch[b"labels"], np.int32)


def _load(archive: tarfile.TarFile, name: str) -> dict[bytes, Any]:
    """The dictionary of one file, read in place: nothing is unpacked to disk."""
    member = archive.extractfile(f"{FOLDER}/{name}")
    if member is None:
        raise ValueError(f"{FOLDER}/{name} is no file")
    loaded: dict[bytes, Any] = _ArraysOnly(io.BytesIO(member.read()), encoding="bytes").load()
    return loaded


class _ArraysOnly(pickle.Unpickler):
    """Reads lists, dictionaries, numbers, text and arrays; the checksum of the archive is the first line of defence."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _HARMLESS[module, name]
