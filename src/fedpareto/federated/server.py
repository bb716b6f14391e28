"""The server's step: an optax optimizer on the released mean update (Reddi et al. 2021)."""

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
