"""The tables that other programs read, in Parquet and CSV: of runs, and of attacks on them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fedpareto.analysis.tables import attacks as attack_tables
from fedpareto.analysis.tables import recommendation
from fedpareto.analysis.tables.read import read_of_bundle, read_of_study
from fedpareto.analysis.tables.selection import add_selection
from fedpareto.analysis.tables.tradeoff import TableError, kind_of, point_ids, tradeoff_table
from fedpareto.columns.declared import DEFAULT, TABLES, Additions, of_stage, table
from fedpareto.columns.frames import empty, to_parquet, typed
from fedpareto.system import damage
from fedpareto.system.files import whole

OF_BUNDLES = tuple(declared.name for stage in ("train", "attack") for declared in of_stage(stage))


@dataclass(frozen=True)
class Tables:
    """The tables of one or more studies, as `columns.toml` declares them.

    Attributes:
        runs: one row a run and study.
        rounds: one row a run, study and evaluation.
        tradeoff: one row a point of the grid and study.
        partitions: one row a client and label, for every way the data of a study were dealt out.
        clients: one row a run, study and client, where clients prove epsilons of their own.
        attacks: one row a score of an attack on a run, by study.
        roc: one row a point of an attack's ROC curve, by study.
        pictures: one row a record as it is, as it was rebuilt or as it would be guessed, by study.
        recommendation: one row a policy, coordinator and kind of promise; its `study` may be a comparison.
        additions: columns beside those of `columns.toml`: the metrics of the tasks, and further keys of runs.
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame
    tradeoff: pd.DataFrame
    partitions: pd.DataFrame
    clients: pd.DataFrame
    attacks: pd.DataFrame = field(default_factory=partial(empty, table("attacks")))
    roc: pd.DataFrame = field(default_factory=partial(empty, table("roc")))
    pictures: pd.DataFrame = field(default_factory=partial(empty, table("pictures")))
    recommendation: pd.DataFrame = field(default_factory=partial(empty, table("recommendation")))
    additions: Additions = DEFAULT

    def of_studies(self, studies: Sequence[str]) -> "Tables":
        """The rows of some studies, and the recommendations that choose among the points of just these.

        Raises:
            TableError: if there is no such study.
        """
        known = sorted(set(self.runs["study"]))
        for study in studies:
            if study not in known:
                raise TableError(f"study = {study!r} is not in the tables (write one of: {', '.join(known)})")
        frames = {name: getattr(self, name) for name in TABLES}
        masks = {name: frame["study"].isin(studies) for name, frame in frames.items()}
        masks["recommendation"] = frames["recommendation"]["studies"].map(
            lambda members: set(members.split()) == set(studies)
        )
        return replace(
            self, **{name: frame[masks[name].astype(bool)].reset_index(drop=True) for name, frame in frames.items()}
        )


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames one below another."""
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _partitions(frames: Mapping[str, pd.DataFrame], runs: pd.DataFrame) -> pd.DataFrame:
    """How the data of each study were dealt out, once for each (dataset, partition, clients).

    Bundles repeat the picture of their first seed; the first bundle by its name is kept. Centralised training deals nothing out.
    """
    used = runs[runs["kind"] != "centralised"][["study", "bundle_id"]].drop_duplicates()
    parts: list[pd.DataFrame] = []
    seen: set[tuple[Any, ...]] = set()
    for study, bundle in used.sort_values(["study", "bundle_id"]).itertuples(index=False, name=None):
        for key, part in frames[bundle].groupby(["dataset", "partition", "clients"], sort=True):
            if (study, *key) not in seen:
                seen.add((study, *key))
                parts.append(part.assign(study=study))
    declared = table("partitions")
    return typed(_stack(parts), declared) if parts else empty(declared)


def build_tables(plan: Mapping[str, Any], bundles_dir: Path) -> Tables:
    """Reads the files of training and arranges them by study.

    Args:
        plan: the content of plan.json; `studies` (name -> `runs`) and `bundles` (id -> run ids) are used, and where they are
            there `attacks` (run id -> what is tried on it), `comparisons` (name -> `studies`) and `policies` (study or
            comparison -> limits, see `recommendation`).
        bundles_dir: the folder with one folder a bundle.

    Returns:
        The tables. A run of two studies appears once in each.

    Raises:
        TableError: if a file, a column or a run is missing, or the seeds of a point disagree on epsilon.
    """
    studies: dict[str, list[str]] = {name: list(study["runs"]) for name, study in plan["studies"].items()}
    wanted = {run for members in studies.values() for run in members}
    bundles = [bundle for bundle, members in sorted(plan["bundles"].items()) if wanted & set(members)]

    attacked = sorted(wanted & set(plan.get("attacks", {})))
    frames: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in OF_BUNDLES}
    additions: Additions | None = None
    for bundle in bundles:
        members = set(plan["bundles"][bundle])
        for name in OF_BUNDLES:
            if table(name).stage == "attack" and not members & set(attacked):
                continue
            frames[name][bundle], added = read_of_bundle(bundles_dir / bundle, name)
            if name == "runs":
                additions = added if additions is None else additions.union(added)
        absent = (wanted & members) - set(frames["runs"][bundle]["run_id"])
        if absent:
            path = bundles_dir / bundle / "runs.parquet"
            raise TableError(f"{path}: has no run {min(absent)} (train this bundle again)")
    if additions is None:
        raise TableError("plan.json: studies = {} must name at least one run (write a study)")

    order = [(study, run) for study, members in studies.items() for run in members]
    membership = pd.DataFrame(order, columns=["study", "run_id"])
    runs = membership.merge(_whole(frames, "runs", additions), on="run_id", how="left", validate="many_to_one")
    runs["kind"] = kind_of(runs)
    runs["point_id"] = point_ids(runs, additions)
    runs = runs[list(table("runs", additions).names)]
    # `bundle_id` is left as training wrote it; `rounds` holds keys and measures only and is joined on study and run_id.
    rounds = membership.merge(_whole(frames, "rounds", additions), on="run_id", how="inner").sort_values(
        ["study", "run_id", "round"], kind="stable"
    )
    tradeoff = tradeoff_table(runs, additions)
    add_selection(tradeoff, runs, _stack([*frames["curves"].values()]))
    joined = {
        name: attack_tables.join(name, [*frames[name].values()], attacked, runs, tradeoff, additions=additions)
        for name in ("attacks", "roc", "pictures")
    }
    return Tables(
        runs,
        rounds.reset_index(drop=True),
        tradeoff,
        _partitions(frames["partitions"], runs),
        membership.merge(_stack([*frames["clients"].values()]), on="run_id", how="inner"),
        **joined,
        recommendation=recommendation.recommend(
            plan.get("policies", {}),
            plan.get("comparisons", {}),
            runs=runs,
            tradeoff=tradeoff,
            attacks=joined["attacks"],
            additions=additions,
        ),
        additions=additions,
    )


def _whole(frames: Mapping[str, Mapping[str, pd.DataFrame]], name: str, additions: Additions) -> pd.DataFrame:
    """One table over all bundles. A metric that a bundle's task does not have is missing there, a key of its runs is unset."""
    declared = table(name, additions).of_bundle
    unset = {key.name: key.unset for key in additions.keys if name == "runs" and key.unset is not None}
    stacked = _stack([frame.reindex(columns=list(declared.names)) for frame in frames[name].values()])
    return typed(stacked.fillna(unset) if unset else stacked, declared)


def write_tables(plan_path: Path, bundles_dir: Path, out_dir: Path) -> Tables:
    """Builds the tables and writes `<name>.parquet` and `<name>.csv` for each into `out_dir`, each file atomically.

    Raises:
        TableError: see `build_tables`; nothing is written then.
    """
    with damage.reading(Path(plan_path)):
        plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    tables = build_tables(plan, Path(bundles_dir))
    for name in TABLES:
        frame: pd.DataFrame = getattr(tables, name)
        declared = table(name, tables.additions)
        # Pixels are no use to who reads a table as text.
        text = frame.drop(columns=[column.name for column in declared.columns if column.type == "pixels"])
        with whole(Path(out_dir) / f"{name}.parquet") as path:
            to_parquet(frame, declared, path, tables.additions)
        with whole(Path(out_dir) / f"{name}.csv") as path:
            text.to_csv(path, index=False)
    return tables


def read_tables(tables_dir: Path) -> Tables:
    """The tables that `write_tables` wrote.

    Raises:
        TableError: if one is missing, or its columns are not the declared ones.
        DamagedFile: if one cannot be read.
    """
    read = {name: read_of_study(Path(tables_dir) / f"{name}.parquet", name) for name in TABLES}
    return Tables(**{name: frame for name, (frame, _) in read.items()}, additions=read["runs"][1])
