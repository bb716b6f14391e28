"""The interface of a data set: files that are fetched and checked, and the code that makes them prepared arrays.

A class with literal constants, which a configuration and `fedpareto doctor` read without importing it:

| constant           | meaning                                                                                               |
|--------------------|-------------------------------------------------------------------------------------------------------|
| `TRAIN`            | training examples that `load` returns; without it they are unknown until the data are prepared        |
| `SHAPE`            | height, width and channels of an example that is an image                                             |
| `FLAT_IMAGE_SHAPE` | the same of a table that is pictures, row by row                                                      |
| `CLIENTS`          | natural clients, where the data name them                                                             |
| `FILES`            | file name -> its sha256, or a mapping of fields of `fedpareto.data.fetch.RemoteFile`                  |
| `MIRRORS`          | addresses that the names of files are put behind                                                      |
| `FOLDER`           | folder in which the files are looked for, below the user's; by default the name of the data set       |
| `LICENCE`          | of the data                                                                                           |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fedpareto.data.arrays import PreparedData

Files = Mapping[str, Path]
Loaded = tuple[PreparedData, dict[str, Any]]


class Loader(Protocol):
    """A data set."""

    def load(self, files: Files) -> Loaded:
        """Prepares the data.

        Args:
          files: Path of each of `FILES`, checked.

        Returns:
          The arrays, and a report of what was done: `preprocessing` and `fitted_on` in words, and what else there is to say.

        Raises:
          DataError: The files cannot serve.
        """
