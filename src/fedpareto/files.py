"""Files that are whole or not there: written in one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
        if (
            error.errno is not None and error.filename is None
        ):  # of a full disk the system does not say whose file it was
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is left either
            partial.unlink(missing_ok=True)
