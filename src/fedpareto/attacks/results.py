"""Results of an attack: the rows of the tables `attacks`, `roc` and `pictures`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from fedpareto.columns.declared import table
from fedpareto.columns.frames import DTYPES


@dataclass(frozen=True)
class AttackResult:
    """One score of one attack on one run, or why there is none.

    Attributes:
      run_id: The run.
      attack: Name of the attack.
      method: Which way of doing it.
      adversary: One of `threats.ADVERSARIES`.
      score: Name of the score.
      value: The score.
      low: Lower end of its interval at `confidence`, NaN where there is none.
      high: Upper end.
      baseline: The score of somebody who has not seen what the adversary sees; NaN where the score has none.
      bound: The best expected score that the run's guarantee leaves possible (for an audit, the proven epsilon); NaN where
        the run has no guarantee against this adversary or the score has no bound.
      covered: Whether the run's guarantee is against this adversary.
      success: Whether the row stands for its attack where one number is wanted; then the score is a probability of success.
      confidence: Of the interval.
      records: Records behind one update that was inverted, or None.
      client: The client that the score is of, or None for all.
      positives: Trials in which the secret was there (members, included canaries, reconstructed records), or None.
      negatives: Trials in which it was not, or None.
      realised_fpr: False positive rate really reached, NaN where the score has none.
      reason: Why the attack could not be made, empty where it was; the row then has no score, and says nothing of leakage.
    """

    run_id: str
    attack: str
    method: str
    adversary: str
    score: str
    value: float
    low: float = math.nan
    high: float = math.nan
    baseline: float = math.nan
    bound: float = math.nan
    covered: bool = True
    success: bool = False
    confidence: float = 0.95
    records: int | None = None
    client: int | None = None
    positives: int | None = None
    negatives: int | None = None
    realised_fpr: float = math.nan
    reason: str = ""


@dataclass(frozen=True)
class RocPoint:
    """One point of an attack's ROC curve.

    Attributes:
      run_id: The run.
      attack: The attack.
      method: Its method.
      adversary: Who sees what it needs.
      client: The client that it is of, or None for all.
      fpr: False positive rate.
      tpr: True positive rate.
      allowed: Largest true positive rate at this false positive rate that the run's guarantee leaves possible, else 1.
    """

    run_id: str
    attack: str
    method: str
    adversary: str
    client: int | None
    fpr: float
    tpr: float
    allowed: float


@dataclass(frozen=True)
class Picture:
    """One record, as it is, as it was rebuilt, or as it would be guessed.

    Attributes:
      run_id: The run.
      attack: The attack.
      method: The attack's method; empty for what is no reconstruction.
      adversary: Who saw what it was rebuilt from; empty likewise.
      records: Records behind the update, or None.
      kind: `true`, `rebuilt` or `guess`.
      number: Which record (or class).
      psnr: Peak signal-to-noise ratio to the true one in decibels, NaN for that itself.
      shape: Height, width and channels, e.g. `28x28x1`.
      pixels: float32, row by row.
    """

    run_id: str
    attack: str
    method: str
    adversary: str
    records: int | None
    kind: str
    number: int
    psnr: float
    shape: str
    pixels: Sequence[float] | np.ndarray


# Table -> the kind of its rows. The first is written last: where it is, the others are.
KINDS: dict[str, type] = {"attacks": AttackResult, "roc": RocPoint, "pictures": Picture}


@dataclass(frozen=True)
class AttackResults:
    """All that one attack found."""

    findings: Sequence[AttackResult] = ()
    roc: Sequence[RocPoint] = ()
    pictures: Sequence[Picture] = ()


def not_made(
    run_id: str, attack: str, reason: str, *, method: str = "", adversary: str = "", records: int | None = None
) -> AttackResult:
    """The row of an attack that could not be made on a run (by an adversary; empty: by none of them)."""
    return AttackResult(run_id, attack, method, adversary, score="", value=math.nan, records=records, reason=reason)


def asked(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an attack as `not_made` prints them."""
    return {"method": str(spec.get("method") or ""), "records": spec.get("records")}


def concatenate(parts: Iterable[AttackResults]) -> AttackResults:
    """The evidence of several attacks."""
    parts = list(parts)
    return AttackResults(
        tuple(row for part in parts for row in part.findings),
        tuple(row for part in parts for row in part.roc),
        tuple(row for part in parts for row in part.pictures),
    )


def frame(name: str, rows: Sequence[Any]) -> pd.DataFrame:
    """Rows of one of `KINDS` as a table whose columns have the same types in every bundle.

    Raises:
      ColumnError: The fields of the rows and the declared columns differ.
    """
    declared = table(name).of_bundle
    declared.check([field.name for field in fields(KINDS[name])], f"table {name}")
    columns: dict[str, Any] = {}
    for column in declared.columns:
        values = [getattr(row, column.name) for row in rows]
        if column.type == "pixels":
            columns[column.name] = pd.Series([np.asarray(value, np.float32) for value in values], dtype="object")
        else:
            # Not object: a column of text without any rows is still one of text.
            columns[column.name] = pd.Series(values, dtype="string" if column.type == "text" else DTYPES[column.type])
    return pd.DataFrame(columns, columns=list(declared.names))
