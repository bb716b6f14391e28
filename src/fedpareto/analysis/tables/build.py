"""The tables that other programs read, in Parquet and CSV: of what was trained, and of what attacks on it found."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedpareto.analysis.tables import attacks as attack_tables
from fedpareto.analysis.tables import recommendation
from fedpareto.analysis.tables.selection import add_selection
from fedpareto.analysis.tables.tradeoff import TableError, kind_of, point_ids, tradeoff_table
from fedpareto.system import damage
from fedpareto.system.files import whole

TABLES = ("runs", "rounds", "tradeoff", "partitions", "clients", "attacks", "roc", "pictures", "recommendation")
# The tables whose columns have their types also where they are empty.
_DECLARED = attack_tables.COLUMNS | {"recommendation": recommendation.COLUMNS}


def _columns(names: str) -> tuple[str, ...]:
    return tuple(names.split())


_TEXT = _columns(
    """
    run_id bundle_id dataset model partition sampling algorithm baseline server_optimizer unit trust participation
    mechanism clipping weighting preprocessing augmentation averaging adjacency accountant device status versions
    fingerprint
    """
)
# Counts that may be missing stay whole numbers in both formats: 5, never 5.0.
_COUNTS = _columns(
    """
    parameters clients examples rounds local_epochs local_steps batch_size seed diverged_round overflow_rounds
    refused_rounds rounds_done bits_per_parameter
    """
)
_NUMBERS = _columns(
    """
    sampling_rate client_learning_rate clip_norm noise_multiplier target_epsilon delta epsilon_rdp epsilon_pld
    rdp_order accuracy loss worst_client_accuracy median_client_accuracy mean_client_accuracy bytes_up bytes_down
    wall_s proximal dropout stragglers stop_at_epsilon stop_at_accuracy epsilon_median releases epsilon_rdp_classic secagg_client_s
    secagg_server_s wrapped_fraction f1 auroc auprc client_learning_rate_decay
    """
)


@dataclass(frozen=True)
class Tables:
    """The tables of one or more studies.

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
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame
    tradeoff: pd.DataFrame
    partitions: pd.DataFrame
    clients: pd.DataFrame
    attacks: pd.DataFrame = field(default_factory=partial(attack_tables.empty, _DECLARED["attacks"]))
    roc: pd.DataFrame = field(default_factory=partial(attack_tables.empty, _DECLARED["roc"]))
    pictures: pd.DataFrame = field(default_factory=partial(attack_tables.empty, _DECLARED["pictures"]))
    recommendation: pd.DataFrame = field(default_factory=partial(attack_tables.empty, _DECLARED["recommendation"]))

    def of_studies(self, studies: Sequence[str]) -> "Tables":
        """The rows of some studies, and the recommendations that choose among the points of just these.

        Raises:
            TableError: if there is no such study.
        """
        known = sorted(set(self.runs["study"]))
        for study in studies:
            if study not in known:
                raise TableError(f"study = {study!r} is not in the tables (write one of: {', '.join(known)})")
        own = {name: getattr(self, name) for name in TABLES}
        kept = {name: frame["study"].isin(studies) for name, frame in own.items()}
        kept["recommendation"] = own["recommendation"]["studies"].map(
            lambda members: set(members.split()) == set(studies)
        )
        return Tables(**{name: frame[kept[name].astype(bool)].reset_index(drop=True) for name, frame in own.items()})


def _read(path: Path, columns: Iterable[str], stage: str = "train") -> pd.DataFrame:
    """One Parquet file that a stage wrote, checked for the columns that are needed here."""
    if not path.is_file():
        raise TableError(f"{path}: is not there ({stage} its bundle first)")
    with damage.reading(path):
        frame = pd.read_parquet(path)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise TableError(f"{path}: lacks {', '.join(missing)} ({stage} its bundle again with this version)")
    return frame


def _typed(runs: pd.DataFrame) -> pd.DataFrame:
    """One type a column, whichever bundle it came from: a column that is empty in one bundle is text or a number in another."""
    runs = runs.copy()
    for column in _TEXT:
        runs[column] = runs[column].astype(object).where(runs[column].notna(), None)
    for column in _COUNTS:
        runs[column] = pd.to_numeric(runs[column]).astype("Int64")
    for column in _NUMBERS:
        runs[column] = pd.to_numeric(runs[column]).astype("float64")
    return runs


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
    columns = ["study", "dataset", "partition", "clients", "client", "label", "count"]
    return _stack(parts)[columns] if parts else pd.DataFrame(columns=columns)


def build_tables(plan: Mapping[str, Any], bundles_dir: Path) -> Tables:
    """Reads what training wrote and arranges it by study.

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
    run_frames, metric_frames, client_frames, curve_frames, partition_frames = [], [], [], [], {}
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in attack_tables.KINDS}
    for bundle in bundles:
        folder = bundles_dir / bundle
        run_frames.append(_typed(_read(folder / "runs.parquet", (*_TEXT, *_COUNTS, *_NUMBERS))))
        metric_frames.append(_read(folder / "metrics.parquet", ("run_id", "round", "accuracy", "epsilon_rdp")))
        client_frames.append(_read(folder / "clients.parquet", ("run_id", "client", "records", "epsilon_rdp")))
        curve_frames.append(_read(folder / "curves.parquet", ("run_id", "order", "rdp", "delta", "delta_aside")))
        partition_frames[bundle] = _read(
            folder / "partition.parquet", ("dataset", "partition", "clients", "client", "label", "count")
        )
        if set(attacked) & set(plan["bundles"][bundle]):
            for name, columns in attack_tables.KINDS.items():
                found[name].append(_read(folder / f"{name}.parquet", columns, "attack"))
        absent = (wanted & set(plan["bundles"][bundle])) - set(run_frames[-1]["run_id"])
        if absent:
            raise TableError(f"{folder / 'runs.parquet'}: has no run {min(absent)} (train this bundle again)")
    if not run_frames:
        raise TableError("plan.json: studies = {} must name at least one run (write a study)")

    all_runs, all_metrics = _stack(run_frames), _stack(metric_frames)
    order = [(study, run) for study, members in studies.items() for run in members]
    membership = pd.DataFrame(order, columns=["study", "run_id"])
    runs = membership.merge(all_runs, on="run_id", how="left", validate="many_to_one")
    runs.insert(2, "kind", kind_of(runs))
    runs.insert(2, "point_id", point_ids(runs))
    # `bundle_id` is left as training wrote it; `rounds` holds keys and measures only and is joined on study and run_id.
    rounds = membership.merge(all_metrics, on="run_id", how="inner").sort_values(
        ["study", "run_id", "round"], kind="stable"
    )
    tradeoff = tradeoff_table(runs)
    add_selection(tradeoff, runs, _stack(curve_frames))
    clients = membership.merge(_stack(client_frames), on="run_id", how="inner")
    joined = {name: attack_tables.join(name, frames, attacked, runs, tradeoff) for name, frames in found.items()}
    return Tables(
        runs,
        rounds.reset_index(drop=True),
        tradeoff,
        _partitions(partition_frames, runs),
        clients,
        **joined,
        recommendation=recommendation.recommend(
            plan.get("policies", {}), plan.get("comparisons", {}), runs, tradeoff, joined["attacks"]
        ),
    )


def _empty_type(name: str, column: str) -> pa.DataType:
    """The type of a column that holds no value at all."""
    if name in _DECLARED:
        return attack_tables.arrow_type(_DECLARED[name], column)
    return pa.int64() if column in _COUNTS else pa.float64() if column in _NUMBERS else pa.string()


def _to_parquet(name: str, frame: pd.DataFrame, path: Path) -> None:
    """Parquet in which a text column without any value (no baseline, say) is still text."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [
        column.with_type(_empty_type(name, column.name)) if pa.types.is_null(column.type) else column
        for column in table.schema
    ]
    pq.write_table(table.cast(pa.schema(fields, metadata=table.schema.metadata)), path)


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
        text = frame.drop(columns=attack_tables.NOT_IN_CSV.get(name, []))
        with whole(Path(out_dir) / f"{name}.parquet") as path:
            _to_parquet(name, frame, path)
        with whole(Path(out_dir) / f"{name}.csv") as path:
            text.to_csv(path, index=False)
    return tables


def read_tables(tables_dir: Path) -> Tables:
    """The tables that `write_tables` wrote.

    Raises:
        TableError: if one is missing.
        DamagedFile: if one cannot be read.
    """
    return Tables(**{name: _read(Path(tables_dir) / f"{name}.parquet", ("study",)) for name in TABLES})
