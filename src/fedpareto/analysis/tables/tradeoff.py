"""From runs to points of the grid: means over seeds, intervals, and who is on the front."""

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from fedpareto.analysis.tables.front import bootstrap_interval, front_probability, non_dominated
from fedpareto.statuses import FINISHED, OK

# What one seed produced. Everything else in `runs` says which point of the grid a run belongs to.
PER_SEED = (
    "run_id",
    "bundle_id",
    "seed",
    "accuracy",
    "loss",
    "worst_client_accuracy",
    "median_client_accuracy",
    "mean_client_accuracy",
    "f1",
    "auroc",
    "auprc",
    "wall_s",
    "status",
    "diverged_round",
    "overflow_rounds",
    "refused_rounds",
    "wrapped_fraction",
)
# Follows from the point, and may be missing where a seed failed: not needed to tell points apart.
DERIVED = (
    "parameters",
    "examples",
    "rdp_order",
    "epsilon_rdp",
    "epsilon_pld",
    "epsilon_rdp_classic",
    "bytes_up",
    "bytes_down",
    "overflow_probability",
    "epsilon_median",
    "releases",
    "rounds_done",
    "secagg_client_s",
    "secagg_server_s",
)
PROVENANCE = ("device", "execution", "versions", "fingerprint", "accounting_warnings")
# Points are compared within these: an epsilon of another unit, trust model, adjacency or delta is another currency.
FRONT_GROUP = ("study", "dataset", "partition", "model", "unit", "trust", "participation", "adjacency", "delta")
# Calibrated noise reaches its target only to a tolerance; epsilons are compared as a reader compares them.
EPSILON_DIGITS = 4


class TableError(ValueError):
    """A table cannot be built from what training wrote; the message is one line."""


def client_rounds(rows: pd.DataFrame) -> pd.Series:
    """Clients times rounds in which they exchange vectors, in expectation, for rows of `runs` or `tradeoff`."""
    # Where the server or secure aggregation protects sums over records, only a client knows whether one of its was drawn.
    everybody = (rows["unit"] == "record") & (rows["trust"] != "local")
    return rows["clients"] * rows["sampling_rate"].mask(everybody, 1.0) * rows["rounds_done"]


def kind_of(runs: pd.DataFrame) -> pd.Series:
    """What a run is for.

    Returns:
        Strings: a baseline's own label (`non_private`, `centralised`, `alone`); else `private` (noise is added), `clipped` (clipped
        but without noise: epsilon is infinite, yet it is no baseline) or `non_private` (neither: plain federated averaging).
    """
    label = runs["baseline"].astype(object).where(runs["baseline"].notna(), "").astype(str)
    private = (runs["noise_multiplier"].fillna(0.0) > 0) | runs["target_epsilon"].notna()
    kind = np.where(private, "private", np.where(runs["clip_norm"].notna(), "clipped", "non_private"))
    return pd.Series(np.where(label != "", label, kind), index=runs.index, dtype=object)


def _plain(value: Any) -> Any:
    """A JSON value for one cell: None for a missing one."""
    if value is None or value is pd.NA or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def point_columns(runs: pd.DataFrame) -> list[str]:
    """The columns of `runs` that tell points of the grid apart, in their order (the study comes with them where it is there)."""
    not_keys = {*PER_SEED, *DERIVED, *PROVENANCE, "point_id"}
    return [column for column in runs.columns if column not in not_keys]


def point_ids(runs: pd.DataFrame) -> pd.Series:
    """A short hash of everything but the seed: equal for the runs of one point, in whichever study they appear."""
    columns = [column for column in point_columns(runs) if column != "study"]
    calibrated = runs["target_epsilon"].notna().to_numpy()
    ids = []
    for row, is_calibrated in zip(
        runs[columns].astype(object).itertuples(index=False, name=None), calibrated, strict=True
    ):
        cells = {column: _plain(value) for column, value in zip(columns, row, strict=True)}
        if is_calibrated:  # its noise multiplier follows from the target
            cells["noise_multiplier"] = None
        ids.append(hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()[:12])
    return pd.Series(ids, index=runs.index, dtype=object)


def _common(values: pd.Series, point: str, per_partition: bool) -> float:
    """The one epsilon of a point; seeds that failed before they had one are passed over."""
    known = values.dropna().to_numpy(dtype=np.float64)
    if known.size == 0:
        return float("nan")
    if per_partition:  # Clients prove their own, by their sizes, which seeds deal out: the point promises the worst.
        return float(known.max())
    if np.isfinite(known).any() and not np.allclose(known, known[0], rtol=1e-9, atol=0.0):
        raise TableError(
            f"point {point}: {values.name} differs between seeds ({known.min():g} to {known.max():g}); train it again"
        )
    return float(known[0])


def _point_row(point: pd.DataFrame, keys: list[str]) -> dict[str, Any]:
    """One row of the table from the runs of one point; means are over the seeds that finished."""
    ended = point[point["status"].isin(FINISHED)].sort_values("seed")
    accuracy = ended["accuracy"].to_numpy(dtype=np.float64)
    low, high = bootstrap_interval(accuracy)
    name = str(point["point_id"].iloc[0])
    own = bool(((point["unit"] == "record") & (point["trust"] == "local")).all())
    row: dict[str, Any] = {key: point[key].iloc[0] for key in keys}
    row["noise_multiplier"] = point["noise_multiplier"].max()
    row |= {column: point[column].max() for column in DERIVED if not column.startswith("epsilon")}
    row |= {
        column: "; ".join(sorted({str(value) for value in point[column].dropna()}))
        for column in (*PROVENANCE, "status")
    }
    row |= {
        "n_seeds": len(point),
        "n_ok": len(ended),
        "n_learned": int((point["status"] == OK).sum()),
        "accuracy_mean": ended["accuracy"].mean(),
        "accuracy_low": float(low),
        "accuracy_high": float(high),
        "loss_mean": ended["loss"].mean(),
        "worst_client_accuracy_mean": ended["worst_client_accuracy"].mean(),
        "median_client_accuracy_mean": ended["median_client_accuracy"].mean(),
        "epsilon_rdp": _common(point["epsilon_rdp"], name, own),
        "epsilon_pld": _common(point["epsilon_pld"], name, own),
        "epsilon_median": point["epsilon_median"].max(),
        "wall_s": point["wall_s"].mean(),
    }
    return row


def comparable_epsilon(epsilon: pd.Series) -> np.ndarray:
    """Epsilons rounded to the significant digits in which points are compared: float64 [points]."""
    return np.array([float(f"{value:.{EPSILON_DIGITS}g}") for value in epsilon.to_numpy(dtype=np.float64)])


def _add_front(table: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Fills `on_front`, `front_probability` and `selected_from` in place."""
    table["on_front"] = False
    table["front_probability"] = 0.0
    table["selected_from"] = 0
    ended = runs[runs["status"].isin(FINISHED)]
    by_seed = {
        key: dict(zip(point["seed"].astype(int), point["accuracy"].astype(float), strict=True))
        for key, point in ended.groupby(["study", "point_id"])
    }
    private = table[table["kind"] == "private"]
    for _, group in private.groupby(list(FRONT_GROUP), dropna=False, sort=False):
        # Every run of the group was looked at to pick the best, those that diverged too.
        table.loc[group.index, "selected_from"] = int(group["n_seeds"].sum())
        # The mean of the lucky seeds of a point that sometimes diverges is no fair competitor.
        competing = group[(group["n_ok"] == group["n_seeds"]) & np.isfinite(group["epsilon_rdp"])]
        competing = competing[np.isfinite(competing["accuracy_mean"])]
        if competing.empty:
            continue
        epsilon = comparable_epsilon(competing["epsilon_rdp"])
        accuracies = [by_seed[key] for key in zip(competing["study"], competing["point_id"], strict=True)]
        table.loc[competing.index, "on_front"] = non_dominated(epsilon, competing["accuracy_mean"])
        table.loc[competing.index, "front_probability"] = front_probability(epsilon, accuracies)


def tradeoff_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a point of the grid within a study.

    Args:
        runs: the `runs` table (with `study`, `kind` and `point_id`).

    Returns:
        The columns of `runs` that all seeds share, `status` (those of its seeds), then `n_seeds`, `n_ok` (seeds that finished, and
        have scores), `n_learned` (of these, those that learned something: status `ok`), `accuracy_mean|low|high` (95 %
        bootstrap over the seeds that finished; NaN ends with fewer than two), `loss_mean`, `worst_client_accuracy_mean`,
        `median_client_accuracy_mean`, `epsilon_rdp`, `epsilon_pld`, `on_front`, `front_probability`, `selected_from` (runs
        competing in the point's front group; 0 where the point does not compete), `wall_s` (mean seconds a run), `bytes_up`,
        `bytes_down`.

    Raises:
        TableError: if the seeds of one point disagree on epsilon.
    """
    keys = [column for column in point_columns(runs)]
    rows = [
        {"point_id": key[1], **_point_row(point, keys)}
        for key, point in runs.groupby(["study", "point_id"], sort=False)
    ]
    table = pd.DataFrame(rows)
    _add_front(table, runs)
    last = [
        "n_seeds",
        "n_ok",
        "n_learned",
        "accuracy_mean",
        "accuracy_low",
        "accuracy_high",
        "loss_mean",
        "worst_client_accuracy_mean",
    ]
    last += [
        "median_client_accuracy_mean",
        "epsilon_rdp",
        "epsilon_pld",
        "on_front",
        "front_probability",
        "selected_from",
    ]
    last += ["wall_s", "bytes_up", "bytes_down"]
    first = ["study", "point_id", *(key for key in keys if key != "study")]
    middle = [column for column in table.columns if column not in {*first, *last}]
    return table[[*first, *middle, *last]]
