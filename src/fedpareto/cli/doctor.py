"""`fedpareto doctor`: versions, devices, data folder, and their problems."""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from fedpareto import __version__
from fedpareto.system import jax_settings
from fedpareto.system.environment import LOCK, normalise, versions

LIBRARIES = (
    *(
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "dp-accounting",
        "numpy",
        "pandas",
        "pyarrow",
        "scikit-learn",
    ),
    *("seaborn", "snakemake", "pooch"),
)
LEAST_FREE_GB = 2.0


@dataclass
class Diagnosis:
    """The state of an installation.

    Attributes:
      versions: Library -> version, `missing` where there is none.
      devices: Devices that JAX trains on.
      cores: Cores that this process may use.
      data_folder: FEDPARETO_DATA, or None.
      cache_folder: Where fetched files are kept.
      data_sets: Data set -> where its files are: `folder or cache`, `built in` or `to be fetched`.
      problems: Problems, one line each with the way out.
    """

    versions: dict[str, str] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    cores: int = 0
    data_folder: str | None = None
    cache_folder: str = ""
    data_sets: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def run(as_json: bool) -> int:
    """Prints the diagnosis; returns 1 if something is wrong, else 0."""
    diagnosis = diagnose()
    if as_json:
        print(json.dumps(asdict(diagnosis)))
    else:
        _print(diagnosis)
    return 1 if diagnosis.problems else 0


def diagnose() -> Diagnosis:
    """Looks at libraries, devices, data and the working folder."""
    diagnosis = Diagnosis()
    _libraries(diagnosis)
    _devices(diagnosis)
    _data(diagnosis)
    _folder(diagnosis)
    return diagnosis


def _libraries(diagnosis: Diagnosis) -> None:
    diagnosis.versions = {"python": platform.python_version(), "fedpareto": __version__}
    locked = versions(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    for name in LIBRARIES:
        try:
            diagnosis.versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            diagnosis.versions[name] = "missing"
            diagnosis.problems.append(f"{name} is not installed (run make env)")
            continue
        wanted = locked.get(normalise(name))
        if wanted and diagnosis.versions[name] not in wanted:
            diagnosis.problems.append(
                f"{name} is {diagnosis.versions[name]} and the lock says {' or '.join(sorted(wanted))} (run make env)"
            )


def _devices(diagnosis: Diagnosis) -> None:
    if diagnosis.versions.get("jax") == "missing":
        return
    diagnosis.cores = jax_settings.available_cores()
    try:
        devices = jax_settings.start()
    except jax_settings.SettingsError as error:
        diagnosis.problems.append(str(error))
        return
    for device in devices:
        limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
        diagnosis.devices.append(f"{device.device_kind}" + (f", {limit / 2**30:.0f} GiB" if limit else ""))
    if shutil.which("nvidia-smi") and devices[0].platform == "cpu":
        diagnosis.problems.append("there is an NVIDIA GPU and JAX does not see it (pip install 'fedpareto[gpu]')")


def _data(diagnosis: Diagnosis) -> None:
    from fedpareto.components import registry
    from fedpareto.data.fetch import (
        CACHE_VARIABLE,
        FOLDER_VARIABLE,
        cache_folder,
        data_folder,
        is_complete,
        remote_files,
    )

    folder = data_folder()
    diagnosis.data_folder = None if folder is None else str(folder)
    diagnosis.cache_folder = str(cache_folder())
    if folder is not None and not folder.is_dir():
        diagnosis.problems.append(f"{FOLDER_VARIABLE} = {folder} is not a folder (unset it, or correct it)")
    if not _can_be_written(cache_folder()):
        diagnosis.problems.append(f"{cache_folder()} cannot be written (name a folder of yours in {CACHE_VARIABLE})")
    for name in registry.names("dataset"):
        constants = registry.find("dataset", name).constants
        files = remote_files(constants)
        at_hand = "folder or cache" if is_complete(constants.get("FOLDER", name), files) else "to be fetched"
        diagnosis.data_sets[name] = at_hand if files else "built in"


def _folder(diagnosis: Diagnosis) -> None:
    results = Path("results")
    if not _can_be_written(results.absolute()):
        diagnosis.problems.append(f"{results.absolute()} cannot be written (run in a folder of your own)")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not _can_be_written(caches):
        diagnosis.problems.append(
            f"{caches} cannot be written, where Snakemake has its cache (name a folder in XDG_CACHE_HOME)"
        )
    free = shutil.disk_usage(Path()).free / 1e9
    if free < LEAST_FREE_GB:
        diagnosis.problems.append(f"{free:.1f} GB of disk are free (a sweep may need {LEAST_FREE_GB:g})")


def _can_be_written(folder: Path) -> bool:
    """Whether a folder can be written, or made where it is not yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return there.is_dir() and os.access(there, os.W_OK)


def _print(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None)
    rows: dict[str, Any] = dict(diagnosis.versions)
    rows |= {"devices": ", ".join(diagnosis.devices), "cores": diagnosis.cores}
    rows |= {"data folder": diagnosis.data_folder or "not set", "cache folder": diagnosis.cache_folder}
    rows |= {f"data: {name}": where for name, where in diagnosis.data_sets.items()}
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    console = Console(soft_wrap=True)
    console.print(table)
    for problem in diagnosis.problems:
        console.print(f"[bold red]wrong:[/] {escape(problem)}", highlight=False)
    if not diagnosis.problems:
        console.print("nothing is wrong")
