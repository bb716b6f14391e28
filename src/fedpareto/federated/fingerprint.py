"""A fingerprint of all that makes a run's numbers: code, libraries, plan and data.

Code is the engine's core, through which every run goes, and the components that the run names. What reaches a run as a value
(its plan, the words of its configuration, the names of columns) enters by that value, so that a tighter proof, a line of the log
or a measurement of costs trains nothing again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from fedpareto.components import provenance
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.sweep.components import component_files
from fedpareto.sweep.run import Run

CORE = ("fedpareto.federated.job", "fedpareto.federated.store.outcome")
# Files and folders of the package whose results reach training as values.
BY_VALUE = (
    "columns",
    "components",
    "config",
    "data/__init__.py",
    "privacy/accounting",
    "privacy/delta_budget.py",
    "privacy/soundness.py",
    "statuses.py",
    "sweep/account.py",
    "system",
)


def fingerprints(runs: Iterable[Run], plans: Mapping[str, PrivacyPlan], content_sha256: str) -> dict[str, str]:
    """By run id, twice 16 hexadecimal digits, of code and of data, that change with whatever can change the numbers of a run.

    Args:
      runs: The runs, which are themselves known by their ids. Code that several of them name is read once.
      plans: The plan that trains each, by run id.
      content_sha256: Of the prepared data set.
    """
    code: dict[frozenset[Path], str] = {}
    made = {}
    for run in runs:
        files = source_files(run)
        if files not in code:
            code[files] = provenance.fingerprint(files)
        told = f"{code[files]} {plans[run.run_id]!r}"
        made[run.run_id] = f"{hashlib.sha256(told.encode()).hexdigest()[:16]}-{content_sha256[:16]}"
    return made


def without_data(fingerprint: str) -> str:
    """The part of a fingerprint that may be published.

    A hash of the data tells who has them but for one record what that record is: no noise hides it.
    """
    return fingerprint.partition("-")[0]


def source_files(run: Run) -> frozenset[Path]:
    """The source files that make a run's numbers."""
    return _core() | {file for file in component_files([run]) if not _by_value(file)}


@cache
def _core() -> frozenset[Path]:
    return frozenset(file for file in provenance.sources(*CORE) if not _by_value(file))


def _by_value(file: Path) -> bool:
    if not file.is_relative_to(provenance.PACKAGE):
        return False
    name = file.relative_to(provenance.PACKAGE).as_posix()
    return any(name == part or name.startswith(f"{part}/") for part in BY_VALUE)
