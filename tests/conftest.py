"""What every test needs before JAX starts: four CPU devices, whatever the number of cores."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data files; tests that need one are skipped where there is none."""
    named = os.environ.get("FEDPARETO_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("FEDPARETO_DATA names no folder with data sets")
    return Path(named)
