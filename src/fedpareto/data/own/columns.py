"""The meaning of a column of a user's table: numbers, dates or categories, decided by its values and never in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedpareto.data import UserFileError, unfit
from fedpareto.data.own.spelling import Spelled, is_text, spelled
from fedpareto.data.own.words import alike, number, shown

# What stands for a missing number. In a column of words each of them is a word like any other, but the question mark.
MISSING = {
    *("", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "(null)", "[null]", "\\n", "none", "missing"),
    *("?", ".", "-", "--", "#div/0!", "#value!", "#ref!"),
}
MISSING_WORD = {"", "?"}
TRUTH = {"true": 1.0, "false": 0.0}
FEW_LEVELS = 50  # up to which no column is taken for one of ids
MOST_LEVELS = 1000
MANY = 20  # different numbers or dates, of which so many make no categories
DAY_US = 86_400 * 10**6
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?")
OTHER_DATE = re.compile(
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\.?([ T-].*)?|\d{1,2}[ .-]?[A-Za-z]{3,9}\.?[ ,-]*\d{2,4}([ :].*)?"
    r"|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}|\d{8}T\d{4,6}.*|\d{4}-\d{2}|\d{4}[ -]?Q[1-4]"
)
CLOCK = re.compile(r"\d+:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?|-?\d+ days?( .*)?|P\d*[YMWDT].*")
COMMA = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+),\d+")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
POINTS_PART = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
POINT = re.compile(r"[-+]?\d*\.\d+")
# A number with a sign, a unit or a currency about it, or with blanks or apostrophes between its thousands.
DECORATED = re.compile(
    r"[^\w\s]{0,3} ?[A-Z]{0,3} ?\(?-?\d[\d.,'\u2019/\u00b1 ]*\)?[-%]? ?([^\d\s]{1,12}( [^\d\s]{1,12})?)?"
)
DATE_NUMBERS = (19_000_101, 21_001_231)  # 2024-03-07 as 20240307
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
      notes: Notes for the owner of the data, one line each.
    """

    name: str
    kind: str
    numbers: np.ndarray | None
    words: Spelled | None
    missing: Mapping[str, int]
    notes: tuple[str, ...] = ()


def understood(path: Path, name: str, array: pa.ChunkedArray, rows: np.ndarray, options: Mapping[str, Any]) -> Column:
    """Decides the kind of a feature column.

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
    # What is stored as a dictionary was called a category by whoever stored it.
    if name in options.get("categories", ()) or pa.types.is_dictionary(kind):
        return _category(path, name, _known_type(path, name, array), options)
    if not is_text(kind):
        numbers, called = _typed(path, name, array)
        for word in map(number, options.get("missing") or ()):
            numbers = np.where(numbers == word, np.nan, numbers)
        return _numbers(path, name, called, numbers, {"": int(np.isnan(numbers).sum())}, rows)
    if options.get("decimal", ".") != "." or options.get("missing"):
        return _worded(path, name, spelled(array), rows, options)
    try:
        trimmed = pc.utf8_trim_whitespace(array)
        plain = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, kind), trimmed).cast(pa.float64())
    except pa.ArrowInvalid:
        return _worded(path, name, spelled(array), rows, options)
    numbers = np.asarray(pc.fill_null(plain, np.nan))
    zeros = int(pc.sum(pc.match_substring_regex(trimmed, r"^0\d")).as_py() or 0)
    return _numbers(path, name, "number", numbers, {"": int(np.isnan(numbers).sum())}, rows, zeros)


def _worded(path: Path, name: str, texts: Spelled, rows: np.ndarray, options: Mapping[str, Any]) -> Column:
    """A column of text with values that are not plain numbers."""
    absent = np.array([_is_missing(word, MISSING, options) for word in texts.words], bool)
    held = int(texts.counts[~absent].sum())

    def share(fits: Sequence[bool] | np.ndarray) -> float:
        return float(texts.counts[np.asarray(fits, bool) & ~absent].sum()) / max(1, held)

    def read_as(value_of: Callable[[str], float | None], kind: str) -> Column:
        values = np.array(
            [np.nan if gone else value_of(word) for word, gone in zip(texts.words, absent, strict=True)] + [np.nan],
            float,
        )
        missing = {word: int(n) for word, n, gone in zip(texts.words, texts.counts, absent, strict=True) if gone}
        zeros = sum(int(n) for word, n in zip(texts.words, texts.counts, strict=True) if re.match(r"0\d", word))
        missing |= {"": int((texts.codes < 0).sum())}
        return _numbers(path, name, kind, values[texts.codes], missing, rows, zeros if kind == "number" else 0)

    def refuse(what: str, odd: Sequence[bool] | np.ndarray, way: str) -> UserFileError:
        order = np.argsort(-texts.counts, kind="stable")
        examples = [f"{shown(texts.words[i])} ({texts.counts[i]})" for i in order if odd[i] and not absent[i]]
        more = f" and {len(examples) - 5} more" if len(examples) > 5 else ""
        return unfit(path, f"hold {what} in column {name}", f"it holds {', '.join(examples[:5])}{more}: {way}")

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
    commas, points, thousands, others, clocks, censored, decorated = (
        np.array([pattern.fullmatch(word) is not None for word in texts.words])
        for pattern in (COMMA, POINT, THOUSANDS, OTHER_DATE, CLOCK, CENSORED, DECORATED)
    )
    commas, points = commas & (decimal == "."), points & ~plain
    point = 'write decimal: ","'
    if share(thousands) >= share(commas):
        point += " if the comma is the decimal sign, or leave commas out if they part thousands"
    # What most values are: what is wanted, those that are at fault, the way out.
    mistaken = (
        (commas | plain, "numbers with a decimal point", commas, point),
        (points | plain, "numbers with a decimal comma", points, "write one decimal sign in the whole file"),
        (dates, "dates throughout", ~np.array(dates), "write all of them as 2024-03-07"),
        (others, "dates as 2024-03-07", everything, "write them so"),
        (clocks, "times as numbers", everything, "write hours or seconds"),
        (
            plain | censored,
            "numbers throughout",
            ~plain,
            "write numbers, or leave these fields empty or name them in missing",
        ),
        (
            (plain | decorated) & (np.sum(plain | decorated) > MANY),
            "plain numbers",
            ~plain,
            "leave signs, units and blanks out",
        ),
    )
    for most, what, odd, way in mistaken:
        if (share(most) > 0.5 or (most & ~absent).sum() > MANY) and share(odd) > 0:
            raise refuse(what, odd, f"{way}; drop: [{name}] leaves the column out, categories: [{name}] reads names")
    return _category(path, name, texts, options)


def _category(path: Path, name: str, texts: Spelled, options: Mapping[str, Any]) -> Column:
    missing = {
        word: int(n)
        for word, n in zip(texts.words, texts.counts, strict=True)
        if _is_missing(word, MISSING_WORD, options)
    }
    levels = [i for i, word in enumerate(texts.words) if word not in missing]
    place = np.full(len(texts.words) + 1, -1, np.int32)
    place[levels] = np.arange(len(levels))
    words = Spelled(tuple(texts.words[i] for i in levels), place[texts.codes], texts.merged)
    rows = len(texts.codes)
    # An id has nearly as many values as there are rows.
    most = options.get("most_levels") or min(MOST_LEVELS, max(FEW_LEVELS, rows // 2))
    if len(levels) > most:
        way = f"drop: [{name}] if it is an id or free text; else group its values, or write most_levels: {len(levels)}"
        hint = f"column {name} has {len(levels):,} in {rows:,} rows: {way}"
        raise unfit(path, f"hold at most {most:,} categories in a column", hint)
    notes = [
        f"column {name}: the word {shown(word)} is a category of its own ({n} rows)"
        for word, n in zip(words.words, words.counts, strict=True)
        if word.casefold() in MISSING and n
    ]
    notes += [
        f"column {name}: {' and '.join(map(shown, spellings[:3]))} are one category"
        for spellings in words.merged.values()
    ]
    notes += [
        f"column {name}: {' and '.join(map(shown, group[:3]))} are different categories"
        for group in alike(words.words, as_numbers=True)
    ]
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
    zeros: int = 0,
) -> Column:
    too_large = np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)
    if len(too_large):
        at = too_large[0]
        hint = f"row {rows[at]} of column {name} holds {numbers[at]:g}"
        raise unfit(path, "hold numbers that are finite in 32 bits", hint)
    notes = _about_numbers(name, numbers, zeros) if kind == "number" else ()
    return Column(name, kind, numbers, None, {k: v for k, v in missing.items() if v}, notes)


def _about_numbers(name: str, numbers: np.ndarray, zeros: int) -> tuple[str, ...]:
    """Warnings that numbers may be no quantities: names, dates, ids, codes for missing values."""
    held = np.sort(numbers[~np.isnan(numbers)])
    if not len(held):
        return ()
    notes, names = [], f"categories: [{name}] reads names"
    if zeros:
        notes.append(f"column {name}: {zeros} values begin with a zero and are read as numbers ({names})")
    if (held == np.floor(held)).all():
        day, month = held % 100, held // 100 % 100
        if DATE_NUMBERS[0] <= held[0] and held[-1] <= DATE_NUMBERS[1] and (day <= 31).all() and (month <= 12).all():
            notes.append(
                f"column {name}: values as {held[0]:.0f} look like dates and are read as numbers (write 2024-03-07)"
            )
        elif len(held) > FEW_LEVELS and (np.diff(held) > 0).all():
            notes.append(f"column {name}: every row has another whole number (drop: [{name}] if it is an id)")
    for code, others in ((held[0], held[held > held[0]]), (held[-1], held[held < held[-1]])):
        repeated = len(held) - len(others) > 1 and len(others)
        if repeated and re.fullmatch(r"-?9{2,}", f"{code:.0f}") and np.abs(others).max() < abs(code) / 2:
            notes.append(
                f"column {name}: {code:g} is read as a number (missing: ['{code:g}'] if it means that there is none)"
            )
    return tuple(notes)


def _is_missing(word: str, known: AbstractSet[str], options: Mapping[str, Any]) -> bool:
    return word.casefold() in known or word in map(str, options.get("missing") or ())


def _with_comma(word: str) -> float | None:
    """The number that a word means where the comma is the decimal sign, and a point can part thousands only."""
    whole, comma, rest = word.partition(",")
    if "." in rest or "," in rest or ("." in whole and not POINTS_PART.fullmatch(whole)):
        return None
    return number(whole.replace(".", "") + ("." + rest if comma else ""))


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
