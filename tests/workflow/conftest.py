"""A project that has swept once, shared by the tests that only look."""

import pytest
from project import Project


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """A project after one sweep of the tiny study. Tests must not change it: see `copy_of`."""
    project = Project(tmp_path_factory.mktemp("swept"))
    project.sweep()
    return project
