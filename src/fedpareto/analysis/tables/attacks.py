"""The tables `attacks`, `roc` and `pictures`: what attacks found, beside what the figures need to know of each run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from fedpareto.components import threats

# The columns that the attack stage writes for a bundle, and their types.
FINDING = {
    **dict.fromkeys(("run_id", "attack", "method", "adversary", "score"), "object"),
    **dict.fromkeys(("value", "low", "high", "baseline", "bound"), "float64"),
    **dict.fromkeys(("covered", "success"), "bool"),
    "confidence": "float64",
    **dict.fromkeys(("records", "client", "positives", "negatives"), "Int64"),
    "realised_fpr": "float64",
    "reason": "object",
}
ROC = {
    **dict.fromkeys(("run_id", "attack", "method", "adversary"), "object"),
    "client": "Int64",
    **dict.fromkeys(("fpr", "tpr", "allowed"), "float64"),
}
PICTURE = {
    **dict.fromkeys(("run_id", "attack", "method", "adversary"), "object"),
    "records": "Int64",
    "kind": "object",
    "number": "int64",
    "psnr": "float64",
    "shape": "object",
    "pixels": "pixels",
}
# What figures need to know of a run that was attacked: from `runs`, and from its point in `tradeoff`.
OF_RUN = {
    "point_id": "object",
    "kind": "object",
    **dict.fromkeys(("dataset", "partition", "model"), "object"),
    "clients": "Int64",
    **dict.fromkeys(("clip_norm", "noise_multiplier"), "float64"),
    **dict.fromkeys(("unit", "trust", "participation", "adjacency", "sampling"), "object"),
    "seed": "Int64",
    **dict.fromkeys(("delta", "epsilon_rdp", "epsilon_pld"), "float64"),
}
OF_POINT = dict.fromkeys(("accuracy_mean", "accuracy_low", "accuracy_high"), "float64")
KINDS = {"attacks": FINDING, "roc": ROC, "pictures": PICTURE}
# A picture has a kind of its own, which then stands for that of the run.
COLUMNS = {name: {"study": "object", "run_id": "object", **OF_RUN, **OF_POINT, **own} for name, own in KINDS.items()}
# A picture's pixels are no use to who reads a table as text.
NOT_IN_CSV = {"pictures": ["pixels"]}

_ARROW = {
    "object": pa.string(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "Int64": pa.int64(),
    "pixels": pa.list_(pa.float32()),
}


def empty(columns: Mapping[str, str]) -> pd.DataFrame:
    """A table without rows whose columns have their types."""
    return typed(pd.DataFrame(columns=list(columns)), columns)


def typed(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The columns in their order, each with its type, whatever bundle they came from."""
    found = {}
    for name, type_ in columns.items():
        values = frame[name]
        if type_ in ("object", "pixels"):
            found[name] = values.astype(object).where(values.notna(), None)
        elif type_ in ("bool", "int64"):
            found[name] = values.astype(type_)
        else:
            found[name] = pd.to_numeric(values).astype(type_)
    return pd.DataFrame(found, columns=list(columns), index=frame.index)


def arrow_type(columns: Mapping[str, str], name: str) -> pa.DataType:
    """The type in Parquet of a column that holds no value at all."""
    return _ARROW[columns[name]]


def join(
    name: str, found: Sequence[pd.DataFrame], attacked: Sequence[str], runs: pd.DataFrame, tradeoff: pd.DataFrame
) -> pd.DataFrame:
    """One table of `KINDS` over all bundles.

    Args:
      name: `attacks`, `roc` or `pictures`.
      found: What the attack stage wrote, a frame a bundle.
      attacked: The runs that the plan wants attacked; rows of others (of an older plan) are left out.
      runs: The `runs` table; a run of two studies stands in both, and so do its rows.
      tradeoff: The `tradeoff` table.

    Returns:
      `COLUMNS[name]`: study and run, what is known of the run, the accuracy of its point over seeds, and what was found, in
      the order of runs and of rows.
    """
    rows = [typed(frame, KINDS[name]) for frame in found if len(frame)]
    if not rows:
        return empty(COLUMNS[name])
    rows = [frame[frame["run_id"].isin(list(attacked))] for frame in rows]
    known = runs[["study", "run_id", *(column for column in OF_RUN if column not in KINDS[name])]]
    points = tradeoff[["study", "point_id", *OF_POINT]]
    known = known.merge(points, on=["study", "point_id"], how="left", validate="many_to_one")
    table = known.merge(pd.concat(rows, ignore_index=True), on="run_id", how="inner")
    return typed(table, COLUMNS[name])


def not_made(attacks: pd.DataFrame) -> pd.Series:
    """Which rows of `attacks` are of attacks that could not be made: bool [rows]. They have a reason, and no score."""
    return attacks["reason"].fillna("") != ""


def aimed_at(rows: pd.DataFrame, goals: Collection[tuple[str, str]]) -> pd.Series:
    """Which rows of `attacks`, `roc` or `pictures` are of attacks with one of these goals (`threats.Goal`): bool [rows]."""
    wanted = [attack for attack in rows["attack"].unique() if threats.goal(attack) in goals]
    return rows["attack"].isin(wanted)


def why_nothing(attacks: pd.DataFrame, goals: Collection[tuple[str, str]], otherwise: str) -> str:
    """Why there is nothing to draw of attacks with these goals: the reasons why they could not be made, or else `otherwise`."""
    rows = attacks[not_made(attacks) & aimed_at(attacks, goals)]
    reasons = sorted(set(rows["reason"]))
    if not reasons:
        return otherwise
    return f"no such attack could be made: {reasons[0]}" + (f" (and {len(reasons) - 1} more)" if reasons[1:] else "")


def without_noise(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of runs without a guarantee: bool [rows]."""
    return ~np.isfinite(rows["epsilon_rdp"].to_numpy(np.float64))
