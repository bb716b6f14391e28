"""Texts of a user's as the program compares and shows them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))
LONGEST = 40


def clean(text: str) -> str:
    """A name without what nobody sees: composed (NFC), one blank for any run of blanks, none at the ends."""
    composed = unicodedata.normalize("NFC", text).translate(INVISIBLE)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in composed).split())


def folded(text: str) -> str:
    """What two spellings of one thing have in common: case and width do not count, nor does a point at the end."""
    return unicodedata.normalize("NFKC", text).casefold().rstrip(".")


def shown(text: str) -> str:
    """A text within a message of one line: quoted, escaped, and cut where it is long."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return repr(cut)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names as a list in a message, cut where there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= LONGEST else name[: LONGEST - 3] + "..." for name in names[:most]) + more
