"""SCAFFOLD (Karimireddy et al. 2020, option II), in the form of DP-SCAFFOLD (Noble et al. 2022).

A client sends two vectors: its update, and the change of its control variate. Both are clipped as one vector and noised
as one, so that the clip norm bounds all that the client gives away in a round. To be of the same size, the second is sent
times steps of the largest client x learning rate, which is public. The client keeps its own control variate unclipped: it
never leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.interface import Algorithm, ClientUpdate, LocalProblem, ServerProblem
from fedpareto.federated.algorithms.local_sgd import local_sgd

PyTree = Any


class Controls(NamedTuple):
    """Control variates: the server's, like the parameters, and the clients', [clients, ...]."""

    server: PyTree
    clients: PyTree


@dataclass(frozen=True)
class Scaffold(Algorithm):
    """Local SGD whose gradients are corrected by the difference of the server's and the client's control variate."""

    NAME: ClassVar[str] = "scaffold"
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = (("client", "central"),)
    REMEMBERS_CLIENTS: ClassVar[bool] = True
    VECTORS: ClassVar[int] = 2

    def init(self, params: PyTree, clients: int) -> Controls:
        """Control variates of 0."""
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Controls(zeros, jax.tree.map(lambda leaf: jnp.zeros((clients, *leaf.shape), leaf.dtype), params))

    def client(self, problem: LocalProblem, state: Controls) -> tuple[ClientUpdate, PyTree]:
        """The pair {"model", "control"} as the update, and the control variate that the client keeps.

        A client that does not respond, or has no examples, keeps its old one.
        """
        own = jax.tree.map(lambda leaf: leaf[problem.client], state.clients)
        correction = jax.tree.map(jnp.subtract, state.server, own)
        update = local_sgd(problem, lambda gradient, _: jax.tree.map(jnp.add, gradient, correction))
        steps = jnp.maximum(update.steps, 1)
        new = jax.tree.map(lambda c, d: d / (-steps * problem.learning_rate) - c, correction, update.delta)
        takes_part = problem.count > 0 if problem.responds is None else problem.responds & (problem.count > 0)
        new = jax.tree.map(lambda n, o: jnp.where(takes_part, n, o), new, own)
        measure = problem.work.steps_of(problem.index.shape[0]) * problem.learning_rate
        change = jax.tree.map(lambda n, o: measure * (n - o), new, own)
        return update._replace(delta={"model": update.delta, "control": change}), new

    def server(self, mean: PyTree, state: Controls, problem: ServerProblem) -> tuple[PyTree, Controls]:
        """The mean update, and all control variates stepped."""
        measure = problem.work.steps_of(problem.examples_pad) * problem.learning_rate
        share = problem.expected_cohort / problem.clients
        control = jax.tree.map(lambda c, d: c + share * d / measure, state.server, mean["control"])
        size = problem.cohort.members.shape[0]
        # Places of the buffer without a member point beyond the last client, and are dropped.
        where = jnp.where(jnp.arange(size) < problem.cohort.size, problem.cohort.members, problem.clients)
        clients = jax.tree.map(
            lambda all_, new: all_.at[where].set(new[:size], mode="drop"), state.clients, problem.kept
        )
        return mean["model"], Controls(control, clients)
