"""What the server does in one round: sum, noise, divide, and an optax step on the result (Reddi et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedpareto.privacy.noise import gaussian_noise

PyTree = Any


def server_optimizer(name: str, arguments: Mapping[str, Any]) -> optax.GradientTransformation:
    """Any optax optimizer by name; its float arguments may be traced."""
    return getattr(optax, name)(**arguments)


def noisy_mean(total: PyTree, key: jax.Array, noise_stddev: jax.Array, expected_cohort: float) -> PyTree:
    """The released mean update: (sum of clipped updates + noise) / expected cohort.

    Args:
      total: Sum over the cohort of clipped client updates.
      key: PRNG key of this round's noise.
      noise_stddev: Standard deviation of the noise on the sum (`PrivacyPlan.noise_stddev`).
      expected_cohort: The public divisor (`PrivacyPlan.expected_cohort`). Never the realised cohort size, which
        depends on the data: dividing by it would break the sensitivity bound.
    """
    noise = gaussian_noise(key, total, noise_stddev)
    return jax.tree.map(lambda leaf, draw: (leaf + draw) / expected_cohort, total, noise)


def server_update(
    optimizer: optax.GradientTransformation, params: PyTree, optimizer_state: PyTree, mean_update: PyTree
) -> tuple[PyTree, PyTree]:
    """One server step with the negated mean update as pseudo-gradient; sgd at learning rate 1 is plain FedAvg."""
    pseudo_gradient = jax.tree.map(jnp.negative, mean_update)
    updates, optimizer_state = optimizer.update(pseudo_gradient, optimizer_state, params)
    return optax.apply_updates(params, updates), optimizer_state
