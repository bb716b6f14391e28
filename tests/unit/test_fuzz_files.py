"""Ten thousand broken and hostile files end in arrays or in one line (`fuzz_files.py`)."""

import subprocess
import sys
from pathlib import Path

import fuzz_files
import pytest


def test_broken_files_end_in_arrays_or_in_one_line():
    found, _ = fuzz_files.try_all(300)
    assert found["read"] > 10
    assert found["refused"] > 100


@pytest.mark.slow
def test_ten_thousand_of_them_take_less_than_two_gigabytes():
    script = Path(fuzz_files.__file__)
    done = subprocess.run([sys.executable, script, "10000"], capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert float(done.stdout.split()[-2]) < 2
