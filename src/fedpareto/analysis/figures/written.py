"""Users' texts (titles, class names, words of a paper), made safe for figures and tables.

Matplotlib takes text between dollars for mathematics, draws boxes for characters that no font has, and leaves labels that
begin with an underscore out of legends.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import matplotlib as mpl
from matplotlib import font_manager

LONGEST_TITLE = 140
LONGEST_NAME = 28
NO_FONT = "(a name that no font here can draw)"
# Fonts of the system that may have what the figure's own does not; pictures in colour are nothing that Matplotlib can draw.
_USELESS = re.compile("last ?resort|color|stix|^cm[a-z]+10$", re.IGNORECASE)
_LEFT_OUT = ("Cc", "Cf", "Cs", "Co", "Cn")  # control, format, surrogate, private, unassigned


def drawable(text: object, longest: int = LONGEST_TITLE, otherwise: str = NO_FONT) -> str:
    """One line that Matplotlib draws as it stands: `readable`, with Matplotlib's special characters escaped."""
    return escaped(readable(text, longest, otherwise))


def escaped(line: str) -> str:
    """A line of `readable` without mathematics, and not left out of a legend."""
    return f" {line}".replace("$", r"\$") if line.startswith("_") else line.replace("$", r"\$")


def readable(text: object, longest: int = LONGEST_TITLE, otherwise: str = NO_FONT) -> str:
    """One line of characters that a font draws.

    Characters that the figure's font lacks are drawn with another font of the system; where none has them, a symbol becomes its
    name and a run of others an ellipsis.

    Args:
      text: Texts of a user.
      longest: Characters; of a longer text the middle is left out.
      otherwise: The replacement for a text of which nothing can be drawn.
    """
    kept = "".join(
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", str(text))
        if character.isspace() or unicodedata.category(character) not in _LEFT_OUT
    )
    shown = "".join(character if _has_font(character) else _in_words(character) for character in kept)
    line = " ".join(re.sub("…(\\s*…)+", "…", shown).split())
    if not line.strip("… "):
        return otherwise
    if len(line) > longest:
        end = longest // 4
        line = f"{line[: longest - end - 1].rstrip()}…{line[len(line) - end :].lstrip()}"
    return line


def distinct(texts: Iterable[object], what: str, longest: int = LONGEST_NAME) -> list[str]:
    """Drawable names that differ where the texts do: `class 3` for one without a font, `name (3)` for one that is there already.

    Args:
      texts: Texts of a user.
      what: A word for one of them.
      longest: Characters of a name.
    """
    found: list[str] = []
    for number, text in enumerate(texts, start=1):
        name = drawable(text, longest, otherwise=f"{what} {number}")
        found.append(f"{name} ({number})" if name in found else name)
    return found


def cell(text: object) -> str:
    """A text in a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _in_words(character: str) -> str:
    """The text that replaces a character without a font."""
    if unicodedata.category(character) == "So":
        return f" ({unicodedata.name(character, 'symbol').lower()}) "
    return "…"


def _has_font(character: str) -> bool:
    """Whether a font draws a character: the figure's own, or one of the system, which is then added to it."""
    font = "" if character.isascii() else _font(character)
    families = mpl.rcParams["font.sans-serif"]
    if font and font not in families:
        mpl.rcParams["font.family"] = ["sans-serif"]
        mpl.rcParams["font.sans-serif"] = [font_manager.get_font(_own()).family_name, font, *families]
    return font is not None


@lru_cache(maxsize=4096)
def _font(character: str) -> str | None:
    """The font of the system that draws a character: "" for the figure's own, None where there is none."""
    if ord(character) in _characters(_own()):
        return ""
    fonts = (font for font in font_manager.fontManager.ttflist if not _USELESS.search(font.name))
    return next((font.name for font in fonts if ord(character) in _characters(font.fname)), None)


def _own() -> str:
    """The file of the font in which figures are drawn where others are not needed."""
    return str(font_manager.findfont(font_manager.FontProperties(family=["DejaVu Sans"])))


@lru_cache(maxsize=512)
def _characters(path: str) -> frozenset[int]:
    """The characters of a font that Matplotlib can draw; none of a file that it cannot read."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
