"""The moving average of the parameters, and the decay of the clients' learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import yaml
from problem import (
    MODEL,
    TASK,
    assert_close,
    assert_same_bits,
    compiled_round,
    first_run,
    make_data,
    make_hypers,
    make_static,
    train,
)

from fedpareto.config.load import load
from fedpareto.data import arrays
from fedpareto.data.prepare import prepare
from fedpareto.federated.engine.evaluation import evaluate
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.store.checkpoint import Checkpoints
from fedpareto.federated.train import train_bundle
from fedpareto.models.model import build
from fedpareto.sweep.account import account
from fedpareto.sweep.sweep import plan_sweep

EVERY_ROUND = {"rounds": 3, "evaluation_rounds": (0, 1, 2, 3)}


def test_the_average_follows_its_rule_and_is_what_is_scored():
    static, run_params, data = make_static(averaging=0.2, **EVERY_ROUND), make_hypers(runs=1), make_data()
    program = make_program(static, jax.devices()[:1])
    state = program.init(data, run_params)
    expected = [np.asarray(leaf[0], float) for leaf in jax.tree.leaves(state.params)]
    for block in range(1, 5):
        state = jax.device_get(program.advance(data, run_params, state, block))
        if block > 1:
            t = block - 2
            kept = min(0.2, (1 + t) / (10 + t))  # 0.1, 0.18, 0.2
            new = jax.tree.leaves(state.params)
            expected = [kept * old + (1 - kept) * leaf[0] for old, leaf in zip(expected, new, strict=True)]
        own = jax.tree.map(lambda leaf: leaf[0], state.model)
        assert_close(own, expected, rtol=1e-5, atol=1e-6)
        scores = evaluate(
            MODEL.apply, TASK, own, data.test.x, data.test.y, client=data.test_client[0], clients=static.clients
        )
        np.testing.assert_allclose(state.metrics["loss"][0, block - 1], scores["loss"], rtol=1e-5)


def test_training_is_the_same_with_an_average_beside_it_and_both_survive_a_checkpoint_to_the_bit(tmp_path):
    run_params, data = make_hypers(runs=2), make_data()
    program = make_program(make_static(averaging=0.9), jax.devices()[:1])
    whole = jax.device_get(program.advance(data, run_params, program.init(data, run_params), program.blocks))
    plain = train(make_static(), run_params)
    assert_close(plain.params, whole.params, rtol=1e-5, atol=1e-6)
    assert plain.memory.average is None
    assert plain.model is plain.params
    assert float(np.abs(plain.metrics["loss"] - whole.metrics["loss"])[:, 1:].min()) > 0
    half = program.advance(data, run_params, program.init(data, run_params), 2)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, half)
    block, restored = checkpoints.restore(program.init(data, run_params))
    assert block == 2
    assert_same_bits(jax.device_get(program.advance(data, run_params, restored, program.blocks)), whole)


def test_the_clients_learning_rate_shrinks_from_round_to_round():
    static, data, run_params = make_static(), make_data(), first_run(make_hypers(noise=0.0))
    params = MODEL.init(jax.random.key(5))

    def after(run_params, number):
        return compiled_round(static, data, run_params, params, optax.sgd(1.0).init(params), jnp.int32(number))[0]

    halved = run_params._replace(client_decay=jnp.float32(0.5))
    assert_same_bits(after(halved, 0), after(run_params._replace(client_decay=jnp.float32(1)), 0))
    assert_close(after(halved, 0), after(run_params, 0))
    quarter = run_params._replace(client_learning_rate=run_params.client_learning_rate / 4)
    assert_close(after(halved, 2), after(quarter, 2))


STUDY = {
    "dataset": "digits",
    "clients": 5,
    "rounds": 4,
    "evaluate_every": 4,
    "model": "logistic",
    "local_steps": 1,
    "client_learning_rate": 0.5,
    "client_learning_rate_decay": [1, 0.5],
    "averaging": {"name": "ema", "decay": 0.5},
    "noise_multiplier": 0,
    "baselines": ["alone"],
}


def test_the_model_that_is_kept_is_the_one_that_was_scored(tmp_path):
    file = tmp_path / "average.yaml"
    file.write_text(yaml.safe_dump({"studies": {"s": STUDY}}))
    plan = plan_sweep(load([file]))
    # Runs whose rate decays share no program with those whose rate does not; a client alone has neither it nor an average.
    federated = [run for run in plan.runs.values() if run.baseline is None]
    assert sorted(run.training.client_learning_rate_decay or 1.0 for run in federated) == [0.5, 1.0]
    alone = [run for run in plan.runs.values() if run.baseline == "alone"]
    assert {(run.training.averaging, run.training.client_learning_rate_decay) for run in alone} == {(None, None)}
    prepare("digits", tmp_path / "digits.npz", tmp_path / "digits.json")
    data = arrays.read(tmp_path / "digits.npz")
    bundle = next(b for b in plan.bundles.values() if b.runs[0].training.client_learning_rate_decay == 0.5)
    (result,) = train_bundle(
        bundle, account(bundle), data, runs_folder=tmp_path / "runs", checkpoints_folder=tmp_path / "checkpoints"
    )
    with np.load(tmp_path / "runs" / result.run_id / "model.npz") as stored:
        params = {"Dense_0": {name: stored[f"Dense_0/{name}"] for name in ("kernel", "bias")}}
    logits = build({"name": "logistic"}, (64,), 10).apply(params, jnp.asarray(data.x_test))
    accuracy = float(np.mean(np.argmax(logits, axis=1) == data.y_test))
    assert abs(accuracy - result.metrics["accuracy"][-1]) < 1e-6
