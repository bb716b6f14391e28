"""Files of registered data sets: from the user's folder, else from the cache, else fetched from one of several mirrors."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from fedpareto.data import DataError
from fedpareto.system.files import whole

FOLDER_VARIABLE = "FEDPARETO_DATA"
CACHE_VARIABLE = "FEDPARETO_CACHE"
LARGEST_MEMBER = 2**30


@dataclass(frozen=True)
class RemoteFile:
    """One file.

    Attributes:
      name: File name, below the data set's folder.
      hashes: Accepted checksums; sha256 where no algorithm is named (`md5:...`).
      urls: Mirrors, tried in order.
      member: Where mirrors serve a zip archive, the path of this file in it; checked by `member_hash`.
      member_hash: sha256 of that member.
    """

    name: str
    hashes: tuple[str, ...]
    urls: tuple[str, ...] = ()
    member: str | None = None
    member_hash: str | None = None


def remote_files(constants: Mapping[str, Any]) -> tuple[RemoteFile, ...]:
    """The files of a data set, from the constants of its class: `FILES`, and `MIRRORS` that serve them under their names."""
    mirrors = constants.get("MIRRORS", ())
    return tuple(
        RemoteFile(name, **given)
        if isinstance(given, Mapping)
        else RemoteFile(name, (given,), tuple(mirror + name for mirror in mirrors))
        for name, given in constants.get("FILES", {}).items()
    )


def data_folder() -> Path | None:
    """The folder that the user named for data files, or None."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(os.path.expanduser(named)) if named else None


def cache_folder() -> Path:
    """Where fetched files are kept."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(os.path.expanduser(named)) if named else Path(pooch.os_cache("fedpareto"))


def fetch(dataset: str, file: RemoteFile) -> Path:
    """The path of a file whose checksum is right.

    A finished file is never fetched twice, and a broken download is never kept: pooch checks it before it is moved to
    its place.

    Raises:
      DataError: The local copy has another checksum, no mirror could serve the file, or the cache takes none.
    """
    folder = data_folder()
    if folder is not None:
        if not folder.is_dir():
            raise DataError(f"{FOLDER_VARIABLE} = {folder} is not a folder (unset it to fetch data, or correct it)")
        local = folder / dataset / file.name
        if local.is_file():
            _check(local, file)
            return local
    cached = cache_folder() / dataset / file.name
    if cached.is_file() and _matches(cached, file):
        return cached
    _check_cache(cached.parent)
    if file.member is not None:
        return _fetch_member(dataset, file, cached.parent)
    failures = []
    for url in file.urls:
        for known in file.hashes:
            try:
                return Path(
                    pooch.retrieve(url, known, fname=file.name, path=cached.parent, progressbar=_at_a_terminal())
                )
            except ValueError as error:  # the checksum of what came is not this one
                failures.append(f"{url}: {str(error).splitlines()[0]}")
            except Exception as error:  # requests and urllib3 raise many kinds; the next mirror may do
                failures.append(_failure(url, error))
                break
    raise _unavailable(dataset, file, failures)


def _fetch_member(dataset: str, file: RemoteFile, folder: Path) -> Path:
    """One file of a zip archive whose own checksum is not published: the member's is checked instead."""
    assert file.member is not None
    name = Path(file.member).name
    if (folder / name).is_file() and pooch.file_hash(str(folder / name)) == file.member_hash:
        return folder / name
    failures = []
    for url in file.urls:
        try:
            archive = pooch.retrieve(url, None, fname=f"{name}.zip", path=folder, progressbar=_at_a_terminal())
            with zipfile.ZipFile(archive) as opened:
                content = _member(opened, file.member)
        except Exception as error:  # requests, urllib3 and zipfile raise many kinds; the next mirror may do
            failures.append(_failure(url, error))
            (folder / f"{name}.zip").unlink(missing_ok=True)
            continue
        if hashlib.sha256(content).hexdigest() == file.member_hash:
            with whole(folder / name) as partial:
                partial.write_bytes(content)
            return folder / name
        failures.append(f"{url}: {file.member} has another sha256 than {file.member_hash}")
        (folder / f"{name}.zip").unlink(missing_ok=True)
    raise _unavailable(dataset, file, failures)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of an archive, read into memory; refuses one that claims to be larger than any data set here."""
    size = archive.getinfo(name).file_size
    if size > LARGEST_MEMBER:
        raise ValueError(f"{name} claims {size} bytes")
    return archive.read(name)


def _failure(url: str, error: Exception) -> str:
    """Why a mirror did not do. A full disk is no mirror's fault, and no other mirror helps."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise _no_cache(cache_folder(), error) from error
    return f"{url}: {type(error).__name__}"


def _check_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _no_cache(folder, error) from error


def _no_cache(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"files are to be fetched, and nothing can be written to {folder} ({error.strerror}): name a folder of yours in "
        f"{CACHE_VARIABLE}"
    )


def _unavailable(dataset: str, file: RemoteFile, failures: Sequence[str]) -> DataError:
    tried = "; ".join(failures) or "no mirror serves it in this form"
    return DataError(
        f"{dataset}/{file.name} is not at hand and could not be fetched ({tried}); put the file into a folder {dataset}/ "
        f"below a folder of yours, and name that in {FOLDER_VARIABLE}"
    )


def is_complete(dataset: str, files: Sequence[RemoteFile]) -> bool:
    """Whether all files are at hand, in the user's folder or in the cache (checksums are not read)."""
    homes = [home for home in (data_folder(), cache_folder()) if home is not None]
    return all(any((home / dataset / file.name).is_file() for home in homes) for file in files)


def _matches(path: Path, file: RemoteFile) -> bool:
    return any(pooch.hashes.hash_matches(str(path), known) for known in file.hashes)


def _check(path: Path, file: RemoteFile) -> None:
    if not _matches(path, file):
        found = pooch.file_hash(str(path))
        raise DataError(
            f"{path} has sha256 {found}, and {' or '.join(file.hashes)} was expected (the copy was altered: replace it)"
        )


def _at_a_terminal() -> bool:
    import sys

    return sys.stderr.isatty()
