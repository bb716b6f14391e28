"""Standard normal numbers by Box-Muller (1958), with a long tail: the noise of all continuous mechanisms.

`jax.random.normal` maps 23 random bits to a float32, hence ends at 5.2 standard deviations. A release beyond that is impossible
without the unit that moved it, which no epsilon allows. Here a pair of numbers has 128 random bits: 96 for the radius, which ends
at `normal_tail.LARGEST_RADIUS`, and 32 for the angle. What lies beyond is charged to delta by `normal_tail`.

The bits are those of JAX's counter-based threefry generator: right for simulation, not for a deployment, where the seed must be
secret and floating-point noise is open to the attack of Mironov (2012): the low bits of a noisy float32 tell of the number below
the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

from fedpareto.privacy.mechanisms.normal_tail import MOST_PAIRS

# Of a mechanism that draws with `standard_normal`.
NUMERICS = "float32, threefry, Box-Muller on 128 bits, tail to 11.6 sigma"

# Series in x^2, and how much of the sum their next term is: 2 atanh(x) / x where |x| <= 1/3 (1.4e-8), sin(x) / x where
# |x| <= pi/4 (2e-9), and cos(x) there (2.5e-8).
_LOG_TERMS = tuple(2 / (2 * i + 1) for i in range(7))
_SIN_TERMS = tuple((-1) ** i / math.factorial(2 * i + 1) for i in range(5))
_COS_TERMS = tuple((-1) ** i / math.factorial(2 * i) for i in range(5))


@partial(jax.jit, static_argnames="shape")
def standard_normal(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Independent N(0, 1) numbers.

    Args:
      key: A typed PRNG key of the threefry generator, never used for anything else.
      shape: Shape of the result; no more than 2^31 numbers.

    Returns:
      float32 `shape`. The first and the second half of the numbers, in their order, are the first and the second members of pairs.

    Raises:
      ValueError: The key is of another generator, or there are more numbers than distinct counters.
    """
    size = math.prod(shape)
    pairs = normal_pairs(random_words(key, (size + 1) // 2))
    return jnp.concatenate(pairs)[:size].reshape(shape)


def random_words(key: jax.Array, pairs: int) -> jax.Array:
    """Four random words a pair, uint32 [4, pairs]: threefry at the counters 0, 1, 2, ...

    `jax.random.bits` calls threefry once a word and keeps one of the two words that it returns. With both kept, a pair costs as
    many calls as two numbers of `jax.random.normal`.

    Raises:
      ValueError: The key is of another generator, or `pairs` is above `MOST_PAIRS`: words would repeat.
    """
    halves = jax.random.key_data(key)
    if halves.shape != (2,):
        raise ValueError(f"a key of shape {halves.shape} must be one of the threefry generator")
    if pairs > MOST_PAIRS:
        raise ValueError(
            f"pairs = {pairs} must be at most {MOST_PAIRS}: there are 2^32 counters, and a pair takes four"
        )
    return threefry_2x32((halves[0], halves[1]), jnp.arange(4 * pairs, dtype=jnp.uint32)).reshape(4, pairs)


def normal_pairs(words: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pairs of independent N(0, 1) numbers from uniform words, by Box-Muller: a radius and an angle.

    The first three words are a uniform number of 96 bits, in the middle of its cell. The first bit says at which end it is,
    the others are its distance t from there: -log(t) at the lower end, -log(1 - t) at the upper one are the half of the
    squared radius, which is thus precise at both ends. The largest radius is `normal_tail.LARGEST_RADIUS`, at t = 2^-97;
    beyond 10 the cells are coarser than float32's, as few bits are left.

    Args:
      words: uint32 [4, ...].

    Returns:
      Two arrays float32 [...]. The radius is within 1e-6 of its exact value, relatively.
    """
    radius, (cosine, sine) = _radius(words[0], words[1], words[2]), _unit_vector(words[3])
    return radius * cosine, radius * sine


def _radius(first: jax.Array, second: jax.Array, third: jax.Array) -> jax.Array:
    upper = _signed(first) < 0
    # A sum of words, each scaled to its place, is as precise at 2^-90 as at 1/2.
    rest = (_float(second) + (_float(third) + 0.5) * 2.0**-32) * 2.0**-32
    distance = (_signed(first & 0x7FFFFFFF).astype(jnp.float32) + rest) * 2.0**-32
    # distance = mantissa * 2^exponent, with the mantissa between the roots of 1/2 (these bits) and of 2.
    bits = jax.lax.bitcast_convert_type(distance, jnp.uint32)
    exponent = _signed(bits - 0x3F3504F3) >> 23
    mantissa = jax.lax.bitcast_convert_type(bits - (exponent << 23).astype(jnp.uint32), jnp.float32)
    # log(1 + x) = 2 atanh(x / (2 + x)) for both ends.
    x = jnp.where(upper, -distance, mantissa - 1)
    s = x / (2 + x)
    log = jnp.where(upper, 0.0, exponent.astype(jnp.float32)) * math.log(2) + s * _polynomial(_LOG_TERMS, s * s)
    return jnp.sqrt(-2 * log)


def _unit_vector(word: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A point of the unit circle: 30 bits for an angle within pi/4 of an axis, one for the axis, one for its direction."""
    angle = _signed((word << 2) | 2).astype(jnp.float32) * (math.pi / 4 * 2.0**-31)  # the middle of its cell
    square = angle * angle
    sine, cosine = angle * _polynomial(_SIN_TERMS, square), _polynomial(_COS_TERMS, square)
    swap, sign = (word & (1 << 30)) != 0, jnp.where(_signed(word) < 0, -1.0, 1.0)
    return sign * jnp.where(swap, sine, cosine), sign * jnp.where(swap, cosine, sine)


def _polynomial(coefficients: Sequence[float], x: jax.Array) -> jax.Array:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _signed(words: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(words, jnp.int32)


def _float(words: jax.Array) -> jax.Array:
    return words.astype(jnp.float32)
