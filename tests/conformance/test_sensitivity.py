"""Sensitivity by brute force: no unit, whatever its data, moves what is noised by more than its plan says.

All that `fedpareto.privacy.soundness` allows is gone through. The sums come from the engine itself; neighbours are drawn by
hypothesis, with data, learning rates and clip norms that no training survives among them.
"""

from functools import partial
from itertools import product

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problem import CLASSES, CLIENTS, FEATURES, MODEL, PAD, TASK, first_run, make_data, make_hypers, make_static

from fedpareto.components import registry
from fedpareto.federated.algorithms.fedprox import FedProx
from fedpareto.federated.algorithms.interface import LocalWork, shape_of, traced_arguments
from fedpareto.federated.algorithms.scaffold import Controls
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.contributions.interface import Round
from fedpareto.federated.contributions.per_example import clipped_gradient_sum, differentiated
from fedpareto.federated.execution.cohort_sum import sum_over_cohort
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.inputs.state import ServerState
from fedpareto.federated.preprocessings.learning import build as build_preprocessing
from fedpareto.models.layers import Conv, Dense, images
from fedpareto.models.model import from_module
from fedpareto.privacy.clipping import clip_factor, global_norm, scale
from fedpareto.privacy.mechanisms.adaptive_clipping import AdaptiveClip
from fedpareto.privacy.mechanisms.discrete_encoding import DeviceAliasTable
from fedpareto.privacy.mechanisms.lattice_mechanism import DeviceEncoding, encoding_of
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.sampling import Cohort, last_to_join
from fedpareto.privacy.setting import (
    LocalSteps,
    PrivacySetting,
    SecureAggregation,
    default_participation,
    schedule_length,
)
from fedpareto.privacy.soundness import violations

RECORDS = CLIENTS * PAD
CAP = 5
ROUNDING = 1e-4  # of float32 sums of up to 108 clipped vectors, as a share of the bound
EXTREME = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e-40, 0.0, 1e19, -1e25, 1e-20, 1e-30], np.float32)
# A table that only ever gives 0: noise shares drop out of the integers and nothing else changes.
SILENT = DeviceAliasTable(*(jnp.zeros(2, jnp.uint32) for _ in range(3)), jnp.zeros(2, jnp.int32), jnp.int32(0))


def everything_allowed():
    """Every choice that the table of sound mechanisms has no fault to find with, dropout and stragglers wherever it can be."""
    choices = []
    for unit, trust, sampling, mechanism, clipping, algorithm, cap in product(
        ("client", "record"),
        ("central", "local", "distributed"),
        ("poisson", "fixed_size", "shuffled", "cyclic"),
        ("gaussian", "banded", "skellam", "discrete_gaussian"),
        ("fixed", "adaptive"),
        ("fedavg", "fedprox", "scaffold"),
        (None, CAP),
    ):
        everybody = (unit, trust, sampling) == ("client", "distributed", "poisson")
        rate = 1.0 if everybody else 0.5
        fields = {
            "unit": unit,
            "trust": trust,
            "sampling": sampling,
            "participation": default_participation(trust, sampling, unit),
            "mechanism": mechanism,
            "clipping": clipping,
            "algorithm": algorithm,
            "sampling_rate": rate,
            "min_separation": schedule_length(CLIENTS, rate),
            "weight_cap": cap,
            "several_steps": unit == "client" or trust == "local",
            "bands": 2 if mechanism == "banded" else 1,
        }
        if any(violations(PrivacySetting(**fields))):
            continue
        for name in ("dropout", "stragglers"):
            fields[name] = not any(violations(PrivacySetting(**fields | {name: True})))
        choices.append(PrivacySetting(**fields))
    return choices


ALLOWED = everything_allowed()
NAMES = [
    f"{c.unit}-{c.trust}-{c.sampling}-{c.mechanism}-{c.clipping}-{c.algorithm}{'-weighted' if c.weight_cap else ''}"
    for c in ALLOWED
]


def plan_of(choice, clip_norm, noise_multiplier, bits):
    asked = CLIENTS if choice.unit == "record" else round(CLIENTS * choice.sampling_rate)
    return PrivacyPlan(
        choice,
        population=RECORDS if choice.sums_records else CLIENTS,
        rounds=4,
        clip_norm=clip_norm,
        noise_multiplier=noise_multiplier,
        delta=1e-5,
        strategy=(0.8, 0.6) if choice.mechanism == "banded" else (1.0,),
        sum=SecureAggregation(MODEL.parameters, asked, bits, 0.6) if choice.trust == "distributed" else None,
        local=LocalSteps(1, (0.5,) * CLIENTS) if choice.trains_records_locally else None,
    )


def program_config(choice):
    """What shapes the sum. How the cohort is drawn does not: mechanisms that differ in no more share a program."""
    return make_static(
        work=LocalWork(epochs=2, steps=None, batch_size=4),
        unit=choice.unit,
        trust=choice.trust,
        algorithm=shape_of(
            FedProx(0.1) if choice.algorithm == "fedprox" else registry.build("algorithm", {"name": choice.algorithm})
        ),
        mechanism=registry.build("mechanism", {"name": choice.mechanism}),
        weight_cap=choice.weight_cap,
        drops=choice.dropout,
        straggles=choice.stragglers,
        fewest_answers=1 if choice.trust == "distributed" else 0,
        max_batch_size=PAD,
        examples_pad=PAD,
        at_once=2,
    )


# They run a few times only: what the compiler saves on them is worth more than what it would gain.
@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def noiseless_sums(static, data, hyper, memory, params, cohort, key):
    """The engine's sums over a cohort, before the server's noise; that of clients is 0 by the hyper-parameters."""
    clip_norm = hyper.clip_norm if memory.clip_norm is None else memory.clip_norm
    this = Round(jnp.int32(0), params, memory, clip_norm, *jax.random.split(jax.random.wrap_key_data(key), 3))
    sums, _ = sum_over_cohort(contribution_of(static).members(static, data, hyper, this), cohort, static.at_once, 1)
    return sums


class World:
    """One data set, one model and one mechanism, all drawn from a seed, and what a unit can do to them."""

    def __init__(self, choice, seed, clip_norm=0.3, rate=0.1, noise_multiplier=1.0, bits=16, wild=0.0, size=1.0):
        self.choice, self.static = choice, program_config(choice)
        self.rng = np.random.default_rng(seed)
        self.wild, self.size = wild, size
        self.plan = plan_of(choice, clip_norm, noise_multiplier, bits)
        self.index = np.arange(RECORDS, dtype=np.int32).reshape(1, CLIENTS, PAD)
        self.count = self.rng.integers(0, PAD + 1, (1, CLIENTS)).astype(np.int32)
        self.x, self.y = self.examples(RECORDS)
        self.params = jax.tree.map(lambda leaf: self.normal(leaf.shape), jax.eval_shape(MODEL.init, jax.random.key(0)))
        self.memory = self.first_memory(clip_norm)
        self.key = self.rng.integers(0, 2**32, 2, dtype=np.uint32)
        self.hyper = self.first_hyper(clip_norm, rate)

    def normal(self, shape):
        return (self.size * self.rng.normal(size=shape)).astype(np.float32)

    def examples(self, count):
        """Ordinary examples, a share `wild` of whose numbers are extreme."""
        x = self.normal((count, FEATURES))
        strange = self.rng.random(x.shape) < self.wild
        x[strange] = self.rng.choice(EXTREME, strange.sum())
        return x, self.rng.integers(-1, CLASSES + 1, count).astype(np.int32)

    def first_memory(self, clip_norm):
        memory = ServerState()
        if self.choice.clipping == "adaptive":
            memory = memory._replace(clip_norm=np.float32(clip_norm * self.rng.choice([0.1, 1.0, 7.0])))
        if self.choice.algorithm == "scaffold":
            stacked = jax.tree.map(lambda leaf: self.normal((CLIENTS, *leaf.shape)), self.params)
            control = jax.tree.map(lambda leaf: self.normal(leaf.shape), self.params)
            memory = memory._replace(algorithm=Controls(control, stacked))
        return memory

    def first_hyper(self, clip_norm, rate):
        hyper = first_run(make_hypers(noise=0.0))._replace(
            secret_key=self.key,
            clip_norm=np.float32(clip_norm),
            client_learning_rate=np.float32(rate),
            algorithm=dict.fromkeys(traced_arguments(self.static.algorithm), np.float32(0.1)),
            dropout=np.float32(self.rng.choice([0.0, 0.3])),
            stragglers=np.float32(self.rng.choice([0.0, 0.5])),
        )
        if self.choice.clipping == "adaptive":
            hyper = hyper._replace(adaptive=AdaptiveClip(*np.float32([0.5, 0.2, self.plan.count_stddev])))
        if self.choice.trust == "distributed":
            lattice = encoding_of(self.plan)
            grid = DeviceEncoding(np.float32(lattice.granularity), np.float32(lattice.norm_bound), SILENT)
            hyper = hyper._replace(mechanism=grid)
        if self.choice.unit == "record" and self.choice.trust != "central":
            last = last_to_join(float(self.rng.choice([0.5, 1.0])))
            hyper = hyper._replace(record_draws=np.full(CLIENTS, last, np.uint32))
        return hyper

    def sums(self, members):
        members = np.asarray(members, np.int32)
        pad = RECORDS if (self.choice.unit, self.choice.trust) == ("record", "central") else CLIENTS
        buffer = np.pad(members, (0, pad - len(members)))
        data = make_data()._replace(
            train=Examples(self.x.copy(), self.y.copy()), train_index=self.index, train_count=self.count.copy()
        )
        cohort = Cohort(buffer, np.int32(len(members)), np.int32(0))
        hyper = self.hyper
        expected = 1.0
        if (self.choice.unit, self.choice.trust) == ("record", "local"):
            # One step; at this learning rate the update is the sum times 1024, whatever the client's own divisor.
            (client,) = members
            share = (hyper.record_draws[client].astype(np.float64) + 1) * 2.0**-32
            expected = max(1e-6, share * self.count[0, client])
            hyper = hyper._replace(client_learning_rate=np.float32(1024 * expected))
        sums = noiseless_sums(self.static, data, hyper, self.memory, self.params, cohort, self.key)
        flat = np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(sums.update)])
        within = float(sums.within)
        return (flat / 1024 if expected != 1.0 or self.plan.local is not None else flat), within

    def neighbours(self):
        """The sums with and without one unit, or with another in its place, as the plan's adjacency says."""
        choice, swap = self.choice, self.plan.setting.adjacency == "replace_one"
        if choice.unit == "record" and choice.trust == "central":
            members = self.rng.permutation(RECORDS)[:20]
            unit, rows = 3, members[3:4]
        else:
            members = self.rng.permutation(CLIENTS)[:7]
            unit, rows = 3, self.index[0, members[3]]
        if choice.trust == "local":  # Every client's message is noised by itself.
            members, unit = members[unit : unit + 1], 0
        if choice.unit == "record" and choice.trust != "central":
            # The last of its records, so that the others' coins stay the same. Records that do not exist are not drawn.
            client = members[unit]
            self.count[0, client] = max(1, self.count[0, client])
            one = self.sums(members)
            self.count[0, client] -= 1
            return one, self.sums(members)
        one = self.sums(members)
        if not swap:
            return one, self.sums(np.delete(members, unit))
        self.x[rows], self.y[rows] = self.examples(len(rows))
        if choice.unit == "client":
            self.count[0, members[unit]] = self.rng.integers(0, PAD + 1)
        return one, self.sums(members)

    def moved(self):
        """How far one unit moves what is noised, as a share of what the plan allows."""
        (first, within), (second, other_within) = self.neighbours()
        distance = float(np.linalg.norm(first - second))
        doubled = 2.0 if self.plan.setting.adjacency == "replace_one" else 1.0
        if self.choice.trust == "distributed":
            return distance / (doubled * encoding_of(self.plan).norm_bound)
        if self.choice.clipping == "adaptive":
            # Of the joint vector (sum / its noise, centred count / its noise), in units of the plan's 1/z.
            stddev = self.plan.noise_stddev * float(self.memory.clip_norm) / self.plan.clip_norm
            joint = np.hypot(distance / stddev, (within - other_within) / self.plan.count_stddev)
            return joint * self.plan.noise_multiplier / doubled
        return distance / self.plan.sensitivity


def test_everything_the_table_allows_is_here():
    for name, values in {
        "unit": 2, "trust": 3, "sampling": 4, "mechanism": 4, "clipping": 2, "algorithm": 3, "weight_cap": 2,
        "dropout": 2, "stragglers": 2,
    }.items():  # fmt: skip
        assert len({getattr(choice, name) for choice in ALLOWED}) == values
    assert {(c.unit, c.trust) for c in ALLOWED} == {*product(("client", "record"), ("central", "local", "distributed"))}


@pytest.mark.parametrize("choice", ALLOWED, ids=NAMES)
def test_no_unit_moves_the_sum_by_more_than_the_plan_says(choice):
    @settings(max_examples=12, deadline=None, database=None, derandomize=True)
    @given(
        seed=st.integers(0, 2**32 - 1),
        clip_norm=st.sampled_from([1e-3, 0.3, 1.0, 50.0, 1e6]),
        rate=st.sampled_from([0.0, 1e-3, 0.1, 1.0, 30.0, 1e6, 1e30]),
        noise_multiplier=st.sampled_from([0.3, 1.0, 4.0]),
        bits=st.sampled_from([8, 12, 16, 20]),
        wild=st.sampled_from([0.0, 0.0, 0.02, 0.3]),
        size=st.sampled_from([0.01, 1.0, 30.0]),
    )
    def holds(**drawn):
        moved = World(choice, **drawn).moved()
        assert moved <= 1 + ROUNDING, f"{moved} of the bound"  # false for NaN

    holds()


@pytest.mark.parametrize("choice", ALLOWED, ids=NAMES)
def test_the_bound_is_met(choice):
    """Some unit does move the sum far: a bound that nothing comes near to would prove nothing.

    One that is swapped moves it by more than half of the bound, which is all that it could by leaving.
    """
    worlds = [World(choice, seed, clip_norm=1e-3, rate=1.0) for seed in range(60)]
    if choice.algorithm == "scaffold":  # Large control variates turn all updates the same way.
        for world in worlds:
            world.memory = jax.tree.map(lambda leaf: 0.01 * leaf, world.memory)
    swapped = plan_of(choice, 1.0, 1.0, 16).setting.adjacency == "replace_one"
    assert any(world.moved() > (0.55 if swapped else 0.9) for world in worlds)


@pytest.mark.parametrize("poison", EXTREME[:5])
@pytest.mark.parametrize("unit", ["client", "record"])
def test_a_unit_without_a_finite_update_adds_exactly_nothing_to_a_central_sum(unit, poison):
    world = World(PrivacySetting(unit=unit, sampling_rate=0.5, participation="secret"), seed=1)
    world.count[:] = PAD
    first = world.sums([0, 1, 2])[0]
    rows = world.index[0, 4] if unit == "client" else np.array([4])
    world.x[rows] = poison
    np.testing.assert_array_equal(world.sums([0, 1, 2, 4])[0], first)


@pytest.mark.parametrize("unit", ["client", "record"])
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30, 1e-30, 100.0])
def test_sum_and_count_of_adaptive_clipping_move_together_by_no_more_than_the_noise_hides(unit, poison):
    """Both as `moved` measures them: a unit that is there or not, whose sum is clipped to nothing or whose bit is one half."""
    for seed in range(8):
        world = World(PrivacySetting(unit=unit, sampling_rate=0.5, participation="secret", clipping="adaptive"), seed)
        world.count[:] = PAD
        members, unit_rows = ([0, 1, 2], world.index[0, 4]) if unit == "client" else ([0, 1, 2], np.array([4]))
        world.x[unit_rows] = poison
        (first, within), (second, other_within) = world.sums(members), world.sums([*members, 4])
        clip_norm = float(world.memory.clip_norm)
        assert abs(other_within - within) == 0.5
        distance = np.linalg.norm(second - first)
        if not np.isfinite(poison):
            assert (other_within - within, distance) == (-0.5, 0)
        assert distance <= clip_norm * (1 + ROUNDING)
        stddev = world.plan.noise_stddev * clip_norm / world.plan.clip_norm
        together = np.hypot(distance / stddev, 0.5 / world.plan.count_stddev)
        assert together * world.plan.noise_multiplier <= 1 + ROUNDING


# Of most of these the square is no number of float32, or a product of two.
SIZES = [0.0, 1e-40, 1e-30, 1e-20, 4.4e-18, 1e-10, 1.0, 1e10, 1e19, 1e25, 3e38]
CLIPS = [1e-15, 0.1, 1e15]


class Picture(nn.Module):
    """One convolution, whose outputs are the sums of its channels."""

    @nn.compact
    def __call__(self, x):
        return Conv(CLASSES, 2)(images(x)).sum((1, 2)).T


def length(tree):
    return float(np.sqrt(sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in jax.tree.leaves(tree))))


@pytest.mark.parametrize("form", [clipped_gradient_sum, differentiated])
@pytest.mark.parametrize(
    "module", [Dense(CLASSES), Dense(CLASSES, bias=False), Picture()], ids=["bias", "dense", "conv"]
)
def test_no_example_adds_more_than_the_clip_norm_whatever_its_numbers(form, module):
    """The loss is linear, so that an example's gradient is made of its two factors: its numbers, and those of its target."""
    model = from_module(module, (3, 3, 1) if isinstance(module, Picture) else (4,))
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))

    @jax.jit
    def added(x, weights, clip_norm):
        linear = partial(form, model, lambda outputs, weights: jnp.sum(outputs * weights, axis=1), params)
        return linear(x[None], weights[None], real=jnp.ones(1, bool), clip_norm=clip_norm)

    for size, weight in product(SIZES, SIZES):
        x = np.full(model.example_shape, size, np.float32)
        weights = np.linspace(0.1, 1, CLASSES, dtype=np.float32) * np.float32(weight)
        true = length(added(x, weights, np.float32(np.inf)).gradient)
        for clip_norm in CLIPS:
            total = added(x, weights, np.float32(clip_norm))
            case = f"{size:g} times {weight:g}, clipped to {clip_norm:g}"
            assert length(total.gradient) <= clip_norm * (1 + 1e-6), case  # false for NaN
            if all(1e-15 < number < 1e15 for number in (size, weight, true)):
                assert float(total.norms[0]) == pytest.approx(true, rel=1e-5), case
                assert length(total.gradient) == pytest.approx(min(clip_norm, true), rel=1e-5), case


def test_a_product_is_clipped_though_the_square_of_one_factor_is_lost():
    """Found by reading: the gradient has the norm 4.21, which read 0, so that 42 times the clip norm was added."""
    model = from_module(Dense(10), (2,))
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    params["kernel"] = params["kernel"].at[0, 0].set(4.4e-18)
    x, y = jnp.array([[1e19, 1.5e19]]), jnp.zeros(1, int)
    for form in (clipped_gradient_sum, differentiated):
        total = form(model, TASK.loss, params, x, y, real=jnp.ones(1, bool), clip_norm=jnp.float32(0.1))
        assert float(total.norms[0]) >= 4.2
        assert length(total.gradient) <= 0.1 * (1 + 1e-6)


def test_no_update_is_longer_than_the_clip_norm_whatever_its_numbers():
    clipped = jax.jit(lambda tree, clip_norm: scale(tree, clip_factor(global_norm(tree), clip_norm)))
    norm = jax.jit(global_norm)
    for size, other, clip_norm in product(SIZES, SIZES, [1e-18, *CLIPS, 1e18]):
        update = {"a": np.full(7, size, np.float32), "b": np.full((3, 5), other, np.float32)}
        assert length(clipped(update, np.float32(clip_norm))) <= clip_norm * (1 + 1e-6), (size, other, clip_norm)
        # Never below the true norm, which is right as long as float32 has room for the squares.
        assert float(norm(update)) >= length(update) * (1 - 1e-6)
        if 1e-15 < max(size, other) < 1e15:
            assert float(norm(update)) == pytest.approx(length(update), rel=1e-5)


def test_an_update_that_is_far_too_long_is_dropped_rather_than_scaled_by_a_number_without_digits():
    assert float(clip_factor(jnp.float32(3e38), 1e-3)) == 0
    assert float(clip_factor(jnp.float32(1e30), 1e-3)) == pytest.approx(1e-33)


@pytest.mark.parametrize(
    "spec", [{"name": "pca", "dimensions": 2}, {"name": "data_norm", "mean_norm": 1e-3, "square_norm": 1e-3}]
)
def test_no_record_adds_more_than_1_to_what_a_preprocessing_learns(spec):
    preprocessing = build_preprocessing(spec)
    for size in [*SIZES, *EXTREME]:
        for record in (np.full((1, 4), size, np.float32), np.array([[size, 1.0, -size, 0.0]], np.float32)):
            for part in preprocessing.sums(record, bounded=True):
                assert np.linalg.norm(part) <= 1 + 1e-9, (spec["name"], record)


@pytest.mark.parametrize("form", [clipped_gradient_sum, differentiated])
def test_a_place_without_a_record_adds_nothing_whatever_it_holds(form):
    params = MODEL.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(4, FEATURES)).astype(np.float32)
    y, real = jnp.zeros(4, jnp.int32), jnp.asarray([True, False, True, False])

    def sums(rows):
        return form(MODEL, TASK.loss, params, jnp.asarray(rows), y, real=real, clip_norm=jnp.float32(0.1))

    clean = sums(x)
    for strange in (np.inf, np.nan, 3e38):
        held = x.copy()
        held[1], held[3] = strange, -strange
        found = sums(held)
        for one, other in zip(jax.tree.leaves(found.gradient), jax.tree.leaves(clean.gradient), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.asarray(found.norms)[[1, 3]], 0.0)
