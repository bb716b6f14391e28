"""What adversaries see is what the round sends, and what a simulated client would send is the same."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attacked import target

from fedpareto.attacks.adversary_view import first_rounds
from fedpareto.attacks.gradient_inversion.simulation import update_of
from fedpareto.components.threats import PARTICIPANTS, SERVER
from fedpareto.federated.algorithms.scaffold import Scaffold

PLAIN = {"noise_multiplier": 0, "delta": None}
RECORDS = {"unit": "record", "client_learning_rate": None, "local_epochs": None, "batch_size": None}


def hyper_of(target, run=0):
    return jax.tree.map(lambda leaf: leaf[run], target.run_params)


def transcripts_of(target, records, victims):
    return first_rounds(target.static, target.device_data, target.run_params, records, victims)


def assert_close(one, other, at_most=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=at_most), one, other)


def assert_a_simulated_client_sends_the_same(it, transcript):
    simulated = jax.jit(lambda x, y: update_of(it.static, hyper_of(it), transcript.params, x, y))
    for victim, rows in enumerate(transcript.rows):
        sent = jax.tree.map(lambda leaf, v=victim: leaf[v], transcript.seen[SERVER])
        x, y = jnp.asarray(it.data.x_train[rows]), jnp.asarray(it.data.y_train[rows])
        assert_close(simulated(x, y), sent)


def assert_the_sum_is_that_of_all_victims(transcript):
    summed = jax.tree.map(lambda leaf: leaf.sum(axis=0), transcript.seen[SERVER])
    assert_close(jax.tree.map(lambda leaf: leaf[0], transcript.seen[PARTICIPANTS]), summed)


def test_clients_that_are_clipped_and_weighted():
    everybody = {"sampling": "fixed_size", "sampling_rate": 0.2}
    weights = {"weighting": {"name": "examples", "cap": 8}, "model": {"name": "mlp", "hidden": "4"}}
    it = target(noise_multiplier=[0.0, 1.0], **everybody, **weights)
    order = sorted(range(2), key=lambda i: it.runs[i].to_dict()["noise_multiplier"])
    transcripts = transcripts_of(it, 4, 4)
    plain, noisy = (transcripts[i] for i in order)
    for one in (plain, noisy):
        # The server is trusted and sees no noise; those who see the sum do.
        assert one.rows.shape == (4, 4)
        assert_a_simulated_client_sends_the_same(it, one)
    assert_the_sum_is_that_of_all_victims(plain)
    apart = noisy.seen[PARTICIPANTS]["Dense_0"]["kernel"] - noisy.seen[SERVER]["Dense_0"]["kernel"].sum(axis=0)
    assert np.std(apart[0]) == pytest.approx(0.3, rel=0.2)
    # Cohorts differ between the runs, and the same records are looked for in both: those of the first clients.
    np.testing.assert_array_equal(plain.rows, noisy.rows)
    np.testing.assert_array_equal(plain.rows, it.device_data.train_index[0, :4, :4])


def test_records_that_the_server_draws():
    records, victims = 3, 4
    rate = {"sampling": "fixed_size", "sampling_rate": records * victims / 1438}
    it = target(**PLAIN | RECORDS | rate | {"clip_norm": 1.0})
    (transcript,) = transcripts_of(it, records, victims)
    assert transcript.rows.shape == (victims, records)
    assert_a_simulated_client_sends_the_same(it, transcript)
    assert_the_sum_is_that_of_all_victims(transcript)


def test_clients_that_would_not_answer():
    pulled = {"algorithm": {"name": "fedprox", "proximal": 1.0}, "local_epochs": None, "local_steps": 3}
    it = target(**PLAIN | pulled | {"clip_norm": None, "dropout": 0.9})
    (transcript,) = transcripts_of(it, 4, 4)
    assert_a_simulated_client_sends_the_same(it, transcript)


def test_nobody_is_looked_at_who_holds_too_few_records():
    (transcript,) = transcripts_of(target(clients=1400, sampling_rate=0.01), 5, 4)
    assert len(transcript.rows) == 0
    assert not transcript.seen


def test_a_scaffold_client_is_not_attacked():
    it = target()
    with pytest.raises(ValueError, match="several vectors"):
        first_rounds(replace(it.static, algorithm=Scaffold()), it.device_data, it.run_params, 1, 1)
