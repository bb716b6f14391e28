"""The names of all files that a sweep makes, relative to the folder of the Snakefile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

RESULTS = "results"
PLAN_FILE = f"{RESULTS}/plan.json"
RUNS_FOLDER = f"{RESULTS}/runs"
BUNDLES_FOLDER = f"{RESULTS}/bundles"
ATTACKS_FOLDER = f"{RESULTS}/attacks"
CHECKPOINTS_FOLDER = f"{RESULTS}/checkpoints"
COMPILATION_CACHE = f"{RESULTS}/.jax_cache"
_PARTS = (
    "specs",
    "data",
    "privacy",
    "bundles",
    "runs",
    "checkpoints",
    "attacks",
    "tables",
    "figures",
    "logs",
    "benchmarks",
)
FOLDERS = (RESULTS, *(f"{RESULTS}/{part}" for part in _PARTS))


def paper_plan(paper: str) -> str:
    """The plan of a paper's runs."""
    return f"{RESULTS}/reproduce/{paper}/plan.json"


def data_file(dataset: str) -> str:
    """The prepared arrays of a data set."""
    return f"{RESULTS}/data/{dataset}.npz"


def bundle_files(bundles: Iterable[str], tables: Iterable[str]) -> list[str]:
    """Tables of bundles."""
    return [f"{BUNDLES_FOLDER}/{bundle}/{table}.parquet" for bundle, table in product(bundles, tables)]


def run_files(run: str) -> tuple[str, str]:
    """The result of a finished run, and its model."""
    return f"{RUNS_FOLDER}/{run}/result.json", f"{RUNS_FOLDER}/{run}/model.npz"


def figure_file(study: str, figure: str, ending: str) -> str:
    """One figure of one study."""
    return f"{RESULTS}/figures/{study}/{figure}.{ending}"


def table_files(tables: Iterable[str]) -> list[str]:
    """The tables of all bundles, in both formats."""
    return [f"{RESULTS}/tables/{table}.{ending}" for table, ending in product(tables, ("parquet", "csv"))]


def outputs(
    bundles: Iterable[str],
    datasets: Iterable[str],
    of_bundle: Sequence[str],
    tables: Iterable[str],
    figures: Iterable[str],
) -> Iterator[str]:
    """The files that the rules of a sweep make: of each bundle its tables `of_bundle`; `figures` are files already."""
    for bundle in bundles:
        yield from (f"{RESULTS}/specs/{bundle}.json", f"{RESULTS}/privacy/{bundle}.json")
        yield from bundle_files([bundle], of_bundle)
    for dataset in datasets:
        yield from (data_file(dataset), data_file(dataset).removesuffix("npz") + "json")
    yield from table_files(tables)
    yield from figures
