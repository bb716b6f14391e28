"""A small problem for the engine, and how to train on it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.federated.algorithms.fedavg import FedAvg
from fedpareto.federated.algorithms.interface import LocalWork
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import Carried, ServerState
from fedpareto.models.model import build
from fedpareto.privacy.mechanisms.gaussian import Gaussian
from fedpareto.tasks.classification import Classification

CLIENTS, PAD, FEATURES, CLASSES = 12, 9, 5, 3
MODEL = build({"name": "mlp", "hidden": "4"}, (FEATURES,), CLASSES)
TASK = Classification()

_compiled = jax.jit(one_round, static_argnums=0)


def compiled_round(static, data, run_params, params, optimizer_state, round_index, memory=None):
    """Parameters, optimizer state and report after one round; the memory is left out."""
    memory = ServerState() if memory is None else memory
    result = _compiled(static, data, run_params, Carried(params, optimizer_state, memory), round_index)
    return result.carried.params, result.carried.optimizer_state, result.report


def make_static(**changes):
    static = ProgramConfig(
        model=MODEL,
        task=TASK,
        algorithm=FedAvg(),
        mechanism=Gaussian(),
        work=LocalWork(epochs=2, steps=None, batch_size=4),
        clients=CLIENTS,
        sampling_rate=0.5,
        max_cohort_size=CLIENTS,
        expected_cohort=6.0,
        optimizer="sgd",
        optimizer_flags=(),
        rounds=6,
        evaluation_rounds=(0, 2, 4, 6),
    )
    return replace(static, **changes)


def make_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, FEATURES)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0)
    counts = rng.integers(1, PAD + 1, CLIENTS)
    index = rng.integers(0, 60, (1, CLIENTS, PAD))
    return DeviceData(
        train=Examples(jnp.asarray(x[:60]), jnp.asarray(y[:60])),
        test=Examples(jnp.asarray(x[60:]), jnp.asarray(y[60:])),
        train_index=jnp.asarray(index, jnp.int32),
        train_count=jnp.asarray(counts[None], jnp.int32),
        test_client=jnp.asarray(rng.integers(0, CLIENTS, (1, 20)), jnp.int32),
    )


def make_hypers(runs=3, clip=0.5, noise=0.1, rate=0.1, server=None):
    rng = np.random.default_rng(1)
    server = {"learning_rate": 1.0} if server is None else server
    return RunParams(
        partition=jnp.zeros(runs, jnp.int32),
        public_key=jnp.asarray(rng.integers(0, 2**32, (runs, 2)), jnp.uint32),
        secret_key=jnp.asarray(rng.integers(0, 2**32, (runs, 2)), jnp.uint32),
        client_learning_rate=jnp.linspace(rate, 1.1 * rate, runs),
        server={name: jnp.full(runs, value) for name, value in server.items()},
        clip_norm=jnp.full(runs, clip),
        noise_stddev=jnp.full(runs, noise),
        max_rounds=jnp.full(runs, 1000, jnp.int32),
        target_accuracy=jnp.full(runs, jnp.inf),
        algorithm={},
        dropout=jnp.zeros(runs),
        stragglers=jnp.zeros(runs),
    )


def pick(tree, rows):
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def train(static, run_params, stops=None, devices=1):
    program = make_program(static, jax.devices()[:devices])
    data = make_data()
    state = program.init(data, run_params)
    for stop in stops or [program.blocks]:
        state = program.advance(data, run_params, state, stop)
    return jax.device_get(state)


def first_run(run_params):
    return jax.tree.map(lambda leaf: leaf[0], run_params)


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def assert_close(a, b, rtol=1e-6, atol=1e-7):
    """What two programs compute alike: the order of their sums is the compiler's, and not the same on every processor."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)
