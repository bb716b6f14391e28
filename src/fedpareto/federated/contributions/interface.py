"""The interface of contributions: the summands of a cohort's members, and the noise on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import jax

from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import ServerState

PyTree = Any
# (members int32 [at_once], real bool [at_once]) -> (sums over the real ones, what each leaves behind or None)
Members = Callable[[jax.Array, jax.Array], "tuple[Sums, PyTree | None]"]


class Round(NamedTuple):
    """Values that all contributions of a round share.

    Attributes:
      number: int32 scalar, from 0.
      params: Global parameters.
      memory: The server's state after earlier rounds.
      clip_norm: float32 scalar, that of this round.
      key_noise: Key of the round's noise, whoever adds it.
      key_responses: Key of who fails to answer and who is late.
      key_records: Key of which of its records a client draws.
    """

    number: jax.Array
    params: PyTree
    memory: ServerState
    clip_norm: jax.Array
    key_noise: jax.Array
    key_responses: jax.Array
    key_records: jax.Array


class Sums(NamedTuple):
    """Sums over members of a cohort; float32 scalars but for `update`.

    Attributes:
      update: The released value: a pytree like the parameters, a pair of them (SCAFFOLD), or integers int32 [dimension].
      answered: Members that answered.
      within: Sum of 1/2 for each that was within the clip norm and -1/2 for each that was not; of use where that norm adapts.
      clipped: How many were longer than the clip norm.
      norm: Sum of their norms before clipping.
      overflow: Records that a client drew and its buffer had no place for.
    """

    update: PyTree
    answered: jax.Array
    within: jax.Array
    clipped: jax.Array
    norm: jax.Array
    overflow: jax.Array


class NoisySum(NamedTuple):
    """The released sum of a round.

    Attributes:
      noisy: The noisy sum, not yet divided.
      memory: The memory for the next round.
      wrapped: float32 scalar, the share of coordinates that wrapped around.
      refused: bool scalar, whether too few answered; None where no round is refused.
    """

    noisy: PyTree
    memory: ServerState
    wrapped: jax.Array
    refused: jax.Array | None


class Noise(Protocol):
    """Who adds the noise.

    Attributes:
      HIDES_MEMBERS: Whether the server sees the sum alone, and no member's contribution.
    """

    HIDES_MEMBERS: ClassVar[bool]

    def on_member(
        self, static: ProgramConfig, run_params: RunParams, this: Round, key: jax.Array, clipped: PyTree
    ) -> PyTree:
        """The message that a member sends instead of its clipped vector; `key` is the member's in this round."""
        ...

    def release(self, static: ProgramConfig, run_params: RunParams, this: Round, sums: Sums) -> NoisySum:
        """The noisy sum of the members' messages."""
        ...

    def first_stddev(self, static: ProgramConfig, run_params: RunParams, of_member: float, by_server: bool) -> float:
        """Standard deviation of the noise in the first round, in the view of the server (or of any who see the models).

        Args:
          static: The program configuration.
          run_params: The run's numbers.
          of_member: That of the noise on one member's contribution, or on the sum.
          by_server: Whether the server looks, and not those who see the models.
        """
        ...


@dataclass(frozen=True)
class Contribution:
    """One row of the table: the summand of a member, and the party that adds the noise.

    Attributes:
      noise: Who adds the noise.
      OF_RECORDS: Whether the unit of privacy is a record.
      DRAWS_RECORDS: Whether a member is a record, drawn by the server from those of all clients.
      ASKS_EVERYBODY: Whether every client is asked in every round, and draws its records for itself.
    """

    noise: Noise
    OF_RECORDS: ClassVar[bool] = False
    DRAWS_RECORDS: ClassVar[bool] = False
    ASKS_EVERYBODY: ClassVar[bool] = False

    def members(self, static: ProgramConfig, data: DeviceData, run_params: RunParams, this: Round) -> Members:
        """The contributions of several members at once."""
        raise NotImplementedError

    def simulated(self, static: ProgramConfig, run_params: RunParams, params: PyTree, examples: Examples) -> PyTree:
        """Simulates the message of a client with these examples, before any noise; differentiable with respect to them.

        Args:
          static: The program configuration, whose model takes examples as they are (`ProgramConfig.preprocessed`).
          run_params: The run's numbers, its clip norm finite.
          params: Parameters at the start of the round.
          examples: The client's, in the order in which it takes them.
        """
        raise NotImplementedError

    def local_steps(self, static: ProgramConfig, records: int) -> int:
        """Gradient steps in the update of a client that holds `records` records."""
        return 1

    def first_stddev(self, static: ProgramConfig, run_params: RunParams, records: int, by_server: bool) -> float:
        """Standard deviation of the noise that the server (or those who see the models) sees in the first round.

        Args:
          static: The program configuration.
          run_params: The run's numbers (without a runs axis).
          records: Records that the client holds.
          by_server: Whether the server looks, and not those who see the models.
        """
        return self.noise.first_stddev(static, run_params, float(run_params.noise_stddev), by_server)
