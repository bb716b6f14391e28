"""The names of all files that a sweep makes, relative to the folder of the Snakefile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

RESULTS = "results"
PLAN_FILE = f"{RESULTS}/plan.json"
RUNS_FOLDER = f"{RESULTS}/runs"
BUNDLES_FOLDER = f"{RESULTS}/bundles"
ATTACKS_FOLDER = f"{RESULTS}/attacks"
CHECKPOINTS_FOLDER = f"{RESULTS}/checkpoints"
COMPILATION_CACHE = f"{RESULTS}/.jax_cache"
BUNDLE_TABLES = ("runs", "metrics", "partition", "clients", "curves", "attacks", "roc", "pictures")


def paper_plan(paper: str) -> str:
    """The plan of a paper's runs."""
    return f"{RESULTS}/reproduce/{paper}/plan.json"


def data_file(dataset: str) -> str:
    """The prepared arrays of a data set."""
    return f"{RESULTS}/data/{dataset}.npz"


def bundle_file(bundle: str, table: str) -> str:
    """One of `BUNDLE_TABLES` of a bundle."""
    return f"{BUNDLES_FOLDER}/{bundle}/{table}.parquet"


def run_files(run: str) -> tuple[str, str]:
    """The result of a finished run, and its model."""
    return f"{RUNS_FOLDER}/{run}/result.json", f"{RUNS_FOLDER}/{run}/model.npz"


def figure_file(study: str, figure: str, ending: str) -> str:
    """One figure of one study."""
    return f"{RESULTS}/figures/{study}/{figure}.{ending}"


def stage_files(bundles: Iterable[str], datasets: Iterable[str]) -> Iterator[str]:
    """What the stages before the tables make of bundles and data sets."""
    for bundle in bundles:
        yield from (f"{RESULTS}/specs/{bundle}.json", f"{RESULTS}/privacy/{bundle}.json")
        yield from (bundle_file(bundle, table) for table in BUNDLE_TABLES)
    for dataset in datasets:
        yield from (data_file(dataset), data_file(dataset).removesuffix("npz") + "json")
