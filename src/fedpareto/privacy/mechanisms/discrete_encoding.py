"""A client's part of distributed discrete noise, on the device: rotate, round, add an integer noise share, wrap.

The steps of Kairouz, Liu and Steinke 2021 (arXiv 2102.06387: KLS21 below); `encoding` says what they prove. Everything
that privacy rests on is exact integer arithmetic: the bound on a rounded vector's norm, the law of the noise and the
reduction modulo 2^bits. Float32 touches only the rotation and the probabilities of rounding up.
The generator is threefry, right for simulation and not for a deployment: see `mechanisms.gaussian`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# At radix 8 one vector of 2^15 to 2^18 float32 is transformed in less time than by radix 2 or by 16 and more on a CPU.
RADIX_BITS = 3

# A redraw is needed with probability at most exp(-1/2): 64 of them in a row with probability below 2e-14.
ATTEMPTS = 64

# What float32 may have added to a vector's norm is far below this share of it: see `encoding.FLOAT32_ROOM`.
SHRUNK = 1 - 2.0**-18

# Squares of integers below this have 60 bits.
LARGEST = 2.0**30


class DeviceAliasTable(NamedTuple):
    """A `discrete_sampler.AliasTable` on the device; may be traced, and batched over runs.

    Attributes:
      high: uint32 [K], upper 32 - k bits of the thresholds, K = 2^k.
      middle: uint32 [K], the 32 bits below.
      low: uint32 [K], lowest 32 bits of the thresholds.
      alias: int32 [K], the other index of a cell.
      offset: int32 scalar, the index of the value 0.
    """

    high: jax.Array
    middle: jax.Array
    low: jax.Array
    alias: jax.Array
    offset: jax.Array


def rotate(signs_key: jax.Array, flat: jax.Array, dimension: int) -> jax.Array:
    """Randomised Hadamard rotation, H D x / sqrt(d) with D random signs: spreads a vector over all coordinates.

    Args:
      signs_key: A typed PRNG key, the same for all clients of a round and public.
      flat: float32 [n].
      dimension: d, a power of two, at least n; static.

    Returns:
      float32 [dimension], of the same L2 norm to within float32.
    """
    padded = jnp.pad(flat, (0, dimension - flat.shape[0]))
    return _hadamard(padded * _signs(signs_key, dimension))


def unrotate(signs_key: jax.Array, rotated: jax.Array, size: int) -> jax.Array:
    """The inverse of `rotate`.

    Args:
      signs_key: The key that `rotate` was given.
      rotated: float32 [dimension].
      size: Number of coordinates before padding; static.

    Returns:
      float32 [size].
    """
    return (_hadamard(rotated) * _signs(signs_key, rotated.shape[0]))[:size]


def round_conditionally(key: jax.Array, vector: jax.Array, norm_bound: jax.Array | float) -> jax.Array:
    """Stochastic rounding, redrawn until the rounded vector is no longer than `norm_bound` (KLS21).

    A coordinate goes to one of its two neighbouring integers, with 32 random bits, so that it is right in expectation
    to within 2^-32 as long as nothing is redrawn; redrawing biases long vectors a little toward shorter ones. After
    `ATTEMPTS` draws the vector is shortened by a share of 2^-18 and rounded toward zero.

    The L2 norm of what is returned is at most `norm_bound`, whatever the input: the squared norm is summed in integers
    without error and compared with a lower bound of `norm_bound` squared. If not even rounding toward zero passes (no
    vector within the clip norm gets there), or a coordinate is not finite or not below 2^30, zeros are returned.

    Args:
      key: A typed PRNG key, never used for anything else.
      vector: float32 [d] in integer units; d a power of two, or anything below 2^16; at most 2^28.
      norm_bound: `IntegerEncoding.norm_bound`, scalar below 2^30; may be traced.

    Returns:
      int32 [d].
    """
    magnitude = jnp.abs(vector)
    magnitude = jnp.where(jnp.all(magnitude < LARGEST), magnitude, 0.0)
    limit = _squared_bound(norm_bound)
    whole = jnp.floor(magnitude)
    # Both are exact: a float32 less its whole part, and a product with a power of two.
    chance = ((magnitude - whole) * 2.0**32).astype(jnp.uint32)
    whole = whole.astype(jnp.uint32)

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        attempt, fits, _ = state
        return ~fits & (attempt <= ATTEMPTS)

    def draw(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        attempt, _, _ = state
        up = jax.random.bits(jax.random.fold_in(key, attempt), vector.shape, jnp.uint32) < chance
        shortened = (magnitude * SHRUNK).astype(jnp.uint32)
        rounded = jnp.where(attempt < ATTEMPTS, whole + up, shortened)
        return attempt + 1, _at_most(_squared_norm(rounded), limit), rounded

    start = (jnp.int32(0), jnp.bool_(False), jnp.zeros(vector.shape, jnp.uint32))
    _, fits, rounded = jax.lax.while_loop(unfinished, draw, start)
    signed = jnp.where(vector < 0, -rounded.astype(jnp.int32), rounded.astype(jnp.int32))
    return jnp.where(fits, signed, 0)


def noise_share(key: jax.Array, table: DeviceAliasTable, shape: tuple[int, ...]) -> jax.Array:
    """Independent integer noise, exactly from the law of the table.

    96 random bits a coordinate: the first k choose a cell, the others are compared with its threshold in integers. The
    last 64 are drawn only if some comparison is still open after the first 32, which changes no outcome and saves two
    thirds of the random bits.

    Args:
      key: A typed PRNG key, never used for anything else.
      table: The table of one share.
      shape: Shape of the draw, static.

    Returns:
      int32 array of `shape`.
    """
    key_first, key_rest = jax.random.split(key)
    cell_bits = table.alias.shape[-1].bit_length() - 1
    first = jax.random.bits(key_first, shape, jnp.uint32)
    cell = (first >> (32 - cell_bits)).astype(jnp.int32)
    rest = first & jnp.uint32(2 ** (32 - cell_bits) - 1)
    high = table.high[cell]
    tied = rest == high

    def by_all_bits() -> jax.Array:
        second, third = jax.random.bits(key_rest, (2, *shape), jnp.uint32)
        middle, low = table.middle[cell], table.low[cell]
        return tied & ((second < middle) | ((second == middle) & (third < low)))

    decided_late = jax.lax.cond(jnp.any(tied), by_all_bits, lambda: jnp.zeros(shape, bool))
    return jnp.where((rest < high) | decided_late, cell, table.alias[cell]) - table.offset


def wrap(total: jax.Array, bits: jax.Array | int) -> jax.Array:
    """The representative of `total` modulo 2^bits in [-2^(bits-1), 2^(bits-1)), exactly.

    A sum that has overflowed int32 is still right modulo 2^32, so it is wrapped rightly too.

    Args:
      total: int32 array.
      bits: 1 to 32; may be traced.

    Returns:
      int32 array of the same shape.
    """
    spare = jnp.int32(32) - jnp.asarray(bits, jnp.int32)
    return jnp.right_shift(jnp.left_shift(total, spare), spare)


def _signs(key: jax.Array, dimension: int) -> jax.Array:
    """float32 [dimension] of random signs, one bit each."""
    words = jax.random.bits(key, (math.ceil(dimension / 32),), jnp.uint32)
    bits = (words[:, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return 1.0 - 2.0 * bits.reshape(-1)[:dimension].astype(jnp.float32)


def _hadamard(vector: jax.Array) -> jax.Array:
    """The orthonormal Walsh-Hadamard transform of float32 [d], its own inverse.

    The Hadamard matrix of 2^k is a Kronecker product of small ones: each pass contracts one axis of the vector, seen as
    a box, with one of them.
    """
    dimension = vector.shape[0]
    power = dimension.bit_length() - 1
    passes = -(-power // RADIX_BITS)
    sides = [2 ** (power // passes + (i < power % passes)) for i in range(passes)]
    box = vector.reshape(sides)
    for side in sides:
        # The front axis goes to the back, so that after all passes each is where it was. The highest precision because
        # an accelerator would multiply in fewer bits, and the rotation would not keep norms.
        box = jnp.tensordot(box, _small_hadamard(side), axes=((0,), (0,)), precision=jax.lax.Precision.HIGHEST)
    return box.reshape(dimension) / math.sqrt(dimension)


def _small_hadamard(side: int) -> np.ndarray:
    """float32 [side, side] with the entry -1 where the two indices share an odd number of bits."""
    index = np.arange(side)
    return (1.0 - 2.0 * (np.bitwise_count(index[:, None] & index) % 2)).astype(np.float32)


def _squared_bound(norm_bound: jax.Array | float) -> jax.Array:
    """A whole number at most `norm_bound` squared, as uint32 [3] in base 2^32, the lowest first.

    float32 may have rounded the bound up, so the number below it is taken. With b = w + f, w whole, the square is
    w^2 + (2 w + f) f: the first exactly, the second less what three float32 roundings may have added.
    """
    below = jnp.nextafter(jnp.asarray(norm_bound, jnp.float32), jnp.float32(0))
    below = jnp.clip(below, 0.0, LARGEST)
    whole = jnp.floor(below)
    part = below - whole
    cross = ((2 * whole + part) * part * (1 - 2.0**-22)).astype(jnp.uint32)
    limbs = _square_limbs(whole.astype(jnp.uint32)[None])
    return _carried([limbs[0] + (cross & 0xFFFF), limbs[1] + (cross >> 16), *limbs[2:]])


def _squared_norm(values: jax.Array) -> jax.Array:
    """The squared norm of uint32 [d] below 2^31, exactly, as uint32 [3] in base 2^32, the lowest first."""
    return _carried(_square_limbs(values))


def _square_limbs(values: jax.Array) -> list[jax.Array]:
    """Sum of squares of uint32 [d] in base 2^16, digits not yet reduced (each below 2^31), the lowest first."""
    upper, lower = values >> 16, values & 0xFFFF
    products = [(lower * lower, 0), (2 * upper * lower, 1), (upper * upper, 2)]
    limbs = [jnp.uint32(0) for _ in range(5)]
    for product, place in products:
        for digits, at in ((product & 0xFFFF, place), (product >> 16, place + 1)):
            # A row of 2^16 digits of 16 bits fits into 32 bits; the rows' sums are cut into digits again.
            rows = jnp.sum(digits.reshape(-1, min(digits.shape[0], 2**16)), axis=1, dtype=jnp.uint32)
            limbs[at] = limbs[at] + jnp.sum(rows & 0xFFFF, dtype=jnp.uint32)
            limbs[at + 1] = limbs[at + 1] + jnp.sum(rows >> 16, dtype=jnp.uint32)
    return limbs


def _carried(limbs: list[jax.Array]) -> jax.Array:
    """Digits in base 2^16 that may exceed it, five of them, as uint32 [3] in base 2^32."""
    digits, carry = [], jnp.uint32(0)
    for limb in limbs:
        total = limb + carry
        digits.append(total & 0xFFFF)
        carry = total >> 16
    return jnp.stack([digits[0] | digits[1] << 16, digits[2] | digits[3] << 16, digits[4] | carry << 16])


def _at_most(left: jax.Array, right: jax.Array) -> jax.Array:
    """Whether left <= right, both uint32 [3] in base 2^32, the lowest first."""
    lowest = left[0] <= right[0]
    middle = (left[1] < right[1]) | ((left[1] == right[1]) & lowest)
    return (left[2] < right[2]) | ((left[2] == right[2]) & middle)
