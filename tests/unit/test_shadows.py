"""Shadow runs: what is left out of one leaves no trace in its model."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from membership_targets import OF_RECORDS, target
from scipy import special

from fedpareto.attacks.membership import shadow_runs as shadows
from fedpareto.attacks.membership.scores import InOut
from fedpareto.attacks.target import train

KINDS = {
    "clients": {},
    "clients, scaffold": {"algorithm": "scaffold", "participation": "seen"},
    "records": OF_RECORDS,
    "records, own noise": {
        "unit": "record",
        "trust": "local",
        "local_epochs": None,
        "local_steps": 3,
        "noise_multiplier": 2.0,
    },
    "records, secure sum": {
        **OF_RECORDS,
        "trust": "distributed",
        "sampling_rate": 0.1,
        "mechanism": {"name": "skellam", "bits": 20},
    },
}

SLOW = ("clients, scaffold", "records, own noise", "records, secure sum")  # to compile


@cache
def kind_of(name):
    """One target of each kind, so that it is compiled once."""
    return target(**KINDS[name])


def halves_of(attacked, whole_clients, count=4):
    units = attacked.static.clients if whole_clients else len(attacked.data.y_train)
    return shadows.balanced_halves(units, count, np.random.default_rng(0))


def models_of(attacked, membership_mask, whole_clients, garbage=None):
    """The shadows' models, [runs x shadows, ...]; features of `garbage` (bool [records]) are replaced before training."""
    data = attacked.device_data
    places = shadows.places_of(data, 0, membership_mask, whole_clients)[None]
    record_mask = shadows._present(attacked, places) if whole_clients else membership_mask[None]
    run_params = shadows.run_params_of_shadows(attacked, "test", len(membership_mask), record_mask)
    data = shadows.leave_out(attacked.static, data, places, record_mask)
    if garbage is not None:
        x = jnp.where(jnp.asarray(garbage)[:, None], 37.0, data.train.x)
        data = data._replace(train=data.train._replace(x=x, y=jnp.where(garbage, 1 - data.train.y, data.train.y)))
    return train(attacked.static, data, run_params), record_mask[0]


@pytest.mark.parametrize("whole_clients", [False, True], ids=["record", "client"])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in KINDS])
def test_what_is_out_leaves_no_trace(kind, whole_clients):
    attacked = kind_of(kind)
    membership_mask = shadows.membership_of(halves_of(attacked, whole_clients))
    models, record_mask = models_of(attacked, membership_mask, whole_clients)
    dirty, _ = models_of(attacked, membership_mask, whole_clients, garbage=~record_mask[0])
    same = [
        all(np.array_equal(a[shadow], b[shadow]) for a, b in zip(*map(jax.tree.leaves, (models, dirty)), strict=True))
        for shadow in range(len(membership_mask))
    ]
    # The first shadow has none of the records that were replaced; every other has some of them.
    assert same == [True, *[False] * (len(membership_mask) - 1)]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(models))
    # Records or clients, what is there is about half, and what is not there is nobody else's.
    assert 0.2 < record_mask[0].mean() < 0.8


def test_a_client_trains_on_exactly_its_records_that_are_there():
    attacked = kind_of("clients")
    data = attacked.device_data
    membership_mask = shadows.membership_of(halves_of(attacked, False))
    places = shadows.places_of(data, 0, membership_mask, False)[None]
    left = shadows.leave_out(attacked.static, data, places, membership_mask[None])
    for shadow, own in enumerate(membership_mask):
        for client in range(attacked.static.clients):
            whole = np.asarray(data.train_index[0, client, : data.train_count[0, client]])
            kept = np.asarray(left.train_index[shadow, client, : left.train_count[shadow, client]])
            np.testing.assert_array_equal(kept, whole[own[whole]])
    assert left.record_mask is None
    assert left.train_index.shape[1:] == data.train_index.shape[1:]


def test_public_sizes_stay_where_records_are_drawn():
    attacked = kind_of("records")
    membership_mask = shadows.membership_of(halves_of(attacked, False))
    places = shadows.places_of(attacked.device_data, 0, membership_mask, False)[None]
    left = shadows.leave_out(attacked.static, attacked.device_data, places, membership_mask[None])
    for part in ("train_index", "train_count"):
        whole = np.repeat(np.asarray(getattr(attacked.device_data, part)), 4, axis=0)
        np.testing.assert_array_equal(getattr(left, part), whole)
    np.testing.assert_array_equal(left.record_mask, membership_mask)


def test_preprocessing_learns_of_the_shadows_records_only():
    attacked = target(**OF_RECORDS, preprocessing={"name": "pca", "dimensions": 5, "noise_multiplier": 4})
    membership_mask = shadows.membership_of(halves_of(attacked, False))[None]
    own = shadows.run_params_of_shadows(attacked, "test", 4, membership_mask).preprocessing["directions"]
    attacked.data.x_train[~membership_mask[0, 0]] += 10.0
    try:
        garbled = shadows.run_params_of_shadows(attacked, "test", 4, membership_mask).preprocessing["directions"]
    finally:
        attacked.data.x_train[~membership_mask[0, 0]] -= 10.0
    assert own.shape == (4, 30, 5)
    np.testing.assert_array_equal(own[0], garbled[0])
    assert not any(np.array_equal(own[shadow], garbled[shadow]) for shadow in (1, 2, 3))


def test_shadows_share_what_is_public_and_draw_the_rest_afresh():
    attacked = target(noise_multiplier=[1.0, 2.0])
    run_params = shadows.run_params_of_shadows(attacked, "test", 4, np.ones((1, 4, 455), bool))
    assert len(np.unique(np.asarray(run_params.secret_key), axis=0)) == 8
    assert not {*map(bytes, np.asarray(run_params.secret_key))} & {
        *map(bytes, np.asarray(attacked.run_params.secret_key))
    }
    np.testing.assert_array_equal(run_params.public_key, np.repeat(attacked.run_params.public_key, 4, axis=0))
    np.testing.assert_array_equal(run_params.noise_stddev, np.repeat(attacked.run_params.noise_stddev, 4))
    np.testing.assert_array_equal(run_params.partition, [0, 1, 2, 3] * 2)
    other = shadows.run_params_of_shadows(attacked, "other", 4, np.ones((1, 4, 455), bool))
    assert not np.array_equal(run_params.secret_key, other.secret_key)


def test_signals_are_the_confidence_of_the_shadows_models():
    attacked = kind_of("clients")
    in_out_split = halves_of(attacked, False)
    membership_mask = shadows.membership_of(in_out_split)
    found = shadows.shadow_signals(attacked, "test", membership_mask[None], False)
    models, _ = models_of(attacked, membership_mask, False)
    for shadow in (0, 3):
        params = jax.tree.map(lambda leaf, shadow=shadow: leaf[shadow], models)
        for phi, part in ((found.train, attacked.device_data.train), (found.test, attacked.device_data.test)):
            logits = np.asarray(attacked.model.apply(params, part.x))
            p = special.softmax(logits.astype(np.float64), axis=1)
            of_label, of_other = (p[np.arange(len(p)), labels] for labels in (part.y, 1 - part.y))
            np.testing.assert_allclose(phi[0, shadow], np.log(of_label / of_other), rtol=1e-4, atol=1e-4)
    pairs = shadows.paired(found.train[0], in_out_split)
    assert isinstance(pairs, InOut)
    assert pairs.inside[1, 7] == found.train[0, in_out_split.inside[1, 7], 7]
