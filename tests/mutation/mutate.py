"""Breaks the privacy code in one way after the other and runs the tests on each: a mutant that survives is a missing test.

Run it as `make mutate`. It never touches the sources: each mutant is a copy of the package in a folder of its own, on which
the tests that concern the changed file are run. The table it writes is docs/mutation.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fedpareto"
LIST = Path(__file__).with_name("mutants.yaml")
TABLE = ROOT / "docs" / "mutation.md"
ACCOUNTING = (
    "tests/unit/test_privacy_plan.py",
    "tests/unit/test_lattice.py",
    "tests/conformance/test_soundness.py",
    "tests/conformance/test_amplification.py",
    "tests/conformance/test_epsilon.py",
    "tests/conformance/test_accounting.py",
    "tests/conformance/test_published.py",
    "tests/conformance/test_calibration.py",
    "tests/unit/test_correlated.py",
)
ENGINE = (
    "tests/statistical/test_keys.py",
    "tests/statistical/test_samplers.py",
    "tests/statistical/test_releases.py",
    "tests/unit/test_quantise.py",
    "tests/conformance/test_sensitivity.py",
    "tests/unit/test_records.py",
    "tests/unit/test_engine.py",
    "tests/unit/test_preprocessing.py",
)
AUDIT = ("tests/unit/test_canaries.py", "tests/statistical/test_audit_bounds.py", "tests/statistical/test_audit.py")
PREPROCESSING = ("tests/unit/test_preprocessing.py", "tests/statistical/test_preliminary.py")
# Where a mutant's file begins so, these tests are run, up to the first that fails. The first line that fits counts.
TESTS = {
    "privacy/secure_aggregation/protocol": ("tests/unit/test_secure_aggregation.py",),
    "privacy/secure_aggregation/shamir": ("tests/unit/test_secure_aggregation.py",),
    "privacy/clipping": ENGINE,
    "privacy/mechanisms/gaussian": ENGINE,
    "privacy/mechanisms/adaptive_clipping": (*ENGINE, "tests/conformance/test_accounting.py"),
    "privacy/mechanisms/normal": ("tests/unit/test_normal.py", "tests/statistical/test_normal.py"),
    "privacy/mechanisms/interface": ("tests/unit/test_normal.py",),
    "privacy/sampling": ENGINE,
    "privacy/mechanisms/discrete_encoding": ENGINE,
    "privacy/soundness": ("tests/conformance/test_soundness.py", "tests/unit/test_config.py"),
    "privacy/mechanisms/banded": ("tests/unit/test_correlated.py", *ENGINE, *ACCOUNTING),
    "privacy/mechanisms/": (*ACCOUNTING, *ENGINE),
    "privacy/": ACCOUNTING,
    "sweep/account": ACCOUNTING,
    "federated/preprocessings/": PREPROCESSING,
    "federated/inputs/canaries": AUDIT,
    "federated/engine/program": ("tests/unit/test_engine.py", "tests/conformance/test_fedpareto.py"),
    "federated/contributions/client": (*ENGINE, "tests/unit/test_canaries.py"),
    "federated/contributions/records": (*ENGINE, "tests/unit/test_canaries.py"),
    "federated/": ENGINE,
    "attacks/": AUDIT,
    "analysis/": ("tests/unit/test_analysis.py",),
}
LIMIT = 900  # seconds after which a mutant counts as caught: it hangs
NO_TESTS = 5  # the exit status of pytest where no test has the name


@dataclass(frozen=True)
class Mutant:
    """One way of breaking the code: `this`, which stands once in `file`, becomes `that`."""

    what: str
    file: str
    this: str
    that: str

    def applied(self) -> str:
        """The text of the broken file.

        Raises:
          ValueError: The code has changed, and what is to be broken is not there exactly once.
        """
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        if text.count(self.this) != 1:
            raise ValueError(f"{self.file} has {text.count(self.this)} times, not once: {self.this}")
        return text.replace(self.this, self.that)

    @property
    def tests(self) -> tuple[str, ...]:
        """The files of tests that concern the file."""
        return next(tests for start, tests in TESTS.items() if self.file.startswith(start))


@dataclass(frozen=True)
class Outcome:
    """What the tests said: the one that failed first, or nothing where the mutant survived."""

    caught_by: str | None
    seconds: float


def mutants() -> list[Mutant]:
    """All mutants of the list."""
    return [Mutant(**entry) for entry in yaml.safe_load(LIST.read_text(encoding="utf-8"))]


def caught_before() -> dict[str, tuple[str, ...]]:
    """The test that caught a mutant when the table was last written, as arguments of pytest."""
    rows = re.findall(r"^\| (.+) \| `.+` \| `(\w+): (\w+)` \|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    files = {file.stem.removeprefix("test_"): str(file) for file in (ROOT / "tests").glob("*/test_*.py")}
    return {what: (files[file], "-k", f"test_{test}") for what, file, test in rows if file in files}


def caught(mutant: Mutant, first: tuple[str, ...], cache: Path) -> Outcome:
    """Runs the tests that concern a mutant: first the one that is known to catch it, for most of the time is theirs that do not."""
    found = tried(mutant, first, cache) if first else Outcome(None, 0.0)
    return found if found.caught_by is not None else tried(mutant, mutant.tests, cache)


def tried(mutant: Mutant | None, tests: tuple[str, ...], cache: Path) -> Outcome:
    """Runs tests on a copy of the package with one mutant, or with none."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "fedpareto"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            (copy / mutant.file).write_text(mutant.applied(), encoding="utf-8")
        environment = os.environ | {
            "PYTHONPATH": folder,
            "PYTHONDONTWRITEBYTECODE": "1",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcome("the time limit", time.monotonic() - started)
    seconds = time.monotonic() - started
    if done.returncode in (0, NO_TESTS):
        return Outcome(None, seconds)
    failures = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if not failures:
        raise RuntimeError(f"pytest ended with status {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return Outcome(failures[0].split(" - ")[0].split(" ", 1)[1], seconds)


def main() -> int:
    """Tries all mutants, writes the table and says which survive; the exit status is 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table as Markdown")
    parser.add_argument("--only", default="", help="try mutants whose file or description has this in it")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1)), help="mutants at once")
    arguments = parser.parse_args()
    chosen = [m for m in mutants() if arguments.only in m.file or arguments.only in m.what]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        cache = Path(folder)
        every = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
        unbroken = tried(None, ("-n", str(arguments.jobs), "--dist", "loadfile", *every), cache)
        if unbroken.caught_by is not None:
            print(f"{unbroken.caught_by} fails on the code as it is", file=sys.stderr)
            return 2
        print(f"unbroken: {len(every)} files of tests pass in {unbroken.seconds:.0f} s", flush=True)
        known, outcomes = caught_before(), []
        for mutant, outcome in zip(
            chosen, pool.map(lambda m: caught(m, known.get(m.what, ()), cache), chosen), strict=True
        ):
            outcomes.append(outcome)
            by = outcome.caught_by or "SURVIVES"
            print(f"{len(outcomes)}/{len(chosen)} {mutant.what}: {by} ({outcome.seconds:.0f} s)", flush=True)
    survivors = [m for m, outcome in zip(chosen, outcomes, strict=True) if outcome.caught_by is None]
    if arguments.out:
        arguments.out.write_text(table(chosen, outcomes), encoding="utf-8")
    for mutant in survivors:
        print(f"SURVIVES: {mutant.what} ({mutant.file}: {mutant.this} -> {mutant.that})")
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants caught")
    return 1 if survivors else 0


def table(chosen: list[Mutant], outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown."""
    noticed = sum(outcome.caught_by is not None for outcome in outcomes)
    lines = [
        "# Mutants of the privacy code",
        "",
        f"`make mutate` breaks the code in {len(chosen)} ways, one at a time ([the list](../tests/mutation/mutants.yaml)), and runs",
        f"the tests that concern the changed file. {noticed} are caught, {len(chosen) - noticed} survive.",
        "",
        "| broken | where | caught by |",
        "|---|---|---|",
    ]
    for mutant, outcome in zip(chosen, outcomes, strict=True):
        by = "**nothing**" if outcome.caught_by is None else f"`{_test_name(outcome.caught_by)}`"
        lines.append(f"| {mutant.what} | `{mutant.file}` | {by} |")
    return "\n".join(lines) + "\n"


def _test_name(node: str) -> str:
    """tests/unit/test_x.py::test_y[z] -> test_x: y"""
    file, _, test = node.partition("::")
    return f"{Path(file).stem.removeprefix('test_')}: {test.partition('[')[0].removeprefix('test_')}" if test else node


if __name__ == "__main__":
    sys.exit(main())
