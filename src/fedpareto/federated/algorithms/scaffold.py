"""SCAFFOLD (Karimireddy et al. 2020, option II), in the form of DP-SCAFFOLD (Noble et al. 2022).

A client sends two vectors: its update, and the change of its control variate. Both are clipped as one vector and noised
as one, so that the clip norm bounds all that the client gives away in a round. To be of the same size, the second is sent
times `unit_steps` x learning rate, which is public. The client keeps its own control variate unclipped: it never leaves it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.algorithms.local_sgd import Apply, ClientUpdate, Examples, LocalWork, client_update
from fedpareto.federated.augmentation import Augmentation
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams, ServerState
from fedpareto.privacy.sampling import Cohort

PyTree = Any


def unit_steps(work: LocalWork, pad: int) -> int:
    """Local steps of the largest client: public, and the measure of control variates on their way."""
    if work.steps is not None:
        return work.steps
    return (work.epochs or 0) * -(-pad // (work.batch_size or pad))


def scaffold_update(
    apply: Apply,
    work: LocalWork,
    params: PyTree,
    examples: Examples,
    index: jax.Array,
    count: jax.Array,
    learning_rate: jax.Array,
    key: jax.Array,
    memory: ServerState,
    client: jax.Array,
    answers: jax.Array | None,
    augmentation: Augmentation | None = None,
) -> tuple[ClientUpdate, PyTree]:
    """A client's pair of vectors, and the control variate that it keeps.

    Args:
      apply: The model.
      work: Local training.
      params: Global parameters.
      examples: All clients' examples.
      index: int32 [pad], the client's rows of `examples`.
      count: int32 scalar, how many are real.
      learning_rate: float32 scalar.
      key: Key of shuffling.
      memory: Control variates of server and clients.
      client: int32 scalar.
      answers: bool scalar, or None where all answer. One that does not keeps its old control variate.
      augmentation: How each step sees its images; None as they are.

    Returns:
      The update, its `delta` the pair {"model", "control"}; and the new control variate.
    """
    own = jax.tree.map(lambda leaf: leaf[client], memory.client_controls)
    correction = jax.tree.map(jnp.subtract, memory.control, own)
    update = client_update(
        *(apply, work, params, examples, index, count, learning_rate, key),
        correction=correction,
        augmentation=augmentation,
    )
    steps = jnp.maximum(update.steps, 1)
    new = jax.tree.map(lambda c, d: d / (-steps * learning_rate) - c, correction, update.delta)
    takes_part = count > 0 if answers is None else answers & (count > 0)
    new = jax.tree.map(lambda n, o: jnp.where(takes_part, n, o), new, own)
    measure = unit_steps(work, index.shape[0]) * learning_rate
    change = jax.tree.map(lambda n, o: measure * (n - o), new, own)
    return update._replace(delta={"model": update.delta, "control": change}), new


def step_controls(
    static: ProgramConfig, hyper: RunParams, memory: ServerState, cohort: Cohort, mean: PyTree, kept: PyTree
) -> tuple[PyTree, ServerState]:
    """Takes the released pair apart: the mean update, and the memory with all control variates stepped.

    Args:
      static: What shapes the program.
      hyper: The run's numbers.
      memory: Control variates.
      cohort: Who took part.
      mean: The released mean of the pairs.
      kept: [cohort buffer, ...], the members' new control variates.
    """
    measure = unit_steps(static.work, static.examples_pad) * hyper.client_learning_rate
    share = static.expected_cohort / static.clients
    control = jax.tree.map(lambda c, d: c + share * d / measure, memory.control, mean["control"])
    size = cohort.members.shape[0]
    # Places of the buffer without a member point beyond the last client, and are dropped.
    where = jnp.where(jnp.arange(size) < cohort.size, cohort.members, static.clients)
    clients = jax.tree.map(lambda all_, new: all_.at[where].set(new[:size], mode="drop"), memory.client_controls, kept)
    return mean["model"], memory._replace(control=control, client_controls=clients)
