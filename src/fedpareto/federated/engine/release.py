"""The release of a round: the noisy mean update, and the server's state after it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fedpareto.federated.algorithms.interface import ServerProblem
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.contributions.interface import Round, Sums
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import ServerState
from fedpareto.privacy.sampling import Cohort

PyTree = Any


class Released(NamedTuple):
    """The public outcome of a round.

    Attributes:
      mean_update: The mean update that the server steps with, like the parameters.
      memory: The memory for the next round.
      wrapped: float32 scalar, the share of coordinates that wrapped around.
      refused: bool scalar, whether too few answered and the round is to change nothing; None where no round is refused.
    """

    mean_update: PyTree
    memory: ServerState
    wrapped: jax.Array
    refused: jax.Array | None


def release(
    static: ProgramConfig, run_params: RunParams, this: Round, sums: Sums, *, cohort: Cohort, kept: PyTree | None
) -> Released:
    """Adds noise to the cohort sum, divides by the public expected cohort, and steps the carried state.

    The carried state is the adaptive clip norm, the noise of earlier rounds and the algorithm's state (control variates).
    Only a trusted server adds noise here; other contributions arrive noised.

    Args:
      static: The program configuration.
      run_params: The run's numbers.
      this: Values that all contributions of the round share.
      sums: Sums over the cohort.
      cohort: The members of the round.
      kept: Each member's own state after the round, [cohort buffer, ...], or None.
    """
    total = contribution_of(static).noise.release(static, run_params, this, sums)
    divisor = static.public_divisor(run_params)
    mean = jax.tree.map(lambda leaf: leaf / divisor, total.noisy)
    problem = ServerProblem(
        work=static.work,
        examples_pad=static.examples_pad,
        clients=static.clients,
        expected_cohort=static.expected_cohort,
        learning_rate=run_params.client_learning_rate,
        cohort=cohort,
        kept=kept,
    )
    mean, state = static.algorithm_of(run_params).server(mean, total.memory.algorithm, problem)
    return Released(mean, total.memory._replace(algorithm=state), total.wrapped, total.refused)
