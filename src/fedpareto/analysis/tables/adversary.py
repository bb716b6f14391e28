"""Whom a guarantee protects, and from whom, in the words of figures and tables."""

from __future__ import annotations

import pandas as pd

PROTECTED = {"client": "a whole client", "record": "one record"}


def adversary(unit: str, trust: str, participation: str | None) -> str:
    """The strongest adversary that the guarantee holds against."""
    if trust == "central":
        seen = " and who took part" if participation == "seen" else ""
        return f"all who see the models{seen}; the server is trusted"
    if trust == "distributed":
        if unit == "record":
            return "the server, which sees sums over all clients"
        return "the server, which sees sums" + (
            " and who took part" if participation == "seen" else ", not who took part"
        )
    if unit == "record":
        return "all but the record's own client" + ("" if participation == "seen" else ", if unseen who took part")
    return "everybody: all see each noisy update"


def name(point: pd.Series) -> str:
    """A curve's name: unit, trust, and further values that distinguish it from others of the same two."""
    parts = [str(point["unit"]), str(point["trust"])]
    mechanism = str(point["mechanism"] or "gaussian").split("(")[0].replace("_", " ")
    if mechanism not in ("gaussian", "skellam"):
        parts.append(mechanism)
    if point["trust"] == "distributed" and point["unit"] == "client" and point["participation"] == "secret":
        parts.append("secret cohort")
    return ", ".join(parts)
