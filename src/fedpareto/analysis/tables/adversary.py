"""Whom a guarantee protects, and from whom: the words of figures and tables, of `fedpareto epsilon` and of docs/privacy.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PROTECTED = {"client": "a whole client", "record": "one record"}
UNITS = {
    "client": "one client with all its records: a hospital, a branch, a phone",
    "record": "one record of one client. Each of a person's k records is protected; all together less: k epsilon, "
    "more delta",
}
ADJACENCIES = {
    "add_or_remove_one": "the unit is in the data or not",
    "replace_one": "the unit holds these data or any others: the larger change",
    "zero_out": "the unit contributes its data or nothing, and all may know that it is there",
}
# (unit, trust) -> who adds the noise.
NOISED_BY = {
    ("client", "central"): "the server, to the sum of updates",
    ("client", "distributed"): "each client a share, as integers",
    ("client", "local"): "each client all of it, to its update",
    ("record", "central"): "the server, to the sum of gradients",
    ("record", "distributed"): "each client a share, as integers",
    ("record", "local"): "each client, at each of its steps",
}
# Adjacency -> unit -> the secret of an impact assessment's sentence, where it says {secret}.
SECRETS = {
    "add_or_remove_one": {
        "client": "whether an institution's data were used",
        "record": "whether one record (one admission, one loan) was used",
    },
    "replace_one": {
        "client": "which data an institution contributed",
        "record": "which data one record (one admission, one loan) holds",
    },
    "zero_out": {
        "client": "whether an institution contributed its data or nothing",
        "record": "whether one record (one admission, one loan) contributed its data or nothing",
    },
}
# (unit, trust) -> the sentence for an impact assessment, and the assumption that it rests on; {unseen} is there unless
# participation is seen.
PROMISES = {
    ("client", "central"): (
        "Whoever sees all released models learns {secret} only within {epsilon}, but for {delta}.",
        "the coordinator sees each update and adds the noise{unseen}.",
    ),
    ("client", "distributed"): (
        "The aggregating server and whoever sees the models learn {secret} only within {epsilon}, but for {delta}.",
        "server and clients follow the protocol, and no client tells the server its noise share.",
    ),
    ("client", "local"): (
        "Everybody, the server included, learns {secret} only within {epsilon}, but for {delta}.",
        "the institution's own software clips and noises as stated. That it took part is not hidden.",
    ),
    ("record", "central"): (
        "Whoever sees all released models learns {secret} only within {epsilon}, but for {delta}.",
        "the coordinator sees sums of gradients and adds the noise{unseen}; the total number of records is public.",
    ),
    ("record", "distributed"): (
        "The aggregating server and whoever sees the models learn {secret} only within {epsilon}, but for {delta}.",
        "server and clients follow the protocol, and no client tells the server its noise share{unseen}.",
    ),
    ("record", "local"): (
        "Everybody but its own institution learns {secret} only within that institution's {epsilon}, but for {delta}.",
        "the institution's own software is right; how many records it holds is public.",
    ),
}

UNSEEN = {
    "central": ", and keeps secret who took part",
    "distributed": "; each institution draws its records at random and tells nobody which",
}


def promise(unit: str, trust: str, adjacency: str, *, epsilon: str = "epsilon", delta: str = "delta") -> str:
    """The sentence for an impact assessment.

    >>> promise("client", "local", "replace_one", epsilon="epsilon = 2")
    'Everybody, the server included, learns which data an institution contributed only within epsilon = 2, but for delta.'

    Args:
      unit: Unit of privacy.
      trust: Trust model.
      adjacency: Neighbouring data sets.
      epsilon: The words in the place of epsilon.
      delta: The words in the place of delta.
    """
    sentence, _ = PROMISES[unit, trust]
    return sentence.format(secret=SECRETS[adjacency][unit], epsilon=epsilon, delta=delta)


def assumption(unit: str, trust: str, participation: str | None) -> str:
    """The assumption that a guarantee rests on.

    >>> assumption("client", "central", "seen")
    'the coordinator sees each update and adds the noise.'

    Args:
      unit: Unit of privacy.
      trust: Trust model.
      participation: `secret` or `seen`; None for the sentence about both.
    """
    _, sentence = PROMISES[unit, trust]
    secret = UNSEEN.get(trust, "") if participation != "seen" else ""
    return sentence.format(unseen=secret + (" (unless participation is seen)" if secret and not participation else ""))


def adversary(unit: str, trust: str, participation: str | None) -> str:
    """The strongest adversary that the guarantee holds against."""
    if trust == "central":
        seen = " and who took part" if participation == "seen" else ""
        return f"all who see the models{seen}; the server is trusted"
    if trust == "distributed":
        if unit == "record":
            return "the server, which sees sums over all clients" + (
                " and which records they drew" if participation == "seen" else ""
            )
        return "the server, which sees sums" + (
            " and who took part" if participation == "seen" else ", not who took part"
        )
    if unit == "record":
        return "all but the record's own client"
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
