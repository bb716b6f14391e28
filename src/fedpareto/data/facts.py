"""Facts of data sets, for checks before any job starts; a file of the user's is read for them as the data job reads it.

The counts of registered data sets are those that preparation ends with; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetInfo:
    """What a study must know of a data set.

    Attributes:
      train: Training examples; None where only reading the whole file would tell.
      shape: Height, width and channels of an example that is an image, else None.
      clients: Number of natural clients, or None where it has none.
      targets: What is to be predicted: `classes` or `numbers`.
    """

    train: int | None
    shape: tuple[int, ...] | None = None
    clients: int | None = None
    targets: str = "classes"


MNIST_SHAPE, CIFAR_SHAPE = (28, 28, 1), (32, 32, 3)
COLOURS = (1, 3)  # channels of a picture; features have more
FLAT_IMAGE_SHAPES = {"digits": (8, 8, 1)}  # tables that are pictures, row by row
REGISTERED: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(1438),
    "breast_cancer": DatasetInfo(455),
    "mnist": DatasetInfo(60_000, MNIST_SHAPE),
    "mnist_scattering": DatasetInfo(60_000, (7, 7, 81)),
    "fashion_mnist": DatasetInfo(60_000, MNIST_SHAPE),
    "fashion_mnist_scattering": DatasetInfo(60_000, (7, 7, 81)),
    "pneumoniamnist": DatasetInfo(4708, MNIST_SHAPE),
    "cifar10": DatasetInfo(50_000, CIFAR_SHAPE),
    "cifar10_scattering": DatasetInfo(50_000, (8, 8, 243)),
    "heart_disease": DatasetInfo(735, clients=4),
    "fed_heart_disease": DatasetInfo(486, clients=4),
    "credit_default": DatasetInfo(24_000),
    "creditcard": DatasetInfo(227_846),
    "bank_marketing": DatasetInfo(36_169),
    "adult": DatasetInfo(32_561),
    "diabetes130": DatasetInfo(81_532),
}


def of_user_file(options: Mapping[str, Any]) -> DatasetInfo:
    """Facts of a user's own data set.

    Args:
      options: `path`, and the other keys of a data set in the configuration.

    Raises:
      UserFileError: The file or a column is not there, or the file cannot be read.
    """
    from fedpareto.data.own.user import describe

    found = describe(options)
    return DatasetInfo(found.train, found.shape, found.clients)
