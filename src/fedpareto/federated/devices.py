"""The devices that train, and how the work is laid out on them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import jax

GPU_CLIENTS_AT_ONCE = 32
GPU_MEMORY_SHARE = 0.5
GPU_DEFAULT_BYTES = 4 * 2**30
COPIES_PER_CLIENT = 4  # weights, gradient, update and temporaries of one client in a vectorised chunk


@dataclass(frozen=True)
class Layout:
    """How a bundle is laid out on the machine.

    Attributes:
      kind: `cpu` or the accelerator's own name.
      devices: Number of devices that the runs are split over.
      clients_at_once: 1 for one after another.
      runs_at_once: Runs of one device in one vectorised batch; with 1 results do not depend on the bundle, to the bit.
    """

    kind: str
    devices: int
    clients_at_once: int
    runs_at_once: int

    def to_dict(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


def use_all_cores() -> None:
    """One XLA CPU device a core. Must be called before JAX starts its backend; no effect where there is a GPU."""
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", available_cores())


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose(runs: int, parameters: int, cohort: int) -> tuple[Layout, list[jax.Device]]:
    """The layout for `runs` runs of a model of `parameters` parameters with `cohort` clients a round."""
    devices = jax.local_devices()[: max(1, runs)]
    if devices[0].platform == "cpu":
        return Layout("cpu", len(devices), 1, 1), devices
    clients_at_once = max(1, min(GPU_CLIENTS_AT_ONCE, cohort))
    limit = (devices[0].memory_stats() or {}).get("bytes_limit", GPU_DEFAULT_BYTES)
    a_run = 4 * parameters * (COPIES_PER_CLIENT * clients_at_once + 4)
    affordable = max(1, int(GPU_MEMORY_SHARE * limit // max(a_run, 1)))
    share = -(-runs // len(devices))
    return Layout(devices[0].device_kind, len(devices), clients_at_once, min(share, affordable)), devices
