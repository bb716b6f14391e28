"""The data stage: from a name to prepared arrays and a report of their preparation."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pooch

from fedpareto.components import registry
from fedpareto.data import DataError, arrays, facts
from fedpareto.data.arrays import PreparedData
from fedpareto.data.checked import check
from fedpareto.data.fetch import fetch, remote_files
from fedpareto.data.own import summary
from fedpareto.data.own.user import load_user_file


def prepare(dataset: str, arrays_file: Path, report_file: Path, options: Mapping[str, Any] | None = None) -> None:
    """Fetches, checks and prepares a data set.

    Args:
      dataset: A registered name, or the name of one of the user's own.
      arrays_file: Where the arrays go (NPZ).
      report_file: Where the report goes (JSON).
      options: The user's own data set: `loader`, or `path` and what describes that file; None for a registered one.

    Raises:
      DataError: The data cannot be had or used.
    """
    if options is None and dataset not in facts.registered():
        known = ", ".join(facts.registered())
        raise DataError(f"{dataset} is not a registered data set (one of {known}; or give --options)")
    if options is None or "loader" in options:
        data, report, files = _of_class(dataset, {"name": dataset} if options is None else options["loader"])
    else:
        files = {Path(options["path"]).name: Path(options["path"])}
        data, report = load_user_file(options)
    check(dataset, data)
    if options is None or "loader" in options:
        _check_facts(dataset, dataset if options is None else options["loader"]["name"], data)
    if "examples" in report:
        summary.show(dataset, report)
    sources = {name: pooch.file_hash(str(path)) for name, path in files.items()}
    arrays.write(data, {"dataset": dataset, "sources_sha256": sources} | report, arrays_file, report_file)


def _of_class(dataset: str, spec: Mapping[str, Any]) -> tuple[PreparedData, dict[str, Any], dict[str, Path]]:
    """The data that a spec's class loads, its report, and the files that it read.

    Raises:
      DataError: Its files cannot be had, it fails, or it loads something else than it says.
    """
    component = registry.find("dataset", spec["name"])
    folder = component.constants.get("FOLDER", dataset)
    files = {file.name: fetch(folder, file) for file in remote_files(component.constants)}
    loader = registry.build("dataset", spec)
    try:
        data, report = loader.load(files)
    except DataError:
        raise
    except Exception as error:
        if not component.own:
            raise
        line = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(line.filename).name}, line {line.lineno}"
        words = " ".join(str(error).split())
        raise DataError(
            f"{dataset}: load of {spec['name']} fails: {type(error).__name__}: {words} ({place})"
        ) from error
    if not isinstance(data, PreparedData) or not isinstance(report, Mapping):
        raise DataError(f"{dataset}: load of {spec['name']} must return a PreparedData and a mapping, its report")
    return data, {**report, "licence": component.constants.get("LICENCE", "")}, files


def _check_facts(dataset: str, name: str, data: PreparedData) -> None:
    """Refuses data that contradict the constants of their class: a study was planned by them."""
    declared, shape = facts.of_class(name), data.x_train.shape[1:]
    clients = None if data.client_names is None else len(data.client_names)
    there = {"TRAIN": len(data.y_train), "SHAPE": shape if len(shape) == 3 else None, "CLIENTS": clients}
    for constant, value in zip(there, (declared.train, declared.shape, declared.clients), strict=True):
        if value is not None and value != there[constant]:
            raise DataError(
                f"{dataset}: {constant} of {name} is {value}, and load returns {there[constant]} (correct it)"
            )
