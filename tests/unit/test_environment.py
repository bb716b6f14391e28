"""pyproject.toml, the lock and environment.yml say the same."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from fedpareto.system import environment

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_lock_satisfies_the_project():
    locked = environment.versions(LOCK)
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        versions = locked[environment.normalise(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), text


def test_every_pin_has_hashes_and_the_lock_names_no_host():
    entries = re.split(r"\n(?=[A-Za-z0-9])", LOCK.strip())
    assert len(entries) > 80
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|--index|--find-links", LOCK)


def test_conda_users_get_the_locked_versions():
    assert (ROOT / "environment.yml").read_text() == environment.environment(LOCK)


def test_the_gpu_extra_adds_cuda_13():
    (requirement,) = map(Requirement, PROJECT["optional-dependencies"]["gpu"])
    assert requirement.extras == {"cuda13"}
    (jax,) = [r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "jax"]
    assert requirement.specifier == jax.specifier
