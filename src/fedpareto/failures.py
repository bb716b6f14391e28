"""What stops a verb although nothing is wrong with the program: files and names that are not what they should be, a full disk."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fedpareto.problems import nearest, show

T = TypeVar("T")
# What was finished is kept by every stage, so that the same command goes on.
_WAYS_OUT = {
    errno.ENOSPC: "make room and run it again: what was finished is kept",
    errno.EDQUOT: "make room and run it again: what was finished is kept",
    errno.EACCES: "run in a folder of your own, or correct the rights",
    errno.EROFS: "run in a folder of your own, or correct the rights",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EMFILE: "raise the limit: ulimit -n 4096",
}


class StageError(ValueError):
    """A file or a name that a verb was given is not what it should be; the message is one line."""


def read(path: Path, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a file's text.

    Raises:
      StageError: The file is no text, or not what its stage wrote.
      OSError: It cannot be read.
    """
    return opened(path, lambda file: parse(file.read_text(encoding="utf-8")))


def opened(path: Path, load: Callable[[Path], T]) -> T:
    """What `load` makes of a file; raises as `read` does."""
    try:
        return load(path)
    except OSError:
        raise
    except Exception as error:  # whatever a cut or foreign file leads to
        why = show(f"{type(error).__name__}: {error}", 200)
        raise StageError(f"{path} is damaged (remove it, and it is made again; {why})") from error


def named(name: str, known: Mapping[str, T], what: str, place: Path) -> T:
    """The entry of a name; raises `StageError` where there is none."""
    if name in known:
        return known[name]
    raise StageError(f"{what} {show(name)} is not in {place} ({nearest(name, [*known]) if known else 'it has none'})")


def of_the_system(error: OSError) -> str:
    """An error of the operating system in one line, with the way out where one is known."""
    place = f"{error.filename}: " if error.filename else ""
    way_out = _WAYS_OUT.get(error.errno or 0)
    return f"{place}{error.strerror or error}" + (f" ({way_out})" if way_out else "")


def in_one_line(error: Any) -> str:
    """The text of an error without its line breaks, and not without end."""
    return show(" ".join(str(error).split()) or type(error).__name__, 400)
