"""A user's table as a file holds it: CSV and its kin as text, Parquet with its own types, both within a stated size."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from fedpareto.data import UserFileError, unfit
from fedpareto.data.own.words import clean, is_number, listed, shown

LARGEST_GB = 1.0
TABLES = (".csv", ".tsv", ".parquet")
SEPARATORS = {";": "';'", "\t": "tab", "|": "'|'"}  # those that are commonly meant, as one writes them in YAML
LONGEST_LINE = 2**23
MOST_COLUMNS = 20_000
# What files begin with that are no text, whatever they are called.
FOREIGN = {
    b"PK\x03\x04": "it is a spreadsheet or a ZIP archive: save the table as CSV",
    b"\x1f\x8b": "it is packed by gzip: call it .csv.gz",
    b"PAR1": "it is a Parquet file: call it .parquet",
}


def format_of(path: Path) -> str:
    """The ending that names the format of a file, in lower case and without `.gz`: `.csv`, `.tsv`, `.parquet` or `.npz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])


def read_table(path: Path, options: Mapping[str, Any]) -> tuple[pa.Table, int]:
    """All rows of a table, and the number of its first row as an editor counts rows.

    Args:
      path: A CSV (`.csv`, `.csv.gz`; all columns are text), its tab-separated kin (`.tsv`), or a Parquet file.
      options: `separator` and `largest_gb` of the data set.

    Returns:
      The table, its column names cleaned and different from each other; 2 below a line of names, 1 in Parquet.

    Raises:
      UserFileError: It cannot be read, or its rows do not fit its header.
    """
    limit = largest(options)
    read = _read_parquet if format_of(path) == ".parquet" else _read_delimited
    try:
        table, first_row = read(path, options, limit)
    except (pa.ArrowException, OSError, EOFError, ValueError, csv.Error) as error:
        if isinstance(error, UserFileError):
            raise
        kind = "a Parquet file" if read is _read_parquet else "a CSV file in UTF-8"
        reason = str(error).splitlines()[0] if str(error) else "it is cut"
        if "straddl" in reason:
            reason = f"a line is longer than {LONGEST_LINE:,} bytes, or a quote is never closed"
        elif isinstance(error, UnicodeDecodeError):
            reason = f"it holds the byte {error.object[error.start]:#x}: save it as 'CSV UTF-8'"
        else:
            reason = shown(reason)
        raise unfit(path, f"be {kind}", reason) from error
    if not table.num_columns or not table.num_rows:
        raise unfit(path, "hold a line of column names and rows below it", "it is empty")
    if table.num_columns > MOST_COLUMNS:
        raise unfit(
            path,
            f"have at most {MOST_COLUMNS:,} columns",
            f"it has {table.num_columns:,}: make an NPZ of numbers of it",
        )
    return table.rename_columns(_names(path, table.column_names)), first_row


def largest(options: Mapping[str, Any]) -> float:
    """Bytes that a file may unpack to."""
    return float(options.get("largest_gb") or LARGEST_GB) * 1e9


def _read_parquet(path: Path, options: Mapping[str, Any], limit: float) -> tuple[pa.Table, int]:
    del options
    file = parquet.ParquetFile(path)
    # A column of one value takes no room in the file and all of it once it is read.
    _within(path, 8 * file.metadata.num_rows * max(1, file.metadata.num_columns), limit)
    table = _collected(path, file.schema_arrow, file.iter_batches(), limit)
    about = (table.schema.pandas_metadata or {}).get("columns", ())
    categories = {column.get("field_name") for column in about if column.get("pandas_type") == "categorical"}
    for i, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.large_string()))
        elif field.name in categories and not pa.types.is_dictionary(field.type):  # of numbers: Parquet forgets that
            table = table.set_column(i, field.name, table.column(i).dictionary_encode())
    return table, 1


def _read_delimited(path: Path, options: Mapping[str, Any], limit: float) -> tuple[pa.Table, int]:
    separator = options.get("separator") or ("\t" if format_of(path) == ".tsv" else ",")
    with _opened(path) as file:
        names, skipped, separator = _header(path, file, separator)
    bad_rows: list[Any] = []

    def misfit(row: Any) -> str:
        if row.text.strip():  # a line of blanks is no row
            bad_rows.append(row)
        return "skip"

    columns = [str(i) for i in range(len(names))]  # names may stand twice, which is for later to say
    with _opened(path) as file:
        reader = arrow_csv.open_csv(
            io.BufferedReader(_Utf8(file), LONGEST_LINE),
            arrow_csv.ReadOptions(
                use_threads=False,  # rows keep their numbers
                block_size=LONGEST_LINE,
                skip_rows=skipped,
                column_names=columns,
                skip_rows_after_names=1,
            ),
            arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=misfit),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False, null_values=[]
            ),
        )
        table = _collected(path, reader.schema, reader, limit, bad_rows)
    if bad_rows:
        row = bad_rows[0]
        number, fields = row.number + skipped, f"{row.actual_columns} field" + "s" * (row.actual_columns != 1)
        hint = "an opened quote may miss its end" if '"' in row.text and "\n" in row.text else _about(row, names)
        raise unfit(
            path,
            "have as many fields in each row as its header",
            f"row {number} has {fields} and the header {len(names)}: {hint}",
        )
    _check_quotes(path, table, separator, 2 + skipped)
    return table.rename_columns(names), 2 + skipped


def _check_quotes(path: Path, table: pa.Table, separator: str, first_row: int) -> None:
    """Refuses fields that hold whole rows: a stray quote opened them, and the next one, or the end of the file, closed them."""
    last = table.num_columns - 1
    for place in range(table.num_columns) if last else ():
        for at in np.flatnonzero(pc.match_substring(table.column(place), "\n")):
            fields = [line.count(separator) for line in table.column(place)[int(at)].as_py().rstrip("\r\n").split("\n")]
            if (
                len(fields) > 1
                and fields[0] == last - place
                and set(fields[1:-1]) <= {last}
                and fields[-1] in (place, last)
            ):
                hint = f"in row {first_row + at} a field goes over {len(fields)} lines that look like rows"
                raise unfit(path, "close every quote", hint)


def _about(row: Any, names: Sequence[str]) -> str:
    if row.actual_columns == len(names) + 1:
        return "a comma too many, or row names without a name: write.table and to_csv can leave these out"
    return "look for a missing or a stray separator"


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


class _Utf8(io.RawIOBase):
    """The bytes of a file, as far as they are UTF-8: rows that pyarrow skips are none of whose bytes it looks at."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._file.read(len(buffer))
        self._decoder.decode(read, final=not read)
        buffer[: len(read)] = read
        return len(read)


def _header(path: Path, file: IO[bytes], separator: str) -> tuple[list[str], int, str]:
    """Column names as they stand there, lines above them, and the separator: Excel's `sep=;` may name another."""
    content = file.read(LONGEST_LINE)
    for mark, hint in FOREIGN.items():
        if content.startswith(mark):
            raise unfit(path, "be a CSV file in UTF-8", hint)
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="", errors="surrogateescape")
    lines = islice(text, 1000)
    skipped = 0
    first = next(lines, "")
    while first and not first.strip():
        first, skipped = next(lines, ""), skipped + 1
    if first.lower().startswith("sep=") and len(first.strip("\r\n")) == 5:
        separator, first, skipped = first[4], next(lines, ""), skipped + 1
    rows = csv.reader([first, *lines], delimiter=separator)
    names = next(rows, [])
    single = len(content) < LONGEST_LINE and len(content.split()) and len(content.strip().splitlines()) == 1
    if not names or single:
        raise unfit(path, "hold a line of column names and rows below it", "it is empty")
    if any("\udc80" <= c <= "\udcff" for c in first):
        raise unfit(path, "be a CSV file in UTF-8", "its first line is not: save it as UTF-8")
    if "\0" in first:
        raise unfit(path, "be a CSV file in UTF-8", "its first line holds NUL bytes, as UTF-16 does")
    if len(names) == 1:
        for other, written in SEPARATORS.items():
            if other in names[0]:
                raise unfit(
                    path,
                    f"be separated by {separator!r}",
                    f"it seems to be by {shown(other)}: write separator: {written}",
                )
    return names, skipped, separator


def _collected(
    path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], limit: float, bad_rows: Sequence[Any] = ()
) -> pa.Table:
    """The batches as one table, given up as soon as they take more than `limit` bytes."""
    batches_read, size = [], 0
    for batch in batches:
        size += batch.nbytes
        _within(path, size, limit)
        if bad_rows:
            break  # one is enough to refuse the file
        batches_read.append(batch)
    return pa.Table.from_batches(batches_read, schema)


def _within(path: Path, size: float, limit: float) -> None:
    if size > limit:
        raise unfit(path, f"unpack to at most {limit / 1e9:g} GB", "write a larger largest_gb if that is meant")


def _names(path: Path, raw: Sequence[str]) -> list[str]:
    """Cleaned column names; a column without a name is called by its number until it is known whether it holds anything."""
    names = [clean(name) or f"(column {i + 1})" for i, name in enumerate(raw)]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        data = ": the first line seems to hold data" if all(map(is_number, names)) else ""
        raise unfit(path, "name every column differently", f"twice: {listed(twice)}{data}")
    return names
