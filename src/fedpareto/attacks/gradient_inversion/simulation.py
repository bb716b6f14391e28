"""The update that a client with given records would send, as a differentiable function of them, and the noise on the view.

This is what an adversary computes who knows all that is public of a run: model, hyper-parameters, protocol. The client is the
engine's (`Contribution.simulated`), whatever its algorithm. The adversary assumes what it cannot know. Where a client holds more
records than go in a batch, the order in which it takes them is private: the order given is used. Where a client draws its records
by Poisson sampling, each step is taken for one on all of them, in proportion. Random views of images are left out.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.components.threats import SERVER
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams

PyTree = Any
NO_CLIP = 1e12  # stands for an infinite clip norm, through which no gradient could be taken


def update_of(static: ProgramConfig, run_params: RunParams, params: PyTree, x: jax.Array, y: jax.Array) -> PyTree:
    """The update of a client with records `x` (float32 [records, ...]) and `y` (int32 [records]), before any noise.

    Args:
      static: The run's program, whose model takes examples as they are (`ProgramConfig.preprocessed`).
      run_params: Its hyper-parameters.
      params: Parameters at the start of the round.
      x: The records.
      y: Their labels.
    """
    run_params = run_params._replace(clip_norm=jnp.minimum(run_params.clip_norm, NO_CLIP))
    return contribution_of(static).simulated(static, run_params, params, Examples(x, y))


def noise_of(static: ProgramConfig, run_params: RunParams, adversary: str, records: int) -> float:
    """Standard deviation of the noise on each coordinate that an adversary sees in the first round; it knows that.

    Args:
      static: The run's program.
      run_params: Its hyper-parameters (without a runs axis).
      adversary: `server` or `participants`.
      records: Records that the client holds.
    """
    return contribution_of(static).first_stddev(static, run_params, records, adversary == SERVER)
