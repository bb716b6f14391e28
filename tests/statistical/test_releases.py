"""What one round really releases, mechanism by mechanism: its noise, and what it is without noise.

Runs become programs as in a sweep: configuration of a run -> privacy plan -> `program_config` and `run_params`. The noise of a
release is the release less that of the same round with the same keys and no noise. Seeds are fixed; with another seed, each
comparison of a correct implementation with its law fails with probability `ALARM`.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problem import assert_same_bits, make_hypers, make_static
from problem import make_data as small_data
from scipy import special, stats

from fedpareto.data.arrays import PreparedData
from fedpareto.data.partitions.dealing import Partition
from fedpareto.federated.algorithms.scaffold import Controls
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.contributions.interface import Round
from fedpareto.federated.contributions.members import behaviour
from fedpareto.federated.contributions.noise import signs_key
from fedpareto.federated.engine.program import make_program
from fedpareto.federated.engine.round import cohort_of, one_round
from fedpareto.federated.execution.devices import Layout
from fedpareto.federated.inputs.device_data import data_of
from fedpareto.federated.inputs.setup import program_config, stack_run_params
from fedpareto.federated.inputs.state import Carried, first_memory
from fedpareto.models.model import build
from fedpareto.privacy.mechanisms import banded
from fedpareto.privacy.mechanisms.adaptive_clipping import next_clip
from fedpareto.privacy.mechanisms.discrete_encoding import rotate, wrap
from fedpareto.privacy.mechanisms.lattice_mechanism import DeviceEncoding, encoding_of
from fedpareto.privacy.secure_aggregation.cost import aggregate
from fedpareto.sweep.account import DataSizes, privacy_plan
from fedpareto.sweep.run import Run

ALARM = 1e-3
CLIENTS, PAD, FEATURES, CLASSES = 12, 6, 3, 1024
MODEL = build({"name": "logistic"}, (FEATURES,), CLASSES)  # 4096 parameters: a rotation needs no padding
ZEROS = jax.eval_shape(MODEL.init, jax.random.key(0))
ZEROS = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), ZEROS)

_rng = np.random.default_rng(0)
COUNT = _rng.integers(2, PAD + 1, CLIENTS).astype(np.int32)
PARTITION = Partition(np.arange(CLIENTS * PAD, dtype=np.int32).reshape(CLIENTS, PAD), COUNT, np.zeros(5, np.int32))
X = _rng.normal(size=(CLIENTS * PAD, FEATURES)).astype(np.float32)
Y = _rng.integers(0, CLASSES, CLIENTS * PAD).astype(np.int32)
DATA = data_of(PreparedData(X, Y, X[:5], Y[:5], np.arange(CLASSES).astype(str)), {0: PARTITION})

RUN = Run.from_dict(dict(
    dataset="made up", partition={"name": "iid"}, clients=CLIENTS, model={"name": "logistic"}, algorithm="fedavg",
    baseline=None, sampling="poisson", participation=None, sampling_rate=0.5, rounds=8, local_epochs=None, local_steps=2,
    batch_size=None, client_learning_rate=0.5, server_optimizer={"name": "sgd", "learning_rate": 1.0}, unit="client",
    records=None, trust="central", mechanism=None, clipping=None, weighting=None, proximal=None, dropout=None,
    stragglers=None, clip_norm=0.5, noise_multiplier=1.3, target_epsilon=None, accountant="rdp", delta=1e-5,
    stop_at_epsilon=None, evaluate_every=8, seed=0,
))  # fmt: skip
RECORD = {"unit": "record", "local_steps": None, "local_epochs": None, "client_learning_rate": None}
SUMMED = {"trust": "distributed", "server_optimizer": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.9}}
FEW_BITS = {"bits": 16, "threshold": 0.6}
SKELLAM, DISCRETE_GAUSSIAN = {"name": "skellam"} | FEW_BITS, {"name": "discrete_gaussian"} | FEW_BITS
ADAPTIVE = {"name": "adaptive", "quantile": 0.5, "learning_rate": 0.2}
DROPS = {"dropout": 0.3}

CENTRAL = {
    "poisson": {},
    "fedprox, fixed_size, dropout, stragglers": {
        "algorithm": "fedprox", "proximal": 0.1, "sampling": "fixed_size", "stragglers": 0.5, **DROPS
    },
    "examples, shuffled": {"weighting": {"name": "examples", "cap": 4}, "sampling": "shuffled"},
    "adaptive": {"clipping": ADAPTIVE},
    "scaffold, cyclic": {"algorithm": "scaffold", "sampling": "cyclic"},
    "record": {**RECORD, "records": CLIENTS * PAD, "sampling_rate": 0.2},
}  # fmt: skip
LOCAL = {"trust": "local", "sampling": "fixed_size"}
LOCAL_RECORD = {
    "unit": "record", "trust": "local", "local_steps": 3, "batch_size": 2, "client_learning_rate": 1e-3, **DROPS
}  # fmt: skip
DISTRIBUTED = {
    "skellam": {**SUMMED, "sampling": "fixed_size", "mechanism": SKELLAM},
    "discrete_gaussian": {**SUMMED, "sampling": "fixed_size", "mechanism": DISCRETE_GAUSSIAN},
    "record, skellam, dropout": {
        **RECORD, **SUMMED, "dropout": 0.1, "mechanism": SKELLAM, "records": CLIENTS * PAD, "sampling_rate": 0.3
    },
    "record, discrete_gaussian, dropout": {
        **RECORD, **SUMMED, "dropout": 0.1, "mechanism": DISCRETE_GAUSSIAN, "records": CLIENTS * PAD, "sampling_rate": 0.3
    },
}  # fmt: skip

_one_round = jax.jit(one_round, static_argnums=0, compiler_options={"xla_backend_optimization_level": 1})
_each = jax.jit(
    lambda static, run_params, this, client: contribution_of(static).members(static, DATA, run_params, this)(
        client[None], jnp.ones(1, bool)
    ),
    static_argnums=0,
    compiler_options={"xla_backend_optimization_level": 1},
)


def _round(static, run_params, params, state, memory, number):
    """Parameters, optimizer state, memory and report after one round."""
    (params, state, memory), report, _ = _one_round(
        static, DATA, run_params, Carried(params, state, memory), jnp.int32(number)
    )
    return params, state, memory, report


class Made:
    """One run as the engine sets it up."""

    def __init__(self, **changes):
        run = RUN.replace(**changes)
        self.plan = privacy_plan(run, DataSizes(MODEL.parameters, {0: tuple(map(int, COUNT))}))
        plans = {run.run_id: self.plan}
        self.static = program_config([run], plans, {0: PARTITION}, MODEL, Layout("cpu", 1, 1, 1, 1))
        self.run_params = jax.tree.map(lambda leaf: leaf[0], stack_run_params([run], plans, [0], 1))
        self.memory = first_memory(self.static, self.run_params, ZEROS)
        self.divisor = self.static.expected_cohort * (1 - float(self.run_params.dropout))

    def round(self, number=0, secret=None, noisy=True, memory=None, **changes):
        """Mean update (the step of the server's sgd from parameters 0), memory, report and optimizer state."""
        run_params = self.run_params._replace(**changes)
        if secret is not None:
            run_params = run_params._replace(secret_key=jnp.asarray([7, secret], jnp.uint32))
        state = self.static.server(run_params.server).init(ZEROS)
        memory = self.memory if memory is None else memory
        run_params = run_params if noisy else quiet(run_params)
        moved, state, memory, report = _round(self.static, run_params, ZEROS, state, memory, number)
        return moved, memory, report, state

    def noise(self, number=0, secret=None, **changes):
        """Noise of the released sum by leaf, and the report."""
        noisy, memory, report, _ = self.round(number, secret, **changes)
        plain, plain_memory, _, _ = self.round(number, secret, noisy=False, **changes)
        found = {"model": (noisy, plain)}
        if isinstance(memory.algorithm, Controls):
            # The second released vector, as the sum that it was.
            measure = self.static.work.steps_of(PAD) * float(self.run_params.client_learning_rate)
            share = self.static.expected_cohort / CLIENTS
            found["control"] = [
                jax.tree.map(lambda leaf: leaf * measure / share, m.algorithm.server) for m in (memory, plain_memory)
            ]
        noise = {
            f"{name} {leaf}": (a - b).ravel() * self.divisor
            for name, (one, other) in found.items()
            for leaf, a, b in zip(
                ("bias", "kernel"), *(map(np.asarray, jax.tree.leaves(t)) for t in (one, other)), strict=True
            )
        }
        return noise, report

    def this(self, number=0, run_params=None, params=ZEROS, memory=None):
        """What all contributions of a round share."""
        run_params = self.run_params if run_params is None else run_params
        secret = jax.random.fold_in(jax.random.wrap_key_data(run_params.secret_key), number)
        memory = self.memory if memory is None else memory
        return Round(jnp.int32(number), params, memory, run_params.clip_norm, *jax.random.split(secret, 4)[1:])

    def contribution(self, client, number=0, run_params=None, params=ZEROS, memory=None):
        """What one client adds to the sums of a round, and what it keeps."""
        run_params = self.run_params if run_params is None else run_params
        return _each(self.static, run_params, self.this(number, run_params, params, memory), jnp.int32(client))

    def behaviour(self, client, number=0):
        """Whether a client answers in a round, and the share of its steps that it makes."""
        answers, share = behaviour(self.static, self.run_params, self.this(number), jnp.int32(client))
        return answers is None or bool(answers), 1.0 if share is None else float(share)

    def members(self, number=0):
        """Who is asked in a round."""
        secret = jax.random.fold_in(jax.random.wrap_key_data(self.run_params.secret_key), number)
        cohort = cohort_of(self.static, DATA, self.run_params, jax.random.split(secret, 4)[0], jnp.int32(number))
        return list(map(int, cohort.members[: cohort.size]))


_made = {}


def made(**changes):
    """One `Made` of each kind for all tests."""
    name = repr(sorted(changes.items()))
    if name not in _made:
        _made[name] = Made(**changes)
    return _made[name]


def quiet(run_params):
    """The same hyper-parameters without any noise. A silent noise share is always 0."""
    run_params = run_params._replace(noise_stddev=jnp.zeros_like(run_params.noise_stddev))
    if run_params.adaptive is not None:
        run_params = run_params._replace(adaptive=run_params.adaptive._replace(count_stddev=jnp.float32(0)))
    if isinstance(run_params.mechanism, DeviceEncoding):
        share = run_params.mechanism.share
        nothing = {name: jnp.zeros_like(getattr(share, name)) for name in ("high", "middle", "low")}
        silent = share._replace(alias=jnp.full_like(share.alias, share.offset), **nothing)
        run_params = run_params._replace(mechanism=run_params.mechanism._replace(share=silent))
    return run_params


def assert_normal(noise, stddev):
    assert stats.kstest(noise, stats.norm(0, stddev).cdf).pvalue > ALARM
    # Noise of another scale must fail the very same test.
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(noise, stats.norm(0, stddev * wrong).cdf).pvalue < ALARM


def assert_independent(vectors):
    correlation = np.abs(np.corrcoef(vectors)[np.triu_indices(len(vectors), 1)])
    assert correlation.max() < stats.norm.isf(ALARM / 2 / len(correlation)) / np.sqrt(len(vectors[0]))


def pieces(noise):
    """Vectors of one length from all leaves: the biases, and the kernels row by row."""
    return [row for leaf in noise.values() for row in leaf.reshape(-1, CLASSES)]


def joint(noise):
    return np.concatenate(list(noise.values()))


def difference(one, other, factor=1.0):
    """The leaves of one pytree less those of another, end to end."""
    return np.asarray(ravel_pytree(jax.tree.map(jnp.subtract, one, other))[0]) * factor


def expected_stddev(run, answered):
    """Standard deviation of the noise of a sum over so many clients' answers, by the plan."""
    if run.plan.local is not None:
        # Of every step, times the learning rate over the expected batch: 2 records of any client.
        one = run.plan.noise_stddev * float(run.run_params.client_learning_rate) / 2
        return one * np.sqrt(run.plan.local.steps * answered)
    return run.plan.noise_stddev * (np.sqrt(answered) if run.plan.setting.trust == "local" else 1.0)


GAUSSIAN = CENTRAL | {"local": LOCAL, "local record": LOCAL_RECORD}
KINDS = pytest.mark.parametrize("changes", GAUSSIAN.values(), ids=GAUSSIAN)
INTEGERS = pytest.mark.parametrize("changes", DISTRIBUTED.values(), ids=DISTRIBUTED)


@KINDS
def test_gaussian_noise_of_a_release_has_the_scale_of_the_plan(changes):
    run = made(**changes)
    noise, report = run.noise(secret=2)
    assert float(report.cohort_size) > 1
    stddev = expected_stddev(run, float(report.cohort_size))
    for leaf in noise.values():
        assert_normal(leaf, stddev)
    assert_normal(joint(noise), stddev)


@KINDS
def test_noise_is_independent_between_leaves_rounds_and_runs(changes):
    run = made(**changes)
    assert_independent([v for r in range(3) for secret in (1, 2) for v in pieces(run.noise(r, secret)[0])])


@pytest.mark.parametrize("changes", [LOCAL, LOCAL_RECORD], ids=["client", "record"])
def test_each_client_adds_noise_of_its_own(changes):
    run = made(**changes)
    noises = []
    for client in range(8):
        noisy, plain = (
            run.contribution(client, run_params=run_params)[0] for run_params in (run.run_params, quiet(run.run_params))
        )
        if float(noisy.answered):
            noise = difference(noisy.update, plain.update)
            assert_normal(noise, expected_stddev(run, 1))
            noises += list(noise.reshape(-1, CLASSES))
    assert len(noises) >= 8  # of two clients at least
    assert_independent(noises)


def test_banded_noise_is_white_once_the_strategy_is_undone(monkeypatch):
    # The best strategy takes seconds to find.
    monkeypatch.setattr(banded, "band_coefficients", lambda rounds, bands: (0.9, 0.3, 0.1**0.5))
    run = made(sampling="cyclic", sampling_rate=0.25, mechanism={"name": "banded", "bands": 3})
    strategy = np.asarray(run.plan.strategy)
    assert len(strategy) == 3
    memory, rounds = run.memory, []
    for number in range(6):
        noisy, memory_next, _, _ = run.round(number, memory=memory)
        plain = run.round(number, noisy=False, memory=memory._replace(mechanism=jnp.zeros_like(memory.mechanism)))[0]
        rounds.append(difference(noisy, plain, run.divisor).astype(np.float64))
        memory = memory_next
    white = [sum(c * rounds[t - j] for j, c in enumerate(strategy) if j <= t) for t in range(6)]
    for one in white:
        assert_normal(one, run.plan.noise_stddev)
    assert_independent([piece for one in white for piece in one.reshape(-1, CLASSES)])
    # What is released is not white: later rounds take back some of what earlier ones added.
    with pytest.raises(AssertionError):
        assert_independent(rounds)
    with pytest.raises(AssertionError):
        assert_normal(rounds[0], run.plan.noise_stddev * strategy[0])


def mass(distribution, variance, shares):
    """The exact law of the sum of so many shares, probabilities of -R, ..., R."""
    radius = int(10 + 9 * np.sqrt(variance * shares))
    x = np.arange(-radius, radius + 1)
    if distribution == "skellam":
        return special.ive(np.abs(x), variance * shares)
    one = np.exp(-(x.astype(float) ** 2) / (2 * variance))
    transform = np.fft.rfft(np.fft.ifftshift(one / one.sum()))
    return np.maximum(np.fft.fftshift(np.fft.irfft(transform**shares, len(x))), 0)


def p_value(samples, probabilities):
    """Chi-square test of integers against the probabilities of -R, ..., R, neighbours pooled into some 40 bins."""
    radius = len(probabilities) // 2
    edges = np.unique(np.searchsorted(np.cumsum(probabilities), np.linspace(0, 1, 41)[1:-1]))
    expected = np.add.reduceat(probabilities, [0, *edges + 1])
    observed = np.bincount(np.searchsorted(edges, samples + radius), minlength=len(expected))
    return stats.chisquare(observed, expected / expected.sum() * len(samples)).pvalue


def integers(run, mean, number=0, grid=None):
    """The modular sum behind a released mean update."""
    grid = run.run_params.mechanism if grid is None else grid
    flat = ravel_pytree(mean)[0] * run.divisor
    total = np.asarray(rotate(signs_key(run.run_params, jnp.int32(number)), flat, MODEL.parameters), np.float64)
    total = total / float(grid.granularity)
    assert np.abs(total - np.round(total)).max() < 0.1
    return np.round(total).astype(np.int64)


def modulo(run, values):
    """The representatives around 0."""
    half = 2 ** (run.plan.sum.bits - 1)
    return (values + half) % (2 * half) - half


@INTEGERS
def test_the_integer_noise_of_a_release_has_the_law_of_as_many_shares_as_there_are_answers(changes):
    run = made(**changes)
    found = []
    for secret in (1, 2):
        noisy, _, report, _ = run.round(secret=secret)
        plain, _, quiet_report, _ = run.round(secret=secret, noisy=False)
        assert float(report.refused) == float(report.overflow) == 0
        assert_same_bits(report._replace(wrapped_fraction=0.0), quiet_report._replace(wrapped_fraction=0.0))
        noise = modulo(run, integers(run, noisy) - integers(run, plain))
        shares = int(report.cohort_size)
        assert run.plan.sum.fewest <= shares <= run.plan.sum.participants
        variance = encoding_of(run.plan).share_variance
        assert p_value(noise, mass(run.plan.setting.mechanism, variance, shares)) > ALARM
        for wrong in (2 / 3, 3 / 2):
            assert p_value(noise, mass(run.plan.setting.mechanism, variance * wrong, shares)) < ALARM
        # The fewest shares that are released hold the noise of the plan.
        fewest = np.sqrt(variance * run.plan.sum.fewest) * encoding_of(run.plan).granularity
        assert fewest == pytest.approx(run.plan.noise_multiplier * run.plan.clip_norm)
        found += list(noise.reshape(-1, CLASSES).astype(float))
    assert_independent(found)


@INTEGERS
def test_clients_shares_are_independent(changes):
    run = made(**changes)
    shares = []
    for client in range(6):
        sums, plain = (run.contribution(client, run_params=h)[0] for h in (run.run_params, quiet(run.run_params)))
        if float(sums.answered):
            shares.append(np.asarray(sums.update - plain.update, np.int64))
    assert len(shares) > 1
    assert_independent([row for share in shares for row in share.reshape(-1, CLASSES).astype(float)])
    law = mass(run.plan.setting.mechanism, encoding_of(run.plan).share_variance, 1)
    assert p_value(np.concatenate(shares), law) > ALARM


@INTEGERS
def test_the_modular_sum_is_that_of_the_secure_aggregation_protocol_to_the_bit(changes):
    run = made(**changes)
    # A grid so fine that the sum wraps around.
    grid = run.run_params.mechanism._replace(
        granularity=run.run_params.mechanism.granularity / 2**8, norm_bound=run.run_params.mechanism.norm_bound * 2**8
    )
    run_params = run.run_params._replace(mechanism=grid, client_learning_rate=run.run_params.client_learning_rate * 10)
    vectors = [np.asarray(run.contribution(c, run_params=run_params)[0].update) for c in range(5)]
    bits = run.plan.sum.bits
    total = aggregate([v.astype(np.int64) % 2**bits for v in vectors], bits, 3).total
    ours = np.asarray(wrap(jnp.sum(jnp.asarray(vectors), axis=0), bits))
    np.testing.assert_array_equal(ours % 2**bits, total)
    by_protocol = wrap(jnp.asarray(total.astype(np.int32)), bits)
    exact = np.sum(vectors, axis=0, dtype=np.int64)
    signs, decode = signs_key(run_params, jnp.int32(0)), run.static.mechanism.decode
    decoded, wrapped = decode(signs, jnp.asarray(exact.astype(np.int32)), ZEROS, grid)
    assert_same_bits(decoded, decode(signs, by_protocol, ZEROS, grid)[0])
    half = 2 ** (bits - 1)
    assert float(wrapped) == pytest.approx(np.mean((exact < -half) | (exact >= half)), abs=1e-7)


@pytest.mark.parametrize("law", ["skellam", "discrete_gaussian"])
def test_a_sum_that_leaves_the_range_comes_back_at_the_other_end_and_is_counted(law):
    run = made(**DISTRIBUTED[law])
    given = run.run_params.mechanism
    finer = given._replace(granularity=given.granularity / 2**7, norm_bound=given.norm_bound * 2**8)
    fits, wraps = (run.round(mechanism=grid, noisy=False) for grid in (given, finer))
    assert float(fits[2].wrapped_fraction) == 0
    assert 0.01 < float(wraps[2].wrapped_fraction) < 0.99
    coarse, fine = integers(run, fits[0]), integers(run, wraps[0], grid=finer)
    # Modulo the range it is the same sum, but for what rounding to the two grids does to each client's vector.
    off = modulo(run, fine - coarse * 2**7)
    assert np.abs(off).max() <= (2**7 + 1) * run.plan.sum.participants
    outside = np.abs(coarse * 2.0**7) > 2 ** (run.plan.sum.bits - 1)
    assert float(wraps[2].wrapped_fraction) == pytest.approx(outside.mean(), abs=0.02)


@pytest.mark.parametrize("name", ["record, skellam, dropout", "record, discrete_gaussian, dropout"])
def test_too_few_answers_change_nothing(name):
    run = made(**DISTRIBUTED[name])
    some = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.25), run.static.server(run.run_params.server).init(ZEROS))
    refused = 0
    for number in range(12):
        run_params = run.run_params._replace(dropout=jnp.float32(0.4))
        moved, state, _, report = _round(run.static, run_params, ZEROS, some, run.memory, number)
        few = float(report.cohort_size) < run.plan.sum.fewest
        assert bool(report.refused) == few
        if few:
            assert_same_bits((moved, state), (ZEROS, some))
        else:
            assert all(bool(jnp.all(leaf != 0.25)) for leaf in jax.tree.leaves(state))
        refused += few
    assert 0 < refused < 12


# Without noise: plain numpy, one client after another.


def gradient(params, rows):
    x, y = X[rows].astype(np.float64), Y[rows]
    logits = x @ params["kernel"] + params["bias"]
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    chance[np.arange(len(y)), y] -= 1
    return {"kernel": x.T @ chance / len(y), "bias": chance.mean(axis=0)}


def trained(client, start, steps, rate, proximal=0.0):
    """New minus old parameters after so many steps of full-batch gradient descent."""
    rows = PARTITION.train_index[client, : COUNT[client]]
    local = dict(start)
    for _ in range(steps):
        slope = gradient(local, rows)
        local = {k: local[k] - rate * (slope[k] + proximal * (local[k] - start[k])) for k in local}
    return {k: local[k] - start[k] for k in local}


def plain(tree):
    (layer,) = tree.values()
    return {k: np.asarray(v, np.float64) for k, v in layer.items()}


def some_params():
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), ZEROS)


def assert_close(ours, theirs):
    for name, leaf in plain(ours).items():
        np.testing.assert_allclose(leaf, theirs[name], rtol=2e-4, atol=2e-6)


WITHOUT_NOISE = ["poisson", "fedprox, fixed_size, dropout, stragglers", "examples, shuffled"]


@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_without_noise_a_release_has_its_closed_form(name):
    run = made(**CENTRAL[name])
    params, proximal, drops = some_params(), CENTRAL[name].get("proximal", 0.0), "dropout" in name
    start, state = plain(params), run.static.server(run.run_params.server).init(params)
    steps_made, answers, clipped = set(), [], 0
    for number, clip_norm in enumerate((np.inf, 0.3, np.inf, 0.3)):
        run_params = quiet(run.run_params)._replace(clip_norm=jnp.float32(clip_norm))
        moved, _, _, report = _round(run.static, run_params, params, state, run.memory, number)
        total, answered = {k: np.zeros_like(v) for k, v in start.items()}, 0
        for client in run.members(number):
            responds, share = run.behaviour(client, number)
            steps = int(np.ceil(np.float32(share) * 2))
            delta = trained(client, start, steps, 0.5, proximal)
            norm = np.sqrt(sum((v**2).sum() for v in delta.values()))
            weight = responds * min(1.0, clip_norm / norm) * (min(COUNT[client], 4) / 4 if "examples" in name else 1)
            total = {k: total[k] + weight * delta[k] for k in total}
            answered += responds
            clipped += norm > clip_norm
            steps_made.add(steps)
        assert answered == int(report.cohort_size) > 0
        assert_close(jax.tree.map(jnp.subtract, moved, params), {k: v / run.divisor for k, v in total.items()})
        answers.append(answered < len(run.members(number)))
    assert run.divisor == pytest.approx(CLIENTS / 2 * (0.7 if drops else 1.0))
    assert any(answers) == drops
    assert steps_made == ({1, 2} if drops else {2})
    assert clipped > 0
    assert len(set(np.minimum(COUNT, 4))) > 1


def test_the_adaptive_clip_norm_takes_its_geometric_step():
    run = made(**CENTRAL["adaptive"])
    for quantile, start in ((0.1, 5.0), (0.5, 0.5), (0.9, 0.5), (0.5, 1e-4)):
        rule = run.run_params.adaptive._replace(quantile=jnp.float32(quantile))
        _, memory, report, _ = run.round(
            noisy=False, adaptive=rule, memory=run.memory._replace(clip_norm=jnp.float32(start))
        )
        size, clipped = float(report.cohort_size), float(report.cohort_size * report.clipped_fraction)
        share = ((size - clipped) / 2 - clipped / 2) / run.divisor + 0.5
        assert float(memory.clip_norm) == pytest.approx(start * np.exp(-0.2 * (share - quantile)), rel=1e-5)


def test_an_adaptive_clip_norm_never_becomes_the_infinite_one_that_hides_nothing():
    rule = made(**CENTRAL["adaptive"]).run_params.adaptive
    most = jnp.finfo(jnp.float32).max
    assert next_clip(rule, most, jnp.float32(-10.0)) == most


def test_noise_follows_the_adaptive_clip_norm_and_the_count_is_noised():
    run = made(**CENTRAL["adaptive"])
    for scale in (0.1, 3.0):
        memory = run.memory._replace(clip_norm=run.run_params.clip_norm * scale)
        assert_normal(joint(run.noise(memory=memory)[0]), run.plan.noise_stddev * scale)
    counts, sums = [], []
    for secret in range(700):
        clips = [run.round(secret=secret, noisy=noisy) for noisy in (True, False)]
        logs = [np.log(float(memory.clip_norm)) for _, memory, _, _ in clips]
        counts.append((logs[1] - logs[0]) / 0.2 * run.divisor)
        sums.append(float(ravel_pytree(clips[0][0])[0][0] - ravel_pytree(clips[1][0])[0][0]))
    assert_normal(np.array(counts), run.plan.count_stddev)
    assert_independent([np.array(counts), np.array(sums)])


def test_clients_answer_with_the_stated_probability_and_independently():
    run = made(**CENTRAL["fedprox, fixed_size, dropout, stragglers"])
    rounds = 3000

    def behave(number):
        key = jax.random.fold_in(jax.random.key(5), number)
        this = Round(number, ZEROS, run.memory, run.run_params.clip_norm, key, key, key)
        return jax.vmap(lambda client: behaviour(run.static, run.run_params, this, client))(jnp.arange(CLIENTS))

    answers, share = map(np.asarray, jax.jit(jax.vmap(behave))(jnp.arange(rounds)))
    late = share < 1
    for outcomes, rate in ((answers, 0.7), (late, 0.5)):
        assert min(stats.binomtest(int(o.sum()), rounds, rate).pvalue for o in outcomes.T) > ALARM / CLIENTS
    assert_independent([*answers.T.astype(float), *late.T.astype(float)])
    assert stats.kstest(share[late], "uniform").pvalue > ALARM


SILENT = {
    "central": CENTRAL["fedprox, fixed_size, dropout, stragglers"],
    "local": LOCAL | DROPS,
    "local record": LOCAL_RECORD,
    "skellam": DISTRIBUTED["record, skellam, dropout"],
    "scaffold": {"algorithm": "scaffold", "participation": "seen"} | DROPS,
}


@pytest.mark.parametrize("changes", SILENT.values(), ids=SILENT)
def test_a_client_that_does_not_answer_contributes_exactly_nothing(changes):
    run = made(**changes)
    rng = np.random.default_rng(4)
    memory = run.memory
    if memory.algorithm is not None:
        memory = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), memory)
    seen = set()
    for number, client in [(n, c) for n in range(3) for c in range(6)]:
        sums, kept = run.contribution(client, number, memory=memory)
        answers, _ = run.behaviour(client, number)
        seen.add(answers)
        assert float(sums.answered) == answers
        if not answers:
            assert all(bool(jnp.all(leaf == 0)) for leaf in jax.tree.leaves(sums))
        else:
            assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(sums.update))
        if kept is not None:
            old = jax.tree.map(lambda leaf, client=client: leaf[client][None], memory.algorithm.clients)
            unchanged = all(bool(jnp.all(a == b)) for a, b in zip(*map(jax.tree.leaves, (kept, old)), strict=True))
            assert unchanged == (not answers)
    assert seen == {True, False}


def test_stragglers_of_local_dp_sgd_release_fewer_noisy_steps():
    run = made(**LOCAL_RECORD | {"stragglers": 0.7, "dropout": None, "local_steps": 4})
    one = run.plan.noise_stddev * float(run.run_params.client_learning_rate) / 2
    steps_made = set()
    for client in range(CLIENTS):
        steps = int(np.ceil(np.float32(run.behaviour(client)[1]) * 4))
        noisy, quiet_ = (
            run.contribution(client, run_params=h)[0].update for h in (run.run_params, quiet(run.run_params))
        )
        noise = difference(noisy, quiet_)
        assert stats.kstest(noise, stats.norm(0, one * np.sqrt(steps)).cdf).pvalue > ALARM / CLIENTS
        steps_made.add(steps)
    assert len(steps_made) > 2


def test_scaffold_without_noise_keeps_the_servers_control_at_the_mean_of_the_clients():
    run = made(algorithm="scaffold", sampling_rate=1.0)
    run_params = quiet(run.run_params)._replace(clip_norm=jnp.float32(jnp.inf))
    params, memory = some_params(), run.memory
    start = plain(params)
    for number in range(3):
        state = run.static.server(run.run_params.server).init(params)
        params, _, memory, _ = _round(run.static, run_params, params, state, memory, number)
        means = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64).mean(axis=0), memory.algorithm.clients)
        assert_close(memory.algorithm.server, plain(means))
        # From controls of 0 the first round is FedAvg, and a control is the mean of a client's gradients.
        if number == 0:
            for client in range(CLIENTS):
                delta = trained(client, start, 2, 0.5)
                own = jax.tree.map(lambda leaf, client=client: leaf[client], memory.algorithm.clients)
                assert_close(own, {k: v / -(2 * 0.5) for k, v in delta.items()})


def test_scaffold_leaves_the_controls_of_those_who_do_not_take_part():
    run = made(**CENTRAL["scaffold, cyclic"])
    rng = np.random.default_rng(6)
    memory = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), run.memory)
    after = run.round(memory=memory)[1]
    for old, new in zip(*map(jax.tree.leaves, (memory.algorithm.clients, after.algorithm.clients)), strict=True):
        assert [c for c in range(CLIENTS) if bool(jnp.any(old[c] != new[c]))] == sorted(run.members())
    assert 0 < len(run.members()) < CLIENTS


def test_a_run_whose_budget_is_spent_changes_no_more():
    program, data = make_program(make_static(), jax.devices()[:1]), small_data()
    # Three times the same run, stopped after 2, 3 and all rounds.
    run_params = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), make_hypers(runs=1))
    run_params = run_params._replace(max_rounds=jnp.asarray([2, 3, 1000], jnp.int32))
    state, after = program.init(data, run_params), []
    for stop in range(2, program.blocks + 1):  # after rounds 2, 4 and 6
        state = program.advance(data, run_params, state, stop)
        after.append(
            np.concatenate([np.asarray(leaf).reshape(3, -1) for leaf in jax.tree.leaves(state.params)], axis=1)
        )
    same = [[int(np.flatnonzero((rows == row).all(axis=1))[0]) for row in rows] for rows in after]
    assert same == [[0, 0, 0], [0, 1, 2], [0, 1, 2]]
    changed = [(before != now).any(axis=1).tolist() for before, now in pairwise(after)]
    assert changed == [[False, True, True], [False, False, True]]


def test_runs_of_one_seed_share_their_public_key_and_no_runs_share_a_secret_one():
    changes = [{}, {"seed": 1}, {"noise_multiplier": 1.4}, {"clip_norm": 0.6}, {"noise_multiplier": 1.4, "seed": 1}]
    runs = [RUN.replace(**change) for change in changes]
    plans = {run.run_id: privacy_plan(run) for run in runs}
    run_params = stack_run_params(runs, plans, [0, 1], 1)
    assert len(np.unique(run_params.secret_key, axis=0)) == len(runs)
    assert len(np.unique(np.concatenate([run_params.secret_key, run_params.public_key]), axis=0)) == len(runs) + 2
    np.testing.assert_array_equal(run_params.public_key[jnp.asarray([0, 1, 0, 0, 1])], run_params.public_key)
