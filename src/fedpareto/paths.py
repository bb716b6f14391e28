"""The names of all files that a sweep makes, relative to the folder of the Snakefile."""

from __future__ import annotations

RESULTS = "results"
PLAN_FILE = f"{RESULTS}/plan.json"
RUNS_FOLDER = f"{RESULTS}/runs"
ATTACKS_FOLDER = f"{RESULTS}/attacks"
CHECKPOINTS_FOLDER = f"{RESULTS}/checkpoints"
COMPILATION_CACHE = f"{RESULTS}/.jax_cache"


def paper_plan(paper: str) -> str:
    """The plan of a paper's runs."""
    return f"{RESULTS}/reproduce/{paper}/plan.json"


def data_file(dataset: str) -> str:
    """The prepared arrays of a data set."""
    return f"{RESULTS}/data/{dataset}.npz"


def figure_file(study: str, figure: str, ending: str) -> str:
    """One figure of one study."""
    return f"{RESULTS}/figures/{study}/{figure}.{ending}"
