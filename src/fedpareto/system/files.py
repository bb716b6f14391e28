"""Files that are whole or not there: written in one step."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLD = 3600.0  # seconds, for which no file here is written


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`, which becomes `path` in one step at the end: no reader ever sees half of it.

    The file has the ending of `path`, stands in its folder (which is made) and has a name that no other process writes to. Where
    writing fails, it is removed and `path` is as it was.

    Raises:
      OSError: The folder cannot be made, or the file not be moved to its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        # Of a full disk the system does not say whose file it was.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is left either
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text in one step, as `whole` does."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Removes half-written files of killed processes below a folder; a young one may be of a process that still writes."""
    for path in folder.rglob(".*.partial*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > OLD:
                path.unlink()
