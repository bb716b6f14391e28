"""The attack stage: everything that is tried on the runs of a bundle, kept attack by attack so that a killed job goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from fedpareto.attacks.interface import Attack
from fedpareto.attacks.results import KINDS, AttackResult, AttackResults, Picture, RocPoint, asked, frame, not_made
from fedpareto.attacks.target import Target
from fedpareto.components import provenance, registry
from fedpareto.components.registry import ComponentError
from fedpareto.components.threats import ADVERSARIES, FINAL_MODEL, OUTSIDER
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.store import store
from fedpareto.federated.train import log
from fedpareto.statuses import FINISHED
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.run import Bundle, Run, canonical, describe
from fedpareto.system import damage
from fedpareto.system.files import whole

T = TypeVar("T")
Row = TypeVar("Row", AttackResult, RocPoint, Picture)

Spec = Mapping[str, Any]


def attack_stored(
    bundle: Bundle,
    wanted: Mapping[str, Sequence[Spec]],
    accounted: Mapping[str, AccountedRun],
    data: PreparedData,
    *,
    runs_folder: Path,
    attacks_folder: Path,
    execution: Mapping[str, int | str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Attacks the finished runs of a bundle, whose models are in the store; one that diverged left nothing to attack, and says so.

    Args:
      bundle: The runs.
      wanted: Run id -> attacks, for those that are attacked.
      accounted: Plan and guarantees by run id.
      data: The prepared data set.
      runs_folder: The store of finished runs.
      attacks_folder: Where the evidence of each attack is kept.
      execution: Fields of `devices.Layout` that the user has set.
    """
    chosen = [run for run in bundle.runs if run.run_id in wanted]
    results = {run.run_id: _kept(store.latest, runs_folder, run, bundle) for run in chosen}
    finished = tuple(run for run in chosen if results[run.run_id].status in FINISHED)
    lost = [
        not_made(
            run.run_id, spec["name"], f"the run {results[run.run_id].status}: it has no model to attack", **asked(spec)
        )
        for run in chosen
        if run not in finished
        for spec in wanted[run.run_id]
    ]
    for line in _reasons(lost):
        log(line)
    models = {run.run_id: _kept(store.model, runs_folder, run, bundle) for run in finished}
    made_by = " ".join(sorted({results[run.run_id].fingerprint for run in finished}))
    target = Target(finished, accounted, data, models, execution or {})
    return attack_bundle(target, wanted, attacks_folder, made_by, lost)


def _kept(read: Callable[[Path, str], T], folder: Path, run: Run, bundle: Bundle) -> T:
    """Reads a stored run. Removes one that is damaged, so that the next sweep trains it again."""
    try:
        return read(folder, run.run_id)
    except damage.DamagedFile:
        damage.discard_run(run.run_id, bundle.bundle_id)
        raise


def attack_bundle(
    target: Target, wanted: Mapping[str, Sequence[Spec]], kept: Path, models: str, lost: Sequence[AttackResult] = ()
) -> dict[str, pd.DataFrame]:
    """Tries on every run the attacks that are wanted for it.

    Args:
      target: The runs; those without a finished model are not among them.
      wanted: Run id -> attacks, with all their arguments.
      kept: Where the evidence of each attack is kept.
      models: Stands for the code and the data that made the models.
      lost: Rows of runs that are not among the target's.

    Returns:
      The rows of `results.KINDS`, by name.
    """
    specs = {canonical(dict(spec)): spec for own in wanted.values() for spec in own}
    parts = [_frames(AttackResults(lost))]
    for i, (text, spec) in enumerate(specs.items()):
        runs = tuple(run for run in target.runs if any(canonical(dict(one)) == text for one in wanted[run.run_id]))
        if not runs:
            continue
        known = [code_of(spec), models, text, *(run.run_id for run in runs)]
        name = hashlib.sha256(" ".join(known).encode()).hexdigest()[:16]
        place = f"attack {i + 1} of {len(specs)}"
        found = _stored(kept / name)
        if found is None:
            log(f"{place}: {describe(spec)} on {len(runs)} runs")
            start = time.monotonic()
            evidence = make(spec, target if runs == target.runs else replace(target, runs=runs))
            write(kept / name, _frames(evidence))
            found = _load(kept / name)
            made = sum(not finding.reason for finding in evidence.findings)
            log(f"{place}: {made} scores in {time.monotonic() - start:.0f} s")
            for line in _reasons(evidence.findings):
                log(line)
        parts.append(found)
    return {
        table: pd.concat([part[table] for part in parts if len(part[table])] or [parts[0][table]]) for table in KINDS
    }


def code_of(spec: Spec) -> str:
    """A fingerprint of the code that makes an attack: this stage's, the engine's, and that attack's own, but no other attack's."""
    component = registry.find("attack", spec["name"])
    return provenance.fingerprint([*provenance.sources(__name__), *component.files])


def make(spec: Spec, target: Target) -> AttackResults:
    """Makes the attack that a spec names.

    Returns:
      Its rows for the runs that it is applicable to, under the name by which it was asked for, and for the others the reason.
    """
    attack: Attack = registry.build("attack", spec)
    reasons = {run.run_id: attack.not_applicable(run) for run in target.runs}
    results = AttackResults()
    if None in reasons.values():
        results = attack(target)
        if registry.find("attack", spec["name"]).own:
            _check(spec["name"], results, reasons)
    # An attack on the final model has one adversary that could have made it.
    adversary = OUTSIDER if attack.SEES == FINAL_MODEL else ""
    refused = [
        not_made(run_id, spec["name"], reason, adversary=adversary, **asked(spec))
        for run_id, reason in reasons.items()
        if reason is not None
    ]

    def applicable(rows: Sequence[Row]) -> list[Row]:
        return [replace(row, attack=spec["name"]) for row in rows if reasons[row.run_id] is None]

    return AttackResults(
        [*applicable(results.findings), *refused], applicable(results.roc), applicable(results.pictures)
    )


def _check(name: str, results: AttackResults, runs: Container[str]) -> None:
    """Refuses rows of an attack that no table could hold.

    Raises:
      ComponentError: It returned something else, or rows of other runs or adversaries than there are.
    """
    if not isinstance(results, AttackResults):
        raise ComponentError(name, "return AttackResults", f"it returned {type(results).__name__}")
    rows: tuple[AttackResult | RocPoint | Picture, ...] = (*results.findings, *results.roc, *results.pictures)
    for row in rows:
        if row.run_id not in runs:
            raise ComponentError(name, "return rows of the runs that it is made on", f"there is no run {row.run_id}")
        if row.adversary not in ADVERSARIES:
            raise ComponentError(name, f"name an adversary of {', '.join(ADVERSARIES)}", f"it named {row.adversary!r}")
    for finding in results.findings:
        if not isinstance(finding.value, int | float) or (finding.success and not 0 <= finding.value <= 1):
            hint = f"{finding.score} = {finding.value!r}; a row with success is a probability"
            raise ComponentError(name, "return scores that are numbers", hint)


def _stored(folder: Path) -> dict[str, pd.DataFrame] | None:
    """The evidence that a finished attack left; None where there is none, or not all of it can be read."""
    if not (folder / f"{next(iter(KINDS))}.parquet").is_file():
        return None
    try:
        return _load(folder)
    except FileNotFoundError:
        return None
    except damage.DamagedFile as error:
        log(f"{error}; here the attack is made again at once")
        return None


def _load(folder: Path) -> dict[str, pd.DataFrame]:
    frames = {}
    for table in KINDS:
        path = folder / f"{table}.parquet"
        with damage.reading(path):
            frames[table] = pd.read_parquet(path)
    return frames


def _reasons(findings: Sequence[AttackResult]) -> list[str]:
    """A line for each reason why an attack could not be made."""
    runs: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        if finding.reason:
            runs.setdefault((finding.attack, finding.reason), set()).add(finding.run_id)
    return [f"{attack} on {', '.join(sorted(own))}: not made, {reason}" for (attack, reason), own in runs.items()]


def write(folder: Path, frames: Mapping[str, pd.DataFrame]) -> None:
    """Writes one Parquet file a table, each in one step."""
    for table in reversed(KINDS):
        with whole(folder / f"{table}.parquet") as path:
            frames[table].to_parquet(path, index=False)


def _frames(evidence: AttackResults) -> dict[str, pd.DataFrame]:
    rows = (evidence.findings, evidence.roc, evidence.pictures)
    return {table: frame(table, own) for table, own in zip(KINDS, rows, strict=True)}
