"""The documentation page of all tables, from their declarations."""

from __future__ import annotations

from collections.abc import Sequence

from fedpareto.columns.column import Column, Table
from fedpareto.columns.declared import NAMES, table

HEAD = """# Tables

Made by `python -m fedpareto.columns > docs/tables.md` from `src/fedpareto/columns/columns.toml`; a test holds the two equal.

Every table is written as Parquet and as CSV. Types: `text`; `count`, a whole number that may be missing; `integer`, one that never
is; `number`; `flag`, true or false; `pixels`, in Parquet alone. Roles: `id` names a row, or what it belongs to; `key` tells points
of a grid (or rows) apart; `per_seed` came of one run; `metric` is a score of one run, which its task names (here those of
classification); `derived` follows from the rest; `provenance` says how and where it was made. Runs that agree in every `key` are
one point.

A column that nobody declared, and one that is missing, stop the stage that writes or reads the table: one line names the table and
the column. Further metrics come with their task, further keys of a run with the study language; the files carry their declarations.
"""
PLACES = {
    "tables": "`results/tables/{name}`",
    "bundles": "`results/bundles/<bundle>/{name}`",
    "reproduce": "`results/reproduce/<paper>/table`",
}


def page() -> str:
    """The page, as Markdown."""
    return HEAD + "".join(_section(table(name)) for name in NAMES)


def _section(declared: Table) -> str:
    place = PLACES[declared.place].format(name=declared.name)
    source = ""
    if declared.stage and declared.place == "tables":
        joined = any(column.joined for column in declared.columns)
        source = f"; of a bundle `{declared.file}.parquet`" + (", without the columns marked +" if joined else "")
    rows = [_row(column) for column in declared.columns]
    return f"\n## {declared.name}\n\n{declared.help} In {place}{source}.\n\n{_markdown(rows)}"


def _row(column: Column) -> tuple[str, ...]:
    name = f"`{column.name}`" + (" +" if column.joined else "")
    return name, column.type, column.unit, column.role, column.help


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [("column", "type", "unit", "role", ""), ("---",) * 5, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
