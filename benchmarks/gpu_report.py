"""The results of gpu.py as Markdown and as a figure, next to their JSON.

python benchmarks/gpu_report.py benchmarks/results/<device>.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS, THEIRS = "#1b4f72", "#b8c4ce"
CPU = Path(__file__).with_name("results") / "2-cores-stages.json"  # of `gpu.py --name 2-cores-stages`, without a GPU
Rows = list[dict[str, Any]]


def on_a_cpu() -> dict[str, float]:
    """What the same stages took on two CPU cores, by the name of the row."""
    stages = json.loads(CPU.read_text())["stages"] if CPU.is_file() else {}
    return {row["what"]: row["value"] for stage in stages.values() for row in stage["rows"] if row.get("value")}


def table(results: dict[str, Any]) -> str:
    """All rows, a table a stage; beside those of a GPU what a CPU took for the same."""
    cpu = {} if results["device"] == "cpu" else on_a_cpu()
    lines = [f"# {results['device']}" + (", reduced" if results["reduced"] else ""), ""]
    if results["reduced"]:
        lines += ["Everything made small, to see that it works: these numbers say nothing of speed.", ""]
    for name, stage in results["stages"].items():
        took = f"{stage['status']}, {stage['seconds']:g} s" if "status" in stage else "of an earlier call"
        head = ["what", "value", *(["on two CPU cores"] if cpu else []), "more"]
        lines += [f"## {name} ({took})", "", _row(head), _row(["---"] * len(head))]
        for row in stage["rows"]:
            beside = [f"{cpu[row['what']]:g}" if row["what"] in cpu else ""] if cpu else []
            lines.append(_row([row["what"], value(row), *beside, more(row)]))
        lines.append("")
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def value(row: dict[str, Any]) -> str:
    if "failed" in row:
        return "failed"
    judged = "" if "right" not in row else "right" if row["right"] else "WRONG"
    number = f"{row['value']:g} {row['unit']}" if row.get("value") is not None else ""
    return ", ".join(filter(None, (number, judged)))


def more(row: dict[str, Any]) -> str:
    shown = {key: v for key, v in row.items() if key not in ("what", "value", "unit", "right")}
    layout = shown.pop("execution", None)
    if layout:
        shown["layout"] = " ".join(f"{key}={v}" for key, v in layout.items())
    return ", ".join(f"{key} {v:g}" if isinstance(v, float) else f"{key} {v}" for key, v in shown.items()).replace(
        "|", "/"
    )


def shares(results: dict[str, Any]) -> Rows:
    """Of the card's measured rates, how much the local steps of each workload reach."""
    best = {row["what"]: row.get("value") for row in results["stages"].get("machine", {}).get("rows", [])}
    found = []
    for name in ("fast", "forms"):
        for row in results["stages"].get(name, {}).get("rows", []):
            product = best.get(f"product {row.get('execution', {}).get('precision', '')}")
            if "tflops" in row and product and best.get("copy"):
                found.append(
                    {"what": row["what"], "matrix": row["tflops"] / product, "memory": row["gb_s"] / best["copy"]}
                )
    return found


def share_table(results: dict[str, Any]) -> str:
    found = shares(results)
    if not found or results["device"] == "cpu":  # where most bytes move within caches
        return ""
    lines = [
        "",
        "## Share of the card's own rates",
        "",
        "Operations and bytes of the local steps, as XLA counts them.",
        "",
    ]
    lines += ["| work | of the product's rate | of the copy's rate |", "|---|---|---|"]
    lines += [f"| {row['what']} | {100 * row['matrix']:.2g} % | {100 * row['memory']:.2g} % |" for row in found]
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], file: Path) -> None:
    """Ours beside PyTorch by workload, and the time of a grid against its number of runs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    stages = results["stages"]
    rows = [row for name in ("fast", "peers") for row in stages.get(name, {}).get("rows", []) if "value" in row]
    names = [row["what"].split()[0] for row in rows]
    works = [work for work in ("W1", "W2", "W3", "W3p") if names.count(work) > 1]  # a bar alone compares nothing
    grids = [row for row in stages.get("grids", {}).get("rows", []) if row["what"].startswith("W1,") and "value" in row]
    panels = len(works) + bool(grids)
    if not panels:
        return
    heights = [1.3] * len(works) + [3.0] * bool(grids)
    figure, axes = plt.subplots(
        panels, 1, figsize=(7, sum(heights) + 0.4), height_ratios=heights, layout="constrained", squeeze=False
    )
    for axis, work in zip(axes[:, 0], works, strict=False):
        own = sorted((row for row in rows if row["what"].split()[0] == work), key=lambda row: -row["value"])
        names = [row["what"].removeprefix(work).strip() or "fedpareto" for row in own]
        bars = axis.barh(
            names, [row["value"] for row in own], color=[OURS if name == "fedpareto" else THEIRS for name in names]
        )
        axis.bar_label(bars, [f"{row['value']:.3g}" for row in own], padding=3, fontsize=8)
        axis.set_title(f"{work}: {own[0]['unit']}", fontsize=9, loc="left")
        axis.margins(x=0.14)
    if grids:
        axis = axes[-1, 0]
        for key, label, colour in (("whole_s", "all of it", THEIRS), ("value", "rounds", OURS)):
            points = sorted((row["runs"], row[key]) for row in grids)
            axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
        axis.set(xscale="log", yscale="log", xlabel="runs", ylabel="seconds")
        axis.set_title(grids[0]["what"].split(" x ")[-1].join(["W1, ", " of every run"]), fontsize=9, loc="left")
        axis.legend(frameon=False, fontsize=8)
    for axis in axes[:, 0]:
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})


def main(file: Path) -> None:
    results = json.loads(file.read_text())
    file.with_suffix(".md").write_text(table(results) + share_table(results))
    plot(results, file.with_suffix(".svg"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
