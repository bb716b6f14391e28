"""Facts of data sets, for checks before any job starts; a file of the user's is read for them as the data job reads it.

Those of a class are its literal constants (`fedpareto.data.loaders.interface`): preparation compares them with the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedpareto.components import registry


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a data set that a configuration is checked by.

    Attributes:
      train: Training examples; None where only reading the whole file would tell.
      shape: Height, width and channels of an example that is an image, else None.
      clients: Number of natural clients, or None where it has none.
      targets: The kind of targets: `classes` or `numbers`.
      declared: Whether these are what a class of the user's says of itself, so that there may be more to know.
    """

    train: int | None
    shape: tuple[int, ...] | None = None
    clients: int | None = None
    targets: str = "classes"
    declared: bool = False


def registered() -> tuple[str, ...]:
    """Names of the registered data sets."""
    return registry.names("dataset")


def of_class(name: str) -> DatasetInfo:
    """Facts of a data set that is a class: a registered name, or a file of the user's and a class of it.

    Raises:
      ComponentError: There is none.
    """
    component = registry.find("dataset", name)
    train, shape, clients = (component.constants.get(fact) for fact in ("TRAIN", "SHAPE", "CLIENTS"))
    targets = component.constants.get("TARGETS", "classes")
    return DatasetInfo(train, shape, clients, targets, declared=component.own)


def of_options(options: Mapping[str, Any]) -> DatasetInfo:
    """Facts of a user's data set: the constants of its class, or the content of its file.

    Args:
      options: `loader`, or `path` and the other keys of a data set in the configuration.

    Raises:
      UserFileError: The file or a column is not there, or the file cannot be read.
    """
    if "loader" in options:
        return of_class(options["loader"]["name"])
    from fedpareto.data.own.user import describe

    found = describe(options)
    return DatasetInfo(found.train, found.shape, found.clients)


def flat_image_shape(dataset: str) -> tuple[int, int, int] | None:
    """Shape of the pictures that the rows of a registered table are, or None."""
    if dataset not in registered():
        return None
    shape: tuple[int, int, int] | None = registry.find("dataset", dataset).constants.get("FLAT_IMAGE_SHAPE")
    return shape
