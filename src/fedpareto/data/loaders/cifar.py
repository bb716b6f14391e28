"""CIFAR-10 as its authors serve it: a gzipped tar of Python 2 pickles (Krizhevsky 2009)."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zlib
from typing import Any, ClassVar

import numpy as np

from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData
from fedpareto.data.loaders.interface import Files, Loaded
from fedpareto.data.loaders.scattering import IMAGENET_DEVIATION, IMAGENET_MEAN, scattered

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
STORED_SHAPE = (3, 32, 32)  # of a stored image: channels, height, width

# All that an array's pickle calls. A pickle may name any function of any module; these can make arrays and nothing else.
_rebuild = np.empty(0).__reduce__()[0]
_HARMLESS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _rebuild,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _rebuild,  # numpy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}

# What reading raises of an archive that is cut, and of pickles that claim what is not there.
_OF_BROKEN_FILES = (
    *(OSError, EOFError, tarfile.TarError, zlib.error, pickle.UnpicklingError, struct.error),
    *(ArithmeticError, LookupError, ValueError, TypeError, AttributeError, MemoryError),
)


class CIFAR10:
    """Photographs of ten kinds of things (Krizhevsky 2009), 32 x 32 pixels of three colours in [0, 1]."""

    NAME: ClassVar = "cifar10"
    TRAIN: ClassVar = 50_000
    SHAPE: ClassVar = (32, 32, 3)
    LICENCE: ClassVar = "no licence stated; the authors ask to cite Krizhevsky (2009)"
    FOLDER: ClassVar = "cifar10"
    MIRRORS: ClassVar = ("https://www.cs.toronto.edu/~kriz/",)
    FILES: ClassVar = {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"}

    def load(self, files: Files) -> Loaded:
        return cifar10(files)


class CIFAR10Scattering(CIFAR10):
    """Scattering features of CIFAR-10, 8 x 8 places of 243 channels."""

    NAME: ClassVar = "cifar10_scattering"
    SHAPE: ClassVar = (8, 8, 243)

    def load(self, files: Files) -> Loaded:
        return scattered(super().load(files), IMAGENET_MEAN, IMAGENET_DEVIATION)


def cifar10(files: Files) -> Loaded:
    """The 50,000 training and 10,000 test images, float32 [n, 32, 32, 3] in [0, 1].

    Papers standardise them by constants of different origin (or image by image), so that this is the model's business.

    Raises:
      DataError: The archive is not one of CIFAR-10.
    """
    path = files[ARCHIVE]
    try:
        with tarfile.open(path, "r:gz") as archive:
            names = [name.decode() for name in _load(archive, "batches.meta")[b"label_names"]]
            parts = [_batch(archive, name) for name in (*TRAINING, "test_batch")]
    except _OF_BROKEN_FILES as error:
        raise DataError(f"{path} does not hold CIFAR-10 in pickles ({str(error) or type(error).__name__})") from error
    train, test = parts[:-1], parts[-1]
    data = PreparedData(
        x_train=np.concatenate([images for images, _ in train]),
        y_train=np.concatenate([labels for _, labels in train]),
        x_test=test[0],
        y_test=test[1],
        class_names=np.array(names),
    )
    return data, {"preprocessing": "pixels divided by 255", "fitted_on": "nothing"}


def _batch(archive: tarfile.TarFile, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 32, 32, 3] and labels int32 [n] of one file of the archive."""
    batch = _load(archive, name)
    images = np.asarray(batch[b"data"], np.uint8).reshape(-1, *STORED_SHAPE).transpose(0, 2, 3, 1)
    labels = np.asarray(batch[b"labels"], np.int32)
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{name}: {len(images)} images and labels of shape {labels.shape}")
    return images.astype(np.float32) / np.float32(255), labels


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
