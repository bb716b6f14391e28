"""The engine as a `Mechanism` of the conformance checks: everything goes through its compiled round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components import registry
from fedpareto.federated.algorithms.interface import Algorithm, ClientUpdate, LocalProblem, ServerProblem
from fedpareto.federated.conformance.runs import key_data, whole_runs, without_the_first
from fedpareto.federated.conformance.world import (
    CLASSES,
    CLIENT_EXTREMES,
    EXAMPLES,
    FEATURES,
    RECORD_EXTREMES,
    RECORD_RATE,
    client,
    clients_data,
    first_params,
    program_config,
    records_data,
    run_params,
    small_model,
)
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.state import Carried, first_memory
from fedpareto.privacy.conformance import Claim, Mechanism, WholeRun
from fedpareto.privacy.conformance.mechanism import flat
from fedpareto.privacy.mechanisms.interface import NoiseParams
from fedpareto.privacy.plan import PrivacyPlan

PyTree = Any
QUICK = {"xla_backend_optimization_level": 0}  # compiling is what takes the time here
ROUNDS_AT_ONCE, SAMPLED_RUNS = 512, 500


@dataclass(frozen=True)
class _Observed(Algorithm):
    """An algorithm whose released mean stays in its state, where it is read, and whose model stands still."""

    algorithm: Algorithm = field(default_factory=Algorithm)

    def init(self, params: PyTree, clients: int) -> PyTree:
        return self.algorithm.init(params, clients), jax.tree.map(jnp.zeros_like, params)

    def client(self, problem: LocalProblem, state: PyTree) -> tuple[ClientUpdate, PyTree | None]:
        return self.algorithm.client(problem, state[0])

    def server(self, mean: PyTree, state: PyTree, problem: ServerProblem) -> tuple[PyTree, PyTree]:
        return state[1], mean


@dataclass(frozen=True)
class EngineMechanism(Mechanism):
    """The engine's mechanism, whose releases are the steps of the models of its whole runs.

    Attributes:
      whole: (units, generator) -> a whole run, whose models are its first one and that after every round, float [rounds + 1, d].
    """

    whole: Callable[[Sequence[Any], np.random.Generator], WholeRun] = field(kw_only=True)

    def release(self, data: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
        """The releases of one run, float [releases, d]."""
        return np.diff(self.whole(data, rng).models, axis=0)


def of_plan(plan: PrivacyPlan, algorithm: Algorithm | None = None, weight_cap: int | None = None) -> EngineMechanism:
    """The engine under a plan whose server adds the noise, with the plan's mechanism.

    Args:
      plan: Its population is the number of clients (or of records), at most the number of parameters of `small_model`.
      algorithm: Of clients and server; federated averaging where there is none.
      weight_cap: Examples from which a client's weight grows no further; None for uniform weights.
    """
    if plan.setting.unit == "record":
        return _of_records(plan)
    return _of_clients(plan, algorithm or registry.build("algorithm", {"name": "fedavg"}), weight_cap)


def claim_of(plan: PrivacyPlan, epsilon: float | None = None, stated_multiplier: float | None = None) -> Claim:
    """The claim of a plan.

    Args:
      plan: The plan.
      epsilon: None for the one that the plan proves.
      stated_multiplier: Noise multiplier of the Gaussian that the mechanism says to be; None for the plan's.
    """
    from fedpareto.privacy.accounting.epsilon import guarantee

    if epsilon is None:
        epsilon = guarantee(plan).epsilon
    buffered = plan.setting.sampling == "poisson" and plan.max_cohort_size < plan.population
    return Claim(
        unit=plan.setting.unit,
        adjacency=plan.setting.adjacency,
        sampling=plan.setting.sampling,
        rate=plan.setting.sampling_rate,
        steps=plan.rounds,
        noise_multiplier=plan.noise_multiplier if stated_multiplier is None else stated_multiplier,
        clip_norm=float(plan.clip_norm or np.inf),
        divisor=plan.expected_cohort,
        delta=float(plan.delta or 0.0),
        epsilon=epsilon,
        cohort_limit=plan.max_cohort_size if buffered else None,
        accounted_delta=plan.accounted_delta,
    )


def stated_multiplier(plan: PrivacyPlan) -> float | None:
    """The noise multiplier of the Gaussian noise that the plan's mechanism says to add; None where it states another law.

    It states one by its event, or by an `rdp` that is linear in the order.
    """
    import dp_accounting

    event = plan.noise.event(plan)
    if event is None:
        orders = np.array([2.0, 3.0, 5.0, 8.0, 16.0, 64.0])
        with np.errstate(all="ignore"):
            variances = orders / (2 * np.asarray(plan.noise.rdp(plan, orders), float))
        relative = float(np.sqrt(variances[0])) if np.allclose(variances, variances[0], rtol=1e-5) else None
    else:
        relative = event.noise_multiplier if isinstance(event, dp_accounting.GaussianDpEvent) else None
    return None if relative is None else float(relative * plan.sensitivity / (plan.clip_norm or 1.0))


def silenced(static: ProgramConfig, hyper: RunParams) -> tuple[ProgramConfig, RunParams]:
    """The same program without noise: by its own mechanism if a standard deviation of 0 silences it, else without it."""
    still, total = hyper._replace(noise_stddev=jnp.float32(0)), jax.tree.map(jnp.zeros_like, first_params())
    state, device = static.mechanism.init(total, hyper.mechanism), hyper.mechanism
    noise, _ = static.mechanism.privatize(
        jax.random.key(0), total, state, NoiseParams(jnp.float32(0), jnp.int32(0), device)
    )
    if all(not np.any(leaf) for leaf in jax.tree.leaves(noise)):
        return static, still
    return replace(static, mechanism=registry.build("mechanism", {"name": "gaussian"})), still._replace(mechanism=None)


def noise_of_rounds(
    static: ProgramConfig, data: DeviceData, hyper: RunParams, counts_of: Callable[[np.ndarray], Any]
) -> Callable[[np.random.Generator, Sequence[np.ndarray]], list[Any]]:
    """`Mechanism.noise`: the releases of a run with its noise less those without it."""
    quiet = silenced(static, hyper)

    def noise(rng: np.random.Generator, cohorts: Sequence[np.ndarray]) -> list[Any]:
        keys, counts = key_data(rng, 1), np.array([counts_of(cohort) for cohort in cohorts], np.int32)
        loud = released(static, data, hyper, keys, counts)
        still = released(quiet[0], data, quiet[1], keys, counts)
        return list(zip(*((a - b)[0] for a, b in zip(loud, still, strict=True)), strict=True))

    return noise


def released(
    static: ProgramConfig, data: DeviceData, hyper: RunParams, keys: np.ndarray, counts: np.ndarray
) -> list[np.ndarray]:
    """The noisy means of the rounds of runs that start from `first_params` each time, leaf by leaf, [runs, rounds, ...].

    Args:
      static: What shapes the program.
      data: All units.
      hyper: The run's numbers.
      keys: uint32 [runs, 2], secret keys.
      counts: int32 [rounds, clients], examples of each client.
    """
    rounds = len(counts)
    padded = counts[np.arange(-(-rounds // ROUNDS_AT_ONCE) * ROUNDS_AT_ONCE) % rounds] if len(keys) == 1 else counts
    leaves = _released(*_observed(static, hyper), data, jnp.asarray(keys), jnp.asarray(padded))
    return [np.asarray(leaf, float)[:, :rounds] for leaf in leaves]


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _released(
    static: ProgramConfig, hyper: RunParams, data: DeviceData, keys: jax.Array, counts: jax.Array
) -> list[jax.Array]:
    params = first_params()
    optimizer_state = static.server(hyper.server).init(params)

    def run(key: jax.Array) -> list[jax.Array]:
        own = hyper._replace(secret_key=key)
        memory = first_memory(static, own, params)

        def step(state: PyTree, now: tuple[jax.Array, jax.Array]) -> tuple[PyTree, list[jax.Array]]:
            number, count = now
            carried = Carried(params, optimizer_state, memory._replace(mechanism=state))
            after = one_round(static, data._replace(train_count=count[None]), own, carried, number).carried.memory
            return after.mechanism, jax.tree.leaves(after.algorithm)

        numbers = jnp.arange(len(counts), dtype=jnp.int32)
        return jax.lax.scan(step, memory.mechanism, (numbers, counts))[1]

    return jax.vmap(run)(keys)


def _observed(static: ProgramConfig, hyper: RunParams) -> tuple[ProgramConfig, RunParams]:
    """The same program with its releases in the state of its algorithm."""
    algorithm = replace(static.algorithm, **{name: float(value) for name, value in hyper.algorithm.items()})
    return replace(static, algorithm=_Observed(algorithm)), hyper._replace(algorithm={})


def one_release(static: ProgramConfig, data: DeviceData, hyper: RunParams) -> np.ndarray:
    """The mean of one round, as one vector."""
    counts = jnp.asarray(data.train_count)
    leaves = _released(*_observed(static, hyper), data, hyper.secret_key[None], counts)
    return flat(leaves)


def cohorts_of(
    static: ProgramConfig,
    data: DeviceData,
    hyper: RunParams,
    contributions: Callable[[], Sequence[np.ndarray]],
    rounds: int,
) -> Callable[[np.random.Generator, int], list[np.ndarray]]:
    """`Mechanism.sample`: who took part, read off noiseless releases. The units' contributions are independent vectors."""
    waiting: list[np.ndarray] = []

    def sample(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        if not waiting:
            counts = np.repeat(np.asarray(data.train_count), rounds, axis=0)
            leaves = released(static, data, hyper, key_data(rng, SAMPLED_RUNS), counts)
            vectors = np.concatenate([leaf.reshape(SAMPLED_RUNS, rounds, -1) for leaf in leaves], axis=2)
            joined = vectors @ np.linalg.pinv(np.asarray(contributions()))
            if not np.abs(joined - joined.round()).max() < 0.1:
                raise ValueError("releases are no sums of the units' contributions")
            waiting.extend(joined.round().astype(bool))
        return [np.flatnonzero(step) for step in waiting.pop()]

    return sample


def _of_clients(plan: PrivacyPlan, algorithm: Algorithm, weight_cap: int | None) -> EngineMechanism:
    n = plan.population
    static, hyper = program_config(plan, algorithm, weight_cap=weight_cap), run_params(plan, algorithm)
    # The same with all clients. One that has no examples adds nothing: it is absent.
    everybody: dict[str, Any] = {"sampling": "poisson", "sampling_rate": 1.0, "max_cohort_size": n, "batches": 1}
    quiet, still = silenced(static, hyper)
    units = [client(10 + number) for number in range(n)]
    data = clients_data(units, [EXAMPLES] * n)

    def counts_of(cohort: np.ndarray) -> np.ndarray:
        return np.where(np.isin(np.arange(n), cohort), EXAMPLES, 0)

    def query(given: Sequence[Any], cohort: np.ndarray) -> np.ndarray:
        return one_release(replace(quiet, **everybody), clients_data(given, counts_of(cohort)), still)

    def data_of(present: Sequence[Any]) -> DeviceData:
        # One without examples adds nothing to a sum, but is counted among those within the clip norm, where they are counted.
        missing = 0 if plan.setting.clipping == "adaptive" else n - len(present)
        return clients_data([*present, *[client(5)] * missing], [EXAMPLES] * len(present) + [0] * missing)

    whole = whole_runs(static, hyper, data_of)
    return EngineMechanism(
        claim=claim_of(plan, stated_multiplier=stated_multiplier(plan)),
        data=units,
        extremes=[client(5, value) for value in CLIENT_EXTREMES],
        sample=cohorts_of(quiet, data, still, lambda: [query(units, np.array([i])) for i in range(n)], plan.rounds),
        query=query,
        noise=noise_of_rounds(replace(static, **everybody), data, hyper, counts_of),
        run=lambda present, rng: without_the_first(whole(present, rng)),
        whole=whole,
    )


def _of_records(plan: PrivacyPlan) -> EngineMechanism:
    n = plan.population
    static, hyper = program_config(plan, clients=1, at_once=4), run_params(plan, rate=RECORD_RATE)
    quiet, still = silenced(static, hyper)
    rng = np.random.default_rng(6)
    units = [(rng.normal(size=FEATURES).astype(np.float32), int(rng.integers(0, CLASSES))) for _ in range(n)]
    data = records_data(units)

    def query(given: Sequence[Any], cohort: np.ndarray) -> np.ndarray:
        if not len(cohort):
            return np.zeros(small_model().parameters)
        whole = replace(quiet, sampling="poisson", sampling_rate=1.0, max_cohort_size=len(cohort), at_once=1)
        return one_release(whole, records_data([given[i] for i in cohort]), still)

    def data_of(present: Sequence[Any]) -> DeviceData:
        everybody = records_data([*present, *units[: n - len(present)]])
        return everybody._replace(record_mask=jnp.arange(n)[None] < len(present))

    whole = whole_runs(static, hyper, data_of)
    return EngineMechanism(
        claim=claim_of(plan, stated_multiplier=stated_multiplier(plan)),
        data=units,
        extremes=[(np.full(FEATURES, value, np.float32), 1) for value in RECORD_EXTREMES],
        sample=cohorts_of(quiet, data, still, lambda: [query(units, np.array([i])) for i in range(n)], plan.rounds),
        query=query,
        noise=noise_of_rounds(static, data, hyper, lambda cohort: [n]),  # its cohorts are those that the round draws
        run=lambda present, rng: without_the_first(whole(present, rng)),
        whole=whole,
    )
