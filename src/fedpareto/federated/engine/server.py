"""The server's step: an optax optimizer on the released mean update (Reddi et al. 2021), and a moving average of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

PyTree = Any


def server_optimizer(name: str, arguments: Mapping[str, Any]) -> optax.GradientTransformation:
    """Any optax optimizer by name; its float arguments may be traced.

    With `final_learning_rate` the learning rate moves there from `learning_rate`, linearly over the first `decay_rounds` steps,
    and stays.
    """
    arguments = dict(arguments)
    if "final_learning_rate" in arguments:
        first, last, rounds = (arguments.pop(k) for k in ("learning_rate", "final_learning_rate", "decay_rounds"))
        arguments["learning_rate"] = lambda count: first + (last - first) * jnp.minimum(count / rounds, 1.0)
    return getattr(optax, name)(**arguments)


def server_update(
    optimizer: optax.GradientTransformation, params: PyTree, optimizer_state: PyTree, mean_update: PyTree
) -> tuple[PyTree, PyTree]:
    """One server step with the negated mean update as pseudo-gradient; sgd at learning rate 1 is plain FedAvg."""
    pseudo_gradient = jax.tree.map(jnp.negative, mean_update)
    updates, optimizer_state = optimizer.update(pseudo_gradient, optimizer_state, params)
    return optax.apply_updates(params, updates), optimizer_state


def moving_average(average: PyTree, params: PyTree, round_index: jax.Array, decay: float) -> PyTree:
    """The exponential moving average of the parameters after one round more.

    Computed from released models alone, and thus free of any cost in privacy. Early rounds count for more, so that the
    initial weights are soon forgotten: the decay is at most (1 + t) / (10 + t) in round t, as in the program of De et al. (2022).

    Args:
      average: The average before, a pytree like the parameters; the initial parameters before the first round.
      params: Parameters after round t.
      round_index: t, int32 scalar, from 0.
      decay: Share of the old average that is kept, in (0, 1).
    """
    t = round_index.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + t) / (10 + t))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, average, params)
