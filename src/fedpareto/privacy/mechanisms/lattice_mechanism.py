"""Distributed discrete noise as a mechanism, on the host and on the device, and its two laws: discrete Gaussian and Skellam.

A client's clipped vector is rotated, rounded to the lattice of the plan and given an integer noise share; the server decodes the
modular sum (Kairouz, Liu and Steinke 2021, Algorithm 1; Agarwal, Kairouz and Liu 2021). Inside a sweep the plain modular sum
stands in for the protocol of `fedpareto.privacy.secure_aggregation.cost`, whose result it equals to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fedpareto.components.rules import Rule
from fedpareto.privacy.delta_budget import SAMPLER_SHARE, largest_epsilon
from fedpareto.privacy.mechanisms.discrete import IntegerEncoding, padded
from fedpareto.privacy.mechanisms.discrete_encoding import (
    DeviceAliasTable,
    noise_share,
    rotate,
    round_conditionally,
    unrotate,
    wrap,
)
from fedpareto.privacy.mechanisms.discrete_sampler import largest_total_variation, share_table
from fedpareto.privacy.mechanisms.interface import IntegerMechanism
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError

PyTree = Any


class DeviceEncoding(NamedTuple):
    """A run's `IntegerEncoding` on the device: `granularity` and `norm_bound` float32 scalars, and the table of a noise share."""

    granularity: Any
    norm_bound: Any
    share: DeviceAliasTable


@lru_cache(maxsize=256)
def encoding_of(plan: PrivacyPlan) -> IntegerEncoding:
    """The integer encoding of contributions under secure aggregation, and the guarantee of their noisy sum.

    Raises:
      PrivacyPlanError: The plan has no sum of noisy integers, or too few bits for one.
    """
    if plan.sum is None or plan.clip_norm is None or not plan.private:
        raise PrivacyPlanError("only a private run with trust distributed has a lattice")
    try:
        return IntegerEncoding(
            distribution=plan.setting.mechanism,
            dimension=padded(plan.sum.dimension),
            bits=plan.sum.bits,
            shares=plan.sum.participants,
            threshold=plan.sum.fewest,
            contributions=plan.expected_cohort,
            clip_norm=plan.clip_norm,
            noise_stddev=plan.noise_stddev,
        )
    except ValueError as error:
        raise PrivacyPlanError(str(error)) from error


def sampler_error(plan: PrivacyPlan) -> float:
    """Total variation between all discrete noise of the run and its exact law (union over all that is drawn)."""
    if plan.sum is None:
        return 0.0
    try:
        of_one_draw = largest_total_variation(plan.setting.mechanism, encoding_of(plan).share_variance)
    except ValueError as error:
        raise PrivacyPlanError(f"bits = {plan.sum.bits} for {plan.sum.participants} noise shares: {error}") from error
    return of_one_draw * encoding_of(plan).dimension * plan.sum.participants * plan.rounds


@dataclass(frozen=True)
class LatticeMechanism(IntegerMechanism):
    """Integers on the lattice of the plan, and noise shares of the law that the name of the mechanism says.

    Attributes:
      bits: Bits of a coordinate under secure aggregation.
      threshold: Share of the cohort that must answer; the noise is enough when no more do.
    """

    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (("client", "distributed"), ("record", "distributed"))

    bits: Annotated[int, Rule(minimum=4, maximum=24)] = 16
    threshold: Annotated[float, Rule(exclusiveMinimum=0.5, maximum=1)] = 0.8

    def rdp(self, plan: PrivacyPlan, orders: np.ndarray) -> np.ndarray:
        """That of one sum of rounded vectors and noise shares."""
        return encoding_of(plan).rdp(orders, swapped=plan.setting.adjacency == "replace_one")

    def delta_share(self, plan: PrivacyPlan) -> float:
        """The part of delta that pays for `sampler_error`."""
        return SAMPLER_SHARE * (plan.delta or 0.0)

    def largest_epsilon(self, plan: PrivacyPlan) -> float:
        """The epsilon up to which the sampler is exact enough for the delta set aside for it."""
        return largest_epsilon(self.delta_share(plan), sampler_error(plan))

    def numerics(self, plan: PrivacyPlan) -> str:
        """The distance of all noise of the run from its law."""
        return f"exact integers, threefry, but for a total variation of {sampler_error(plan):.2g}"

    def device_params(self, plans: Sequence[PrivacyPlan]) -> Sequence[DeviceEncoding]:
        """The plans' grids, their tables of noise brought to one size."""
        encodings = [encoding_of(plan) for plan in plans]
        size = max(len(share_table(encoding.distribution, encoding.share_variance).alias) for encoding in encodings)
        return [_on_device(encoding, size) for encoding in encodings]

    def dimension(self, parameters: int) -> int:
        """Coordinates after padding to a power of two, as the rotation needs it."""
        return padded(parameters)

    def encode(self, key: jax.Array, signs_key: jax.Array, vector: PyTree, device: DeviceEncoding) -> jax.Array:
        """The vector rotated, divided by the granularity, and rounded within the norm bound of the lattice."""
        flat, _ = ravel_pytree(vector)
        rotated = rotate(signs_key, flat, self.dimension(flat.shape[0]))
        return round_conditionally(key, rotated / device.granularity, device.norm_bound)

    def share(self, key: jax.Array, parameters: int, device: DeviceEncoding) -> jax.Array:
        """One noise share for each coordinate."""
        return noise_share(key, device.share, (self.dimension(parameters),))

    def decode(
        self, signs_key: jax.Array, total: jax.Array, like: PyTree, device: DeviceEncoding
    ) -> tuple[PyTree, jax.Array]:
        """The modular sum scaled and rotated back."""
        reduced = wrap(total, self.bits)
        wrapped = jnp.mean((reduced != total).astype(jnp.float32))
        flat, unravel = ravel_pytree(like)
        rotated = reduced.astype(jnp.float32) * device.granularity
        return unravel(unrotate(signs_key, rotated, flat.shape[0])), wrapped


def _on_device(encoding: IntegerEncoding, size: int) -> DeviceEncoding:
    table = share_table(encoding.distribution, encoding.share_variance, size)
    words: Any = (table.high, table.middle, table.low, table.alias, np.int32(table.offset))
    return DeviceEncoding(
        granularity=np.float32(encoding.granularity),
        norm_bound=np.float32(encoding.norm_bound),
        share=DeviceAliasTable(*words),
    )


@dataclass(frozen=True)
class DiscreteGaussian(LatticeMechanism):
    """Noise shares from the discrete Gaussian, whose sum is nearly one."""

    NAME: ClassVar[str] = "discrete_gaussian"


@dataclass(frozen=True)
class Skellam(LatticeMechanism):
    """Noise shares that are differences of two Poisson variables; their sum is of the same law."""

    NAME: ClassVar[str] = "skellam"
