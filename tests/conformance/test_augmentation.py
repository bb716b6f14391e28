"""Augmentation leaves the sensitivity what it was: the clip norm, whatever views are drawn of how many images."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problem import first_run, make_data, make_hypers, make_static

from fedpareto.federated.algorithms.interface import LocalWork
from fedpareto.federated.augmentation import Augmentation, keys_of
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.contributions.interface import Round
from fedpareto.federated.execution.cohort_sum import sum_over_cohort
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.inputs.state import ServerState
from fedpareto.models.layers import Dense
from fedpareto.models.model import from_module
from fedpareto.privacy.sampling import Cohort

RECORDS, CLIENTS, PAD, SHAPE = 12, 4, 3, (5, 4, 2)
EXTREME = np.array([np.nan, np.inf, -np.inf, 3e38, 1e30, 1e-40], np.float32)
ROUNDING = 1e-4


class Net(nn.Module):
    """A network on flattened images: a shift of an image is another input to it."""

    @nn.compact
    def __call__(self, x):
        return Dense(3)(nn.tanh(Dense(4)(x.reshape(x.shape[0], -1))))


MODEL = from_module(Net(), SHAPE)
SETTINGS = {
    "record, 4 views": ("record", Augmentation(multiplicity=4, padding=2)),
    "record, 1 view": ("record", Augmentation(padding=2, contrast=0.5)),
    "client": ("client", Augmentation(padding=2, brightness=0.3)),
}


@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def noiseless_sum(static, data, hyper, params, cohort, number):
    keys = jax.random.split(jax.random.key(0), 3)
    this = Round(number, params, ServerState(), hyper.clip_norm, *keys)
    sums, _ = sum_over_cohort(contribution_of(static).members(static, data, hyper, this), cohort, static.at_once, 1)
    return sums.update


class World:
    """Images, a network and a cohort, all drawn from a seed."""

    def __init__(self, which, seed, clip_norm=0.3, wild=0.0, size=1.0):
        unit, augmentation = SETTINGS[which]
        self.unit, self.rng = unit, np.random.default_rng(seed)
        work = LocalWork(epochs=2, steps=None, batch_size=2)
        self.static = make_static(model=MODEL, work=work, unit=unit, at_once=2, clients=CLIENTS)
        self.static = self.static.__class__(**vars(self.static) | {"augmentation": augmentation})
        self.x = (size * self.rng.normal(size=(RECORDS, *SHAPE))).astype(np.float32)
        strange = self.rng.random(self.x.shape) < wild
        self.x[strange] = self.rng.choice(EXTREME, strange.sum())
        self.y = self.rng.integers(0, 3, RECORDS).astype(np.int32)
        shapes = jax.eval_shape(MODEL.init, jax.random.key(0))
        self.params = jax.tree.map(lambda leaf: self.rng.normal(size=leaf.shape).astype(np.float32), shapes)
        self.hyper = first_run(make_hypers(noise=0.0))._replace(clip_norm=np.float32(clip_norm))
        self.number = int(self.rng.integers(0, 1000))

    def sum(self, members):
        data = make_data()._replace(
            train=Examples(self.x.copy(), self.y.copy()),
            train_index=np.arange(RECORDS, dtype=np.int32).reshape(1, CLIENTS, PAD),
            train_count=np.full((1, CLIENTS), PAD, np.int32),
        )
        buffer = np.pad(np.asarray(members, np.int32), (0, RECORDS - len(members)))
        cohort = Cohort(buffer, np.int32(len(members)), np.int32(0))
        update = noiseless_sum(self.static, data, self.hyper, self.params, cohort, np.int32(self.number))
        return np.concatenate([np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(update)])

    def moved(self):
        """How far the unit that leaves moves the sum, as a share of the clip norm."""
        members = self.rng.permutation(RECORDS if self.unit == "record" else CLIENTS)
        distance = np.linalg.norm(self.sum(members) - self.sum(np.delete(members, 1)))
        return float(distance / self.hyper.clip_norm)


@pytest.mark.parametrize("which", SETTINGS)
def test_no_unit_moves_the_sum_by_more_than_the_clip_norm(which):
    @settings(max_examples=12, deadline=None, database=None, derandomize=True)
    @given(
        seed=st.integers(0, 2**32 - 1),
        clip_norm=st.sampled_from([1e-3, 0.3, 50.0]),
        wild=st.sampled_from([0.0, 0.0, 0.02]),
        size=st.sampled_from([0.01, 1.0, 30.0]),
    )
    def holds(**drawn):
        moved = World(which, **drawn).moved()
        assert moved <= 1 + ROUNDING, f"{moved} of the bound"  # false for NaN

    holds()
    assert max(World(which, seed, clip_norm=1e-3).moved() for seed in range(20)) > 0.9  # and the bound is met


@pytest.mark.parametrize("which", SETTINGS)
def test_views_change_with_the_round_and_make_a_difference(which):
    world = World(which, 1, clip_norm=1e6)
    first = world.sum([0, 1, 2])
    np.testing.assert_array_equal(world.sum([0, 1, 2]), first)
    world.number += 1
    assert np.abs(world.sum([0, 1, 2]) - first).max() > 1e-4


def test_one_view_that_is_not_finite_silences_its_record():
    world = World("record, 4 views", 2)
    world.x[4, 0, 0, 0] = np.inf  # in the corner: some views see it, and others cut it off

    def seen_by():
        key = jax.random.fold_in(jax.random.wrap_key_data(world.hyper.public_key), world.number)
        views = world.static.augmentation.views(keys_of(key, jnp.asarray([4])), jnp.asarray(world.x[4:5]))
        return int(jnp.isinf(views).any((2, 3, 4)).sum())

    while seen_by() not in (1, 2, 3):
        world.number += 1
    np.testing.assert_array_equal(world.sum([0, 1, 2, 4]), world.sum([0, 1, 2]))


def test_several_views_cost_a_record_no_more_than_one():
    """Averaged before clipping: a record with four views still adds at most one clip norm, not four."""
    world = World("record, 4 views", 3, clip_norm=1e-3)
    for member in range(RECORDS):
        assert np.linalg.norm(world.sum([member])) <= 1e-3 * (1 + ROUNDING)
