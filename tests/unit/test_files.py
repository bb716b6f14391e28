"""Files are whole or not there."""

import os
import resource
import time
from contextlib import contextmanager

import numpy as np
import pytest

from fedpareto.cli.main import main
from fedpareto.system.files import remove_leftovers, whole


@contextmanager
def little_room(size):
    """Files of this process cannot grow above `size` bytes: a full disk that needs no disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_appears_at_once_and_under_its_own_ending(tmp_path):
    path = tmp_path / "new" / "a.npz"
    with whole(path) as partial:
        np.savez(partial, x=np.arange(3))
        assert not path.exists()
        with whole(path) as other:  # another process at the same time
            assert other != partial
            other.write_bytes(b"")
    assert list(np.load(path)["x"]) == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with little_room(1000), pytest.raises(OSError, match=r"large: .*a\.txt"), whole(path) as partial:
        partial.write_text("x" * 2000)
    with pytest.raises(ZeroDivisionError), whole(path) as partial:
        partial.write_text(str(1 / 0))
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_long_ago_is_removed(tmp_path):
    names = {".a.0123.partial.npz": 7200, ".b.0123.partial.npz": 0, "c.npz": 7200, ".d.npz": 7200}
    for name, age in names.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    remove_leftovers(tmp_path)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {*names} - {".a.0123.partial.npz"}


def test_a_stage_without_room_leaves_nothing(tmp_path, capsys):
    arrays, report = tmp_path / "digits.npz", tmp_path / "digits.json"
    with little_room(100_000):
        assert main(["data", "--dataset", "digits", "--output", str(arrays), "--report", str(report)]) == 1
    assert capsys.readouterr().err == f"fedpareto data: {arrays}: File too large\n"
    assert list(tmp_path.iterdir()) == []
