"""Secure aggregation: the server learns the sum of the clients' vectors and nothing else about them.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS 2017), the protocol for
honest-but-curious parties, in its four rounds: advertise keys, share keys, masked input, unmask. The parties
of `protocol` run it together in one process, and what it costs is measured.

What this covers: the real messages, cryptography and arithmetic of the protocol, and so its costs, without a network.
What it does not: nothing authenticates a channel or certifies a key, and a server that forges keys or a client that
lies about its vector is out of scope (the paper's version against active adversaries adds signatures and one more
round). The sum itself is revealed: noise for differential privacy has to be in the vectors.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedpareto.privacy.secure_aggregation.protocol import (
    NONCE_BYTES,
    Client,
    PublicKeys,
    SecureAggregationError,
    Server,
    check_session,
)

__all__ = [
    "Aggregation",
    "Client",
    "Cost",
    "PublicKeys",
    "SecureAggregationError",
    "Server",
    "aggregate",
    "measure",
    "packed_bytes",
]

# Above either limit `measure` simulates one client whole.
MASK_WORDS_LIMIT = 4_000_000_000  # about three seconds of masks
PARTICIPANTS_LIMIT = 300  # about ten seconds of key agreements and shares

# Stands where a sealed message has its nonce and its authentication tag, so that every message has its real length.
_UNSEALED = bytes(NONCE_BYTES + 16)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """The cost of one aggregation to each party.

    Attributes:
      participants: Number of clients that advertised keys.
      dimension: Length of the vectors.
      bits: Width of a coordinate: all sums are modulo 2^bits.
      client_seconds: A client's own computing on one core over all rounds: the median over the measured clients that
        stay to the end.
      server_seconds: The server's computing on one core.
      bytes_up: Largest number of bytes that one client sends: 2 public keys, a ciphertext per peer, the packed vector
        and the shares. Addresses and framing of messages are not counted.
      bytes_down: Largest number of bytes that one client receives: the peers' public keys and ciphertexts, and who
        survived (one bit per participant).
      measured_clients: How many clients' work was simulated whole: all, or one where all would take too long.
    """

    participants: int
    dimension: int
    bits: int
    client_seconds: float
    server_seconds: float
    bytes_up: int
    bytes_down: int
    measured_clients: int


@dataclass(frozen=True)
class Aggregation:
    """The outcome of the protocol.

    Attributes:
      total: uint32 [dimension], the sum modulo 2^bits over the clients whose masked input arrived.
      cost: Seconds and bytes of it.
    """

    total: NDArray[np.uint32]
    cost: Cost


@dataclass(frozen=True)
class _Dropouts:
    """The clients that are gone before a round, by round; none is named twice."""

    sharing: frozenset[int]
    input: frozenset[int]
    unmasking: frozenset[int]


class _StandIn(Client):
    """A peer of the one client that is measured: it skips work that neither that client nor the server waits for.

    Towards the measured client it is a real client. Its shares for another stand-in travel unencrypted, and it leaves
    out the masks that would cancel between the two: it protects nothing, and is for measuring alone.

    Args:
      measured: The client that is measured.
      dropouts: The clients whose masks will not cancel.
      session: The arguments of `Client`.
    """

    def __init__(self, measured: int, dropouts: Collection[int], *session: int) -> None:
        super().__init__(*session)
        self._measured = measured
        self._few = {measured, *dropouts}
        # Any `threshold` values of a polynomial of lower degree give its value at 0 as well, by the same steps.
        self._shares_needed = min(3, self._threshold)

    def _masked_against(self, peers: Collection[int]) -> Collection[int]:
        return [v for v in peers if v in self._few]

    def _seal(self, receiver: int, pair: bytes) -> bytes:
        return super()._seal(receiver, pair) if receiver == self._measured else _UNSEALED + pair

    def _open(self, sender: int) -> bytes:
        if self._ciphertexts is None or sender in (self.number, self._measured):
            return super()._open(sender)
        return self._ciphertexts[sender][len(_UNSEALED) :]


@dataclass
class _Ledger:
    """The spending of one party so far."""

    seconds: float = 0.0
    up: int = 0
    down: int = 0

    def timed(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls the function and charges its time to this party."""
        start = time.perf_counter()
        result = function(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return result


def aggregate(
    vectors: Sequence[NDArray[np.integer]] | NDArray[np.integer],
    bits: int,
    threshold: int,
    *,
    dropped_before_sharing: Collection[int] = (),
    dropped_before_input: Collection[int] = (),
    dropped_before_unmasking: Collection[int] = (),
) -> Aggregation:
    """Runs the whole protocol in this process.

    Args:
      vectors: Integers [participants, dimension], one row per client, taken modulo 2^bits.
      bits: Width of a coordinate, 1 to 32. The sum wraps around: the caller leaves room for it.
      threshold: Number of clients that must answer in every round: above half of the participants.
      dropped_before_sharing: Clients that advertise keys and send nothing more.
      dropped_before_input: Clients that share keys and send nothing more: the costly case for the server.
      dropped_before_unmasking: Clients whose input arrives (and counts) but who do not help to unmask.

    Returns:
      The sum over the clients whose input arrived, exactly, and the cost.

    Raises:
      SecureAggregationError: Arguments out of range, a vector that is not of integers, or too few clients left.
    """
    dropouts = _Dropouts(
        frozenset(dropped_before_sharing), frozenset(dropped_before_input), frozenset(dropped_before_unmasking)
    )
    dimension = len(vectors[0]) if len(vectors) else 0
    return _simulate(lambda u: np.asarray(vectors[u]), len(vectors), dimension, bits, threshold, dropouts)


def measure(participants: int, dimension: int, bits: int, threshold: int, *, dropouts: int = 0, seed: int = 0) -> Cost:
    """Measures the cost of an aggregation of random vectors.

    Every client deals with every other: simulating all of them takes participants^2 key agreements, participants^2 x
    threshold field steps and participants^2 x dimension mask words. Above `PARTICIPANTS_LIMIT` participants or
    `MASK_WORDS_LIMIT` mask words only client 0 is simulated whole, and the others stand in for its peers.

    Real all the same: everything client 0 computes, against a key of its own for each peer; everything the server
    computes, with `threshold` points per secret; the number and the length of all messages; each peer's keys, own
    mask, masks against client 0 and against those who drop out, and what it seals for client 0 or opens from it. So
    the sum is exact.

    Standing in, and in no party's measured time: a peer shares its secrets by a polynomial of degree 2 at most; what
    two peers send each other is not encrypted, but padded to the length of a ciphertext; the masks between two peers
    that stay are left out (they would cancel). `client_seconds` is that of client 0 alone.

    Args:
      participants: Number of clients.
      dimension: Length of the vectors.
      bits: Width of a coordinate, 1 to 32.
      threshold: Number of clients that must answer in every round: above half of the participants.
      dropouts: How many clients drop out after sharing their keys, when the server has most to repair.
      seed: Seed of the random vectors. Keys and masks come from the operating system's generator all the same.

    Returns:
      The cost; its `measured_clients` is `participants` or 1.

    Raises:
      SecureAggregationError: Arguments out of range, or more dropouts than the threshold allows.
    """

    def vector_of(u: int) -> NDArray[np.integer]:
        return np.random.default_rng((seed, u)).integers(2**bits, size=dimension, dtype=np.uint64)

    if not 0 <= dropouts <= participants:
        raise SecureAggregationError(f"dropouts = {dropouts} must be between 0 and the {participants} participants")
    gone = frozenset(range(participants - dropouts, participants))
    whole = participants <= PARTICIPANTS_LIMIT and participants**2 * dimension <= MASK_WORDS_LIMIT
    plan = _Dropouts(frozenset(), gone, frozenset())
    return _simulate(vector_of, participants, dimension, bits, threshold, plan, measured=None if whole else 0).cost


def packed_bytes(dimension: int, bits: int) -> int:
    """Bytes of a masked vector on the wire: coordinates packed without gaps."""
    return -(-bits * dimension // 8)


def _simulate(
    vector_of: Callable[[int], NDArray[np.integer]],
    participants: int,
    dimension: int,
    bits: int,
    threshold: int,
    dropouts: _Dropouts,
    measured: int | None = None,
) -> Aggregation:
    """The four rounds. With `measured`, only that client is simulated whole; see `measure`."""
    check_session(participants, bits, threshold)
    gone = [*dropouts.sharing, *dropouts.input, *dropouts.unmasking]
    if len(set(gone)) != len(gone) or not set(gone) <= set(range(participants)):
        raise SecureAggregationError("a client can drop out once, and must be one of the participants")
    ledgers = [_Ledger() for _ in range(participants)]
    at_server = _Ledger()
    server = at_server.timed(Server, participants, dimension, bits, threshold)
    clients = [ledgers[u].timed(Client, u, participants, bits, threshold) for u in range(participants)]
    if measured is not None:
        session = participants, bits, threshold
        clients = [
            c if u == measured else _StandIn(measured, dropouts.input, u, *session) for u, c in enumerate(clients)
        ]

    advertised = {u: ledgers[u].timed(client.advertise_keys) for u, client in enumerate(clients)}
    directory = at_server.timed(server.collect_keys, advertised)
    for u, ledger in enumerate(ledgers):
        ledger.up += _size(advertised[u])
        ledger.down += sum(_size(keys) for v, keys in directory.items() if v != u)

    sharing = [u for u in range(participants) if u not in dropouts.sharing]
    sealed = {u: ledgers[u].timed(clients[u].share_keys, directory) for u in sharing}
    delivered = at_server.timed(server.route_shares, sealed)
    for u in sharing:
        ledgers[u].up += _size(sealed[u].values())
        ledgers[u].down += _size(delivered[u].values())

    for u in sharing:
        if u in dropouts.input:
            continue
        masked = ledgers[u].timed(clients[u].masked_input, delivered[u], vector_of(u))
        ledgers[u].up += packed_bytes(dimension, bits)
        at_server.timed(server.receive_input, u, masked)

    survivors = at_server.timed(server.announce_survivors)
    answers: dict[int, Mapping[int, bytes]] = {}
    for u in sorted(survivors - dropouts.unmasking):
        answers[u] = ledgers[u].timed(clients[u].unmask, survivors)
        ledgers[u].up += _size(answers[u].values())
        ledgers[u].down += packed_bytes(participants, 1)
    total = at_server.timed(server.unmask, answers)
    cost = Cost(
        participants=participants,
        dimension=dimension,
        bits=bits,
        client_seconds=statistics.median(ledgers[u].seconds for u in (answers if measured is None else [measured])),
        server_seconds=at_server.seconds,
        bytes_up=max(ledger.up for ledger in ledgers),
        bytes_down=max(ledger.down for ledger in ledgers),
        measured_clients=participants if measured is None else 1,
    )
    return Aggregation(total, cost)


def _size(messages: Collection[bytes]) -> int:
    return sum(len(message) for message in messages)
