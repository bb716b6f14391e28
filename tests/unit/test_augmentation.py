"""Views of images: what they are made of, and that they are drawn anew for every record, step and round."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problem import assert_close

from fedpareto.federated.algorithms.interface import LocalProblem, LocalWork
from fedpareto.federated.algorithms.local_sgd import local_sgd
from fedpareto.federated.augmentation import Augmentation, keys_of
from fedpareto.federated.contributions.per_example import clipped_gradient_sum
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.federated.preprocessings import learning
from fedpareto.models.layers import Dense
from fedpareto.models.model import build, from_module
from fedpareto.tasks.classification import Classification

IMAGE = jnp.arange(6 * 5 * 2, dtype=jnp.float32).reshape(6, 5, 2)


def views(augmentation, n, image=IMAGE):
    return np.asarray(augmentation.views(jax.random.split(jax.random.key(0), n), jnp.stack([image] * n)))


def test_views_are_all_the_cuts_of_the_mirrored_image_and_nothing_else():
    around = np.pad(IMAGE, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    places = [(top, left) for top in range(3) for left in range(3)]
    cuts = [around[top : top + 6, left : left + 5] for top, left in places]
    allowed = {cut.tobytes() for cut in cuts} | {cut[:, ::-1].tobytes() for cut in cuts}
    assert len(allowed) == 18
    drawn = [view.tobytes() for view in views(Augmentation(padding=1), 600)]
    assert set(drawn) == allowed
    counts = np.array([drawn.count(view) for view in allowed])
    assert counts.min() > 600 / 18 / 3  # each one time in 18


def test_a_smaller_cut_needs_no_padding():
    small = views(Augmentation(crop=4), 200)
    assert small.shape == (200, 4, 4, 2)
    assert len({view.tobytes() for view in small}) == 3 * 2 * 2


def test_several_views_of_an_image_differ():
    several = views(Augmentation(multiplicity=8, padding=2), 3)
    assert several.shape == (3, 8, 6, 5, 2)
    assert all(len({view.tobytes() for view in own}) > 4 for own in several)
    assert not np.array_equal(several[0], several[1])


def test_brightness_shifts_and_contrast_stretches_each_channel_about_its_mean():
    brighter = views(Augmentation(brightness=0.25), 200) - np.asarray(IMAGE)
    shifts = brighter.reshape(200, -1).mean(1)  # a mirrored image has the same mean
    assert np.abs(shifts).max() <= 0.25
    assert shifts.std() == pytest.approx(0.5 / 12**0.5, rel=0.2)
    stretched = views(Augmentation(contrast=0.8), 200)
    np.testing.assert_allclose(stretched.mean((1, 2)), np.broadcast_to(IMAGE.mean((0, 1)), (200, 2)), rtol=1e-4)
    factors = stretched.std((1, 2))[:, 0] / IMAGE.std((0, 1))[0]
    assert 0.19 < factors.min() < 0.4
    assert 1.6 < factors.max() < 1.81


def test_a_record_has_the_same_views_wherever_it_stands_in_a_cohort():
    draw = Augmentation(padding=2)
    one = draw.views(keys_of(jax.random.key(3), jnp.asarray([4, 9])), jnp.stack([IMAGE] * 2))
    other = draw.views(keys_of(jax.random.key(3), jnp.asarray([9, 1, 4])), jnp.stack([IMAGE] * 3))
    np.testing.assert_array_equal(one[0], other[2])
    np.testing.assert_array_equal(one[1], other[0])


class Tiny(nn.Module):
    """Sums over rows and columns, so that a view's place in an image is seen."""

    @nn.compact
    def __call__(self, x):
        weights = jnp.linspace(-1, 1, x.shape[1])[:, None, None] + jnp.linspace(0, 1, x.shape[2])[:, None]
        return Dense(3)(nn.tanh(Dense(4)(jnp.sum(weights * x, axis=(1, 2)))))


LOSS = Classification().loss
MODEL = from_module(Tiny(), (6, 5, 2))
PARAMS = MODEL.init(jax.random.key(1))


def test_the_mean_gradient_of_the_views_is_clipped_and_not_each_of_them():
    x = jax.random.normal(jax.random.key(2), (4, 3, 6, 5, 2))
    y, real, clip = jnp.arange(4) % 3, jnp.asarray([True, True, False, True]), jnp.float32(0.3)

    def loss(params, x, y):
        return -jax.nn.log_softmax(MODEL.apply(params, x[None]))[0, y]

    total = jax.tree.map(jnp.zeros_like, PARAMS)
    norms = []
    for i in np.flatnonzero(real):
        own = [jax.grad(loss)(PARAMS, x[i, j], y[i]) for j in range(3)]
        mean = jax.tree.map(lambda *leaves: sum(leaves) / 3, *own)
        norms.append(float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(mean)))))
        total = jax.tree.map(lambda a, g, n=norms[-1]: a + g * min(1.0, 0.3 / n), total, mean)
    assert max(norms) > 0.3
    ours = jax.jit(partial(clipped_gradient_sum, MODEL, LOSS, in_views=True))(PARAMS, x, y, real=real, clip_norm=clip)
    assert_close(ours.gradient, total, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(np.asarray(ours.norms)[np.asarray(real)], norms, rtol=1e-5)
    same = clipped_gradient_sum(
        MODEL, LOSS, PARAMS, jnp.stack([x[:, 0]] * 3, 1), y, real=real, clip_norm=clip, in_views=True
    )
    once = clipped_gradient_sum(MODEL, LOSS, PARAMS, x[:, 0], y, real=real, clip_norm=clip)
    assert_close(same.gradient, once.gradient, rtol=1e-7, atol=1e-6)


def test_views_are_averaged_behind_a_projection_too():
    spec = {"name": "pca", "dimensions": 4}
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(60, 4)))[0].astype(np.float32)
    inner = build({"name": "logistic"}, (4,), 2)
    model, params = (
        learning.prepend(inner, learning.build(spec), {"directions": directions}),
        inner.init(jax.random.key(0)),
    )
    x = jax.random.normal(jax.random.key(1), (3, 2, 6, 5, 2))
    y, real, clip = jnp.asarray([0, 1, 1]), jnp.ones(3, bool), jnp.float32(jnp.inf)
    ours = clipped_gradient_sum(model, LOSS, params, x, y, real=real, clip_norm=clip, in_views=True)
    each = [
        clipped_gradient_sum(model, LOSS, params, x[:, view], y, real=real, clip_norm=clip).gradient
        for view in range(2)
    ]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *each)
    assert_close(ours.gradient, mean, rtol=1e-7, atol=1e-5)


def test_local_steps_see_new_views_at_every_step_and_in_every_round():
    examples = Examples(jax.random.normal(jax.random.key(2), (2, 6, 5, 2)), jnp.asarray([0, 1]))
    seen = []

    def apply(params, x):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)), x)
        return MODEL.apply(params, x)

    def run(augmentation, key):
        seen.clear()
        work, index = LocalWork(epochs=3, steps=None, batch_size=1), jnp.arange(2)
        numbers = {"count": jnp.int32(2), "learning_rate": jnp.float32(0.1), "client": jnp.int32(0)}
        shown = {"key": jax.random.key(key), "augmentation": augmentation}
        update = local_sgd(LocalProblem(apply, LOSS, work, PARAMS, examples, index, **numbers, **shown))
        jax.block_until_ready(update.delta)
        jax.effects_barrier()
        return {view.tobytes() for view in seen}, update.delta

    draw = Augmentation(padding=4)
    first, delta = run(draw, 0)
    assert len(first) == 6
    assert not first & run(draw, 1)[0]
    again = run(draw, 0)[1]
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(delta), jax.tree.leaves(again), strict=True))
    plain, _ = run(None, 0)
    assert plain == {np.asarray(x[None]).tobytes() for x in examples.x}
