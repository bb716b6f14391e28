"""The data stage: from a name to prepared arrays and a report of what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pooch

from fedpareto.data import DataError, arrays
from fedpareto.data.fetch import fetch
from fedpareto.data.own import summary
from fedpareto.data.own.checked import check
from fedpareto.data.own.user import load_user_file
from fedpareto.data.registry import REGISTRY


def prepare(dataset: str, arrays_file: Path, report_file: Path, options: Mapping[str, Any] | None = None) -> None:
    """Fetches, checks and prepares a data set.

    Args:
      dataset: A registered name, or the name of one of the user's own.
      arrays_file: Where the arrays go (NPZ).
      report_file: Where the report goes (JSON).
      options: The user's own data set; None for a registered one.

    Raises:
      DataError: The data cannot be had or used.
    """
    if options is None:
        if dataset not in REGISTRY:
            raise DataError(f"{dataset} is not a registered data set (one of {', '.join(REGISTRY)}; or give --options)")
        entry = REGISTRY[dataset]
        files = {file.name: fetch(entry.folder or dataset, file) for file in entry.files}
        data, report = entry.load(files)
        report |= {"licence": entry.licence}
    else:
        files = {Path(options["path"]).name: Path(options["path"])}
        data, report = load_user_file(options)
    check(dataset, data)
    if "examples" in report:
        summary.show(dataset, report)
    sources = {name: pooch.file_hash(str(path)) for name, path in files.items()}
    arrays.write(data, {"dataset": dataset, "sources_sha256": sources} | report, arrays_file, report_file)
