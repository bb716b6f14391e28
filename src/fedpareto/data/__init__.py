"""Data sets: fetched or the user's own, checked, and prepared into arrays."""

from __future__ import annotations

from pathlib import Path

COLOURS = (1, 3)  # channels of a picture; features have more


class DataError(ValueError):
    """Data that cannot be had or used, in one line that names the way out."""


class UserFileError(DataError):
    """A user's file that cannot serve, and why: `key` (and `index` in its list) is the option at fault."""

    def __init__(self, key: str, value: object, must: str, hint: str = "", index: int | None = None) -> None:
        super().__init__(f"{key} = {value} must {must}" + (f" ({hint})" if hint else ""))
        self.key, self.value, self.must, self.hint, self.index = key, value, must, hint, index


def unfit(path: Path, must: str, hint: str) -> UserFileError:
    """A file that cannot serve as it is."""
    return UserFileError("path", path, must, hint)
