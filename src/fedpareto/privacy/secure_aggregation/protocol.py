"""The two parties of secure aggregation: the computations of a client and of the server in each of the four rounds.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS 2017), figure 4 without the
steps against active adversaries. Client u sends

    y_u = x_u + PRG(b_u) + sum over v < u of PRG(s_uv) - sum over v > u of PRG(s_uv)   (mod 2^bits)

where b_u is its own random seed and s_uv the seed it agrees on with v. The pairwise masks cancel in the sum. The
server removes the rest with the help of the clients' shares: of b_v where v's input arrived, of v's mask key where v
dropped out. `secure_aggregation` says what this does and does not protect from.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedpareto.privacy.secure_aggregation import shamir

NONCE_BYTES = 12
# The keystream is made in pieces that stay in the processor's cache; the zeros it is added to are never written.
_PIECE = 1 << 16
_ZEROS = memoryview(bytes(4 * _PIECE))


class SecureAggregationError(RuntimeError):
    """The protocol stops: going on would be impossible, or would reveal more than the sum."""


class PublicKeys(NamedTuple):
    """The keys that a client advertises: X25519 public keys of 32 bytes, for the encryption of shares and for the masks."""

    encryption: bytes
    mask: bytes


class Client:
    """One client in one session. Its keys and its seed are never used twice: a new session needs a new client.

    Args:
      number: The client's number in [0, participants).
      participants: Number of clients of the session.
      bits: Width of a coordinate, 1 to 32.
      threshold: Number of clients that must answer in every round.

    Raises:
      SecureAggregationError: `bits` or `threshold` is out of range.
    """

    def __init__(self, number: int, participants: int, bits: int, threshold: int) -> None:
        check_session(participants, bits, threshold)
        self.number = number
        self._bits = bits
        self._threshold = threshold
        self._shares_needed = threshold  # to give a secret back; fewer where a measurement has a stand-in
        self._encryption_key = X25519PrivateKey.generate()
        self._mask_key = X25519PrivateKey.generate()
        self._seed = secrets.token_bytes(shamir.SECRET_BYTES)
        self._directory: Mapping[int, PublicKeys] = {}
        self._ciphers: dict[int, ChaCha20Poly1305] = {}
        self._own_shares = b""
        self._ciphertexts: Mapping[int, bytes] | None = None
        self._survivors: frozenset[int] | None = None

    def advertise_keys(self) -> PublicKeys:
        """Round 0: the public keys."""
        return PublicKeys(
            self._encryption_key.public_key().public_bytes_raw(), self._mask_key.public_key().public_bytes_raw()
        )

    def share_keys(self, directory: Mapping[int, PublicKeys]) -> dict[int, bytes]:
        """Round 1: shares of the own seed and of the mask key, encrypted for each peer.

        Args:
          directory: Public keys by client, as the server collected them, this client's included.

        Returns:
          For every peer a nonce and a ciphertext that only this peer can read, and only as coming from this client.

        Raises:
          SecureAggregationError: Fewer clients than the threshold, or this client has already shared its keys.
        """
        if self._directory:
            raise SecureAggregationError(f"client {self.number} has already shared its keys")
        _enough("advertised keys", len(directory), self._threshold)
        self._directory = dict(directory)
        points = [_point(v) for v in directory]
        of_seed = shamir.share(self._seed, points, self._shares_needed)
        of_key = shamir.share(self._mask_key.private_bytes_raw(), points, self._shares_needed)
        sealed = {}
        for v in directory:
            pair = of_seed[_point(v)] + of_key[_point(v)]
            if v == self.number:
                self._own_shares = pair
            else:
                sealed[v] = self._seal(v, pair)
        return sealed

    def masked_input(self, ciphertexts: Mapping[int, bytes], vector: NDArray[np.integer]) -> NDArray[np.uint32]:
        """Round 2: the vector under the own mask and one mask per peer that shared its keys.

        Args:
          ciphertexts: Ciphertexts of each such peer for this client. They are opened in the last round only.
          vector: Integers [dimension], taken modulo 2^bits.

        Returns:
          uint32 [dimension], each coordinate uniform in [0, 2^bits) to whoever lacks the seeds.

        Raises:
          SecureAggregationError: Fewer clients than the threshold, an unknown peer, a vector that is not of integers,
            or a second request: two vectors under the same masks would reveal their difference.
        """
        if self._ciphertexts is not None:
            raise SecureAggregationError(f"client {self.number} refuses to mask a second vector with the same masks")
        if not np.issubdtype(vector.dtype, np.integer):
            raise SecureAggregationError(f"only integers can be masked, not {vector.dtype}: quantise the vector first")
        _enough("shared keys", len(ciphertexts.keys() | {self.number}), self._threshold)
        if not ciphertexts.keys() <= self._directory.keys() - {self.number}:
            raise SecureAggregationError(f"client {self.number} has ciphertexts from clients it shares no key with")
        self._ciphertexts = dict(ciphertexts)
        # 2^bits divides 2^32, so the sums may wrap at 2^32 and be cut once at the end.
        masked = vector.astype(np.uint32)
        add_mask(masked, self._seed)
        for v in self._masked_against(ciphertexts):
            add_mask(masked, _agree(self._mask_key, self._directory[v].mask, b"mask"), subtract=v > self.number)
        return _cut(masked, self._bits)

    def unmask(self, survivors: Collection[int]) -> dict[int, bytes]:
        """Round 3: for every survivor the share of its seed, for everyone else who shared keys that of its mask key.

        Never both for the same client: whoever had enough shares of both could unmask that client's single vector.
        So the client answers for one set of survivors and for no other.

        Args:
          survivors: The clients whose masked input the server has.

        Returns:
          Share by client, in the order of their numbers. Which secret it is of follows from `survivors`.

        Raises:
          SecureAggregationError: Another set of survivors was answered before, the set is smaller than the threshold or
            not one this client can have seen, or a ciphertext was tampered with.
        """
        if self._ciphertexts is None:
            raise SecureAggregationError(f"client {self.number} has sent no masked input yet")
        survivors = frozenset(survivors)
        if self._survivors not in (None, survivors):
            raise SecureAggregationError(
                f"client {self.number} refuses: it would give both the seed and the mask key of the same client"
            )
        _enough("sent a masked input", len(survivors), self._threshold)
        if self.number not in survivors or not survivors <= self._ciphertexts.keys() | {self.number}:
            raise SecureAggregationError(
                f"client {self.number} refuses: the survivors are not those it shared keys with"
            )
        self._survivors = survivors
        return {
            v: _half(self._open(v), of_seed=v in survivors) for v in sorted(self._ciphertexts.keys() | {self.number})
        }

    def _masked_against(self, peers: Collection[int]) -> Collection[int]:
        """The peers whose masks hide the vector: all of those that shared keys."""
        return peers

    def _seal(self, receiver: int, pair: bytes) -> bytes:
        """This client's two shares for the receiver, as only the receiver can read them."""
        key = _agree(self._encryption_key, self._directory[receiver].encryption, b"shares")
        self._ciphers[receiver] = ChaCha20Poly1305(key)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[receiver].encrypt(nonce, pair, _direction(self.number, receiver))

    def _open(self, sender: int) -> bytes:
        """The sender's two shares for this client."""
        if self._ciphertexts is None or sender == self.number:
            return self._own_shares
        sealed = self._ciphertexts[sender]
        try:
            return self._ciphers[sender].decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _direction(sender, self.number)
            )
        except (InvalidTag, ValueError):
            raise SecureAggregationError(
                f"the ciphertext from client {sender} to client {self.number} was tampered with"
            ) from None


class Server:
    """The server in one session. It keeps a running sum, not the vectors.

    Args:
      participants: Number of clients of the session.
      dimension: Length of the vectors.
      bits: Width of a coordinate, 1 to 32.
      threshold: Number of clients that must answer in every round.

    Raises:
      SecureAggregationError: `bits` or `threshold` is out of range.
    """

    def __init__(self, participants: int, dimension: int, bits: int, threshold: int) -> None:
        check_session(participants, bits, threshold)
        self._bits = bits
        self._threshold = threshold
        self._sum = np.zeros(dimension, np.uint32)
        self._directory: Mapping[int, PublicKeys] = {}
        self._sharing: frozenset[int] = frozenset()
        self._survivors: set[int] = set()

    def collect_keys(self, advertised: Mapping[int, PublicKeys]) -> Mapping[int, PublicKeys]:
        """Round 0: the directory of public keys, for every client. Raises below the threshold."""
        _enough("advertised keys", len(advertised), self._threshold)
        self._directory = dict(advertised)
        return self._directory

    def route_shares(self, sealed: Mapping[int, Mapping[int, bytes]]) -> dict[int, dict[int, bytes]]:
        """Round 1: from ciphertexts by sender and receiver to ciphertexts by receiver and sender.

        Clients that sent none are out of the session: nobody masks against them. Raises below the threshold.
        """
        _enough("shared keys", len(sealed), self._threshold)
        self._sharing = frozenset(sealed)
        return {u: {v: sealed[v][u] for v in sorted(sealed) if v != u} for u in sealed}

    def receive_input(self, number: int, masked: NDArray[np.uint32]) -> None:
        """Round 2: adds one client's masked vector, uint32 [dimension], to the running sum.

        Raises:
          SecureAggregationError: The client shared no keys, has been counted already, or sent another dimension.
        """
        if number not in self._sharing or number in self._survivors or masked.shape != self._sum.shape:
            raise SecureAggregationError(f"the masked input of client {number} does not fit this session")
        self._survivors.add(number)
        self._sum += masked

    def announce_survivors(self) -> frozenset[int]:
        """Round 3: the clients whose masked input arrived. Raises below the threshold."""
        _enough("sent a masked input", len(self._survivors), self._threshold)
        return frozenset(self._survivors)

    def unmask(self, answers: Mapping[int, Mapping[int, bytes]]) -> NDArray[np.uint32]:
        """Round 3: removes the survivors' own masks, and the pairwise masks of those who dropped out.

        Args:
          answers: Results of `Client.unmask`, by client.

        Returns:
          uint32 [dimension], the sum of the survivors' vectors modulo 2^bits, exactly.

        Raises:
          SecureAggregationError: Fewer answers than the threshold, or shares that do not give back a dropped client's
            mask key (checked against the public one).
        """
        _enough("helped to unmask", len(answers), self._threshold)
        helpers = sorted(answers)[: self._threshold]
        weights = shamir.lagrange_at_zero([_point(u) for u in helpers])
        total = self._sum.copy()
        for v in sorted(self._sharing):
            secret = shamir.reconstruct({_point(u): answers[u][v] for u in helpers}, weights)
            if v in self._survivors:
                add_mask(total, secret, subtract=True)
                continue
            key = X25519PrivateKey.from_private_bytes(secret)
            if key.public_key().public_bytes_raw() != self._directory[v].mask:
                raise SecureAggregationError(f"the shares do not give back the mask key of client {v}")
            # Survivor u subtracted this mask if v > u: it is added back, and the other way round.
            for u in self._survivors:
                add_mask(total, _agree(key, self._directory[u].mask, b"mask"), subtract=u > v)
        return _cut(total, self._bits)


def add_mask(vector: NDArray[np.uint32], seed: bytes, subtract: bool = False) -> None:
    """Adds the pseudo-random mask of a seed to a vector, in place and modulo 2^32.

    The mask is the AES-256 keystream in counter mode, read as little-endian uint32. The counter starts at 0: a seed
    makes one mask. Reduced modulo a power of two the mask stays uniform.

    Args:
      vector: uint32 [dimension].
      seed: 32 bytes.
      subtract: Whether to take the mask off instead.
    """
    keystream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor()
    buffer = bytearray(4 * _PIECE + 16)  # the cipher asks for room for one block more than it writes
    piece = np.frombuffer(buffer, "<u4")
    combine = np.subtract if subtract else np.add
    for start in range(0, len(vector), _PIECE):
        part = vector[start : start + _PIECE]
        keystream.update_into(_ZEROS[: 4 * len(part)], buffer)
        combine(part, piece[: len(part)], out=part)


def check_session(participants: int, bits: int, threshold: int) -> None:
    """Refuses sessions the protocol does not protect.

    The threshold must be above half of the participants: otherwise a server could tell one half that a client
    survived and the other half that it dropped out, and have enough shares of both of its secrets. (Against a server
    in league with clients, the paper asks for more than two thirds.)

    Raises:
      SecureAggregationError: `bits` or `threshold` is out of range.
    """
    if not 1 <= bits <= 32:
        raise SecureAggregationError(f"bits = {bits} must be between 1 and 32")
    if not participants / 2 < threshold <= participants:
        raise SecureAggregationError(
            f"threshold = {threshold} must be above half of the {participants} participants, and at most all of them"
        )


def _agree(private: X25519PrivateKey, public: bytes, purpose: bytes) -> bytes:
    """The 32-byte key two clients agree on, the same from both sides."""
    point = private.exchange(X25519PublicKey.from_public_bytes(public))
    return HKDF(SHA256(), length=32, salt=None, info=b"fedpareto secure aggregation " + purpose).derive(point)


def _direction(sender: int, receiver: int) -> bytes:
    """Associated data of a ciphertext: one sent elsewhere, or back to its sender, is refused."""
    return sender.to_bytes(4, "big") + receiver.to_bytes(4, "big")


def _point(number: int) -> int:
    """Where a client's shares are taken; 0 is where the secret is."""
    return number + 1


def _half(pair: bytes, of_seed: bool) -> bytes:
    """One of a peer's two shares: of its seed or of its mask key."""
    return pair[: shamir.SHARE_BYTES] if of_seed else pair[shamir.SHARE_BYTES :]


def _cut(vector: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    """The vector modulo 2^bits, in place."""
    vector &= np.uint32(2**bits - 1)
    return vector


def _enough(what: str, clients: int, threshold: int) -> None:
    if clients < threshold:
        raise SecureAggregationError(f"only {clients} clients {what}, fewer than the threshold of {threshold}")
