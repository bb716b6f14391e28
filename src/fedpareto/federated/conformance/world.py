"""The small world in which components are checked: few parameters, clients with a few examples each, or records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components import registry
from fedpareto.federated.algorithms.interface import Algorithm, LocalWork, shape_of, traced_arguments
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.models.model import Model, build
from fedpareto.privacy.mechanisms.adaptive_clipping import AdaptiveClip
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.tasks import build as tasks

PyTree = Any
EXAMPLES, FEATURES, CLASSES = 9, 5, 3  # of a client
WHOLE_BATCH = LocalWork(epochs=None, steps=1, batch_size=None)  # no random order within a client
CLIENT_RATE, RECORD_RATE = 5.0, 0.1  # at the first a client's update is longer than usual clip norms
QUANTILE, CLIP_RATE = 0.5, 0.2  # of an adaptive clip norm
CLIENT_EXTREMES = (0.0, 1e-6, 100.0, -100.0, 1e15, 1e30, 3e38, np.inf, np.nan)
RECORD_EXTREMES = (0.0, 50.0, -50.0, 1e15, 1e30, 3e38, np.inf, np.nan)


@cache
def small_model() -> Model:
    """The network of all checks."""
    return build({"name": "mlp", "hidden": "4"}, (FEATURES,), CLASSES)


@cache
def first_params() -> PyTree:
    """Parameters from which single rounds start."""
    return small_model().init(jax.random.key(5))


def program_config(plan: PrivacyPlan, algorithm: Algorithm | None = None, **changes: Any) -> ProgramConfig:
    """The configuration of the program of a plan."""
    config = ProgramConfig(
        model=small_model(),
        task=tasks.build(None),
        algorithm=shape_of(algorithm or registry.build("algorithm", {"name": "fedavg"})),
        mechanism=plan.noise,
        work=WHOLE_BATCH,
        clients=plan.population,
        sampling_rate=plan.setting.sampling_rate,
        max_cohort_size=plan.max_cohort_size,
        expected_cohort=plan.expected_cohort,
        optimizer="sgd",
        optimizer_flags=(),
        rounds=plan.rounds,
        evaluation_rounds=tuple(range(plan.rounds + 1)),
        unit=plan.setting.unit,
        trust=plan.setting.trust,
        sampling=plan.setting.sampling,
        batches=plan.setting.min_separation,
        examples_pad=EXAMPLES,
    )
    return replace(config, **changes)


def run_params(plan: PrivacyPlan, algorithm: Algorithm | None = None, rate: float = CLIENT_RATE) -> RunParams:
    """The numbers of one run of a plan, with clients that learn at `rate`."""
    traced = {} if algorithm is None else {name: getattr(algorithm, name) for name in traced_arguments(algorithm)}
    (device,) = plan.noise.device_params([plan])
    adaptive = None
    if plan.setting.clipping == "adaptive":
        adaptive = AdaptiveClip(*map(jnp.float32, (QUANTILE, CLIP_RATE, plan.count_stddev)))
    return RunParams(
        partition=jnp.int32(0),
        public_key=jnp.asarray([1, 2], jnp.uint32),
        secret_key=jnp.asarray([3, 4], jnp.uint32),
        client_learning_rate=jnp.float32(rate),
        server={"learning_rate": jnp.float32(1.0)},
        clip_norm=jnp.float32(plan.clip_norm),
        noise_stddev=jnp.float32(plan.noise_stddev),
        max_rounds=jnp.int32(plan.rounds),
        target_accuracy=jnp.float32(jnp.inf),
        algorithm={name: jnp.float32(value) for name, value in traced.items()},
        dropout=jnp.float32(0),
        stragglers=jnp.float32(0),
        adaptive=adaptive,
        mechanism=jax.tree.map(jnp.asarray, device),
    )


def clients_data(units: Sequence[Any], counts: Sequence[int] | np.ndarray) -> DeviceData:
    """The data of clients, (x [examples, FEATURES], y [examples]) each; one with a count of 0 is absent."""
    x, y = (np.concatenate([unit[i] for unit in units]) for i in (0, 1))
    return DeviceData(
        train=Examples(jnp.asarray(x), jnp.asarray(y, jnp.int32)),
        test=Examples(jnp.zeros((1, FEATURES)), jnp.zeros(1, jnp.int32)),
        train_index=jnp.arange(len(x), dtype=jnp.int32).reshape(1, len(units), -1),
        train_count=jnp.asarray(counts, jnp.int32)[None],
        test_client=jnp.zeros((1, 1), jnp.int32),
    )


def records_data(units: Sequence[Any]) -> DeviceData:
    """Records, (x [FEATURES], y) each, as those of one client."""
    x, y = (np.stack([unit[i] for unit in units]) for i in (0, 1))
    return clients_data([(x, y)], [len(units)])


def client(seed: int, extreme: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """One client's examples, random or all of one value."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(EXAMPLES, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, EXAMPLES)
    return (x if extreme is None else np.full_like(x, extreme), y)
