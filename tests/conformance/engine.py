"""fedpareto's engine as a `Mechanism`: everything goes through its compiled round."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from problem import CLIENTS, FEATURES, MODEL, PAD, compiled_round, first_run, make_hypers, make_static

from fedpareto.federated.algorithms.interface import LocalWork
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.inputs.device_data import DeviceData, Examples
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.conformance import Claim, Mechanism
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import PrivacySetting

DELTA = 1e-5


def examples(extreme=None):
    """One client's examples: x [PAD, FEATURES], y [PAD]."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(PAD, FEATURES)).astype(np.float32), rng.integers(0, 3, PAD)
    return (x if extreme is None else np.full_like(x, extreme), y)


def clients_data(units, counts):
    x, y = (np.concatenate([unit[i] for unit in units]) for i in (0, 1))
    return DeviceData(
        train=Examples(jnp.asarray(x), jnp.asarray(y, jnp.int32)),
        test=Examples(jnp.zeros((1, FEATURES)), jnp.zeros(1, jnp.int32)),
        train_index=jnp.arange(len(x), dtype=jnp.int32).reshape(1, len(units), -1),
        train_count=jnp.asarray(counts, jnp.int32)[None],
        test_client=jnp.zeros((1, 1), jnp.int32),
    )


def records_data(units):
    """All records of `units`, (x [FEATURES], y), as those of one client."""
    x, y = (np.stack([unit[i] for unit in units]) for i in (0, 1))
    return clients_data([(x, y)], [len(units)])


WHOLE_BATCH = LocalWork(epochs=None, steps=1, batch_size=None)  # no random order within a client


QUICK = {"xla_backend_optimization_level": 0}  # compiling is what takes the time here


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _moved(static, data, hyper, params):
    after, _, report = compiled_round(static, data, hyper, params, optax.sgd(1.0).init(params), jnp.int32(0))
    return [new - old for new, old in zip(*map(jax.tree.leaves, (after, params)), strict=True)], report.overflow


def moved(static, data, hyper, params):
    """What one round adds to the parameters, as one vector."""
    leaves, overflow = _moved(static, data, hyper, params)
    assert int(overflow) == 0
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


PARAMS = MODEL.init(jax.random.key(5))
ENGINE_CLIP = 0.5
BLOCK = 1024  # rounds that are computed together


def many_rounds(static, data, hyper, keys, counts, numbers):
    """What each of many rounds adds to the parameters, leaf by leaf [rounds, ...]: secret keys, examples, round numbers."""
    rows = np.arange(-(-len(keys) // BLOCK) * BLOCK) % len(keys)
    blocks = [
        _block(static, data, hyper, *(jnp.asarray(each)[rows[i : i + BLOCK]] for each in (keys, counts, numbers)))
        for i in range(0, len(rows), BLOCK)
    ]
    return [np.concatenate(leaves)[: len(keys)].astype(float) for leaves in zip(*blocks, strict=True)]


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _block(static, data, hyper, keys, counts, numbers):
    def one(key, count, number):
        own, this = data._replace(train_count=count[None]), hyper._replace(secret_key=key)
        after, _, _ = compiled_round(static, own, this, PARAMS, optax.sgd(1.0).init(PARAMS), number)
        return [new - old for new, old in zip(*map(jax.tree.leaves, (after, PARAMS)), strict=True)]

    return jax.vmap(one)(keys, counts, numbers)


def key_data(rng, n):
    return rng.integers(0, 2**32, (n, 2)).astype(np.uint32)


def engine_noise(static, data, hyper, counts_of):
    """The engine's releases with noise less those without, of runs that have one secret key each."""

    def noise(rng, cohorts):
        keys = np.repeat(key_data(rng, 1), len(cohorts), axis=0)
        counts = np.array([counts_of(cohort) for cohort in cohorts], np.int32)
        rounds = (keys, counts, np.arange(len(cohorts), dtype=np.int32))
        loud = many_rounds(static, data, hyper, *rounds)
        quiet = many_rounds(static, data, hyper._replace(noise_stddev=jnp.float32(0)), *rounds)
        return list(zip(*(a - b for a, b in zip(loud, quiet, strict=True)), strict=True))

    return noise


def decoded_cohorts(static, data, hyper, contributions, steps):
    """Cohorts of the engine's rounds, read off the noiseless releases: the units' contributions are independent vectors."""
    runs = 500
    waiting = []

    def sample(rng, n):
        if not waiting:
            keys = np.repeat(key_data(rng, runs), steps, axis=0)
            counts = np.repeat(np.asarray(data.train_count), len(keys), axis=0)
            leaves = many_rounds(static, data, hyper, keys, counts, np.tile(np.arange(steps, dtype=np.int32), runs))
            releases = np.concatenate([leaf.reshape(len(keys), -1) for leaf in leaves], axis=1)
            joined = releases @ np.linalg.pinv(np.asarray(contributions))
            assert np.abs(joined - joined.round()).max() < 0.1
            waiting.extend(joined.round().astype(bool).reshape(runs, steps, n))
        return [np.flatnonzero(step) for step in waiting.pop()]

    return sample


def whole_runs(static, hyper, data_of):
    """Whole runs of the compiled program, from one of its blocks to the next: the model after every round, [rounds, d]."""
    runs = 100
    static = replace(static, evaluation_rounds=tuple(range(static.rounds + 1)))
    program = functools.cache(lambda: make_program(static, jax.devices()[:1]))
    waiting = {}

    def run(units, rng):
        own = waiting.setdefault(tuple(map(id, units)), [])
        if not own:
            hypers = jax.tree.map(lambda leaf: jnp.stack([leaf] * runs), hyper)
            hypers = hypers._replace(secret_key=jnp.asarray(key_data(rng, runs)))
            data, shown = data_of(units), []
            state = program().advance(data, hypers, program().init(data, hypers), 1)
            for stop in range(2, program().blocks + 1):
                state = program().advance(data, hypers, state, stop)
                shown.append(
                    np.concatenate([np.asarray(p).reshape(runs, -1) for p in jax.tree.leaves(state.params)], 1)
                )
            own.extend(np.stack(shown, axis=1))
        return own.pop()

    return run


def plan_of(sampling="poisson", population=CLIENTS, rate=0.5, steps=6, noise=1.0, **changes):
    return PrivacyPlan(
        PrivacySetting(sampling=sampling, sampling_rate=rate),
        population=population,
        rounds=steps,
        clip_norm=ENGINE_CLIP,
        noise_multiplier=noise,
        delta=DELTA,
    ).replace(**changes)


def claim_of(plan, epsilon=None):
    """What fedpareto claims: the smallest of its epsilons."""
    if epsilon is None:
        guaranteed = guarantee(plan)
        epsilon = float(np.nanmin([guaranteed.epsilon_rdp, guaranteed.epsilon_pld]))
    limit = (
        plan.max_cohort_size if plan.setting.sampling == "poisson" and plan.max_cohort_size < plan.population else None
    )
    return Claim(
        unit=plan.setting.unit,
        adjacency=plan.setting.adjacency,
        sampling=plan.setting.sampling,
        rate=plan.setting.sampling_rate,
        steps=plan.rounds,
        noise_multiplier=plan.noise_multiplier,
        clip_norm=ENGINE_CLIP,
        divisor=plan.expected_cohort,
        delta=plan.delta,
        epsilon=epsilon,
        cohort_limit=limit,
        accounted_delta=plan.accounted_delta,
    )


@functools.cache
def engine_of_clients(sampling="poisson", weight_cap=None, noise=1.0):
    plan = plan_of(sampling, noise=noise)
    static = make_static(
        sampling=sampling,
        work=WHOLE_BATCH,
        weight_cap=weight_cap,
        batches=plan.setting.min_separation,
        max_cohort_size=plan.max_cohort_size,
        expected_cohort=plan.expected_cohort,
    )
    # The same with all clients. One that has no examples adds nothing: it is absent.
    whole = replace(static, sampling="poisson", sampling_rate=1.0, max_cohort_size=CLIENTS, batches=1)
    quiet = first_run(make_hypers(clip=ENGINE_CLIP, noise=0.0, rate=5.0))
    rng = np.random.default_rng(4)
    units = [(rng.normal(size=(PAD, FEATURES)).astype(np.float32), rng.integers(0, 3, PAD)) for _ in range(CLIENTS)]
    data = clients_data(units, [PAD] * CLIENTS)

    def counts_of(cohort):
        return np.where(np.isin(np.arange(CLIENTS), cohort), PAD, 0)

    def query(data, cohort):
        return moved(whole, clients_data(data, counts_of(cohort)), quiet, PARAMS)

    def those(units):
        missing = CLIENTS - len(units)
        return clients_data([*units, *[examples()] * missing], [PAD] * len(units) + [0] * missing)

    loud = quiet._replace(noise_stddev=jnp.float32(plan.noise_stddev))
    return Mechanism(
        claim=claim_of(plan),
        data=units,
        extremes=[examples(value) for value in (0.0, 1e-6, 100.0, -100.0, 1e15, 1e30, 3e38, np.inf, np.nan)],
        sample=decoded_cohorts(static, data, quiet, [query(units, np.array([i])) for i in range(CLIENTS)], plan.rounds),
        query=query,
        noise=engine_noise(whole, data, loud, counts_of),
        run=whole_runs(static, loud, those),
    )


@functools.cache
def engine_of_records(population=6, noise=1.0):
    plan = plan_of(population=population, unit="record", noise=noise)
    static = make_static(
        unit="record", max_cohort_size=plan.max_cohort_size, expected_cohort=plan.expected_cohort, at_once=4
    )
    quiet = first_run(make_hypers(clip=ENGINE_CLIP, noise=0.0))
    rng = np.random.default_rng(6)
    units = [(rng.normal(size=FEATURES).astype(np.float32), int(rng.integers(0, 3))) for _ in range(population)]
    data = records_data(units)

    def query(data, cohort):
        if not len(cohort):
            return np.zeros(sum(leaf.size for leaf in jax.tree.leaves(PARAMS)))
        whole = replace(static, sampling_rate=1.0, max_cohort_size=len(cohort), at_once=1)
        return moved(whole, records_data([data[i] for i in cohort]), quiet, PARAMS)

    def those(present):
        missing = population - len(present)
        return records_data([*present, *units[:missing]])._replace(
            record_mask=jnp.arange(population)[None] < len(present)
        )

    loud = quiet._replace(noise_stddev=jnp.float32(plan.noise_stddev))
    return Mechanism(
        claim=claim_of(plan),
        data=units,
        extremes=[
            (np.full(FEATURES, value, np.float32), 1) for value in (0.0, 50.0, -50.0, 1e15, 1e30, 3e38, np.inf, np.nan)
        ],
        sample=decoded_cohorts(
            static, data, quiet, [query(units, np.array([i])) for i in range(population)], plan.rounds
        ),
        query=query,
        # Its cohorts are those that the round draws.
        noise=engine_noise(static, data, loud, lambda cohort: [population]),
        run=whole_runs(static, loud, those),
    )
