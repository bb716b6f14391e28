"""CIFAR-10's archive: what is read of it, and what is not run."""

import io
import os
import pickle
import struct
import tarfile
from typing import ClassVar

import numpy as np
import pytest

from fedpareto.data import DataError
from fedpareto.data.loaders.cifar import ARCHIVE, FOLDER, TRAINING, cifar10

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its text, which is what the archive is made of."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        short = len(value) < 256
        self.write(
            pickle.SHORT_BINSTRING + bytes([len(value)]) + value
            if short
            else pickle.BINSTRING + struct.pack("<i", len(value)) + value
        )
        self.memoize(value)

    dispatch[bytes] = save_bytes


def pickled(value):
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def archive(folder, files):
    path = folder / ARCHIVE
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return {ARCHIVE: path}


def batches(images=4):
    rng = np.random.default_rng(0)
    made = {
        name: {
            b"data": rng.integers(0, 256, (images, 3072), np.uint8),
            b"labels": rng.integers(0, 10, images).tolist(),
            b"batch_label": b"one",
        }
        for name in (*TRAINING, "test_batch")
    }
    files = {name: pickled(batch) for name, batch in made.items()}
    return made, files | {"batches.meta": pickled({b"label_names": [name.encode() for name in NAMES]})}


def test_images_come_with_channels_last_and_in_the_order_of_the_files(tmp_path):
    made, files = batches()
    data, report = cifar10(archive(tmp_path, files))
    assert data.x_train.shape == (20, 32, 32, 3)
    assert data.x_test.shape == (4, 32, 32, 3)
    assert data.x_train.dtype == np.float32
    assert data.class_names.tolist() == NAMES
    second = made["data_batch_2"]
    assert data.y_train[4:8].tolist() == second[b"labels"]
    row, column, channel = 5, 7, 2
    stored = second[b"data"][:, channel * 1024 + row * 32 + column]
    np.testing.assert_array_equal(data.x_train[4:8, row, column, channel], stored.astype(np.float32) / np.float32(255))
    assert report["fitted_on"] == "nothing"


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data_batch_3", pickle.dumps(Malicious(), protocol=2), "it asks for posix.mkdir"),
        ("data_batch_3", b"no pickle", "does not hold CIFAR-10"),
        ("test_batch", pickled({b"labels": [1]}), "b'data'"),
        ("test_batch", pickled({b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}), "cannot reshape"),
        (
            "test_batch",
            pickled({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
            "2 images and labels of shape (1,)",
        ),
        (
            "test_batch",
            pickled(np.zeros(3, np.uint8)).replace(b"K\x03", b"\x8a\x06" + b"\x7f" * 6),
            "does not hold CIFAR-10",
        ),
        ("batches.meta", pickled({b"label_names": [1, 2]}), "decode"),
        ("batches.meta", None, "batches.meta"),
    ],
)
def test_another_archive_is_refused_in_one_line_and_nothing_of_it_is_run(tmp_path, monkeypatch, name, content, said):
    monkeypatch.chdir(tmp_path)
    files = {k: v for k, v in (batches()[1] | {name: content}).items() if v is not None}
    with pytest.raises(DataError) as error:
        cifar10(archive(tmp_path, files))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_an_archive_that_is_cut_is_refused(tmp_path, share):
    files = archive(tmp_path, batches()[1])
    content = files[ARCHIVE].read_bytes()
    files[ARCHIVE].write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="does not hold CIFAR-10"):
        cifar10(files)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / ARCHIVE).write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="does not hold CIFAR-10"):
        cifar10({ARCHIVE: tmp_path / ARCHIVE})
