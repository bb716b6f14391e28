"""The environment: variables that jobs inherit, and `environment.yml` for conda users, made from the lock file.

`python -m fedpareto.system.environment` writes the latter. Nothing heavy is imported.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from fedpareto.system.jax_settings import nothing_starts

LOCK = Path("requirements.lock")
ENVIRONMENT = Path("environment.yml")
HEADER = """\
# The locked environment for conda users. Generated from requirements.lock by `make lock`: do not edit.
#   conda env create -f environment.yml && conda activate fedpareto && pip install --no-deps -e .
name: fedpareto
channels:
  - conda-forge
dependencies:
  - python>=3.11,<3.15
  - pip
  - pip:
"""


def pins(lock: str) -> list[str]:
    """The requirements of a lock file's text, `name==version` with their markers, without hashes."""
    lines = [line.rstrip(" \\") for line in lock.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    return [
        re.sub(r"\s*;\s*", " ; ", re.sub(r"\[([^]]*)\]", lambda m: f"[{m[1].replace(' ', '')}]", line))
        for line in lines
    ]


def versions(lock: str) -> dict[str, set[str]]:
    """Pinned versions by normalised name; more than one where markers choose between them."""
    installed: dict[str, set[str]] = {}
    for pin in pins(lock):
        name, version = re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?==([^ ;]+)", pin).groups()  # type: ignore[union-attr]
        installed.setdefault(normalise(name), set()).add(version)
    return installed


def normalise(name: str) -> str:
    """A distribution's name as the packaging standards compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def environment(lock: str) -> str:
    """The text of environment.yml for a lock file's text."""
    return HEADER + "".join(f'      - "{pin}"\n' for pin in pins(lock))


def share_with_jobs(source: Path) -> None:
    """Puts the package's source folder and this interpreter first on the paths that child processes inherit."""
    for variable, folder in (("PYTHONPATH", str(source)), ("PATH", os.path.dirname(sys.executable))):
        os.environ[variable] = os.pathsep.join(filter(None, [folder, os.environ.get(variable)]))


def trains_on_a_cpu_unasked() -> bool:
    """Whether JAX falls back to the CPU here; a user who names it in JAX_PLATFORMS has asked for it."""
    return not os.environ.get("JAX_PLATFORMS") and platform() == "cpu"


def platform() -> str:
    """The platform that JAX computes on here. JAX starts in a separate process, so that the caller stays light.

    Raises:
      SettingsError: It does not start.
    """
    asked = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise nothing_starts(done.stderr)
    return done.stdout.strip()


if __name__ == "__main__":
    ENVIRONMENT.write_text(environment(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
