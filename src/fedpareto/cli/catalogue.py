"""`fedpareto reproduce --list`: published results that can be re-run here, and their cost."""

from __future__ import annotations

import json
import os

from fedpareto.config import papers
from fedpareto.sweep.sweep import plan_sweep

# The cores of the machine on which the minutes of config/papers were measured.
MEASURED_CORES = 2


def show(as_json: bool) -> None:
    """Prints a line for each paper of config/papers.

    Raises:
      ConfigError: One of them is not what a paper must be.
    """
    rows = []
    for name, paper in papers.read_folder().items():
        runs = len(plan_sweep(paper.config).runs) if paper.config else 0
        # Training takes all cores there are; that is how far the estimate goes.
        minutes = None if paper.minutes is None else paper.minutes * MEASURED_CORES / max(1, os.cpu_count() or 1)
        entry = {"name": name, "title": paper.title, "runs": runs, "numbers": len(paper.numbers) + len(paper.claims)}
        rows.append(entry | {"device": paper.device, "minutes": minutes, "needs_data": paper.needs_data})
    if as_json:
        print(json.dumps(rows))
        return
    print(f"{'name':<20} {'runs':>5} {'numbers':>8} {'here, about':>12}  title")
    for row in rows:
        cost = (
            "needs a GPU" if row["device"] == "gpu" else "?" if row["minutes"] is None else f"{row['minutes']:.3g} min"
        )
        needs = f" (needs data: {row['needs_data']})" if row["needs_data"] else ""
        print(f"{row['name']:<20} {row['runs']:>5} {row['numbers']:>8} {cost:>12}  {row['title']}{needs}")
