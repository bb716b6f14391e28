"""The comparison of one paper as files: a table in CSV, Parquet and Markdown, and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pandas as pd

from fedpareto.analysis.figures import reproduction as reproduction_figure
from fedpareto.analysis.figures import style
from fedpareto.analysis.figures.written import cell
from fedpareto.analysis.tables.read import read_of_bundle
from fedpareto.analysis.tables.reproduction import compare, curve_points, row_names
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.columns.declared import COMPARED, Additions
from fedpareto.columns.declared import table as declared_table
from fedpareto.columns.frames import of_rows
from fedpareto.system.files import whole


def compare_numbers(
    numbers: Sequence[Any],
    curves: Sequence[Any],
    *,
    studies: Mapping[str, Sequence[str]],
    bundles: Sequence[Path],
    title: str,
    folder: Path,
) -> pd.DataFrame:
    """Writes the comparison of a paper's numbers into `folder`, and returns the table.

    Args:
      numbers: `fedpareto.config.papers.Number`s.
      curves: `fedpareto.config.papers.Curve`s.
      studies: Study -> the ids of its runs.
      bundles: Folders of the bundles that hold them; those that are not there have not been run.
      title: Headline of the figure.
      folder: Where to write.
    """
    there = [bundle for bundle in bundles if (bundle / "runs.parquet").is_file()]
    if not there:
        raise TableError(f"no run of {title} is there: snakemake reproduce_<name> makes them")
    read = {name: [read_of_bundle(bundle, name) for bundle in there] for name in ("runs", "rounds")}
    runs, metrics = (pd.concat([frame for frame, _ in read[name]], ignore_index=True) for name in ("runs", "rounds"))
    additions = reduce(Additions.union, (added for _, added in read["runs"]))
    table = compare(numbers, studies, runs, metrics, additions)
    style.apply()
    shapes = [
        (curve.what, points) for curve in curves if len(points := curve_points(curve, studies[curve.study], runs))
    ]
    style.save(reproduction_figure.of_numbers(table, title, shapes), folder / "figure")
    _write(table, numbers_as_markdown(table), folder)
    return table


def compare_claims(
    claims: Sequence[Any], recomputed: Sequence[Mapping[str, float]], title: str, folder: Path
) -> pd.DataFrame:
    """Writes published epsilons and those computed anew, and returns the table."""
    declared = declared_table("claims")
    rows = []
    for claim, computed in zip(claims, recomputed, strict=True):
        rows.append({name: getattr(claim, name) for name in declared.names if name not in computed} | dict(computed))
    table = of_rows(rows, declared)
    style.apply()
    style.save(reproduction_figure.of_claims(table, title), folder / "figure")
    _write(table, claims_as_markdown(table), folder)
    return table


def numbers_as_markdown(table: pd.DataFrame) -> str:
    """The table for a page: those that differ first."""
    head = ("what", "published", "ours (95 % interval)", "tolerance", "verdict", "epsilon published")
    rows = []
    order = {"differs": 0, "not run": 1, "reproduced": 2, "no number in print": 3}
    named = table.assign(what=row_names(table))
    for row in named.sort_values("verdict", key=lambda v: v.map(order), kind="stable").itertuples():
        rounds = row.metric == "rounds_to_accuracy"
        decimals = 2 if row.tolerance < 0.001 else 1
        show = _rounds if rounds else partial(_share, " points" if isinstance(row.minus, str) else " %", decimals)
        interval = "" if pd.isna(row.low) else f" ({show(row.low)} to {show(row.high)})"
        picked = f"; {row.picked}" if isinstance(row.picked, str) else ""
        doubt = "" if row.verified else "; number not verified in a public source"
        epsilons = [getattr(row, accountant.column.name) for accountant in COMPARED]
        rows.append(
            (
                f"{row.what}{picked}{doubt}",
                "-" if pd.isna(row.published) else show(row.published),
                "-" if pd.isna(row.ours) else f"{show(row.ours)}{interval}",
                _tolerance(row.tolerance, "%" if rounds else "points", row.at_least),
                row.verdict,
                "-" if pd.isna(row.published_epsilon) else f"{row.published_epsilon:g} ({row.published_accountant})",
                " / ".join(map(_epsilon, epsilons)) if pd.notna(row.delta) else "-",
                str(row.seeds),
                f"{row.seconds:.0f}",
            )
        )
    labels = [accountant.label for accountant in COMPARED]
    return _markdown((*head, f"ours: {' / '.join(labels)}", "seeds", "seconds"), rows)


def claims_as_markdown(table: pd.DataFrame) -> str:
    """The table for a page: the wrong ones first."""
    rows = []
    order = {"wrong": 0, "what-if": 1, "loose": 2, "reproduced": 3}
    for row in table.sort_values("verdict", key=lambda v: v.map(order), kind="stable").itertuples():
        rows.append(
            (
                f"{row.name} ({row.source})",
                f"{row.rate:.4g}, {row.noise:g}, {row.steps:,}, {row.delta:g}",
                f"{row.published:g} ({row.accountant})",
                *(_epsilon(getattr(row, accountant.column.name)) for accountant in COMPARED),
                row.verdict + (f": {row.why}" if row.why else ""),
            )
        )
    labels = [accountant.label for accountant in COMPARED]
    return _markdown(("run", "rate, noise, steps, delta", "published (by)", *labels, "verdict"), rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines)


def _share(unit: str, decimals: int, value: float) -> str:
    return f"{100 * value:.{decimals}f}{unit}"


def _tolerance(value: float, unit: str, at_least: bool) -> str:
    return "-" if pd.isna(value) else f"{100 * value:g} {unit}{' or better' if at_least else ''}"


def _rounds(value: float) -> str:
    return f"{value:,.0f}"


def _epsilon(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3g}" if value < 1 else f"{value:.2f}"


def _write(table: pd.DataFrame, text: str, folder: Path) -> None:
    """All three forms, each in one step; the CSV last, because the workflow waits for it."""
    for name, write in (
        ("table.parquet", lambda path: table.to_parquet(path, index=False)),
        ("table.md", lambda path: path.write_text(text, encoding="utf-8")),
        ("table.csv", lambda path: table.to_csv(path, index=False)),
    ):
        with whole(folder / name) as path:
            write(path)
