"""A bundle made ready to train: its layout on this machine, its compiled program, and the program's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fedpareto.data.arrays import PreparedData
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.execution.batching import fill_memory
from fedpareto.federated.execution.devices import Layout
from fedpareto.federated.execution.over_runs import Program
from fedpareto.federated.inputs.device_data import DeviceData, data_of, partitions_of
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.setup import lay_out, learned_of, program_config, stack_run_params
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.sweep.run import Run


@dataclass(frozen=True)
class Job:
    """A compiled training job.

    Attributes:
      layout: How the runs are laid out on the machine.
      static: The program configuration.
      program: The program.
      data: Its data.
      run_params: Its hyper-parameters, the runs' in their order; the last one's are repeated to fill up the devices.
      learned: Learned arrays of each run's preprocessing, by run id; None where it learns nothing.
    """

    layout: Layout
    static: ProgramConfig
    program: Program
    data: DeviceData
    run_params: RunParams
    learned: Mapping[str, Mapping[str, np.ndarray]] | None


def job_of(
    runs: Sequence[Run],
    plans: Mapping[str, PrivacyPlan],
    prepared: PreparedData,
    execution: Mapping[str, int | str] | None = None,
) -> Job:
    """Makes runs that can share a program ready to train.

    Args:
      runs: The runs.
      plans: The plan of each, by run id.
      prepared: The prepared data set.
      execution: Fields of `devices.Layout` that the user has set.

    Raises:
      ValueError: The plans were made for another number of training records.
    """
    if runs[0].data.records not in (None, len(prepared.y_train)):
        raise ValueError(f"{len(prepared.y_train)} training records, and the plan was made for {runs[0].data.records}")
    layout, where, model = lay_out(runs, plans, prepared, execution)
    partitions = partitions_of(runs, prepared)
    static = program_config(runs, plans, partitions, model, layout)
    data = data_of(prepared, partitions)

    def make(runs_at_once: int) -> Program:
        return static.algorithm.program(static, where, runs_at_once) or make_program(static, where, runs_at_once)

    learned = learned_of(runs, plans, prepared)
    some = partial(stack_run_params, plans=plans, seeds=list(partitions), learned=learned)
    layout = fill_memory(
        layout, make, lambda k: some(runs[:1], multiple=k * layout.groups), data, runs=len(runs), device=where[0]
    )
    program = make(layout.runs_at_once)
    run_params = some(runs, multiple=program.shards * layout.runs_at_once)
    return Job(layout, static, program, data, run_params, learned)
