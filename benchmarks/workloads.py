"""The workloads W1 to W4, as both sides of the comparison read them; numpy and the standard library only.

| name | work                                                                                         | unit         |
|------|----------------------------------------------------------------------------------------------|--------------|
| W1   | MNIST, 1,000 clients x 60 examples, 100 a round, one epoch, batch 20, lr 0.1, 2NN, clip 1, z 1 | s a round    |
| W2   | the same with the 26,010-parameter CNN                                                        | s a round    |
| W3   | record-level DP-SGD, that CNN, Poisson batches of 256 expected, clip 1, z 1.1, lr 0.15        | ms a step    |
| W3p  | the same without clipping and noise: plain SGD                                                | ms a step    |
| W4   | W1 for 20 rounds over z 0.5, 1, 2, 4 x clip 0.3, 1, 3: start-up and compilation included      | s in all     |

Rounds and steps are timed without evaluation, start-up and compilation; W4 is a whole process.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np

CLIENTS, EXAMPLES, COHORT, BATCH = 1000, 60, 100, 20
CLIENT_LR, CLIP, NOISE = 0.1, 1.0, 1.0
RECORDS, RECORD_BATCH, RECORD_NOISE, RECORD_LR = 60_000, 256, 1.1, 0.15
GRID = [(noise, clip) for noise in (0.5, 1.0, 2.0, 4.0) for clip in (0.3, 1.0, 3.0)]
GRID_ROUNDS = 20


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """Training images float32 [60000, 28, 28] in [0, 1] and labels int64 [60000], from `FEDPARETO_DATA`/mnist."""
    folder = Path(os.environ.get("FEDPARETO_DATA", "data"), "mnist")
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder (set FEDPARETO_DATA to the folder that holds mnist/*.gz)")
    images = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28).astype(np.float32) / 255, labels.astype(np.int64)


def partition() -> np.ndarray:
    """Rows of each client, int64 [1000, 60], dealt out at random."""
    return np.random.default_rng(0).permutation(CLIENTS * EXAMPLES).reshape(CLIENTS, EXAMPLES)


def report(program: str, workload: str, seconds: list[float], unit: str, **more: object) -> None:
    """Prints the one JSON line of a script: the median of `seconds` (in `unit`) and what else is worth knowing."""
    line = {"program": program, "workload": workload, "value": statistics.median(seconds), "unit": unit}
    print(json.dumps(line | {"repeats": len(seconds)} | more), flush=True)
