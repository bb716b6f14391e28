"""The looks that several figures share: adversaries, trust models, chance, entries of legends, error bars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from fedpareto.components import threats


class Look(NamedTuple):
    """How an adversary is named and drawn.

    Attributes:
      name: Who it is.
      label: Who it is, and what it sees.
      colour: Of the colour-blind palette.
      marker: Its marker.
    """

    name: str
    label: str
    colour: str
    marker: str


_LOOKS = {
    threats.SERVER: ("#d55e00", "s"),
    threats.PARTICIPANTS: ("#0173b2", "o"),
    threats.OUTSIDER: ("#029e73", "^"),
}
ADVERSARIES = {key: Look(name, f"{name}: {sees}", *_LOOKS[key]) for key, (name, sees) in threats.ADVERSARIES.items()}
TRUST_MARKERS = {"central": "o", "distributed": "s", "local": "^"}
CHANCE: dict[str, Any] = {"color": "0.3", "linestyle": (0, (1, 1.5)), "linewidth": 1.2}


def entry(label: str, **look: Any) -> Line2D:
    """An entry of a legend; without a `linestyle` it is a marker."""
    return Line2D([], [], label=label, **{"linestyle": "", **look})


def dodge(step: float, place: int, count: int) -> float:
    """The factor on epsilon that sets curves of one epsilon side by side on a logarithmic axis.

    Args:
      step: Of a factor of e between neighbours.
      place: Number of the curve.
      count: Number of curves.
    """
    return float(np.exp(step * (place - (count - 1) / 2)))


def spread(points: pd.DataFrame | pd.Series, value: str, low: str, high: str) -> np.ndarray:
    """The lengths of error bars from a value to the ends of its interval, 0 where it has none: float64 [2, points]."""
    lengths = np.nan_to_num([points[value] - points[low], points[high] - points[value]]).clip(min=0)
    return lengths if lengths.ndim > 1 else lengths[:, None]


def accuracy_spread(points: pd.DataFrame | pd.Series) -> np.ndarray:
    """`spread` of the mean accuracy."""
    return spread(points, "accuracy_mean", "accuracy_low", "accuracy_high")


def present(names: Iterable[str], column: pd.Series) -> list[str]:
    """The names that a column holds, in their own order."""
    held = set(column)
    return [name for name in names if name in held]
