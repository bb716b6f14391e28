"""Where files come from and are kept, and files that claim what they do not hold."""

import errno
import gzip
import hashlib
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest

from fedpareto.cli.main import main
from fedpareto.data import DataError, fetch
from fedpareto.data.fetch import RemoteFile
from fedpareto.data.loaders.idx import read_idx

CONTENT = b"content"
FILE = RemoteFile("file.txt", (hashlib.sha256(CONTENT).hexdigest(),), ("https://works.example/file.txt",))
MEMBER = RemoteFile(
    "file.txt", FILE.hashes, ("https://works.example/a.zip",), member="in/file.txt", member_hash=FILE.hashes[0]
)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror that serves the file, or an archive of it; the cache is below a fresh folder."""

    def retrieve(url, known_hash, fname, path, progressbar):
        if url.endswith("zip"):
            with zipfile.ZipFile(path / fname, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("in/file.txt", CONTENT)
        else:
            (path / fname).write_bytes(CONTENT)
        return str(path / fname)

    monkeypatch.delenv("FEDPARETO_DATA", raising=False)
    monkeypatch.setenv("FEDPARETO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return tmp_path / "cache"


def test_a_tilde_is_the_home_folder(mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FEDPARETO_CACHE", "~/kept")
    assert fetch.fetch("some", FILE) == tmp_path / "kept" / "some" / "file.txt"
    monkeypatch.setenv("FEDPARETO_DATA", "~/own")
    (tmp_path / "own" / "some").mkdir(parents=True)
    (tmp_path / "own" / "some" / "file.txt").write_bytes(CONTENT)
    assert fetch.fetch("some", FILE) == tmp_path / "own" / "some" / "file.txt"


@pytest.mark.parametrize("cache", ["/dev/null/cache", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_one_line(mirror, monkeypatch, capsys, cache, tmp_path):
    monkeypatch.setenv("FEDPARETO_CACHE", cache)
    assert main(["data", "--dataset", "adult", "--output", str(tmp_path / "a"), "--report", str(tmp_path / "b")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert cache in line
    assert line.endswith("name a folder of yours in FEDPARETO_CACHE")


def test_doctor_names_folders_that_cannot_be_written(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("FEDPARETO_CACHE", "/dev/null/cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/more")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").touch()
    assert main(["doctor", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert problems == [
        "/dev/null/cache cannot be written (name a folder of yours in FEDPARETO_CACHE)",
        f"{tmp_path}/results cannot be written (run in a folder of your own)",
        "/dev/null/more cannot be written, where Snakemake has its cache (name a folder in XDG_CACHE_HOME)",
    ]


def test_a_full_disk_is_not_the_mirrors_fault(mirror, monkeypatch):
    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pooch, "retrieve", full)
    with pytest.raises(DataError, match=r"No space left on device.*FEDPARETO_CACHE"):
        fetch.fetch("some", FILE)


def test_a_member_of_an_archive_is_taken_if_it_is_what_is_expected(mirror, monkeypatch):
    assert fetch.fetch("some", MEMBER).read_bytes() == CONTENT
    (mirror / "some" / "file.txt").unlink()
    monkeypatch.setattr(fetch, "LARGEST_MEMBER", 3)  # a bomb: what it claims is looked at before it is unpacked
    with pytest.raises(DataError, match="could not be fetched"):
        fetch.fetch("some", MEMBER)
    assert list((mirror / "some").iterdir()) == []


def idx(path: Path, shape, content) -> Path:
    header = b"\x00\x00\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    path.write_bytes(gzip.compress(header + content))
    return path


def test_an_idx_file_is_read_in_its_shape(tmp_path):
    read = read_idx(idx(tmp_path / "a.gz", (2, 3), bytes(range(6))))
    np.testing.assert_array_equal(read, np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("shape", "content"), [((2, 3), b"12345"), ((2, 3), b"1234567"), ((2**32 - 1,) * 3, b"123"), ((5,), b"")]
)
def test_a_header_that_claims_another_size_is_one_line(tmp_path, shape, content):
    claimed = " x ".join(map(str, shape))
    with pytest.raises(DataError, match=f"the header says {claimed} bytes, and {len(content)} are there"):
        read_idx(idx(tmp_path / "a.gz", shape, content))


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"\x00\x00\x08\xff12", mtime=0), gzip.compress(b"\x00" * 9, mtime=0)[:-9]],
)
def test_what_is_no_idx_file_is_one_line(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz"):
        read_idx(tmp_path / "a.gz")
