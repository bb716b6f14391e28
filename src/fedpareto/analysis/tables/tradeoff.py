"""From runs to points of the grid: means over seeds, intervals, and who is on the front."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from fedpareto.analysis.tables.front import bootstrap_interval, front_probability, non_dominated
from fedpareto.analysis.tables.score import by_seed, drawn, gain
from fedpareto.columns.column import DERIVED, KEY, PROVENANCE, Metric
from fedpareto.columns.declared import CALIBRATING, DEFAULT, Additions, table
from fedpareto.statuses import FINISHED, OK

# Points are compared within these: an epsilon of another unit, trust model, adjacency or delta is another currency, and a score of
# another task another goal.
FRONT_GROUP = ("study", "dataset", "partition", "model", "unit", "trust", "participation", "adjacency", "delta")
# Calibrated noise reaches its target only to a tolerance; epsilons are compared as a reader compares them.
EPSILON_DIGITS = 4


class TableError(ValueError):
    """A table cannot be built from the files of training; the message is one line."""


def client_rounds(rows: pd.DataFrame) -> pd.Series:
    """Clients times rounds in which they exchange vectors, in expectation, for rows of `runs` or `tradeoff`."""
    # Where the server or secure aggregation protects sums over records, only a client knows whether one of its was drawn.
    everybody = (rows["unit"] == "record") & (rows["trust"] != "local")
    return rows["clients"] * rows["sampling_rate"].mask(everybody, 1.0) * rows["rounds_done"]


def kind_of(runs: pd.DataFrame) -> pd.Series:
    """The purpose of each run.

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


def point_ids(runs: pd.DataFrame, additions: Additions = DEFAULT) -> pd.Series:
    """A short hash of the keys of `runs`: equal for the runs of one point, in whichever study they appear."""
    columns = list(table("runs", additions).having(KEY))
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
        return float(values.max(skipna=False))
    if np.isfinite(known).any() and not np.allclose(known, known[0], rtol=1e-9, atol=0.0):
        raise TableError(
            f"point {point}: {values.name} differs between seeds ({known.min():g} to {known.max():g}); train it again"
        )
    return float(known[0])


def _point_row(point: pd.DataFrame, additions: Additions) -> dict[str, Any]:
    """One row of the table from the runs of one point; means are over the seeds that finished."""
    runs = table("runs", additions)
    ended = point[point["status"].isin(FINISHED)].sort_values("seed")
    name = str(point["point_id"].iloc[0])
    proved_by_clients = bool(((point["unit"] == "record") & (point["trust"] == "local")).all())
    row: dict[str, Any] = {"study": point["study"].iloc[0], "point_id": name}
    row |= {key: point[key].iloc[0] for key in runs.having(KEY)}
    row["noise_multiplier"] = point["noise_multiplier"].max()
    row |= {column: point[column].max() for column in runs.having(DERIVED) if runs[column].type != "text"}
    row |= {
        column: "; ".join(sorted({str(value) for value in point[column].dropna()}))
        for column in (*runs.having(PROVENANCE), "status")
    }
    row |= {
        "n_seeds": len(point),
        "n_ok": len(ended),
        "n_learned": int((point["status"] == OK).sum()),
        "wall_s": point["wall_s"].mean(),
    }
    for metric in additions.metrics:
        row |= _over_seeds(metric, ended[metric.name])
    for epsilon in ("epsilon", *(accountant.column.name for accountant in CALIBRATING)):
        row[epsilon] = _common(point[epsilon], name, proved_by_clients)
    row["epsilon_by"] = next(iter(point.loc[point["epsilon"] == row["epsilon"], "epsilon_by"]), None)
    return row


def _over_seeds(metric: Metric, values: pd.Series) -> dict[str, float]:
    """Statistics of a metric at one point, from its values by seed."""
    statistics = {}
    if "mean" in metric.over_seeds:
        statistics["mean"] = values.mean()
    if "low" in metric.over_seeds:
        statistics["low"], statistics["high"] = map(float, bootstrap_interval(values.to_numpy(dtype=np.float64)))
    return {f"{metric.name}_{statistic}": statistics[statistic] for statistic in metric.over_seeds}


def comparable_epsilon(epsilon: pd.Series) -> np.ndarray:
    """Epsilons rounded to the significant digits in which points are compared: float64 [points]."""
    return np.array([float(f"{value:.{EPSILON_DIGITS}g}") for value in epsilon.to_numpy(dtype=np.float64)])


def front_groups(points: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The private points that are compared with each other, group by group."""
    keys = [*FRONT_GROUP, *(("task",) if "task" in points else ())]
    for _, group in points[points["kind"] == "private"].groupby(keys, dropna=False, sort=False):
        yield group


def _add_front(points: pd.DataFrame, runs: pd.DataFrame, additions: Additions) -> None:
    """Fills `on_front`, `front_probability` and `selected_from` in place."""
    points["on_front"] = False
    points["front_probability"] = 0.0
    points["selected_from"] = 0
    ended = runs[runs["status"].isin(FINISHED)]
    runs_of = dict(iter(ended.groupby(["study", "point_id"])))
    for group in front_groups(points):
        metric = drawn(group, additions)
        mean = f"{metric.name}_mean"
        # Every run of the group was looked at to pick the best, those that diverged too.
        points.loc[group.index, "selected_from"] = int(group["n_seeds"].sum())
        # The mean of the lucky seeds of a point that sometimes diverges is no fair competitor.
        competing = group[(group["n_ok"] == group["n_seeds"]) & np.isfinite(group["epsilon"])]
        competing = competing[np.isfinite(competing[mean])]
        if competing.empty:
            continue
        epsilon = comparable_epsilon(competing["epsilon"])
        scores = [by_seed(metric, runs_of[key]) for key in zip(competing["study"], competing["point_id"], strict=True)]
        points.loc[competing.index, "on_front"] = non_dominated(epsilon, gain(metric, competing[mean]))
        points.loc[competing.index, "front_probability"] = front_probability(epsilon, scores)


def tradeoff_table(runs: pd.DataFrame, additions: Additions = DEFAULT) -> pd.DataFrame:
    """One row a point of the grid within a study.

    Args:
        runs: the `runs` table (with `study`, `kind` and `point_id`).
        additions: its columns beside those of `columns.toml`.

    Returns:
        The columns of `tradeoff`, but for what `selection.add_selection` adds.

    Raises:
        TableError: if the seeds of one point disagree on epsilon.
    """
    points = pd.DataFrame(
        [_point_row(point, additions) for _, point in runs.groupby(["study", "point_id"], sort=False)]
    )
    _add_front(points, runs, additions)
    return points[[name for name in table("tradeoff", additions).names if name in points]]
