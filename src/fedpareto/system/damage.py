"""Files of a sweep that are damaged: cut by a full disk, a kill or a copy, or with bits that flipped. They are made again.

`clear` looks at beginnings and ends alone, so that a sweep can look at all its files before it decides what to do; what only
reading finds is found by `reading`. Nothing outside the folder of the results is removed.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fedpareto.system import paths

# How a whole file of each kind begins and ends; what follows the end is white space.
_ENDS = {
    ".json": (b"{", b"}"),  # or brackets
    ".parquet": (b"PAR1", b"PAR1"),
    ".npz": (b"PK\x03\x04", b""),
    ".svg": (b"<?xml", b"</svg>"),
    ".pdf": (b"%PDF", b"%%EOF"),
    ".png": (b"\x89PNG", b"IEND\xaeB`\x82"),
}
_DIRECTORY = struct.Struct("<4s4H2LH")  # the last record of a zip archive without a comment
_TAIL = 64
# What readers of JSON, NPZ and Parquet raise of content that is none, beside an OSError without a number (pyarrow).
_OF_CONTENT = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RecursionError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


class DamagedFile(RuntimeError):
    """A file that cannot be read; the message is one line and says what happens to the file."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around code that reads `path`: a file that is damaged is removed, if it is one of the results.

    Raises:
      DamagedFile: The content is not what it should be.
      OSError: The file is not there, or the system does not give it.
    """
    try:
        yield
    except DamagedFile:
        raise
    except (OSError, *_OF_CONTENT) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
        if Path(paths.RESULTS).absolute() not in path.absolute().parents:
            raise DamagedFile(f"{path} cannot be read: {what}") from error
        path.unlink(missing_ok=True)
        raise DamagedFile(
            f"{path} was damaged ({what}) and is removed: run the sweep again, it is made anew"
        ) from error


def is_whole(path: Path | str) -> bool:
    """Whether a file begins and ends as its kind does; files of other kinds are whole if there is anything in them.

    Raises:
      FileNotFoundError: It is not there.
    """
    suffix = os.path.splitext(path)[1]
    start, end = _ENDS.get(suffix, (b"", b""))
    file = os.open(path, os.O_RDONLY)  # thousands of files are looked at: no more than this
    try:
        size = os.fstat(file).st_size
        head, tail = os.pread(file, len(start), 0), os.pread(file, _TAIL, max(0, size - _TAIL))
    finally:
        os.close(file)
    if suffix == ".npz" and not _has_directory(tail, size):
        return False
    if suffix == ".json":
        return head + tail.rstrip()[-1:] in (b"{}", b"[]")
    return size > 0 and head == start and tail.rstrip().endswith(end)


def _has_directory(tail: bytes, size: int) -> bool:
    """Whether a zip archive of `size` bytes ends with the record that says where its directory is, and it is there."""
    if len(tail) < _DIRECTORY.size:
        return False
    mark, *_, length, offset, _ = _DIRECTORY.unpack(tail[-_DIRECTORY.size :])
    large = 2**32 - 1 in (length, offset)  # then another record says where
    return mark == b"PK\x05\x06" and (large or offset + length + _DIRECTORY.size == size)


def clear(outputs: Iterable[str], bundles: Mapping[str, Iterable[str]]) -> list[str]:
    """Removes damaged files, so that Snakemake makes them again, and says which.

    Args:
      outputs: Files that rules make.
      bundles: Bundle -> its runs. A run whose result or model is damaged is removed with its bundle's table of runs, so that it
        is trained again, alone.
    """
    found = [path for path in outputs if _is_damaged(path)]
    for path in found:
        os.unlink(path)
    for bundle, runs in bundles.items():
        for run in runs:
            damaged = [path for path in paths.run_files(run) if _is_damaged(path)]
            if damaged:
                discard_run(run, bundle)
            found += damaged
    return found


def discard_run(run: str, bundle: str) -> None:
    """Removes a run from the store, and its bundle's table of runs, without which the bundle is trained again: of it this run."""
    # In this order: a kill in between leaves something to be found again.
    for path in (*paths.bundle_files([bundle], ["runs"]), *paths.run_files(run)):
        Path(path).unlink(missing_ok=True)


def _is_damaged(path: str) -> bool:
    """Whether a file is there and damaged; one of the store's small results is read whole."""
    try:
        if not is_whole(path):
            return True
        if path.startswith(paths.RUNS_FOLDER) and path.endswith(".json"):
            json.loads(Path(path).read_bytes())
    except OSError:
        return False
    except ValueError:  # no JSON, or no text
        return True
    return False
