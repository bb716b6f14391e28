"""Copies of a run with canaries in it, and the view of an audit of each copy.

A copy is the run with keys of its own and with its last members (clients, or records where the server draws them) replaced by
canaries, each of which takes part or not by a coin of its own. The other members are the run's, and cohorts, clipping, weights,
noise, integers, sum, release, server step and memory are made by the engine's own code: a fault there is a fault here.

What honest members add along a canary's direction hides it. An adversary that knows their data can run the training as often as
it likes and expect what they add; here it takes the mean of other copies for that. Copies have directions and coins of their
own, so that the mean tells nothing of the canary that it is taken off from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fedpareto.attacks.target import final_states
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.engine.round import begin, one_round
from fedpareto.federated.execution.over_runs import Program, compile_over_runs
from fedpareto.federated.inputs.canaries import Canaries, along, plant
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.setup import key_data
from fedpareto.federated.inputs.state import Carried, first_state

PyTree = Any
CANARY_KEY = 2**31 - 2  # of coins and directions: rounds count from 0, and the order of a schedule has 2^31 - 1
TIMES_CLIP = 10.0  # of what a canary sends: clipping must be what bounds it
MOST_SPANS = 8  # of rounds, in each of which honest members are taken to add the same on average
SPANS_MEMORY = 2**20  # parameters times spans that one copy keeps


class Copy(NamedTuple):
    """One copy on the device; every leaf has a leading copies axis outside `jax.lax.map`.

    Attributes:
      present: bool [canaries], the coins.
      sampled: bool [rounds, canaries], which canaries were in each round's cohort, present or not.
      released: float32 [rounds, canaries], inner product of each round's released sum with each canary's direction, in clip norms
        of the round; NaN where a round released nothing.
      spans: float32 [spans, parameters], mean of the released sums over each span of rounds, in clip norms.
      moved: float32 [parameters], final less initial parameters.
    """

    present: jax.Array
    sampled: jax.Array
    released: jax.Array
    spans: jax.Array
    moved: jax.Array


class CanaryTrace(NamedTuple):
    """The record of an audit's copies, on the host.

    Attributes:
      present: bool [copies, canaries], the secret.
      sampled: bool [copies, rounds, canaries], which canaries were in each round's cohort, present or not.
      released: float32 [copies, rounds, canaries], inner product of each round's released sum with each canary's direction, in clip
        norms, less what other copies lead to expect; NaN where a round released nothing.
      moved: float32 [copies, canaries], inner product of final less initial parameters with each direction, likewise, in an
        arbitrary unit.
    """

    present: np.ndarray
    sampled: np.ndarray
    released: np.ndarray
    moved: np.ndarray


def population_of(static: ProgramConfig, data: DeviceData) -> int:
    """Members that a cohort is drawn from; the last ones become canaries."""
    return int(data.train.x.shape[0]) if contribution_of(static).DRAWS_RECORDS else static.clients


def copies_of(run_params: RunParams, names: Sequence[str], copies: int) -> RunParams:
    """Hyper-parameters [runs * copies, ...] of copies with secret keys of their own, the copies of one run in a row.

    Args:
      run_params: Those of the runs, [runs, ...].
      names: A name for each run, which its copies' keys are made of.
      copies: Copies of each.
    """
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, copies, axis=0), run_params)
    keys = [key_data(f"audit/{name}/copy/{copy}") for name in names for copy in range(copies)]
    return repeated._replace(secret_key=jnp.asarray(np.stack(keys)))


def observe(
    static: ProgramConfig, data: DeviceData, run_params: RunParams, *, canaries: int, absent: float, known: np.ndarray
) -> CanaryTrace:
    """Runs copies of one run with canaries on all devices.

    Args:
      static: The program configuration.
      data: Its data.
      run_params: Hyper-parameters of the copies, [runs * copies, ...]; their secret keys make coins and directions too.
      canaries: Canaries in each, at most as many as members and as parameters.
      absent: Factor of an absent canary's vector: 0 or -1.
      known: bool [copies], the copies of a run whose mean is what to expect of any other.

    Returns:
      What was seen, [runs * copies, ...].
    """
    first = population_of(static, data) - canaries

    def make(own: ProgramConfig, where: tuple[jax.Device, ...], copies_at_once: int) -> Program:
        return _program(own, list(where), first, canaries, absent, copies_at_once)

    done = final_states(make, static, data, run_params, lambda state: state)
    expected = _expected(np.concatenate([done.spans, done.moved[:, None]], axis=1), known)
    spans, moved = expected[:, :-1], done.moved - expected[:, -1]

    @jax.jit
    def projected(keys: jax.Array, vectors: jax.Array) -> jax.Array:
        return jax.lax.map(lambda own: _along_each(own[0], own[1], canaries), (keys, vectors))

    along_it = np.asarray(projected(run_params.secret_key, np.concatenate([spans, moved[:, None]], axis=1)))
    of_round = _span(np.arange(static.rounds), static.rounds, spans.shape[1])
    return CanaryTrace(done.present, done.sampled, done.released - along_it[:, of_round], along_it[:, -1])


def _expected(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each copy the mean of the same run's other copies that are known, like `vectors` [runs * copies, ...]; 0 without any."""
    by_run = np.nan_to_num(vectors).reshape(-1, len(known), *vectors.shape[1:])
    own = by_run * known[:, None, None]
    others = np.maximum(1, known.sum() - known)[:, None, None]
    return ((own.sum(axis=1, keepdims=True) - own) / others).reshape(vectors.shape)


def _along_each(secret_key: jax.Array, vectors: jax.Array, canaries: int) -> jax.Array:
    """Inner products of vectors, [n, parameters], with the directions of a copy's canaries: float32 [n, canaries]."""
    planted = _planted(secret_key, vectors.shape[1], 0, jnp.ones(canaries, bool), jnp.float32(1), 0.0)
    return jax.vmap(lambda vector: along(planted, vector))(vectors)


def _program(
    static: ProgramConfig, where: list[jax.Device], first: int, canaries: int, absent: float, runs_at_once: int
) -> Program:
    spans = max(1, min(MOST_SPANS, static.rounds, SPANS_MEMORY // static.model.parameters))

    def init_copy(data: DeviceData, run_params: RunParams) -> Copy:
        shape = (static.rounds, canaries)
        return Copy(
            present=jax.random.bernoulli(_keys(run_params.secret_key)[0], shape=(canaries,)),
            sampled=jnp.zeros(shape, bool),
            released=jnp.full(shape, jnp.nan, jnp.float32),
            spans=jnp.zeros((spans, static.model.parameters), jnp.float32),
            moved=jnp.zeros(static.model.parameters, jnp.float32),
        )

    def run_copy(data: DeviceData, run_params: RunParams, copy: Copy, stop: jax.Array) -> Copy:
        own = static.preprocessed(run_params)
        length = TIMES_CLIP * run_params.clip_norm
        planted = _planted(run_params.secret_key, own.model.parameters, first, copy.present, length, absent)
        run_params = run_params._replace(canaries=planted)
        divisor = own.public_divisor(run_params)
        start = first_state(own, run_params).carried
        of_round = _span(np.arange(own.rounds), own.rounds, spans)
        share = jnp.asarray(1 / np.bincount(of_round, minlength=spans)[of_round], jnp.float32)

        def body(number: jax.Array, carry: tuple[Carried, Copy]) -> tuple[Carried, Copy]:
            carried, copy = carry
            cohort, _ = begin(own, data, run_params, carried, number)
            carried, report, mean = one_round(own, data, run_params, carried, number)
            released = ravel_pytree(mean)[0] * divisor / report.clip_norm
            projected = jnp.where(report.refused > 0, jnp.nan, along(planted, released))
            real = jnp.arange(cohort.members.shape[0]) < cohort.size
            canary = jnp.where(real & (cohort.members >= first), cohort.members - first, canaries)
            copy = copy._replace(
                sampled=copy.sampled.at[number, canary].set(True, mode="drop"),
                released=copy.released.at[number].set(projected),
                spans=copy.spans.at[jnp.asarray(of_round)[number]].add(released * share[number]),
            )
            return carried, copy

        rounds = jnp.minimum(run_params.max_rounds, own.rounds)
        final, copy = jax.lax.fori_loop(0, rounds, body, (start, copy))
        moved = jax.tree.map(jnp.subtract, final.model, start.params)
        return copy._replace(moved=ravel_pytree(moved)[0])

    return compile_over_runs(
        init_copy, run_copy, where, cohort_devices=1, runs_at_once=runs_at_once, rounds_after=(static.rounds,)
    )


def _span(number: np.ndarray, rounds: int, spans: int) -> np.ndarray:
    """The span of each round."""
    return number * spans // max(1, rounds)


def _keys(secret_key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of coins and of directions."""
    key_coins, key_directions = jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(secret_key), CANARY_KEY))
    return key_coins, key_directions


def _planted(
    secret_key: jax.Array, parameters: int, first: int, present: jax.Array, length: jax.Array, absent: float
) -> Canaries:
    return plant(_keys(secret_key)[1], parameters, first, present=present, length=length, absent=absent)
