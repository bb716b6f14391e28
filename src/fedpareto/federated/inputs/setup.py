"""From a bundle's configuration, plans and data to the arguments of its program."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components import registry
from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData
from fedpareto.data.partitions.dealing import Partition
from fedpareto.federated.algorithms.interface import Algorithm, LocalWork, shape_of, traced_arguments
from fedpareto.federated.augmentation import Augmentation
from fedpareto.federated.execution import devices
from fedpareto.federated.execution.devices import Layout
from fedpareto.federated.inputs.device_data import partitions_of
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.preprocessings import learning
from fedpareto.models.model import Model, build
from fedpareto.models.numerics import PLAIN, Numerics
from fedpareto.privacy.mechanisms.adaptive_clipping import AdaptiveClip
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.sampling import last_to_join
from fedpareto.sweep.account import DataSizes, releases_of
from fedpareto.sweep.components import components_of
from fedpareto.sweep.run import Run
from fedpareto.tasks import build as tasks

SEES_EXAMPLES = frozenset({"model", "task", "preprocessing"})  # kinds of components through which a batch goes


def program_config(
    runs: Sequence[Run],
    plans: Mapping[str, PrivacyPlan],
    partitions: Mapping[int, Partition],
    model: Model,
    layout: Layout,
) -> ProgramConfig:
    """The program configuration that the runs of a bundle share. Buffers are the largest that any of their plans asks for."""
    run, plan = runs[0], plans[runs[0].run_id]
    return ProgramConfig(
        model=model,
        task=tasks.build(run.task),
        algorithm=shape_of(algorithm_of(run)),
        mechanism=plan.noise,
        work=LocalWork(run.training.local_epochs, run.training.local_steps, run.training.batch_size),
        clients=run.data.clients,
        sampling_rate=run.cohort.sampling_rate,
        max_cohort_size=max(plans[r.run_id].max_cohort_size for r in runs),
        expected_cohort=plan.expected_cohort,
        optimizer=run.training.server_optimizer["name"],
        optimizer_flags=tuple(
            (key, value)
            for key, value in sorted(run.training.server_optimizer.items())
            if key != "name" and not _traced(value)
        ),
        rounds=run.training.rounds,
        evaluation_rounds=run.evaluation_rounds,
        unit=run.contribution.unit,
        trust=run.contribution.trust,
        sampling=run.cohort.sampling,
        batches=plan.setting.min_separation,
        weight_cap=None if run.contribution.weighting is None else run.contribution.weighting["cap"],
        drops=run.cohort.dropout is not None,
        straggles=run.cohort.stragglers is not None,
        fewest_answers=0 if plan.sum is None else plan.sum.fewest,
        local_steps=run.training.local_steps or 1,
        max_batch_size=max((_batch_pad(r, plans[r.run_id], partitions[r.seed]) for r in runs), default=1),
        examples_pad=max(p.train_index.shape[1] for p in partitions.values()),
        preprocessing=learning.build(run.training.preprocessing),
        augmentation=Augmentation.of(run.training.augmentation),
        averaging=None if run.training.averaging is None else run.training.averaging["decay"],
        at_once=layout.at_once,
        cohort_devices=layout.cohort_devices,
    )


def algorithm_of(run: Run) -> Algorithm:
    """The algorithm that a run names, with its arguments."""
    arguments = {} if run.training.proximal is None else {"proximal": run.training.proximal}
    spec = {"name": run.training.algorithm, **arguments, **(run.training.algorithm_arguments or {})}
    algorithm: Algorithm = registry.build("algorithm", spec)
    return algorithm


def model_of(run: Run, data: PreparedData, numerics: Numerics = PLAIN) -> Model:
    """The model that a run trains, of examples as its preprocessing leaves them.

    Raises:
      DataError: The run's task learns other targets than the data have.
      ComponentError: It is no task, see `tasks.build`.
    """
    task = tasks.build(run.task)
    if data.targets != task.TARGETS:
        name = tasks.spec_of(run.task)["name"]
        raise DataError(f"the targets of the data are {data.targets}, and task {name} learns {task.TARGETS}")
    shape = learning.output_shape(learning.build(run.training.preprocessing), data.x_train.shape[1:])
    outputs = task.outputs(data.y_train, len(data.class_names))
    own = {component.kind for component in components_of(run) if component.own}
    if "task" in own:
        tasks.check(run.task, task, outputs, data.y_train)
    model = build(run.model, shape, outputs, numerics)
    # Nobody has shown of a user's own code that examples of a batch do not mix: its gradients are taken one example at a time.
    return replace(model, layers=None) if own & SEES_EXAMPLES else model


def lay_out(
    runs: Sequence[Run],
    plans: Mapping[str, PrivacyPlan],
    data: PreparedData,
    wanted: Mapping[str, int | str] | None = None,
) -> tuple[Layout, list[jax.Device], Model]:
    """How the runs of a bundle are laid out on the machine, its devices, and the model as it is computed there.

    Args:
      runs: The runs.
      plans: The plan of each.
      data: The prepared data set.
      wanted: Fields of the layout that the user has set.
    """
    run = runs[0]
    cohort = plans[run.run_id].expected_cohort if algorithm_of(run).VECTORS else 0.0
    views = 1 if run.training.augmentation is None else int(run.training.augmentation["multiplicity"])
    model = model_of(run, data)
    layout, where = devices.choose(len(runs), model, cohort, run.contribution.unit, wanted=wanted, views=views)
    return layout, where, model if layout.numerics == model.numerics else model_of(run, data, layout.numerics)


def learned_of(
    runs: Sequence[Run], plans: Mapping[str, PrivacyPlan], data: PreparedData
) -> Mapping[str, Mapping[str, np.ndarray]] | None:
    """Learns the preprocessing of each run from the training records, by run id; None where it learns nothing.

    The noise is what the run's plan was accounted for with.
    """
    if not releases_of(runs[0].training.preprocessing):
        return None
    preprocessing = learning.build(runs[0].training.preprocessing)
    # Runs of a bundle differ in noise alone, so that the pass over all records is made at most twice.
    means = {
        bounded: learning.statistics(preprocessing, data.x_train, bounded)
        for bounded in {bool(plans[r.run_id].preprocessing_noise_multipliers) for r in runs}
    }
    found = {}
    for run in runs:
        noise = plans[run.run_id].preprocessing_noise_multipliers
        key = jax.random.wrap_key_data(jnp.asarray(key_data(f"preprocessing/{run.run_id}")))
        found[run.run_id] = learning.learned(preprocessing, means[bool(noise)], noise, len(data.x_train), key)
    return found


def measure(runs: Sequence[Run], data: PreparedData) -> DataSizes:
    """Data sizes that accounting needs: the number of parameters, and every client's records."""
    model = model_of(runs[0], data)
    records = {seed: tuple(map(int, p.train_count)) for seed, p in partitions_of(runs, data).items()}
    return DataSizes(model.parameters, records)


def _record_rates(run: Run, plan: PrivacyPlan) -> tuple[float, ...] | None:
    """Rate at which each client draws its own records; None where it does not."""
    if plan.local is not None:
        return plan.local.record_rates
    asked = run.setting.sums_records and run.setting.clients_draw_records
    return (run.cohort.sampling_rate,) * run.data.clients if asked else None


def _batch_pad(run: Run, plan: PrivacyPlan, dealt: Partition) -> int:
    rates = _record_rates(run, plan)
    if rates is None:
        return 1
    return max(plan.max_batch_size(n, rate) for n, rate in {*zip(map(int, dealt.train_count), rates, strict=True)} if n)


def stack_run_params(
    runs: Sequence[Run],
    plans: Mapping[str, PrivacyPlan],
    seeds: Sequence[int],
    multiple: int,
    learned: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> RunParams:
    """The runs' hyper-parameters stacked along a runs axis, which is padded to a multiple of `multiple` by repetition.

    `learned` is what `learned_of` returned for the runs.
    """
    padded = [*runs, *[runs[-1]] * (-len(runs) % multiple)]
    position = {seed: i for i, seed in enumerate(seeds)}
    public = np.stack([key_data(f"public/{run.seed}") for run in padded])
    secret = np.stack([key_data(f"secret/{run.run_id}") for run in padded])
    names = [
        key for key, value in sorted(padded[0].training.server_optimizer.items()) if key != "name" and _traced(value)
    ]
    return RunParams(
        partition=jnp.asarray([position[run.seed] for run in padded], jnp.int32),
        public_key=jnp.asarray(public),
        secret_key=jnp.asarray(secret),
        client_learning_rate=_floats(run.training.client_learning_rate or 0.0 for run in padded),
        server={name: _floats(run.training.server_optimizer[name] for run in padded) for name in names},
        clip_norm=_floats(
            math.inf if run.contribution.clip_norm is None else run.contribution.clip_norm for run in padded
        ),
        noise_stddev=_floats(plans[run.run_id].noise_stddev for run in padded),
        max_rounds=jnp.asarray([plans[run.run_id].rounds for run in padded], jnp.int32),
        target_accuracy=_floats(
            math.inf if run.evaluation.stop_at_accuracy is None else run.evaluation.stop_at_accuracy for run in padded
        ),
        algorithm=_algorithm(padded),
        dropout=_floats(run.cohort.dropout or 0.0 for run in padded),
        stragglers=_floats(run.cohort.stragglers or 0.0 for run in padded),
        adaptive=_adaptive(padded, plans),
        mechanism=_mechanism([plans[run.run_id] for run in padded]),
        record_draws=_record_draws(padded, plans),
        preprocessing=None if learned is None else _stacked([learned[run.run_id] for run in padded]),
        client_decay=_decays(padded),
    )


def _algorithm(runs: Sequence[Run]) -> dict[str, jax.Array]:
    algorithms = [algorithm_of(run) for run in runs]
    return {
        name: _floats(getattr(algorithm, name) for algorithm in algorithms) for name in traced_arguments(algorithms[0])
    }


def _mechanism(plans: Sequence[PrivacyPlan]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *plans[0].noise.device_params(plans))


def _adaptive(runs: Sequence[Run], plans: Mapping[str, PrivacyPlan]) -> AdaptiveClip | None:
    if plans[runs[0].run_id].setting.clipping != "adaptive":
        return None
    rules = [run.contribution.clipping or {} for run in runs]
    return AdaptiveClip(
        quantile=_floats(rule["quantile"] for rule in rules),
        learning_rate=_floats(rule["learning_rate"] for rule in rules),
        count_stddev=_floats(plans[run.run_id].count_stddev for run in runs),
    )


def _stacked(arrays: Sequence[Mapping[str, np.ndarray]]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(np.stack([own[name] for own in arrays])) for name in arrays[0]}


def _record_draws(runs: Sequence[Run], plans: Mapping[str, PrivacyPlan]) -> jax.Array | None:
    rates = [_record_rates(run, plans[run.run_id]) for run in runs]
    if rates[0] is None:
        return None
    return jnp.asarray(np.asarray([[last_to_join(rate) for rate in own or ()] for own in rates], np.uint32))


def _decays(runs: Sequence[Run]) -> jax.Array | None:
    factors = [run.training.client_learning_rate_decay for run in runs]
    return None if factors[0] is None else _floats(factor or 1.0 for factor in factors)


def model_arrays(params: object) -> dict[str, np.ndarray]:
    """The leaves of one run's parameters by path, e.g. `Dense_0/kernel`, float32."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def _floats(values: Iterable[float]) -> jax.Array:
    return jnp.asarray(np.asarray(list(values), np.float32))


def _traced(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def key_data(text: str) -> np.ndarray:
    """Key data of a threefry key, uint32 [2], from a text: 64 bits of its SHA-256."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint32).copy()
