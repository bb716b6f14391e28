"""Secure aggregation: the exact sum, and nothing but the sum. Keys and masks are drawn anew on every run."""

from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedpareto.privacy.secure_aggregation import cost as secure_aggregation
from fedpareto.privacy.secure_aggregation import protocol as aggregation_parties
from fedpareto.privacy.secure_aggregation import shamir
from fedpareto.privacy.secure_aggregation.cost import Client, SecureAggregationError, Server, aggregate, measure

ALARM = 1e-6  # probability that a correct implementation fails a test of randomness here, on any one run


def dropped(by_stage):
    """Arguments of `aggregate`: the clients that drop out before sharing, before the input, and before unmasking."""
    return {f"dropped_before_{stage}": u for stage, u in zip(("sharing", "input", "unmasking"), by_stage, strict=True)}


def vectors(participants, dimension, bits, seed=0):
    return np.random.default_rng(seed).integers(2**bits, size=(participants, dimension), dtype=np.uint64)


def plain_sum(rows, bits):
    return (rows.sum(axis=0, dtype=np.uint64) % 2**bits).astype(np.uint32)


def up_to_masked_input(rows, bits=16, threshold=3, silent=()):
    """A session after round 2, in which the clients in `silent` shared their keys and sent no vector."""
    n = len(rows)
    server = Server(n, len(rows[0]), bits, threshold)
    clients = [Client(u, n, bits, threshold) for u in range(n)]
    directory = server.collect_keys({u: client.advertise_keys() for u, client in enumerate(clients)})
    delivered = server.route_shares({u: client.share_keys(directory) for u, client in enumerate(clients)})
    masked = {u: clients[u].masked_input(delivered[u], rows[u]) for u in range(n) if u not in silent}
    for u, vector in masked.items():
        server.receive_input(u, vector)
    return server, clients, delivered, masked


@pytest.mark.parametrize("bits", [1, 7, 16, 31, 32])
def test_the_total_is_the_sum_modulo_a_power_of_two(bits):
    rows = vectors(6, 41, bits)
    total = aggregate(rows, bits, threshold=4).total
    assert total.dtype == np.uint32
    np.testing.assert_array_equal(total, plain_sum(rows, bits))


def test_negative_integers_are_their_residues():
    rows = np.array([[-1, 5], [-7, -5], [3, 1]])
    np.testing.assert_array_equal(aggregate(rows, 8, 2).total, rows.sum(axis=0) % 256)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(3, 9), bits=st.integers(1, 32), dimension=st.integers(1, 20))
def test_the_total_is_exact_whoever_drops_out_and_when(data, n, bits, dimension):
    threshold = data.draw(st.integers(n // 2 + 1, n))
    order = data.draw(st.permutations(range(n)))
    gone = order[: data.draw(st.integers(0, n - threshold))]
    stage = [data.draw(st.integers(0, 2)) for _ in gone]
    by_stage = [[u for u, s in zip(gone, stage, strict=True) if s == at] for at in range(3)]
    rows = vectors(n, dimension, bits, seed=n)
    counted = [u for u in range(n) if u not in by_stage[0] + by_stage[1]]
    total = aggregate(rows, bits, threshold, **dropped(by_stage)).total
    np.testing.assert_array_equal(total, plain_sum(rows[counted], bits))


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("dropped_before_sharing", "only 3 clients shared keys"),
        ("dropped_before_input", "only 3 clients sent a masked input"),
        ("dropped_before_unmasking", "only 3 clients helped to unmask"),
    ],
)
def test_too_many_dropouts_are_refused_at_every_stage(stage, reason):
    rows = vectors(6, 5, 16)
    with pytest.raises(SecureAggregationError, match=reason):
        aggregate(rows, 16, 4, **{stage: (1, 3, 5)})
    aggregate(rows, 16, 4, **{stage: (1, 3)})


def test_too_few_advertised_keys_are_refused_by_both_parties():
    clients = [Client(u, 4, 16, 3) for u in range(2)]
    advertised = {u: client.advertise_keys() for u, client in enumerate(clients)}
    with pytest.raises(SecureAggregationError, match="only 2 clients advertised keys"):
        Server(4, 5, 16, 3).collect_keys(advertised)
    with pytest.raises(SecureAggregationError, match="only 2 clients advertised keys"):
        clients[0].share_keys(advertised)


@pytest.mark.parametrize("threshold", [0, 2, 3, 7])
def test_thresholds_that_protect_nothing_are_refused(threshold):
    with pytest.raises(SecureAggregationError, match="threshold"):
        aggregate(vectors(6, 5, 16), 16, threshold)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bits": 0}, "bits"),
        ({"bits": 33}, "bits"),
        ({"vectors": np.zeros((4, 3))}, "integers"),
        ({"vectors": []}, "threshold"),
        ({"vectors": [np.zeros(3, int), np.zeros(2, int), np.zeros(3, int), np.zeros(3, int)]}, "does not fit"),
        ({"dropped_before_input": (4,)}, "one of the participants"),
        ({"dropped_before_input": (1,), "dropped_before_unmasking": (1,)}, "drop out once"),
    ],
)
def test_what_is_no_session_is_refused(change, reason):
    session = {"vectors": vectors(4, 3, 8), "bits": 8, "threshold": 3} | change
    with pytest.raises(SecureAggregationError, match=reason):
        aggregate(**session)


def test_a_client_never_gives_both_shares_of_the_same_client():
    server, clients, _, _ = up_to_masked_input(vectors(5, 4, 16))
    answer = clients[0].unmask(server.announce_survivors())
    with pytest.raises(SecureAggregationError, match="refuses: it would give both"):
        clients[0].unmask({0, 1, 2, 3})
    # Repeating the same question is harmless, and tells nothing new.
    assert clients[0].unmask(server.announce_survivors()) == answer


def test_an_answer_holds_one_share_per_client_and_the_right_one():
    server, clients, _, _ = up_to_masked_input(vectors(5, 4, 16), silent=(4,))
    answers = {u: clients[u].unmask(server.announce_survivors()) for u in (0, 2, 3)}
    weights = shamir.lagrange_at_zero([1, 3, 4])
    for v in range(5):
        secret = shamir.reconstruct({u + 1: answer[v] for u, answer in answers.items()}, weights)
        kept, other = clients[v]._seed, clients[v]._mask_key.private_bytes_raw()
        assert secret == (other if v == 4 else kept)
        assert all(len(answer[v]) == shamir.SHARE_BYTES for answer in answers.values())


@pytest.mark.parametrize("survivors", [{1, 2, 3}, {0, 1, 2, 9}])
def test_a_client_refuses_survivors_it_cannot_have_seen(survivors):
    _, clients, _, _ = up_to_masked_input(vectors(5, 4, 16))
    with pytest.raises(SecureAggregationError, match="the survivors are not"):
        clients[0].unmask(survivors)


def test_a_client_refuses_to_unmask_a_sum_of_fewer_than_the_threshold():
    _, clients, _, _ = up_to_masked_input(vectors(5, 4, 16))
    with pytest.raises(SecureAggregationError, match="only 2 clients"):
        clients[0].unmask({0, 1})


def test_keys_and_masks_serve_once():
    rows = vectors(5, 4, 16)
    server, clients, delivered, masked = up_to_masked_input(rows)
    with pytest.raises(SecureAggregationError, match="same masks"):
        clients[0].masked_input(delivered[0], rows[1])
    with pytest.raises(SecureAggregationError, match="already shared"):
        clients[0].share_keys({u: client.advertise_keys() for u, client in enumerate(clients)})
    with pytest.raises(SecureAggregationError, match="does not fit"):
        server.receive_input(0, masked[0])


@pytest.mark.parametrize("change", ["nonce", "body", "tag", "cut short", "empty"])
def test_a_tampered_ciphertext_is_detected(change):
    rows = vectors(4, 3, 16)
    clients = [Client(u, 4, 16, 3) for u in range(4)]
    directory = {u: client.advertise_keys() for u, client in enumerate(clients)}
    delivered = Server(4, 3, 16, 3).route_shares({u: client.share_keys(directory) for u, client in enumerate(clients)})
    changed = bytearray(delivered[0][2])
    if change in ("nonce", "body", "tag"):
        changed[{"nonce": 0, "body": 20, "tag": -1}[change]] ^= 1
    else:
        del changed[{"cut short": 20, "empty": 0}[change] :]
    clients[0].masked_input(delivered[0] | {2: bytes(changed)}, rows[0])
    with pytest.raises(SecureAggregationError, match="from client 2 to client 0 was tampered with"):
        clients[0].unmask({0, 1, 2, 3})


def test_a_ciphertext_returned_to_its_sender_is_detected():
    rows = vectors(3, 3, 16)
    clients = [Client(u, 3, 16, 2) for u in range(3)]
    directory = {u: client.advertise_keys() for u, client in enumerate(clients)}
    sealed = [client.share_keys(directory) for client in clients]
    clients[0].masked_input({1: sealed[0][1], 2: sealed[2][0]}, rows[0])
    with pytest.raises(SecureAggregationError, match="from client 1"):
        clients[0].unmask({0, 1, 2})


def test_shares_of_a_forged_mask_key_are_detected():
    server, clients, _, _ = up_to_masked_input(vectors(5, 4, 16), silent=(4,))
    answers = {u: clients[u].unmask(server.announce_survivors()) for u in range(4)}
    answers[1][4] = bytes(shamir.SHARE_BYTES)
    with pytest.raises(SecureAggregationError, match="mask key of client 4"):
        server.unmask(answers)


def test_a_single_masked_input_looks_uniform():
    # Vectors of two values only: without its mask, each fails the very same tests. Eight tests share the false alarms.
    rows = 3 * vectors(4, 1 << 16, 1)
    _, _, _, masked = up_to_masked_input(rows, bits=8)
    for u, vector in masked.items():
        for sent, hidden in ((vector, True), (rows[u].astype(int), False)):
            assert (stats.chisquare(np.bincount(sent, minlength=256)).pvalue > ALARM / 8) == hidden
        # Nor does it go with the vector it hides.
        table = [np.bincount(vector[rows[u] == value], minlength=256) for value in (0, 3)]
        assert stats.chi2_contingency(table).pvalue > ALARM / 8


def test_masked_inputs_change_completely_between_sessions():
    rows = vectors(4, 1000, 32)
    first, second = (up_to_masked_input(rows, bits=32)[3] for _ in range(2))
    # 4000 coordinates, equal by chance with probability 2^-32 each: 1e-6 in all.
    assert not any((first[u] == second[u]).any() for u in range(4))


@pytest.mark.parametrize("revealed", ["seed", "mask key"])
def test_a_vector_stays_hidden_once_either_of_its_secrets_is_revealed(revealed):
    # The server learns one of the two about every client: the other must still hide the vector.
    rows = vectors(4, 1000, 32)
    _, clients, _, masked = up_to_masked_input(rows, bits=32)
    stripped = masked[1].copy()
    if revealed == "seed":
        aggregation_parties.add_mask(stripped, clients[1]._seed, subtract=True)
    else:
        for v in (0, 2, 3):
            seed = aggregation_parties._agree(clients[1]._mask_key, clients[v].advertise_keys().mask, b"mask")
            aggregation_parties.add_mask(stripped, seed, subtract=v < 1)
    # 1000 coordinates, equal by chance with probability 2^-32 each.
    assert not (stripped == rows[1]).any()
    assert len({client._seed for client in clients}) == 4
    if revealed == "mask key":
        aggregation_parties.add_mask(stripped, clients[1]._seed, subtract=True)
        np.testing.assert_array_equal(stripped, rows[1])


def test_pairwise_masks_alone_do_not_reveal_a_sum_that_nobody_helped_to_unmask():
    rows = vectors(4, 1000, 32)
    masked = up_to_masked_input(rows, bits=32)[3]
    # 1000 coordinates, equal by chance with probability 2^-32 each.
    assert not (plain_sum(np.stack(list(masked.values())), 32) == plain_sum(rows, 32)).any()


@pytest.mark.parametrize("dimension", [1, 65_535, 65_536, 65_537, 200_003])
def test_the_mask_is_the_keystream_of_aes_in_counter_mode(dimension):
    seed = bytes(range(32))
    expected = np.frombuffer(
        Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor().update(bytes(4 * dimension)), "<u4"
    )
    vector = np.full(dimension, 7, np.uint32)
    aggregation_parties.add_mask(vector, seed)
    np.testing.assert_array_equal(vector, expected + np.uint32(7))
    aggregation_parties.add_mask(vector, seed, subtract=True)
    assert (vector == 7).all()


def test_any_threshold_of_shares_gives_the_secret_and_fewer_give_another():
    secret = bytes(range(32))
    shares = shamir.share(secret, range(1, 7), 4)
    for points in combinations(shares, 4):
        assert shamir.reconstruct(shares, shamir.lagrange_at_zero(points)) == secret
    for points in combinations(shares, 3):
        assert shamir.reconstruct(shares, shamir.lagrange_at_zero(points)) != secret


def test_fewer_shares_than_the_threshold_fit_every_secret():
    shares = shamir.share(bytes(32), range(1, 4), 3)
    # With two shares of three, each secret has its own third share: all secrets are as likely as each other.
    weights = shamir.lagrange_at_zero([1, 2, 3])
    for secret in (bytes(32), b"\xff" * 32, b"0123456789abcdef" * 2):
        rest = int.from_bytes(secret, "big") - sum(weights[x] * int.from_bytes(shares[x], "big") for x in (1, 2))
        third = rest * pow(weights[3], -1, shamir.PRIME) % shamir.PRIME
        assert shamir.reconstruct(shares | {3: third.to_bytes(shamir.SHARE_BYTES, "big")}, weights) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_the_field_holds_every_secret(secret):
    assert shamir.PRIME > 2**256
    # Fermat's test: hardly any composite number of this size passes it for one base, let alone for four.
    assert all(pow(base, shamir.PRIME - 1, shamir.PRIME) == 1 for base in (2, 3, 5, 7))
    shares = shamir.share(secret, range(1, 4), 2)
    assert shamir.reconstruct(shares, shamir.lagrange_at_zero([3, 1])) == secret


@pytest.mark.parametrize(
    ("secret", "points", "threshold"),
    [
        (bytes(31), (1, 2), 2),
        (bytes(32), (1, 2), 3),
        (bytes(32), (1, 2), 0),
        (bytes(32), (0, 1), 2),
        (bytes(32), (1, 1), 1),
    ],
)
def test_what_is_no_sharing_is_refused(secret, points, threshold):
    with pytest.raises(ValueError, match="must"):
        shamir.share(secret, points, threshold)


def test_missing_shares_are_named():
    with pytest.raises(ValueError, match=r"\[2\]"):
        shamir.reconstruct({1: bytes(33)}, shamir.lagrange_at_zero([1, 2]))


def test_bytes_are_those_of_a_hand_calculation():
    cost = aggregate(vectors(4, 10, 7), bits=7, threshold=3).cost
    ciphertext = 12 + 2 * 33 + 16  # nonce, two shares, authentication tag
    assert cost.bytes_up == 2 * 32 + 3 * ciphertext + 9 + 4 * 33  # 70 bits fill 9 bytes
    assert cost.bytes_down == 3 * 2 * 32 + 3 * ciphertext + 1
    assert (cost.participants, cost.dimension, cost.bits, cost.measured_clients) == (4, 10, 7, 4)


def test_dropouts_send_and_cost_less():
    cost = aggregate(vectors(5, 8, 16), 16, 3, dropped_before_sharing=(0,), dropped_before_input=(1,)).cost
    ciphertext = 12 + 2 * 33 + 16
    # Four peers have keys to encrypt for, three send something back; four clients have shares to be asked for.
    assert cost.bytes_up == 2 * 32 + 4 * ciphertext + 16 + 4 * 33
    assert cost.bytes_down == 4 * 2 * 32 + 3 * ciphertext + 1


def with_stand_ins(rows, bits, threshold, *by_stage):
    """The protocol as `aggregate` runs it, but with client 0 alone simulated whole."""
    plan = secure_aggregation._Dropouts(*map(frozenset, by_stage))
    n, dimension = rows.shape
    return secure_aggregation._simulate(lambda u: rows[u], n, dimension, bits, threshold, plan, measured=0)


@pytest.mark.parametrize("dropouts", [0, 2])
@pytest.mark.parametrize("limit", ["MASK_WORDS_LIMIT", "PARTICIPANTS_LIMIT"])
def test_above_either_limit_one_client_is_measured_and_the_messages_stay(monkeypatch, limit, dropouts):
    whole = measure(6, 20, 16, 4, dropouts=dropouts)
    at_limit = {"MASK_WORDS_LIMIT": 6**2 * 20, "PARTICIPANTS_LIMIT": 6}[limit]
    monkeypatch.setattr(secure_aggregation, limit, at_limit)
    assert measure(6, 20, 16, 4, dropouts=dropouts).measured_clients == 6
    monkeypatch.setattr(secure_aggregation, limit, at_limit - 1)
    one = measure(6, 20, 16, 4, dropouts=dropouts)
    assert (whole.measured_clients, one.measured_clients) == (6, 1)
    assert (whole.bytes_up, whole.bytes_down) == (one.bytes_up, one.bytes_down)


@pytest.mark.parametrize(("n", "threshold"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 4), (9, 7)])
@pytest.mark.parametrize("bits", [1, 16, 32])
def test_the_total_is_exact_with_stand_ins(n, threshold, bits):
    rows = vectors(n, 20, bits)
    for stages in combinations_with_replacement(range(3), n - threshold):
        # The last clients drop out, each at its own stage.
        by_stage = [[n - 1 - i for i, stage in enumerate(stages) if stage == at] for at in range(3)]
        counted = [u for u in range(n) if u not in by_stage[0] + by_stage[1]]
        whole = aggregate(rows, bits, threshold, **dropped(by_stage))
        one = with_stand_ins(rows, bits, threshold, *by_stage)
        np.testing.assert_array_equal(one.total, plain_sum(rows[counted], bits))
        assert (whole.cost.bytes_up, whole.cost.bytes_down) == (one.cost.bytes_up, one.cost.bytes_down)


@pytest.mark.parametrize(("stage", "reason"), [(0, "shared keys"), (1, "sent a masked input"), (2, "helped to unmask")])
def test_too_many_dropouts_are_refused_with_stand_ins(stage, reason):
    by_stage = [(), (), ()]
    by_stage[stage] = (1, 3, 5)
    with pytest.raises(SecureAggregationError, match=f"only 3 clients {reason}"):
        with_stand_ins(vectors(6, 5, 16), 16, 4, *by_stage)


def test_a_stand_in_is_a_real_client_to_the_measured_one(monkeypatch):
    agreed, masks, opened = [], [], []
    agree, add_mask, take = aggregation_parties._agree, aggregation_parties.add_mask, Client._open

    def watched_agree(private, public, purpose):
        agreed.append((purpose, agree(private, public, purpose)))
        return agreed[-1][1]

    def watched_mask(vector, seed, subtract=False):
        masks.append(seed)
        add_mask(vector, seed, subtract)

    def watched_open(client, sender):
        opened.append((client.number, sender))
        return take(client, sender)

    monkeypatch.setattr(aggregation_parties, "_agree", watched_agree)
    monkeypatch.setattr(aggregation_parties, "add_mask", watched_mask)
    monkeypatch.setattr(Client, "_open", watched_open)
    with_stand_ins(vectors(6, 5, 16), 16, 4, (), (), ())
    for purpose in (b"shares", b"mask"):
        # Client 0 and each of its five peers agree, both compute the key, and no two peers do.
        keys = [key for what, key in agreed if what == purpose]
        assert len(keys) == 10
        assert len(set(keys)) == 5
    # Both sides of five pairs; the own mask of each of the six, which the server makes once more.
    assert len(masks) == 10 + 2 * 6
    # Client 0 decrypts what all its peers sealed, and they what it sealed; each also reads its own shares.
    pairs = {(0, v) for v in range(6)} | {(v, 0) for v in range(6)} | {(v, v) for v in range(6)}
    assert sorted(opened) == sorted(pairs)


@pytest.mark.parametrize("dropouts", [-1, 3, 7])
def test_a_measurement_of_no_session_is_refused(monkeypatch, dropouts):
    for limit in (300, 0):
        monkeypatch.setattr(secure_aggregation, "PARTICIPANTS_LIMIT", limit)
        with pytest.raises(SecureAggregationError, match=r"dropouts|only 3"):
            measure(6, 5, 16, 4, dropouts=dropouts)


@pytest.mark.parametrize("threshold", [0, 3, 7])
def test_a_measurement_with_stand_ins_refuses_thresholds_that_protect_nothing(monkeypatch, threshold):
    monkeypatch.setattr(secure_aggregation, "PARTICIPANTS_LIMIT", 0)
    with pytest.raises(SecureAggregationError, match="threshold"):
        measure(6, 5, 16, threshold)
