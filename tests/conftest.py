"""What every test needs before JAX starts: four CPU devices, whatever the number of cores, and programs that compile quickly.

Most of the time of a test is XLA's, on a program that runs once. Programs of the command line, in processes of their own, are
compiled as they are for a user.
"""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data files; tests that need one are skipped where there is none."""
    named = os.environ.get("FEDPARETO_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("FEDPARETO_DATA names no folder with data sets")
    return Path(named)
