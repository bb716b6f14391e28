"""A summary of a user's data from which its owner sees in ten seconds whether it was read as they meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedpareto.data.own.columns import Column
from fedpareto.data.own.roles import Owners, SelectedRows
from fedpareto.data.own.spelling import Spelled
from fedpareto.data.own.words import listed

COLUMNS = ("column", "role", "kind", "values", "missing", "example")


def of_table(
    names: Sequence[str],
    *,
    apart: Mapping[str, str],
    constant: AbstractSet[str],
    features: Sequence[Column],
    choice: SelectedRows,
    number: int,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of a table.

    Args:
      names: All columns in the order of the file.
      apart: Column -> role, for columns that are no features.
      constant: Features that do not differ between training rows.
      features: The feature columns.
      choice: The rows that the roles select.
      number: Features that the columns make.
      more: Further notes.

    Returns:
      JSON: `columns` (a mapping of `COLUMNS` for each), `features`, `examples`, and what `of_examples` says.
    """
    known = {column.name: column for column in features}
    rows = []
    for name in names:
        role = apart.get(name, "constant" if name in constant else "feature")
        row = dict.fromkeys(COLUMNS, "") | {"column": name, "role": role}
        if name in known:
            row |= _feature(known[name])
        elif role in choice.texts:
            row |= {"kind": "category"} | _words(choice.texts[role])
        rows.append(row)
    notes = [*choice.notes, *more, *(note for column in features for note in column.notes)]
    counts = (choice.labels[choice.train], choice.class_names, choice.owners, choice.train)
    examples = {"train": len(choice.train), "test": len(choice.test), "left out": choice.left_out}
    return {"columns": rows, "features": number, "examples": examples, "split": choice.how} | of_examples(
        *counts, notes
    )


def of_examples(
    labels: np.ndarray, class_names: np.ndarray, owners: Owners | None, train: np.ndarray, notes: Sequence[str]
) -> dict[str, Any]:
    """Training rows by class (`class_rows`), the smallest and the largest client (`client_rows`), and `notes`.

    Args:
      labels: int [train], class numbers.
      class_names: unicode [classes].
      owners: Whose each example is, or None.
      train: int [train], positions of the training examples among those that have owners.
      notes: Lines for whoever owns the data.
    """
    held = np.bincount(labels, minlength=len(class_names))
    report: dict[str, Any] = {"class_rows": {str(name): int(n) for name, n in zip(class_names, held, strict=True)}}
    if owners is not None:
        sizes = np.bincount(owners.codes[train], minlength=owners.clients)[: owners.clients]
        ends = {"smallest": int(np.argmin(sizes)), "largest": int(np.argmax(sizes))}
        report["client_rows"] = {"number": owners.clients} | {
            key: {"name": str(owners.names[i]), "rows": int(sizes[i])} for key, i in ends.items()
        }
    return report | {"notes": list(notes)}


def show(name: str, report: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints a report: a table of columns where there are any, then counts, then notes."""
    console = console or Console(soft_wrap=True, highlight=False)
    if report.get("columns"):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in COLUMNS:
            table.add_column(title, overflow="fold")
        for row in report["columns"]:
            table.add_row(*(escape(str(row[title])) for title in COLUMNS))
        console.print(table)
    rows = report["examples"]
    left = f", {rows['left out']:,} left out" if rows.get("left out") else ""
    classes = listed([f"{label} {n:,}" for label, n in report["class_rows"].items()], 10)
    features = f"{report['features']:,} feature" + "s" * (report["features"] != 1)
    console.print(escape(f"{name}: {features}, {rows['train']:,} training and {rows['test']:,} test rows{left}"))
    console.print(escape(f"{name}: {len(report['class_rows'])} classes (training rows): {classes}"))
    if "client_rows" in report:
        sizes = report["client_rows"]
        small, large = (f"{sizes[end]['name']} with {sizes[end]['rows']:,} rows" for end in ("smallest", "largest"))
        console.print(escape(f"{name}: {sizes['number']:,} clients, the smallest {small}, the largest {large}"))
    for note in report["notes"]:
        console.print(escape(f"note: {note}"))


def _feature(column: Column) -> dict[str, str]:
    words = {"kind": column.kind, "missing": _missing(column.missing)}
    if column.words is not None:
        return _words(column.words) | words
    assert column.numbers is not None
    held = column.numbers[~np.isnan(column.numbers)]
    if not len(held):
        return words
    told = _date if column.kind == "date" else "{:.10g}".format
    return words | {"values": f"{told(held.min())} to {told(held.max())}", "example": told(held[0])}


def _words(texts: Spelled) -> dict[str, str]:
    order = np.argsort(-texts.counts, kind="stable")
    first = listed([texts.words[i] for i in order], 4)
    example = texts.words[texts.codes[texts.codes >= 0][0]] if len(texts.words) else ""
    return {"values": f"{len(texts.words):,}: {first}", "missing": "", "example": listed([example])}


def _missing(missing: Mapping[str, int]) -> str:
    """How many values are missing, and by which words."""
    total = sum(missing.values())
    words = ", ".join(f"{word} {n:,}" for word, n in missing.items() if word)
    return f"{total:,}" + (f" ({words})" if words else "") if total else ""


def _date(days: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return moment.strftime("%Y-%m-%d" if days == int(days) else "%Y-%m-%d %H:%M")
