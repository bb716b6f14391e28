"""The rows that a stage of gpu.py has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a stage, the last of each name; a line that a killed process left half-written is none."""
    found = {}
    for line in file.read_text().splitlines() if file.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["what"]] = row
    return list(found.values())
