"""Partitions: everybody's examples, dealt as the scheme says."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpareto.data import DataError
from fedpareto.data.partitions.dealing import label_counts, partition
from fedpareto.federated.inputs.device_data import partitions_of

SCHEMES = st.sampled_from(
    [
        {"name": "iid"},
        {"name": "dirichlet", "alpha": 0.05},
        {"name": "dirichlet", "alpha": 5.0},
        {"name": "shards", "shards_per_client": 2},
        {"name": "quantity", "alpha": 0.3},
    ]
)


def labels(n, classes, seed=0):
    return np.random.default_rng(seed).integers(0, classes, n)


def deal(scheme, n=300, m=90, clients=20, classes=4, seed=0):
    y_train, y_test = labels(n, classes), labels(m, classes, 1)
    return partition(y_train, y_test, scheme=scheme, clients=clients, seed=seed), y_train, y_test


@settings(max_examples=60, deadline=None)
@given(SCHEMES, st.integers(1, 60), st.integers(1, 4), st.integers(0, 5))
def test_every_example_goes_to_exactly_one_client_that_keeps_the_minimum(scheme, clients, minimum, seed):
    dealt, y_train, y_test = deal(scheme | {"minimum": minimum}, clients=clients, seed=seed)
    rows = np.concatenate([dealt.train_index[c, :k] for c, k in enumerate(dealt.train_count)])
    assert sorted(rows) == list(range(len(y_train)))
    assert dealt.train_count.min() >= minimum
    assert dealt.test_client.shape == y_test.shape
    assert set(dealt.test_client) <= set(range(clients))


@pytest.mark.parametrize("scheme", [{"name": "iid"}, {"name": "dirichlet", "alpha": 0.3}])
def test_a_seed_fixes_the_partition_and_another_changes_it(scheme):
    (a, *_), (b, *_), (c, *_) = deal(scheme), deal(scheme), deal(scheme, seed=1)
    np.testing.assert_array_equal(a.train_index, b.train_index)
    assert not np.array_equal(a.train_index[:, :3], c.train_index[:, :3])


def test_iid_sizes_differ_by_at_most_one():
    assert np.ptp(deal({"name": "iid"}, n=307)[0].train_count) == 1


def test_shards_bound_the_number_of_labels():
    dealt, y, _ = deal({"name": "shards", "shards_per_client": 2}, n=4000, clients=50)
    # A shard may straddle the border between two labels.
    assert (label_counts(dealt, y, 4) > 0).sum(axis=1).max() <= 4
    assert (label_counts(dealt, y, 4) > 0).sum(axis=1).mean() < 2.5


@pytest.mark.parametrize(("clients", "each", "size"), [(4, 2, 30), (7, 3, 40), (50, 2, 30), (31, 3, 40), (9, 7, 40)])
def test_shards_of_a_size_are_drawn_equally_often_and_by_no_client_twice(clients, each, size):
    dealt, y, y_test = deal({"name": "shards", "shards_per_client": each, "shard_size": size}, n=300, clients=clients)
    assert dealt.train_index.shape == (clients, each * size)
    assert set(dealt.train_count) == {each * size}
    assert all(len(set(rows)) == each * size for rows in dealt.train_index)
    times = np.bincount(dealt.train_index.ravel(), minlength=300)
    shards = 300 // size
    assert sorted(set(times[times > 0])) == sorted({max(1, clients * each // shards), -(-clients * each // shards)})
    assert (times > 0).sum() == min(clients * each, shards) * size
    assert np.diff(y[dealt.train_index.reshape(-1, size)], axis=1).min() >= 0  # a slice of the examples by label
    held = label_counts(dealt, y, 4)
    assert held.sum(axis=1).tolist() == [each * size] * clients
    for client, label in zip(dealt.test_client, y_test, strict=True):
        assert held[client, label] > 0 or held[:, label].sum() == 0


def test_a_client_cannot_draw_more_shards_than_there_are():
    with pytest.raises(DataError, match="300 training examples make 2 "):
        deal({"name": "shards", "shards_per_client": 3, "shard_size": 150})


def test_alpha_sets_the_skew():
    def skew(alpha):
        dealt, y, _ = deal({"name": "dirichlet", "alpha": alpha}, n=4000, clients=10)
        counts = label_counts(dealt, y, 4)
        return (counts.max(axis=1) / counts.sum(axis=1)).mean()

    assert skew(0.05) > 0.75
    assert skew(1000.0) < 0.35


def test_test_examples_follow_the_clients_labels():
    dealt, y_train, y_test = deal({"name": "shards", "shards_per_client": 1}, n=2000, m=2000, clients=8)
    held = label_counts(dealt, y_train, 4)
    for client in range(8):
        own = np.bincount(y_test[dealt.test_client == client], minlength=4)
        assert own[held[client] == 0].sum() == 0


def test_the_natural_split_is_taken_as_it_is():
    owner = np.array([2, 0, 1, 1, 2])
    dealt = partition(
        np.zeros(5, int),
        np.zeros(2, int),
        scheme={"name": "natural"},
        clients=3,
        seed=0,
        client_train=owner,
        client_test=owner[:2],
    )
    assert dealt.train_count.tolist() == [1, 2, 2]
    assert dealt.test_client.tolist() == [2, 0]


def test_data_without_clients_have_no_natural_split():
    with pytest.raises(DataError, match="whose each example is"):
        partition(np.zeros(5, int), np.zeros(2, int), scheme={"name": "natural"}, clients=3, seed=0)


def test_the_natural_clients_are_as_many_as_planned():
    whose = np.array([0, 1, 2, 0])
    with pytest.raises(DataError, match="the data name 3 clients and the plan 5"):
        partition(
            whose % 2, whose % 2, scheme={"name": "natural"}, clients=5, seed=0, client_train=whose, client_test=whose
        )


def test_the_records_are_as_many_as_planned():
    data = SimpleNamespace(y_train=np.zeros(9, np.int32))
    with pytest.raises(DataError, match="the data hold 9 training examples and the plan 10"):
        partitions_of([SimpleNamespace(data=SimpleNamespace(records=10))], data)
