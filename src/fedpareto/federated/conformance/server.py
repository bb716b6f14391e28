"""The check of an algorithm's server: what it makes of a release, and of nothing else.

The noise is on the released mean. Who took part (where that is secret) and what clients leave behind are seen by the
server's code, in a simulation, and may not be in the model, nor in what other clients send later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.federated.algorithms.interface import Algorithm, LocalProblem, ServerProblem
from fedpareto.federated.conformance import world
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.privacy.sampling import Cohort
from fedpareto.tasks import build as tasks

PyTree = Any
Client = Callable[[int, int, PyTree], tuple[PyTree, PyTree]]
CLIENTS, LEARNING_RATE = 4, 0.5


def check_server(algorithm: Algorithm) -> list[str]:
    """The step of the server, and what clients send in the next round, follow from the released mean and public numbers.

    Deterministic. The server steps with one mean after different rounds: with other members (where `REMEMBERS_CLIENTS` does not say
    that they are public), and with the same ones of whom one held other data. Its step must be the same, and so must the next
    updates of all clients but that one.
    """
    state, send = algorithm.init(world.first_params(), CLIENTS), _client(algorithm)
    mean = jax.tree.map(_random, send(0, 0, state)[0])
    rounds = {"": ([0, 1], 0), "what a client holds": ([0, 1], 1)}
    if not algorithm.REMEMBERS_CLIENTS:
        rounds |= {"how many take part": ([0, 1, 2], 0), "who takes part": ([0, 3], 0)}
    steps = {name: _step(algorithm, send, mean, state, *members) for name, members in rounds.items()}
    usual = steps.pop("")
    return [fault for name, other in steps.items() for fault in _differences(send, name, usual, other)]


def _differences(send: Client, name: str, usual: tuple[PyTree, PyTree], other: tuple[PyTree, PyTree]) -> Iterator[str]:
    if not _same(usual[0], other[0]):
        yield f"server: {name} changes the model's step, although the released mean is the same"
    # A client may remember what it held itself.
    changed = 1 if name == "what a client holds" else None
    for client in (number for number in range(CLIENTS) if number != changed):
        sent, also = (send(client, 0, state)[0] for state in (usual[1], other[1]))
        if not _same(sent, also):
            yield f"server: {name} changes what client {client} sends in the next round, although the released mean is the same"
            return


def _step(
    algorithm: Algorithm, send: Client, mean: PyTree, state: PyTree, members: list[int], variant: int
) -> tuple[PyTree, PyTree]:
    """The server's step and next state after a round of `members`, of whom client 1 holds the data of a variant."""
    kept = [send(client, variant if client == 1 else 0, state)[1] for client in members]
    padding = [jax.tree.map(jnp.zeros_like, kept[0])] * (CLIENTS - len(members))
    problem = ServerProblem(
        work=world.WHOLE_BATCH,
        examples_pad=world.EXAMPLES,
        clients=CLIENTS,
        expected_cohort=2.0,
        learning_rate=jnp.float32(LEARNING_RATE),
        cohort=Cohort(
            jnp.asarray([*members, *[0] * (CLIENTS - len(members))], jnp.int32), jnp.int32(len(members)), jnp.int32(0)
        ),
        kept=None if kept[0] is None else jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept, *padding),
    )
    return algorithm.server(mean, state, problem)


def _client(algorithm: Algorithm) -> Client:
    """(client, variant of its data, state) -> what it sends, and what it leaves behind."""

    @jax.jit
    def send(examples: Examples, client: jax.Array, state: PyTree) -> tuple[PyTree, PyTree]:
        update, kept = algorithm.client(_problem(examples, client), state)
        return update.delta, kept

    def of_variant(client: int, variant: int, state: PyTree) -> tuple[PyTree, PyTree]:
        x, y = world.client(100 * variant + client)
        sent: tuple[PyTree, PyTree] = send(
            Examples(jnp.asarray(x), jnp.asarray(y, jnp.int32)), jnp.int32(client), state
        )
        return sent

    return of_variant


def _problem(examples: Examples, client: jax.Array) -> LocalProblem:
    return LocalProblem(
        apply=world.small_model().apply,
        loss=tasks.build(None).loss,
        work=world.WHOLE_BATCH,
        params=world.first_params(),
        examples=examples,
        index=jnp.arange(world.EXAMPLES, dtype=jnp.int32),
        count=jnp.int32(world.EXAMPLES),
        learning_rate=jnp.float32(LEARNING_RATE),
        key=jax.random.key(7),
        client=client,
    )


def _random(leaf: jax.Array) -> jax.Array:
    return jnp.asarray(np.random.default_rng(leaf.size).normal(size=leaf.shape), jnp.float32)


def _same(a: PyTree, b: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.allclose(x, y, rtol=1e-5, atol=1e-7, equal_nan=True) for x, y in pairs)
