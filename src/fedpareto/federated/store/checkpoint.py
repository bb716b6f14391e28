"""Checkpoints of a half-trained bundle, by orbax: one folder a bundle, the newest state only."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

PyTree = Any


class Checkpoints:
    """The checkpoints of one set of runs under one fingerprint.

    Args:
      folder: `results/checkpoints/<name>`, where the name stands for the runs, the code and the data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._checkpointer = ocp.StandardCheckpointer()

    def save(self, block: int, state: PyTree) -> None:
        """Writes the state after `block` blocks and removes older ones; a kill at any moment leaves a whole one."""
        self._checkpointer.save(self._folder / f"{block:08d}", jax.device_get(state), force=True)
        self._checkpointer.wait_until_finished()
        for other in self._steps():  # among them those that could not be read, which may be of later blocks
            if int(other.name) != block:
                shutil.rmtree(other, ignore_errors=True)

    def restore(self, like: PyTree) -> tuple[int, PyTree] | None:
        """The newest state and its block, or None. `like` gives structure, shapes and dtypes."""
        for step in reversed(self._steps()):
            try:
                return int(step.name), self._checkpointer.restore(step, like)
            except Exception as error:  # of garbage orbax, tensorstore and JSON raise many kinds
                what = (str(error).splitlines() or [""])[0]
                print(f"checkpoint {step} cannot be read and is left out: {what or type(error).__name__}", flush=True)
        return None

    def clear(self) -> None:
        """Removes all checkpoints of this bundle, once its runs are in the store."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _steps(self) -> list[Path]:
        # orbax writes into a folder with a longer name and renames it when whole.
        return sorted(path for path in self._folder.glob("*") if path.name.isdigit())
