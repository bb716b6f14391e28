"""How many runs an accelerator takes in one vectorised batch: as many as its memory was measured to hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import jax

from fedpareto.federated.execution.devices import DEFAULT_MEMORY, Layout, memory_of
from fedpareto.federated.execution.over_runs import Program
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import RunParams

MEMORY_SHARE = 0.6  # of the memory that batched runs may fill; the rest is for data and fragmentation


def fill_memory(
    layout: Layout,
    make: Callable[[int], Program],
    run_params: Callable[[int], RunParams],
    data: DeviceData,
    runs: int,
    device: jax.Device,
) -> Layout:
    """The layout with `runs_at_once` chosen, unless the rule for the device or the user has set it already.

    The program is compiled for one and for two runs at a time, and the compiler says what memory each needs.

    Args:
      layout: `runs_at_once` is 0 where it is to be chosen.
      make: Runs at once -> the bundle's program.
      run_params: Number of runs -> hyper-parameters of so many.
      data: The data of the bundle.
      runs: Number of runs.
      device: One of the devices.
    """
    if layout.runs_at_once:
        return layout
    share = math.ceil(runs / layout.groups)
    if share == 1:
        return replace(layout, runs_at_once=1)
    one, two = (make(k).temporary_bytes(data, run_params(k)) for k in (1, 2))
    return replace(layout, runs_at_once=affordable_runs(one, two, share, memory_of(device)))


def affordable_runs(bytes_of_one: int, bytes_of_two: int, runs: int, memory: int | None) -> int:
    """Runs at once that fit in `memory` bytes, spread evenly over as few turns as that takes.

    Args:
      bytes_of_one: Temporary memory of the program that runs one at a time.
      bytes_of_two: The same for two at a time; what each more takes follows from the two.
      runs: Runs that there are.
      memory: The device's memory, or None where it does not say.
    """
    each = max(1, bytes_of_two - bytes_of_one)
    spare = MEMORY_SHARE * (memory or DEFAULT_MEMORY) - bytes_of_one
    fitting = max(1, min(runs, 1 + int(spare // each)))
    return math.ceil(runs / math.ceil(runs / fitting))
