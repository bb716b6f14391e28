"""Failures that are no fault of the program: wrong files and names, a full disk. Each stops a verb with one line."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from fedpareto.components.registry import OWN_MODULE
from fedpareto.config.problems import nearest, show

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
    """A verb was given a wrong name; the message is one line."""


class FlagError(ValueError):
    """Flags were refused together; the message is a line for each reason."""


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


def of_own_code(error: BaseException) -> str | None:
    """One line for an error that a component of the user's own raised: file, line and error; None for another error."""
    own = {Path(str(module.__file__)) for name, module in [*sys.modules.items()] if name.startswith(OWN_MODULE)}
    folders = {path.parent for path in own}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent in folders]
    if not frames:
        return None
    return f"{os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno}: {type(error).__name__}: {in_one_line(error)}"
