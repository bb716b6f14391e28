"""What a column of a user's table means: numbers, dates or categories, decided by its values and never in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedpareto.data import UserFileError, unfit
from fedpareto.data.spelling import Spelled, is_text, spelled
from fedpareto.data.words import shown

# What stands for a missing number. In a column of words each of them is a word like any other, but the question mark.
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "missing", "?", ".", "-", "--"}
MISSING_WORD = {"", "?"}
TRUTH = {"true": 1.0, "false": 0.0}
FEW_LEVELS = 50  # up to which no column is taken for one of ids
MOST_LEVELS = 1000
DAY_US = 86_400 * 10**6
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?")
OTHER_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\.?( .*)?")
CLOCK = re.compile(r"\d+:\d{2}(:\d{2}([.,]\d+)?)?")
COMMA = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+),\d+")
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
CENSORED = re.compile(r"[<>=~≤≥]+ ?[-+]?\d+([.,]\d+)?")


@dataclass(frozen=True)
class Column:
    """A feature column that is understood.

    Attributes:
      name: Its name.
      kind: `number`, `date` (days since 1970) or `category`.
      numbers: float64 [rows], NaN where missing; None for categories.
      words: The categories; None for numbers.
      missing: Word that stands for a missing value, empty for an empty field -> rows.
      notes: What whoever owns the data should know, one line each.
    """

    name: str
    kind: str
    numbers: np.ndarray | None
    words: Spelled | None
    missing: Mapping[str, int]
    notes: tuple[str, ...] = ()


def understood(path: Path, name: str, array: pa.ChunkedArray, rows: np.ndarray, options: Mapping[str, Any]) -> Column:
    """What a feature column holds.

    Args:
      path: The file, for messages.
      name: The column's name.
      array: Its values in the rows that are used.
      rows: int [rows], the numbers of these rows in the file.
      options: `categories`, `decimal` and `most_levels` of the data set.

    Raises:
      UserFileError: It means neither numbers nor dates nor categories, or more than one of them.
    """
    kind = array.type
    if name in options.get("categories", ()):
        return _category(path, name, _known_type(path, name, array), options)
    if pa.types.is_dictionary(kind):
        array, kind = array.cast(kind.value_type), kind.value_type
    if not is_text(kind):
        numbers, called = _typed(path, name, array)
        return _numbers(path, name, called, numbers, {"": int(np.isnan(numbers).sum())}, rows)
    try:
        trimmed = pc.utf8_trim_whitespace(array)
        plain = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, kind), trimmed).cast(pa.float64())
    except pa.ArrowInvalid:
        return _worded(path, name, spelled(array), rows, options)
    numbers = np.asarray(pc.fill_null(plain, np.nan))
    notes = _leading_zeros(name, trimmed)
    return _numbers(path, name, "number", numbers, {"": int(np.isnan(numbers).sum())}, rows, notes)


def _worded(path: Path, name: str, texts: Spelled, rows: np.ndarray, options: Mapping[str, Any]) -> Column:
    """A column of text of which some values, or all, are not plain numbers."""
    absent = np.array([word.casefold() in MISSING for word in texts.words], bool)
    held = int(texts.counts[~absent].sum())

    def share(fits: Sequence[bool] | np.ndarray) -> float:
        return float(texts.counts[np.asarray(fits, bool) & ~absent].sum()) / max(1, held)

    def read_as(value_of: Callable[[str], float | None], kind: str) -> Column:
        values = np.array(
            [np.nan if gone else value_of(word) for word, gone in zip(texts.words, absent, strict=True)] + [np.nan],
            float,
        )
        missing = {word: int(n) for word, n, gone in zip(texts.words, texts.counts, absent, strict=True) if gone}
        return _numbers(path, name, kind, values[texts.codes], missing | {"": int((texts.codes < 0).sum())}, rows)

    def refuse(what: str, odd: Sequence[bool] | np.ndarray, way: str) -> UserFileError:
        order = np.argsort(-texts.counts, kind="stable")
        some = [f"{shown(texts.words[i])} ({texts.counts[i]})" for i in order if odd[i] and not absent[i]]
        more = f" and {len(some) - 5} more" if len(some) > 5 else ""
        return unfit(path, f"hold {what} in column {name}", f"it holds {', '.join(some[:5])}{more}: {way}")

    if held == 0:
        return read_as(lambda word: np.nan, "number")
    decimal = options.get("decimal", ".")
    value_of = number if decimal == "." else _with_comma
    numbers = [value_of(word) is not None for word in texts.words]
    if share(numbers) == 1:
        return read_as(value_of, "number")
    if share([word.casefold() in TRUTH for word in texts.words]) == 1:
        return read_as(lambda word: TRUTH.get(word.casefold()), "number")
    dates = [_days(word) is not None for word in texts.words]
    if share(dates) == 1:
        return read_as(_days, "date")
    plain, everything = np.array(numbers), np.ones(len(numbers), bool)
    commas, thousands, others, clocks, censored = (
        np.array([pattern.fullmatch(word) is not None for word in texts.words])
        for pattern in (COMMA, THOUSANDS, OTHER_DATE, CLOCK, CENSORED)
    )
    point = "write them without commas" if share(thousands) >= share(commas) else 'write decimal: ","'
    # What most values are: what is wanted, those that are at fault, the way out.
    mistaken = (
        ((commas & (decimal == ".")) | plain, "numbers with a decimal point", commas & (decimal == "."), point),
        (dates, "dates throughout", ~np.array(dates), "write all of them as 2024-03-07"),
        (others, "dates as 2024-03-07", everything, "write them so"),
        (clocks, "times as numbers", everything, "write hours or seconds"),
        (plain | censored, "numbers throughout", ~plain, "write numbers or leave these fields empty"),
    )
    for most, what, odd, way in mistaken:
        if share(most) > 0.5 and share(odd) > 0:
            raise refuse(what, odd, f"{way}; drop: [{name}] leaves the column out, categories: [{name}] reads names")
    return _category(path, name, texts, options)


def _category(path: Path, name: str, texts: Spelled, options: Mapping[str, Any]) -> Column:
    missing = {word: int(n) for word, n in zip(texts.words, texts.counts, strict=True) if word in MISSING_WORD}
    kept = [i for i, word in enumerate(texts.words) if word not in missing]
    place = np.full(len(texts.words) + 1, -1, np.int32)
    place[kept] = np.arange(len(kept))
    words = Spelled(tuple(texts.words[i] for i in kept), place[texts.codes], texts.merged)
    rows = len(texts.codes)
    # An id has nearly as many values as there are rows.
    most = options.get("most_levels") or min(MOST_LEVELS, max(FEW_LEVELS, rows // 2))
    if len(kept) > most:
        way = f"drop: [{name}] if it is an id or free text; else group its values, or write most_levels: {len(kept)}"
        hint = f"column {name} has {len(kept):,} in {rows:,} rows: {way}"
        raise unfit(path, f"hold at most {most:,} categories in a column", hint)
    notes = [
        f"column {name}: the word {shown(word)} is a category of its own ({n} rows)"
        for word, n in zip(words.words, words.counts, strict=True)
        if word.casefold() in MISSING and n
    ]
    notes += [f"column {name}: {' and '.join(map(shown, own[:3]))} are one category" for own in words.merged.values()]
    empty = {"": int((texts.codes < 0).sum())}
    return Column(
        name, "category", None, words, {k: v for k, v in (dict(missing) | empty).items() if v}, tuple(notes[:5])
    )


def _numbers(
    path: Path,
    name: str,
    kind: str,
    numbers: np.ndarray,
    missing: Mapping[str, int],
    rows: np.ndarray,
    notes: tuple[str, ...] = (),
) -> Column:
    too_large = np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)
    if len(too_large):
        at = too_large[0]
        hint = f"row {rows[at]} of column {name} holds {numbers[at]:g}"
        raise unfit(path, "hold numbers that are finite in 32 bits", hint)
    return Column(name, kind, numbers, None, {k: v for k, v in missing.items() if v}, notes)


def number(word: str) -> float | None:
    """The number that a word means, with a decimal point; None where it means none."""
    try:
        return None if "_" in word else float(word.replace("−", "-"))
    except ValueError:
        return None


def _with_comma(word: str) -> float | None:
    """The number that a word means where the comma is the decimal point, and a point may part thousands."""
    whole, comma, rest = word.partition(",")
    if "." in whole and not re.fullmatch(r"[-+]?\d{1,3}(\.\d{3})+", whole):
        return None if comma else number(word)
    return None if "," in rest or "." in rest else number(whole.replace(".", "") + ("." + rest if comma else ""))


def _days(word: str) -> float | None:
    """Days since 1970 of a date as 2024-03-07, with a time of day or without; None for anything else."""
    if not ISO_DATE.fullmatch(word):
        return None
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86_400


def _typed(path: Path, name: str, array: pa.ChunkedArray) -> tuple[np.ndarray, str]:
    """The numbers of a column with a type of its own, float64 [rows], and `number` or `date`."""
    kind, called = array.type, "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        values = pc.divide(
            array.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).cast(pa.float64(), safe=False), float(DAY_US)
        )
        called = "date"
    elif pa.types.is_duration(kind):
        values = pc.divide(
            array.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64(), safe=False), float(DAY_US)
        )
    elif pa.types.is_time(kind):
        unit = pa.time64("us") if pa.types.is_time64(kind) else kind
        count = array.cast(unit, safe=False).cast(pa.int64() if pa.types.is_time64(kind) else pa.int32())
        per_hour = {"us": 3.6e9, "ms": 3.6e6, "s": 3600.0}[unit.unit]
        values = pc.divide(count.cast(pa.float64(), safe=False), per_hour)
    elif pa.types.is_boolean(kind):
        values = array.cast(pa.int8()).cast(pa.float64())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        values = array.cast(pa.float64(), safe=False)
    else:
        raise _no_numbers(path, name, kind)
    return np.asarray(pc.fill_null(values, np.nan)).astype(np.float64), called


def _known_type(path: Path, name: str, array: pa.ChunkedArray) -> Spelled:
    try:
        return spelled(array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _no_numbers(path, name, array.type) from error


def _no_numbers(path: Path, name: str, kind: pa.DataType) -> UserFileError:
    return unfit(
        path,
        "hold numbers or text in every column",
        f"column {name} holds {kind}: spread it over columns, or drop: [{name}]",
    )


def _leading_zeros(name: str, text: pa.ChunkedArray) -> tuple[str, ...]:
    zeros = pc.sum(pc.match_substring_regex(text, r"^0\d")).as_py() or 0
    if not zeros:
        return ()
    return (
        f"column {name}: {zeros} values begin with a zero and are read as numbers (categories: [{name}] reads names)",
    )
