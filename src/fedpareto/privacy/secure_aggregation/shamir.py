"""Shamir's secret sharing of 32-byte secrets: any `threshold` shares give the secret back, fewer say nothing.

Shamir, "How to share a secret" (CACM 1979). The secret is the value at 0 of a uniform polynomial of degree
`threshold - 1` over a prime field; a share is its value at one non-zero point. Fewer than `threshold` values leave
every secret equally likely, whatever the computing power of whoever holds them.

Python's integers do not compute in constant time: a party that can time a client to the nanosecond is not covered.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

# The smallest prime above 2^256: every 32-byte secret is an element of the field, and a share is one byte longer.
PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def share(secret: bytes, points: Iterable[int], threshold: int) -> dict[int, bytes]:
    """Splits a secret into one share per point.

    The coefficients come from the operating system's generator, and are drawn anew on every call.

    Args:
      secret: 32 bytes.
      points: Distinct integers in [1, PRIME), one per holder of a share. The value at 0 is the secret itself.
      threshold: Number of shares that give the secret back, at least 1 and at most the number of points.

    Returns:
      For every point its share, `SHARE_BYTES` bytes, big-endian.

    Raises:
      ValueError: The secret is not of 32 bytes, or points and threshold define no sharing.
    """
    points = list(points)
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret of {len(secret)} bytes cannot be shared: it must have {SECRET_BYTES}")
    if not 1 <= threshold <= len(points):
        raise ValueError(f"threshold = {threshold} must be between 1 and the number of shares, {len(points)}")
    _check_points(points)
    # From the highest coefficient to the constant one, as Horner's rule reads them.
    polynomial = [secrets.randbelow(PRIME) for _ in range(threshold - 1)] + [int.from_bytes(secret, "big")]
    return {point: _value(polynomial, point).to_bytes(SHARE_BYTES, "big") for point in points}


def lagrange_at_zero(points: Sequence[int]) -> dict[int, int]:
    """The weights w with f(0) = sum of w[x] f(x) for every polynomial f of degree below the number of points.

    They depend on the points alone: the server computes them once and uses them for all the secrets of a session.

    Args:
      points: Distinct integers in [1, PRIME).

    Returns:
      For every point its weight, an element of the field.

    Raises:
      ValueError: Two points are the same, or one is outside the range.
    """
    _check_points(points)
    weights = {}
    for x in points:
        numerator = denominator = 1
        for other in points:
            if other != x:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - x) % PRIME
        weights[x] = numerator * pow(denominator, -1, PRIME) % PRIME
    return weights


def reconstruct(shares: Mapping[int, bytes], weights: Mapping[int, int]) -> bytes:
    """The secret of the shares held at the points of `weights`.

    With fewer points than the threshold of the sharing, or with a share that was changed, the answer is another
    secret: the scheme itself cannot tell.

    Args:
      shares: Share by point; more shares than `weights` has points do no harm.
      weights: The result of `lagrange_at_zero`.

    Returns:
      The 32-byte secret.

    Raises:
      ValueError: A point has no share, or the value found is no 32-byte secret.
    """
    if missing := [x for x in weights if x not in shares]:
        raise ValueError(f"no share at the points {missing}")
    value = sum(weight * int.from_bytes(shares[x], "big") for x, weight in weights.items()) % PRIME
    if value >= 2 ** (8 * SECRET_BYTES):
        raise ValueError("the shares do not belong to one secret")
    return value.to_bytes(SECRET_BYTES, "big")


def _value(polynomial: Sequence[int], point: int) -> int:
    """Horner's rule in the field."""
    value = 0
    for coefficient in polynomial:
        value = (value * point + coefficient) % PRIME
    return value


def _check_points(points: Sequence[int]) -> None:
    if len(set(points)) != len(points) or not all(0 < x < PRIME for x in points):
        raise ValueError("the points of a sharing must be distinct and between 1 and the prime of the field")
