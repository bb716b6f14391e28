"""Frames and Parquet files of declared tables: the types of their columns, and declarations that a file carries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedpareto.columns.column import Column, ColumnError, Metric, Table
from fedpareto.columns.declared import DEFAULT, Additions

# Type of a column -> that of a series, and in Parquet.
DTYPES = {
    "text": "object",
    "count": "Int64",
    "integer": "int64",
    "number": "float64",
    "flag": "bool",
    "pixels": "object",
}
ARROW = {
    "text": pa.string(),
    "count": pa.int64(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "pixels": pa.list_(pa.float32()),
}
_ADDITIONS = b"fedpareto.columns"


def empty(table: Table) -> pd.DataFrame:
    """The table without rows; its columns have their types."""
    return typed(pd.DataFrame(columns=list(table.names)), table)


def of_rows(rows: Sequence[Mapping[str, Any]], table: Table) -> pd.DataFrame:
    """The rows as a frame, in the order of the declared columns. A cell that a row does not name is missing.

    Raises:
      ColumnError: A row names a column that nobody declared.
    """
    named = {name for row in rows for name in row}
    table.check([*table.names, *sorted(named - set(table.names))], f"table {table.name}")
    return pd.DataFrame(rows, columns=list(table.names))


def typed(frame: pd.DataFrame, table: Table, where: str = "", remedy: str = "") -> pd.DataFrame:
    """The columns of a table in their order, each with its type, whichever bundle they came from.

    Args:
      frame: The rows.
      table: The declaration.
      where: File that an error names; the table's name where empty.
      remedy: The way out that an error names.

    Raises:
      ColumnError: A column is missing, nobody declared it, or its values have another type.
    """
    table.check(frame.columns, where or f"table {table.name}", remedy)
    found = {}
    for column in table.columns:
        values, dtype = frame[column.name], DTYPES[column.type]
        try:
            if dtype == "object":
                found[column.name] = values.astype(object).where(values.notna(), None)
            elif dtype in ("bool", "int64"):
                found[column.name] = values.astype(dtype)
            else:
                found[column.name] = pd.to_numeric(values).astype(dtype)
        except (TypeError, ValueError) as error:
            line = (str(error).splitlines() or [""])[0]
            message = f"{where or f'table {table.name}'}: column {column.name} must hold values of type {column.type}"
            raise ColumnError(f"{message} ({line})") from None
    return pd.DataFrame(found, columns=list(table.names), index=frame.index)


def to_parquet(frame: pd.DataFrame, table: Table, path: Path, additions: Additions = DEFAULT) -> None:
    """Writes a table. A column without any value (no baseline, say) still has its type.

    Args:
      frame: The rows, with the declared columns.
      table: The declaration.
      path: Where to write.
      additions: With which the table was declared; the file carries them.

    Raises:
      ColumnError: A column is missing, or nobody declared it.
    """
    table.check(frame.columns, f"table {table.name}")
    arrow = pa.Table.from_pandas(frame[list(table.names)], preserve_index=False)
    fields = [
        field.with_type(ARROW[table[field.name].type]) if pa.types.is_null(field.type) else field
        for field in arrow.schema
    ]
    metadata = dict(arrow.schema.metadata)
    if additions != DEFAULT:
        metadata[_ADDITIONS] = json.dumps(asdict(additions)).encode()
    pq.write_table(arrow.cast(pa.schema(fields, metadata=metadata)), path)


def additions_of(path: Path) -> Additions:
    """The columns of a file of `to_parquet` that `columns.toml` does not declare."""
    text = (pq.read_schema(path).metadata or {}).get(_ADDITIONS)
    if text is None:
        return DEFAULT
    read = json.loads(text)
    metrics = tuple(
        Metric(**entry | {name: tuple(entry[name]) for name in ("over_seeds", "limits")}) for entry in read["metrics"]
    )
    return Additions(metrics, tuple(Column(**entry) for entry in read["keys"]))
