"""The run that the flags of `epsilon` and `calibrate` describe: a study of one point, whose data are known by their sizes alone.

What a configuration refuses is refused here by the same checks, and the run is expanded and accounted for as a study's is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fedpareto.cli.failures import FlagError
from fedpareto.cli.flags import SPECS
from fedpareto.config.check_privacy import check_mechanism, check_privacy, check_record, suggested_delta
from fedpareto.config.load import resolve
from fedpareto.config.problems import Problems, show
from fedpareto.config.study import Study
from fedpareto.data.facts import DatasetInfo
from fedpareto.privacy.setting import VALUES
from fedpareto.sweep.account import DataSizes
from fedpareto.sweep.expand import expand
from fedpareto.sweep.run import Run

# Where no population is named there is no cohort buffer either, and no overflow to charge to delta.
UNSTATED_POPULATION = 1
KEYS = (
    *VALUES,
    *SPECS,
    "rounds",
    "sampling_rate",
    "local_steps",
    "batch_size",
    "delta",
    "noise_multiplier",
    "accountant",
)
# Keys of a study on which no guarantee depends.
NAME, DATASET = "question", "unstated"
LOCAL_RECORDS = ("record", "local")  # the unit and trust of DP-SGD on clients: only there sizes of single clients count
UNASKED = {"dataset": DATASET, "model": "logistic", "clip_norm": 1.0, "baselines": []}
FLAGS = {"target_epsilon": "epsilon"}  # key of a study -> the flag, where it is not of the same name


@dataclass(frozen=True)
class Question:
    """A run without data, and all that accounting for it needs.

    Attributes:
      run: The run. Its data set, model and learning rates are made up: no guarantee depends on them.
      sizes: The sizes that its data would tell.
      delta: Delta of the guarantee; None where nothing is guaranteed and none was given.
      suggestion: Why delta is as it is where none was given, else None.
    """

    run: Run
    sizes: DataSizes
    delta: float | None
    suggestion: str | None


@dataclass(frozen=True)
class _Sizes:
    """Sizes that the flags state; None where they do not.

    Attributes:
      clients: Number of clients.
      records: Number of training records of all clients.
      by_client: Records of each client, or of all that differ.
    """

    clients: int | None
    records: int | None
    by_client: tuple[int, ...]


@dataclass
class FlagProblems(Problems):
    """Collects problems of a study's keys in the words of the flags that set them."""

    sources: Sequence[tuple[str, Any]] = field(default_factory=list)

    def add(self, key: Sequence[str | int], value: Any, must: str, hint: str = "") -> None:
        """One problem: the value at `key` must be something else."""
        name, *rest = (part for part in (key[2:] if key[0] == "studies" else key) if isinstance(part, str))
        flag = " ".join([f"--{FLAGS.get(name, name).replace('_', '-')}", *(show(part, 60) for part in rest)])
        said = "" if value is None else f" = {show(value)}" if rest else f" {show(value)}"
        line = f"{flag}{said} must {must}" + (f" ({hint})" if hint else "")
        # One line says that a flag is missing, whatever else would have been asked of it.
        if line not in self.lines and not (value is None and any(old.startswith(f"{flag} must") for old in self.lines)):
            self.lines.append(line)

    def raise_if_any(self) -> None:
        """Raises all problems as one error."""
        if self.lines:
            raise FlagError("\n".join(self.lines))


def read(arguments: argparse.Namespace) -> Question:
    """The run that flags describe.

    Args:
      arguments: Flags of `cli.flags.question`, with `noise_multiplier`, or `epsilon` and `accountant`.

    Raises:
      FlagError: A configuration would refuse it, or a size is missing that its guarantee depends on.
    """
    problems = FlagProblems()
    given = {key: value for key in KEYS if (value := getattr(arguments, key, None)) is not None}
    if (target := getattr(arguments, "epsilon", None)) is not None:
        given["target_epsilon"] = target
    if rate := _rate(arguments, problems):
        given["sampling_rate"] = rate
    unit, trust = (given.get(name, VALUES[name][0]) for name in ("unit", "trust"))
    sizes = _sizes(arguments, unit, trust, problems)
    units = sizes.clients if unit == "client" else sizes.records
    suggestion = None
    if "delta" not in given and (target or given.get("noise_multiplier")):
        if units is None:
            flags = "--records and --population" if (unit, trust) == LOCAL_RECORDS else "--population"
            problems.add(["delta"], None, "be given", f"or {flags}, from which one is suggested")
        else:
            given["delta"] = suggested_delta(units)
            suggestion = f"suggested: the largest power of ten that is at most a tenth of 1/{unit}s = 1/{units}"
    study = _study(given, sizes, local=(unit, trust) == LOCAL_RECORDS, problems=problems)
    records = sizes.records or UNSTATED_POPULATION
    facts = DatasetInfo(train=records, clients=sizes.clients or UNSTATED_POPULATION)
    (run,) = expand(study, lambda name: facts)
    measured = DataSizes(arguments.parameters or 1, {run.seed: sizes.by_client})
    return Question(run, measured, given.get("delta"), suggestion)


def _study(given: dict[str, Any], sizes: _Sizes, *, local: bool, problems: FlagProblems) -> Study:
    """The study of one point, checked as the configuration checks its own."""
    body = {**UNASKED, **given, "evaluate_every": given["rounds"]}
    if local:
        body["client_learning_rate"] = 1.0
    if sizes.clients is not None:
        body["clients"] = sizes.clients
    study = resolve(NAME, body, {}, problems)
    if study is None or not study.well_formed:
        problems.raise_if_any()
    assert study is not None
    for name in SPECS:
        if len(study.axes[name]) != 1:
            problems.add([name], given[name], "hold one value")
    known = {} if sizes.records is None else {DATASET: DatasetInfo(train=sizes.records)}
    check_mechanism(study, problems)
    if "record" in study.axes["unit"]:
        check_record(study, known, problems)
    check_privacy(study, known, problems)
    problems.raise_if_any()
    return study


def _rate(arguments: argparse.Namespace, problems: FlagProblems) -> float | None:
    """The sampling rate as a share of the population, or as it is given; None for the default."""
    size, population = arguments.sample_size, _population(arguments)
    if size is None:
        rate: float | None = arguments.sampling_rate
        return rate
    if arguments.sampling_rate is not None:
        problems.add(["sample_size"], size, "not stand beside --sampling-rate", "remove one of the two")
    if population is None:
        problems.add(["sample_size"], size, "have --population beside it", "the number of units that are drawn from")
    elif size > population:
        hint = "a cohort is drawn from these units"
        problems.add(["sample_size"], size, f"be at most --population {population}", hint)
    else:
        return float(size / population)
    return None


def _population(arguments: argparse.Namespace) -> int | None:
    """Units that are drawn from, where the flags state their number."""
    listed = len(arguments.records or ())
    population: int | None = arguments.population
    return listed if population is None and listed > 1 else population


def _sizes(arguments: argparse.Namespace, unit: str, trust: str, problems: FlagProblems) -> _Sizes:
    """The sizes that the flags state; adds a problem for each that is missing, and for each that says nothing here."""
    population, by_client = _population(arguments), arguments.records or ()
    local, distributed = (unit, trust) == LOCAL_RECORDS, trust == "distributed"
    here = f"--unit {unit} --trust {trust}"
    if arguments.sampling not in (None, "poisson") and population is None:
        problems.add(
            ["population"], None, f"be given with --sampling {arguments.sampling}", "it sets the cohort's size"
        )
    needs = {
        "population": (distributed, f"it says how many {unit}s a sum holds"),
        "clients": (distributed and unit == "record", "each of them adds a share of the noise"),
        "parameters": (distributed, "the guarantee of a sum of integers depends on how many there are"),
        "records": (local, "each client draws its batches at the rate batch size / records"),
        "local_steps": (local, "every client noises each of its steps; e.g. 5"),
        "batch_size": (local, "each client draws its batches at the rate batch size / records; e.g. 16"),
    }
    for name, (needed, why) in needs.items():
        value = getattr(arguments, name)
        if needed and value is None:
            problems.add([name], None, f"be given with {here}", why)
        elif not needed and value is not None and name != "population":
            shown = [*value] if isinstance(value, tuple) else value
            counted = (name, unit, trust) != ("clients", "record", "central")
            why = "--population counts them" if name == "clients" and counted else "no epsilon depends on it there"
            problems.add([name], shown, f"not stand beside {here}", why)
    if local and len(by_client) > 1 and population != len(by_client):
        problems.add(["records"], [*by_client], f"be one number, or {population}", "--population counts the clients")
    if unit == "record" and not local:
        return _Sizes(arguments.clients, population, ())
    if not local:
        return _Sizes(population, None, ())
    # One number stands for every client: their guarantees are the same.
    several = by_client[0] * population if by_client and population else None
    return _Sizes(population, sum(by_client) if len(by_client) > 1 else several, by_client)
