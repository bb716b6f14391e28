"""Functions of one run mapped over a runs axis, as one compiled program that can be stopped and taken up again.

The number of blocks to run is an argument of the program, so that segments of any length share one compilation, and the numbers
do not depend on how a run was cut into segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fedpareto.federated.execution.cohort_sum import COHORT_AXIS

PyTree = Any
RUNS = "runs"


@dataclass(frozen=True)
class Program:
    """A compiled bundle. Its data are a `DeviceData`, its hyper-parameters a `RunParams`.

    Attributes:
      init: (data, run_params) -> state, `run_params` and state with a leading runs axis.
      advance: (data, run_params, state, stop) -> state after blocks up to `stop`; `state` is donated.
      temporary_bytes: (data, run_params) -> bytes that `advance` needs besides its arguments and result, as compiled.
      blocks: Number of blocks to run in all.
      shards: Groups of devices; the runs axis must be a multiple of it.
      rounds_after: Rounds done after each number of blocks (for progress).
    """

    init: Callable[[PyTree, PyTree], PyTree]
    advance: Callable[[PyTree, PyTree, PyTree, int], PyTree]
    temporary_bytes: Callable[[PyTree, PyTree], int]
    blocks: int
    shards: int
    rounds_after: tuple[int, ...]


def compile_over_runs(
    init_run: Callable[[PyTree, PyTree], PyTree],
    advance_run: Callable[[PyTree, PyTree, PyTree, jax.Array], PyTree],
    devices: list[jax.Device],
    *,
    cohort_devices: int,
    runs_at_once: int,
    rounds_after: tuple[int, ...],
) -> Program:
    """Maps functions of one run over a runs axis that is sharded over groups of `cohort_devices` devices.

    In each group runs go through `jax.lax.map`. One at a time (a CPU), a run's numbers do not depend, to the bit, on
    the other runs of its bundle.

    Args:
      init_run: (data, run_params) -> the first state of a run.
      advance_run: (data, run_params, state, stop) -> the state after blocks up to `stop`.
      devices: The devices.
      cohort_devices: How many of them share the cohort of one run.
      runs_at_once: Runs in one vectorised batch on each group of devices.
      rounds_after: Rounds done after each block.
    """
    mesh = Mesh(np.asarray(devices).reshape(-1, cohort_devices), (RUNS, COHORT_AXIS))
    split, whole = PartitionSpec(RUNS), PartitionSpec()
    batch_size = None if runs_at_once == 1 else runs_at_once

    def init(data: PyTree, run_params: PyTree) -> PyTree:
        return jax.lax.map(lambda row: init_run(data, row), run_params, batch_size=batch_size)

    def advance(data: PyTree, run_params: PyTree, state: PyTree, stop: jax.Array) -> PyTree:
        return jax.lax.map(
            lambda pair: advance_run(data, pair[0], pair[1], stop), (run_params, state), batch_size=batch_size
        )

    def sharded(function: Callable[..., PyTree], specs: tuple[PartitionSpec, ...]) -> Callable[..., PyTree]:
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)

    # It runs once: what the compiler saves on it is worth more than what it would gain.
    options = {"xla_backend_optimization_level": 1} if devices[0].platform == "cpu" else {}
    compiled_init = jax.jit(sharded(init, (whole, split)), compiler_options=options)
    compiled_advance = jax.jit(sharded(advance, (whole, split, split, whole)), donate_argnums=2)
    place_runs = NamedSharding(mesh, split)

    def run_advance(data: PyTree, run_params: PyTree, state: PyTree, stop: int) -> PyTree:
        state = jax.device_put(state, place_runs)
        return compiled_advance(data, jax.device_put(run_params, place_runs), state, jnp.int32(stop))

    def temporary_bytes(data: PyTree, run_params: PyTree) -> int:
        state = jax.eval_shape(compiled_init, data, run_params)
        memory: Any = compiled_advance.lower(data, run_params, state, jnp.int32(0)).compile().memory_analysis()
        return int(memory.temp_size_in_bytes)

    return Program(
        temporary_bytes=temporary_bytes,
        init=lambda data, run_params: compiled_init(data, jax.device_put(run_params, place_runs)),
        advance=run_advance,
        blocks=len(rounds_after),
        shards=len(devices) // cohort_devices,
        rounds_after=rounds_after,
    )
