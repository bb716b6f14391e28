"""The engine against a plain re-implementation, and its promises about bundles, segments and divergence."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problem import (
    CLASSES,
    CLIENTS,
    FEATURES,
    MODEL,
    PAD,
    TASK,
    assert_close,
    assert_same_bits,
    compiled_round,
    first_run,
    make_data,
    make_hypers,
    make_static,
    pick,
    train,
)

from fedpareto.config.schema import schema
from fedpareto.federated.algorithms.interface import LocalProblem, LocalWork
from fedpareto.federated.algorithms.local_sgd import local_sgd
from fedpareto.federated.engine import program as program_module
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.engine.server import server_optimizer, server_update
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.models.model import build
from fedpareto.privacy.clipping import global_norm


@pytest.mark.parametrize("at_once", [1, 5])
def test_without_clip_and_noise_a_round_is_plain_fedavg(at_once):
    static = make_static(sampling_rate=1.0, expected_cohort=float(CLIENTS), at_once=at_once)
    static = replace(static, work=LocalWork(epochs=3, steps=None, batch_size=None))
    data, run_params = make_data(), first_run(make_hypers(clip=jnp.inf, noise=0.0))
    params = MODEL.init(jax.random.key(5))
    released, _, report = compiled_round(static, data, run_params, params, optax.sgd(1.0).init(params), jnp.int32(0))

    def full_batch_loss(p, rows):
        logits = MODEL.apply(p, data.train.x[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, data.train.y[rows]).mean()

    gradient = jax.jit(jax.grad(full_batch_loss))
    trained = []
    for client in range(CLIENTS):
        local = params
        rows = data.train_index[0, client, : int(data.train_count[0, client])]
        for _ in range(3):
            grads = gradient(local, rows)
            local = jax.tree.map(lambda p, g: p - run_params.client_learning_rate * g, local, grads)
        trained.append(local)
    expected = jax.tree.map(lambda *leaves: sum(leaves) / CLIENTS, *trained)
    assert_close(released, expected, rtol=2e-5, atol=2e-6)
    assert int(report.cohort_size) == CLIENTS


def test_vectorised_clients_give_the_same_round():
    data, run_params = make_data(), first_run(make_hypers(noise=0.0))
    params = MODEL.init(jax.random.key(5))
    rounds = [
        compiled_round(make_static(at_once=k), data, run_params, params, optax.sgd(1.0).init(params), jnp.int32(1))
        for k in (1, 4, 5, CLIENTS)
    ]
    for other in rounds[1:]:
        assert_close(rounds[0], other, rtol=1e-4, atol=1e-6)


def test_one_client_moves_the_sum_by_at_most_the_clip_norm():
    """Sensitivity by brute force: whatever one client's data, the noiseless sum moves by at most the clip norm."""
    data = make_data()
    for clip in (0.01, 0.3):
        run_params = first_run(make_hypers(clip=clip, noise=0.0, rate=5.0))
        static = make_static(sampling_rate=1.0, expected_cohort=1.0)
        params = MODEL.init(jax.random.key(5))

        def total(count, static=static, run_params=run_params, params=params):
            with_count = data._replace(train_count=data.train_count.at[0, 3].set(count))
            moved, _, _ = compiled_round(
                static, with_count, run_params, params, optax.sgd(1.0).init(params), jnp.int32(0)
            )
            return jax.tree.map(jnp.subtract, moved, params)

        absent, present = total(0), total(PAD)
        difference = float(global_norm(jax.tree.map(jnp.subtract, present, absent)))
        assert 0 < difference <= clip * (1 + 1e-4)


def test_noise_of_a_round_has_the_stated_scale():
    wide = build({"name": "mlp", "hidden": "2000"}, (FEATURES,), CLASSES)
    static = make_static(model=wide, sampling_rate=1.0, expected_cohort=float(CLIENTS))
    data, run_params = make_data(), first_run(make_hypers(clip=1e-6, noise=3.0))
    params = wide.init(jax.random.key(5))
    moved, _, _ = compiled_round(static, data, run_params, params, optax.sgd(1.0).init(params), jnp.int32(0))
    moves = jax.tree.map(lambda a, b: np.ravel(a - b), moved, params)
    noise = np.concatenate(jax.tree.leaves(moves)) * CLIENTS
    assert noise.std() == pytest.approx(3.0, rel=0.04)  # 18,003 draws: seven standard errors


def test_a_run_does_not_depend_on_its_bundle_to_the_bit():
    run_params = make_hypers(runs=4)
    together = train(make_static(), run_params)
    for i in range(4):
        alone = train(make_static(), pick(run_params, slice(i, i + 1)))
        assert_same_bits(pick(together, slice(i, i + 1)), alone)


def test_a_run_does_not_depend_on_the_number_of_devices_to_the_bit():
    run_params = make_hypers(runs=4)
    assert_same_bits(train(make_static(), run_params), train(make_static(), run_params, devices=2))


def test_runs_in_vectorised_batches_differ_in_the_last_digits_only():
    run_params, data = make_hypers(runs=4), make_data()
    program = make_program(make_static(at_once=4), jax.devices()[:1], runs_at_once=2)
    batched = program.advance(data, run_params, program.init(data, run_params), program.blocks)
    single = train(make_static(), run_params)
    for name in ("accuracy", "loss", "update_norm"):
        np.testing.assert_allclose(batched.metrics[name], single.metrics[name], rtol=2e-3)


def test_segments_do_not_change_a_bit():
    run_params = make_hypers()
    assert_same_bits(train(make_static(), run_params), train(make_static(), run_params, stops=[1, 2, 3, 4]))


def test_one_trace_a_bundle(monkeypatch):
    traces = []

    def counted(*arguments):
        traces.append(1)
        return one_round(*arguments)

    monkeypatch.setattr(program_module, "one_round", counted)
    train(make_static(), make_hypers(runs=4), stops=[1, 2, 4], devices=2)
    assert len(traces) == 1


def test_a_diverged_run_is_recorded_and_costs_no_other_run_anything():
    healthy = make_hypers(runs=3, clip=0.5, noise=0.0)
    sick = healthy._replace(server={"learning_rate": jnp.asarray([1.0, jnp.inf, 1.0])})
    good, bad = train(make_static(), healthy), train(make_static(), sick)
    assert bad.diverged_round.tolist() == [-1, 1, -1]
    assert np.isnan(bad.metrics["accuracy"][1, 1:]).all()
    assert_same_bits(pick(good, np.array([0, 2])), pick(bad, np.array([0, 2])))


def test_a_run_that_is_good_enough_stops_and_changes_no_other_run():
    run_params = make_hypers(runs=3, noise=0.0, clip=5.0, rate=0.3)
    whole = train(make_static(), run_params)
    scores = np.asarray(whole.metrics["accuracy"][1])
    level = scores[1]
    reached = int(np.argmax(scores >= level))
    stopped = train(make_static(), run_params._replace(target_accuracy=jnp.asarray([jnp.inf, level, jnp.inf])))
    then = np.asarray(stopped.metrics["accuracy"][1])
    assert np.array_equal(then[: reached + 1], scores[: reached + 1])
    assert (then[reached:] == scores[reached]).all()
    assert np.isnan(stopped.metrics["cohort_size"][1, reached + 1 :]).all()  # no round was run
    assert reached < len(scores) - 1
    assert_same_bits(pick(whole, np.array([0, 2])), pick(stopped, np.array([0, 2])))


@pytest.mark.parametrize("value", [np.nan, 3e38])
def test_one_example_that_is_not_finite_ends_no_run(value):
    """Models that stayed as they were told with probability 0.94 that the client was there, at a claimed epsilon of 0.25."""
    run_params = make_hypers(runs=20, clip=0.5, noise=4.0)
    data = make_data()
    x = jnp.concatenate([data.train.x, jnp.full((1, FEATURES), value, jnp.float32)])
    data = data._replace(
        train=Examples(x, jnp.append(data.train.y, 0)),
        train_index=data.train_index.at[0, 0, 0].set(60),
        train_count=data.train_count.at[0, 0].set(1),
    )
    program = make_program(make_static(), jax.devices()[:1])
    state, models = program.init(data, run_params), []
    for stop in range(1, program.blocks + 1):
        state = program.advance(data, run_params, state, stop)
        models.append(np.asarray(jax.tree.leaves(state.params)[1]))
    frozen = [np.mean([np.array_equal(*pair) for pair in zip(*two, strict=True)]) for two in pairwise(models)]
    assert frozen == [0, 0, 0]
    assert (state.diverged_round == -1).all()
    assert np.isfinite(state.metrics["loss"]).all()


def test_training_that_blows_up_without_clipping_names_its_round():
    state = train(make_static(), make_hypers(rate=1e20, clip=jnp.inf, noise=0.0))
    assert (state.diverged_round >= 1).all()
    assert (state.diverged_round <= 2).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sgd", {"learning_rate": 0.1, "momentum": 0.9}),
        ("adam", {"learning_rate": 0.01, "b1": 0.9}),
        ("yogi", {"learning_rate": 0.01}),
        ("adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.1}),
    ],
)
def test_every_server_optimizer_trains(name, arguments):
    static = make_static(optimizer=name, rounds=20, evaluation_rounds=(0, 20))
    state = train(static, make_hypers(noise=0.0, clip=5.0, rate=0.3, server=arguments))
    loss = state.metrics["loss"]
    assert (loss[:, -1] < loss[:, 0]).all()


@pytest.mark.parametrize("name", schema()["server_optimizer"])
def test_every_optimizer_of_the_configuration_takes_all_its_arguments_as_arguments_of_the_program(name):
    rules = schema()["server_optimizer"][name]
    traced = {"learning_rate": 0.1} | {key: 0.3 for key, rule in rules.items() if rule["type"] == "number"}
    flags = {key: True for key, rule in rules.items() if rule["type"] == "boolean"}
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}

    @jax.jit
    def step(arguments):
        optimizer = server_optimizer(name, flags | arguments)
        return server_update(optimizer, params, optimizer.init(params), jax.tree.map(lambda p: -0.1 * p, params))[0]

    moved = step({key: jnp.float32(value) for key, value in traced.items()})
    assert all(np.isfinite(leaf).all() and (leaf != 1).any() for leaf in jax.tree.leaves(moved))


def test_local_steps_run_on_into_the_next_pass():
    data = make_data()
    params = MODEL.init(jax.random.key(5))

    def update(work, count):
        index = data.train_index[0, 0]
        key = jax.random.key(7)
        numbers = {"count": jnp.int32(count), "learning_rate": jnp.float32(0.1), "client": jnp.int32(0)}
        return local_sgd(
            LocalProblem(MODEL.apply, TASK.loss, work, params, data.train, index, key=key, **numbers)
        ).delta

    two_epochs = update(LocalWork(2, None, 4), 8)
    assert_close(two_epochs, update(LocalWork(None, 4, 4), 8))
    for nothing in (LocalWork(None, 4, 4), LocalWork(2, None, 4)):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(update(nothing, 0)))
