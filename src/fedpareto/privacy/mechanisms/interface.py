"""The interface of a mechanism: its guarantee on the host, and its noise on the device.

A mechanism adds noise to a sum (or to one client's vector) whose sensitivity a `PrivacyPlan` bounds. The plan and the accountant
ask its host part, the engine its device part. Both stand in one class, so that noise and proof are read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from fedpareto.columns.declared import ITS_AUTHOR
from fedpareto.privacy.mechanisms.normal_tail import impossible_release
from fedpareto.privacy.plan import PrivacyPlan

PyTree = Any


class NoiseParams(NamedTuple):
    """The numbers of one run that a mechanism draws its noise with; all may be traced.

    Attributes:
      stddev: float32 scalar, standard deviation of the noise, in the units of what is noised; with adaptive clipping that of
        the round.
      round_index: int32 scalar, from 0.
      device: The run's entry of `Mechanism.device_params`.
    """

    stddev: jax.Array
    round_index: jax.Array
    device: PyTree


@dataclass(frozen=True)
class Mechanism:
    """A mechanism without memory whose Rényi divergence is known: `rdp` and `privatize` are all that it must define.

    Attributes:
      NAME: Its name in a configuration.
      SOUND_FOR: Pairs (unit, trust) for which its proof holds; a user's own is refused everywhere
        else, and `privacy.soundness` has the rules of the built-in ones.
    """

    NAME: ClassVar[str] = ""
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = ()

    # Host part.

    def event(self, plan: PrivacyPlan) -> Any | None:
        """The `dp_accounting.DpEvent` of one release of all units; None where dp-accounting has none, and `rdp` is asked."""
        return None

    def rdp(self, plan: PrivacyPlan, orders: np.ndarray) -> np.ndarray:
        """Rényi divergence of one release of all units from its neighbour's, in both directions; non-decreasing.

        Amplification by sampling is added by the accountant.

        Args:
          plan: The run's plan; `plan.relative_noise` is the noise over the sensitivity.
          orders: Integer orders above 1, float64 [k].

        Returns:
          float64 [k], upper bounds.
        """
        raise NotImplementedError(f"mechanism {self.NAME} has neither an event nor an rdp")

    def compositions(self, plan: PrivacyPlan, rounds: int) -> float | None:
        """Releases that the first `rounds` rounds compose of; None where each participation of a unit is one.

        A number says that the rounds together are one Gaussian, of this times the precision of `event`.
        """
        return None

    def strategy(self, rounds: int) -> tuple[float, ...]:
        """First column of the matrix that correlates noise over rounds, of L2 norm 1; (1.0,) for independent noise."""
        return (1.0,)

    def delta_share(self, plan: PrivacyPlan) -> float:
        """Delta set aside for draws that are not exactly of the proven law.

        By default it is for noise that is made of `normal.standard_normal` with at least the plan's relative noise, and for that
        of preprocessing: both end. It bounds the probability that any release of the run is impossible for the neighbour, and is
        at most 1. Other noise needs a charge of its own.
        """
        if not plan.private:
            return 0.0
        releases = plan.rounds * (1 if plan.local is None else plan.local.steps)
        before = sum(impossible_release(1 / noise) for noise in plan.preprocessing_relative_noise)
        return min(1.0, releases * impossible_release(1 / plan.relative_noise) + before)

    def largest_epsilon(self, plan: PrivacyPlan) -> float:
        """The epsilon up to which `delta_share` pays for these draws: any, where it is the probability of an event."""
        return float("inf")

    def numerics(self, plan: PrivacyPlan) -> str:
        """How numbers of finite precision stand for the noise, in a few words for the tables; a mechanism of one's own may say."""
        return ITS_AUTHOR

    def device_params(self, plans: Sequence[PrivacyPlan]) -> Sequence[PyTree]:
        """For each plan a pytree of numpy arrays for `NoiseParams.device`; all of one structure and of equal shapes."""
        return [None for _ in plans]

    # Device part.

    def init(self, like: PyTree, device: PyTree) -> PyTree | None:
        """The state before the first round.

        Args:
          like: A pytree like the noised sum.
          device: The run's entry of `device_params`.
        """
        return None

    def privatize(
        self, key: jax.Array, total: PyTree, state: PyTree, params: NoiseParams
    ) -> tuple[PyTree, PyTree | None]:
        """The noisy sum, and the next state.

        Args:
          key: A typed PRNG key, never used for anything else.
          total: The sum to be noised, a pytree of float32 arrays.
          state: The result of `init` or of the round before.
          params: The run's numbers.
        """
        raise NotImplementedError(f"mechanism {self.NAME} adds no noise to a sum")

    def first_stddev(self, stddev: float, device: PyTree) -> float:
        """Standard deviation of the noise in the first round, where `NoiseParams.stddev` is `stddev`: for attacks."""
        return stddev


class IntegerMechanism(Mechanism):
    """A mechanism whose noise is made of shares: each client adds one to its integers before secure aggregation."""

    def dimension(self, parameters: int) -> int:
        """Integers of a vector of `parameters` numbers."""
        return parameters

    def encode(self, key: jax.Array, signs_key: jax.Array, vector: PyTree, device: PyTree) -> jax.Array:
        """A clipped vector as integers, int32 [dimension].

        Args:
          key: A typed PRNG key of random rounding, never used for anything else.
          signs_key: The public key of the round, the same for all clients.
          vector: A pytree of float32 arrays.
          device: The run's entry of `device_params`.
        """
        raise NotImplementedError

    def share(self, key: jax.Array, parameters: int, device: PyTree) -> jax.Array:
        """One client's noise share for a vector of `parameters` numbers, int32 [dimension]."""
        raise NotImplementedError

    def decode(self, signs_key: jax.Array, total: jax.Array, like: PyTree, device: PyTree) -> tuple[PyTree, jax.Array]:
        """The server's reading of a sum: a pytree like `like`, and the share of coordinates that wrapped around.

        Args:
          signs_key: The public key of the round.
          total: int32 [dimension], sum of encoded vectors and noise shares, not reduced.
          like: A pytree like one clipped vector.
          device: The run's entry of `device_params`.
        """
        raise NotImplementedError
