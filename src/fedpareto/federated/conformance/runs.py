"""Whole runs of the engine's compiled program, and all that is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.federated.engine.program import make_program
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import NOISELESS, State
from fedpareto.federated.store.outcome import outcome
from fedpareto.privacy.conformance import WholeRun

RUNS_AT_ONCE = 100


def whole_runs(
    static: ProgramConfig, hyper: RunParams, data_of: Callable[[Sequence[Any]], DeviceData]
) -> Callable[[Sequence[Any], np.random.Generator], WholeRun]:
    """`EngineMechanism.whole`: runs of the compiled program, from one of its blocks to the next, and what is said of them."""
    program = cache(lambda clients: make_program(replace(static, clients=clients), jax.devices()[:1]))
    waiting: dict[tuple[int, ...], list[WholeRun]] = {}

    def whole(units: Sequence[Any], rng: np.random.Generator) -> WholeRun:
        own = waiting.setdefault(tuple(map(id, units)), [])
        if not own:
            hypers = jax.tree.map(lambda leaf: jnp.stack([leaf] * RUNS_AT_ONCE), hyper)
            hypers = hypers._replace(secret_key=jnp.asarray(key_data(rng, RUNS_AT_ONCE)))
            data, shown = data_of(units), []
            runs = program(data.train_count.shape[1])
            state = runs.init(data, hypers)
            for stop in range(1, runs.blocks + 1):
                state = runs.advance(data, hypers, state, stop)
                leaves = [np.asarray(leaf).reshape(RUNS_AT_ONCE, -1) for leaf in jax.tree.leaves(state.params)]
                shown.append(np.concatenate(leaves, axis=1))
            own.extend(map(WholeRun, np.stack(shown, axis=1), outcomes_of(static, jax.device_get(state), data)))
        return own.pop()

    return whole


def outcomes_of(static: ProgramConfig, state: State, data: DeviceData) -> list[dict[str, Any]]:
    """All that tables say of each run, by the name of the column, but for what docs/privacy.md leaves out of the guarantee.

    Args:
      static: The program's configuration.
      state: The final state of the runs, on the host.
      data: The data that they were trained on.
    """
    found = []
    for number in range(len(state.block)):
        own = jax.tree.map(lambda leaf, i=number: leaf[i], state)
        said = outcome(static.evaluation_rounds, static.rounds, static.task, own, np.asarray(data.test.y))
        covered = {name: values for name, values in said.pop("metrics").items() if name not in NOISELESS}
        found.append(said | covered)
    return found


def without_the_first(run: WholeRun) -> WholeRun:
    """The run without the model that it starts from, which is public."""
    return run._replace(models=run.models[1:])


def key_data(rng: np.random.Generator, number: int) -> np.ndarray:
    """Key data of random keys, uint32 [number, 2]."""
    return rng.integers(0, 2**32, (number, 2)).astype(np.uint32)
