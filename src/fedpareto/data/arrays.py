"""Prepared data: the result of every loader, its file, and its reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fedpareto.system import damage
from fedpareto.system.files import whole


@dataclass(frozen=True)
class PreparedData:
    """A data set ready to train on.

    Attributes:
      x_train: float32 [n, ...]: [n, features] for tables, [n, height, width, channels] for images.
      y_train: int32 [n], class numbers; float32 [n] or [n, ...] where what is to be predicted are numbers.
      x_test: float32 [m, ...].
      y_test: The same, [m] or [m, ...].
      class_names: unicode [classes]; none where targets are numbers.
      client_train: int32 [n], the natural client of each training example, or None.
      client_test: int32 [m], likewise; whoever has test examples only is no client, and has a number behind theirs.
      client_names: unicode [natural clients], or None.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: np.ndarray
    client_train: np.ndarray | None = None
    client_test: np.ndarray | None = None
    client_names: np.ndarray | None = None

    @property
    def targets(self) -> str:
        """The kind of targets: `classes` or `numbers`."""
        return "numbers" if self.y_train.dtype == np.float32 else "classes"

    @property
    def content_sha256(self) -> str:
        """Stands for every number of the data set."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy: it may be gigabytes
        return digest.hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in found.items() if array is not None}


def write(data: PreparedData, report: Mapping[str, Any], arrays_file: Path, report_file: Path) -> None:
    """Writes arrays and report, each in one step."""
    with whole(arrays_file) as path:
        np.savez(path, **data.arrays())  # type: ignore[arg-type]
    full = dict(report) | {
        "train": len(data.y_train),
        "test": len(data.y_test),
        "example_shape": list(data.x_train.shape[1:]),
        "classes": [str(name) for name in data.class_names],
        "clients": None if data.client_names is None else [str(name) for name in data.client_names],
        "content_sha256": data.content_sha256,
    }
    with whole(report_file) as path:
        path.write_text(json.dumps(full, indent=1), encoding="utf-8")


def read(path: Path) -> PreparedData:
    """Reads the file of `write`.

    Raises:
      DamagedFile: It cannot be read; it is removed where it is one of the results.
    """
    with damage.reading(path), np.load(path, allow_pickle=False) as stored:
        return PreparedData(**{name: stored[name] for name in stored.files})
