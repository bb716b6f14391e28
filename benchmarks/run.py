"""Runs this program and its peers in turn on this machine, and writes results/<machine>.{json,md,svg}.

    python benchmarks/run.py --peers PYTHON [--repeats N] [--only W1 ...]

One process at a time, every program once, then all of them again: a machine whose speed drifts is equally slow for
all. A ratio is taken within one such turn; its median and range over the turns are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Workload -> programs: (whose environment, script, arguments). Ours stands first.
PROGRAMS: dict[str, list[tuple[str, str, list[str]]]] = {
    "W1": [
        ("ours", "ours.py", []),
        ("peers", "peer_torch.py", ["loop"]),
        ("peers", "peer_torch.py", ["vmap"]),
        ("peers", "peer_pfl.py", []),
        ("peers", "peer_flower.py", []),
    ],
    "W2": [
        ("ours", "ours.py", []),
        ("peers", "peer_torch.py", ["loop"]),
        ("peers", "peer_torch.py", ["vmap"]),
        ("peers", "peer_pfl.py", []),
        ("peers", "peer_flower.py", []),
    ],
    "W3": [
        ("ours", "ours.py", []),
        ("peers", "peer_opacus.py", ["hooks"]),
        ("peers", "peer_opacus.py", ["ghost"]),
        ("peers", "peer_opacus.py", ["functorch"]),
    ],
    "W3p": [("ours", "ours.py", []), ("peers", "peer_torch.py", ["loop"])],
    "W4": [("ours", "ours.py", []), ("peers", "peer_torch.py", ["loop"]), ("peers", "peer_pfl.py", [])],
    "W5": [("ours", "ours.py", [])],
}
TURNS = {"W4": 1, "W5": 1}  # the long ones


def measure(python: str, script: str, workload: str, arguments: list[str]) -> list[dict[str, Any]]:
    """The JSON lines that a script prints."""
    command = [python, str(HERE / script), workload, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"program"')]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return lines


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), ":unknown")
    cores = len(os.sched_getaffinity(0))
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return {
        "cpu": model.split(":")[1].strip(),
        "cores": cores,
        "memory_gib": memory,
        "python": platform.python_version(),
    }


def summary(turns: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a program: median, range, and how many times slower than ours, turn by turn."""
    rows = []
    for lines in zip(*turns, strict=True):
        values = [line["value"] for line in lines]
        ratios = [line["value"] / turn[0]["value"] for line, turn in zip(lines, turns, strict=True)]
        row = {key: value for key, value in lines[0].items() if key not in ("value", "repeats")}
        row |= {"value": statistics.median(values), "low": min(values), "high": max(values), "turns": len(values)}
        row |= {"ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios)}
        rows.append(row)
    return rows


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    about = results["machine"]
    lines = [f"{about['cores']} x {about['cpu']}, {about['memory_gib']} GiB, Python {about['python']}", ""]
    lines += ["| work | program | median | range | times ours |", "|---|---|---|---|---|"]
    for row in results["rows"]:
        name = row["workload"] + (f", {row['population']:,} clients" if "population" in row else "")
        value = f"{row['value']:.3g} {row['unit']}"
        compared = (
            "1" if row["ratio"] == 1 else f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        )
        own = row["workload"].startswith("W5")
        spread = f"{row['low']:.3g} to {row['high']:.3g}"
        lines.append(f"| {name} | {row['program']} | {value} | {spread} | {'' if own else compared} |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], file: Path) -> None:
    """Bars of the medians, one panel a workload, ours dark."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    works = [work for work in ("W1", "W2", "W3", "W3p", "W4") if any(r["workload"] == work for r in results["rows"])]
    figure, axes = plt.subplots(len(works), 1, figsize=(7, 1.5 * len(works)), layout="constrained", squeeze=False)
    for axis, work in zip(axes[:, 0], works, strict=True):
        rows = sorted((r for r in results["rows"] if r["workload"] == work), key=lambda r: -r["value"])
        colours = ["#1b4f72" if row["program"] == "fedpareto" else "#b8c4ce" for row in rows]
        bars = axis.barh([row["program"] for row in rows], [row["value"] for row in rows], color=colours)
        axis.bar_label(bars, [f"{row['value']:.3g}" for row in rows], padding=3, fontsize=8)
        axis.set_title(f"{work}: {rows[0]['unit']}", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", required=True, help="the Python of the environment of requirements-peers.txt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--name", default=f"{machine()['cores']}-cores", help="name of the result files")
    options = parser.parse_args()
    rows = []
    for work in options.only:
        turns = []
        for turn in range(min(options.repeats, TURNS.get(work, options.repeats))):
            lines = []
            for whose, script, arguments in PROGRAMS[work]:
                lines += measure(options.peers if whose == "peers" else sys.executable, script, work, arguments)
            turns.append(lines)
            print(
                f"{work} turn {turn + 1}: " + ", ".join(f"{x['program']} {x['value']:.3g}" for x in lines), flush=True
            )
        rows += summary(turns)
    results = {"machine": machine(), "rows": rows}
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{options.name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"{options.name}.md").write_text(table(results))
    plot(results, folder / f"{options.name}.svg")
    print(table(results))


if __name__ == "__main__":
    main()
