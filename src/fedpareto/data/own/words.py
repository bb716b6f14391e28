"""Texts of a user's as the program compares and shows them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

JOINERS = "\u200c\u200d"  # of some scripts: they are seen, and compared without
SAME = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-") | dict.fromkeys("\u2018\u2019\u02bc`", "'")
)
LONGEST = 40


def clean(text: str) -> str:
    """A name without invisible characters: composed (NFC), runs of blanks as one, no blanks at the ends, no quotes around it."""
    composed = unicodedata.normalize("NFC", text)
    printable = "".join(" " if unicodedata.category(c) == "Cc" else c for c in composed if not _is_hidden(c))
    line = " ".join(printable.split())
    # A quote that follows a blank opens no field, and stands there still.
    return line[1:-1].strip() if len(line) > 1 and line[0] == line[-1] == '"' else line


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) == "Cf" and character not in JOINERS


def folded(text: str) -> str:
    """The folded form of a text: case, width, kinds of dashes and quotes and a final point do not count."""
    plain = unicodedata.normalize("NFKC", text.translate(SAME)).casefold()
    return "".join(c for c in plain if c not in JOINERS).rstrip(".")


def number(word: str) -> float | None:
    """The number that a word means, with a decimal point; None where it means none."""
    try:
        return None if "_" in word else float(word.replace("\u2212", "-"))
    except ValueError:
        return None


def alike(words: Iterable[str], as_numbers: bool) -> list[list[str]]:
    """Groups of several words that are one once they are folded, or that are one number where these are compared as such."""
    groups: dict[object, list[str]] = {}
    for word in words:
        value = number(word) if as_numbers else None
        groups.setdefault(folded(word) if value is None else value, []).append(word)
    return [group for group in groups.values() if len(group) > 1]


def is_number(word: str) -> bool:
    """Whether a word means a number."""
    return number(word) is not None


def shown(text: str) -> str:
    """A text within a message of one line: quoted, escaped, and cut where it is long."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return repr(cut)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names as a list in a message, cut where there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= LONGEST else name[: LONGEST - 3] + "..." for name in names[:most]) + more
