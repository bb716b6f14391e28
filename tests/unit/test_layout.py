"""How work is laid out changes nothing: devices that share a cohort, chunks, batches of runs, memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problem import (
    CLIENTS,
    MODEL,
    assert_close,
    assert_same_bits,
    compiled_round,
    first_run,
    make_data,
    make_hypers,
    make_static,
    train,
)

from fedpareto.federated.algorithms.interface import LocalWork
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.execution import devices
from fedpareto.federated.execution.batching import MEMORY_SHARE, affordable_runs, fill_memory
from fedpareto.federated.execution.devices import Layout
from fedpareto.models.model import build
from fedpareto.privacy.clipping import global_norm


def record_static(**changes):
    static = make_static(
        work=LocalWork(None, 1, None),
        unit="record",
        sampling_rate=0.3,
        max_cohort_size=60,
        expected_cohort=18.0,
        at_once=4,
    )
    return replace(static, **changes)


@pytest.mark.parametrize("static", [make_static(), record_static()], ids=["client", "record"])
@pytest.mark.parametrize("shared", [2, 4])
def test_devices_that_share_a_cohort_change_no_bit(static, shared):
    run_params = make_hypers(runs=2)
    alone = train(static, run_params)
    together = train(replace(static, cohort_devices=shared), run_params, devices=shared)
    assert_same_bits(alone, together)


def test_runs_and_cohorts_are_split_at_the_same_time():
    run_params = make_hypers(runs=4)
    assert_same_bits(train(make_static(), run_params), train(make_static(cohort_devices=2), run_params, devices=4))


def test_a_round_of_records_is_a_noisy_step_along_the_clipped_gradients():
    """Against the definition: every record's gradient by itself, clipped, summed, divided by the expected batch."""
    data, run_params = make_data(), first_run(make_hypers(clip=0.5, noise=0.0))
    static = record_static(sampling_rate=1.0, expected_cohort=40.0)
    params = MODEL.init(jax.random.key(5))
    moved, _, report = compiled_round(static, data, run_params, params, optax.sgd(1.0).init(params), jnp.int32(0))

    total = jax.tree.map(jnp.zeros_like, params)
    for x, y in zip(data.train.x, data.train.y, strict=True):
        gradient = jax.grad(lambda p, x=x, y=y: -jax.nn.log_softmax(MODEL.apply(p, x[None]))[0, y])(params)
        factor = min(1.0, 0.5 / float(global_norm(gradient)))
        total = jax.tree.map(lambda t, g, factor=factor: t + factor * g, total, gradient)
    expected = jax.tree.map(lambda p, t: p - t / 40.0, params, total)
    assert_close(moved, expected, rtol=1e-7, atol=1e-5)
    assert int(report.cohort_size) == 60
    assert 0 < float(report.clipped_fraction) <= 1


def test_one_record_moves_the_sum_by_at_most_the_clip_norm():
    data = make_data()
    params = MODEL.init(jax.random.key(5))
    for clip in (0.01, 0.5):
        run_params = first_run(make_hypers(clip=clip, noise=0.0))
        static = record_static(sampling_rate=1.0, expected_cohort=1.0)

        def total(rows, static=static, run_params=run_params):
            some = data._replace(train=jax.tree.map(lambda leaf: leaf[rows], data.train))
            moved, _, _ = compiled_round(static, some, run_params, params, optax.sgd(1.0).init(params), jnp.int32(0))
            return jax.tree.map(jnp.subtract, moved, params)

        present, absent = total(np.arange(60)), total(np.delete(np.arange(60), 17))
        assert 0 < float(global_norm(jax.tree.map(jnp.subtract, present, absent))) <= clip * (1 + 1e-4)


def test_chunks_of_records_give_the_same_round():
    data, run_params = make_data(), first_run(make_hypers(noise=0.0))
    params = MODEL.init(jax.random.key(5))
    rounds = [
        compiled_round(record_static(at_once=k), data, run_params, params, optax.sgd(1.0).init(params), jnp.int32(1))
        for k in (1, 7, 60)
    ]
    for other in rounds[1:]:
        assert_close(rounds[0], other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("runs", "cores", "parameters", "expected"),
    [
        (1, 2, 10**6, (2, 2)),  # one run: both cores work on its cohort
        (12, 2, 10**6, (2, 1)),  # runs enough for both
        (3, 2, 10**6, (2, 2)),  # three runs on two cores: two turns, or one and a half
        (1, 8, 10**6, (4, 4)),
        (2, 8, 10**6, (8, 4)),
        (1, 2, 100, (1, 1)),  # too little to share
    ],
)
def test_cores_go_to_runs_first_and_to_cohorts_where_runs_are_few(monkeypatch, runs, cores, parameters, expected):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices("cpu")[:1] * cores)
    layout, where = devices.choose(runs, replace(MODEL, parameters=parameters), 100.0, "client")
    assert (layout.devices, layout.cohort_devices) == expected
    assert len(where) == layout.devices
    assert (layout.kind, layout.at_once, layout.runs_at_once) == ("cpu", 1, 1)


def test_the_user_can_set_the_layout():
    wanted = {"at_once": 3, "runs_at_once": 2, "devices": 1, "cohort_devices": 1}
    layout, where = devices.choose(5, MODEL, 100.0, "client", wanted=wanted)
    assert {key: layout.to_dict()[key] for key in wanted} == wanted
    assert len(where) == 1


def test_a_layout_for_a_larger_machine_is_cut_to_this_one(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices("cpu")[:1] * 2)
    layout, where = devices.choose(5, MODEL, 100.0, "client", wanted={"devices": 16, "cohort_devices": 4})
    assert (layout.devices, layout.cohort_devices, len(where)) == (2, 2, 2)


def test_chunks_of_records_are_larger_where_examples_are_smaller():
    table, image = (
        devices.choose(1, build({"name": name}, shape, 3), 1000.0, "record")[0].at_once
        for name, shape in (("logistic", (9,)), ("dp_cnn", (28, 28, 1)))
    )
    assert table > image >= 16


def test_runs_fill_the_memory_and_are_spread_evenly():
    free = 1000 / MEMORY_SHARE
    assert affordable_runs(100, 200, 100, int(free) + 1) == 10
    assert affordable_runs(100, 200, 11, int(free) + 1) == 6  # two turns of six, not ten and one
    assert affordable_runs(100, 200, 3, int(free) + 1) == 3
    assert affordable_runs(5000, 9000, 8, int(free) + 1) == 1
    assert affordable_runs(100, 100, 7, None) == 7


def test_memory_is_measured_on_the_compiled_program():
    static, data = make_static(), make_data()
    asked = []

    def make(k):
        asked.append(k)
        return make_program(static, jax.devices()[:1], k)

    layout = Layout("accelerator", 1, 1, 4, runs_at_once=0)
    filled = fill_memory(layout, make, lambda n: make_hypers(runs=n), data, runs=5, device=jax.devices()[0])
    assert asked == [1, 2]
    assert filled == replace(layout, runs_at_once=5)  # small runs: all of them fit
    one, two = (make(k).temporary_bytes(data, make_hypers(runs=k)) for k in (1, 2))
    assert 0 < one < two
    kept = replace(layout, runs_at_once=2)
    assert fill_memory(kept, make, make_hypers, data, runs=5, device=jax.devices()[0]) is kept
    assert static.clients == CLIENTS


def test_chunks_of_large_models_fit_in_memory():
    """Where every record's gradient is formed, and the more of its views there are, the fewer records a chunk has."""
    small, large = (
        build(spec, (32, 32, 3), 10)
        for spec in ({"name": "wrn", "depth": 10, "width": 1}, {"name": "wrn", "depth": 16, "width": 4})
    )
    sizes = [devices.records_in(20e9, model, views, 1024) for model in (small, large) for views in (1, 16)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 64  # as many as De et al. give a device
    assert devices.records_in(1.0, large, 16, 1024) == 1
    assert devices.records_in(1e15, large, 16, 1024) == 1024
    at_once = devices.choose(1, large, 4096.0, "record", views=16)[0].at_once
    assert at_once * 4 * large.parameters < devices.CPU_MEMORY_OF_A_CHUNK
