"""The target of attacks: the runs of a bundle, their final models, and their program to run it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import numpy as np

from fedpareto.data.arrays import PreparedData
from fedpareto.data.partitions.dealing import Partition
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.execution import devices
from fedpareto.federated.execution.batching import fill_memory
from fedpareto.federated.execution.over_runs import Program
from fedpareto.federated.inputs.device_data import DeviceData, data_of, partitions_of
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.setup import lay_out, learned_of, program_config, stack_run_params
from fedpareto.models.model import Model
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.run import Run

PyTree = Any


@dataclass(frozen=True)
class Target:
    """Runs of one bundle that are attacked.

    Attributes:
      runs: The runs; they share a compiled program.
      accounted: Plan and guarantees by run id.
      data: The prepared data set.
      models: The parameters that each run kept, by run id and path (`model_arrays`).
      execution: Fields of `devices.Layout` that the user has set.
    """

    runs: tuple[Run, ...]
    accounted: Mapping[str, AccountedRun]
    data: PreparedData
    models: Mapping[str, Mapping[str, np.ndarray]]
    execution: Mapping[str, int | str] = field(default_factory=dict)

    @cached_property
    def plans(self) -> dict[str, PrivacyPlan]:
        """The plan of each run."""
        return {run.run_id: self.accounted[run.run_id].plan for run in self.runs}

    @cached_property
    def model(self) -> Model:
        """The model, of examples as the preprocessing leaves them."""
        return self.static.model

    @cached_property
    def partitions(self) -> dict[int, Partition]:
        """How the records were dealt to clients, by seed."""
        return partitions_of(self.runs, self.data)

    @cached_property
    def static(self) -> ProgramConfig:
        """The configuration of the runs' program, with one device a run and the evaluations of the runs."""
        wanted = {**self.execution, "cohort_devices": 1}
        layout, _, model = lay_out(self.runs, self.plans, self.data, wanted)
        return program_config(self.runs, self.plans, self.partitions, model, layout)

    @cached_property
    def device_data(self) -> DeviceData:
        """The data of the runs on the device."""
        return data_of(self.data, self.partitions)

    @cached_property
    def run_params(self) -> RunParams:
        """The hyper-parameters of the runs, [runs, ...], in the order of `runs`."""
        learned = learned_of(self.runs, self.plans, self.data)
        return stack_run_params(self.runs, self.plans, list(self.partitions), 1, learned)

    def parameters(self, run: Run) -> PyTree:
        """The final parameters of a run, a pytree like those of its program."""
        like = jax.eval_shape(self.model.init, jax.random.key(0))
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        kept = self.models[run.run_id]
        return jax.tree_util.tree_unflatten(
            structure, [kept["/".join(str(part.key) for part in path)] for path, _ in leaves]
        )


def train(static: ProgramConfig, data: DeviceData, run_params: RunParams) -> PyTree:
    """The final models of further runs of a program, [runs, ...] on the host, trained on all devices.

    The engine is that of `federated.train`: runs one after another on each core of a CPU, in batches on a GPU.

    Args:
      static: The program configuration.
      data: Its data, with as many partitions as `run_params.partition` names.
      run_params: Hyper-parameters [runs, ...].
    """
    # A run that stops at an accuracy is scored when it would be; the others only at their end.
    scored = static.evaluation_rounds if np.isfinite(run_params.target_accuracy).any() else (0, static.rounds)
    static = replace(static, evaluation_rounds=scored)
    return final_states(_program, static, data, run_params, lambda state: state.model)


def final_states(
    make: Callable[[ProgramConfig, tuple[jax.Device, ...], int], Program],
    static: ProgramConfig,
    data: DeviceData,
    run_params: RunParams,
    of: Callable[[PyTree], PyTree],
) -> PyTree:
    """Runs a program to its end for further hyper-parameters, on all devices.

    Args:
      make: Program configuration, devices and runs at once -> the program.
      static: The program configuration; the layout of a cohort's members is chosen here.
      data: Its data.
      run_params: Hyper-parameters [runs, ...].
      of: Function of the final states whose result is wanted.

    Returns:
      The parts that are wanted, [runs, ...] on the host.
    """
    runs = int(run_params.partition.shape[0])
    views = 1 if static.augmentation is None else static.augmentation.multiplicity
    layout, where = devices.choose(
        runs, static.model, static.expected_cohort, static.unit, wanted={"cohort_devices": 1}, views=views
    )
    own = partial(make, replace(static, at_once=layout.at_once, cohort_devices=1), tuple(where))

    def some(count: int) -> RunParams:
        rows = np.minimum(np.arange(count), runs - 1)
        return jax.tree.map(lambda leaf: leaf[rows], run_params)

    layout = fill_memory(layout, own, lambda k: some(k * layout.groups), data, runs=runs, device=where[0])
    program = own(layout.runs_at_once)
    multiple = program.shards * layout.runs_at_once
    padded = some(-(-runs // multiple) * multiple)
    state = program.advance(data, padded, program.init(data, padded), program.blocks)
    return jax.device_get(jax.tree.map(lambda leaf: leaf[:runs], of(state)))


@lru_cache(maxsize=4)
def _program(static: ProgramConfig, where: tuple[jax.Device, ...], runs_at_once: int) -> Program:
    """One attack's program is the next one's, where their data are of the same shapes."""
    return make_program(static, list(where), runs_at_once)
