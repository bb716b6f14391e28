"""The layers against flax's own, and per-example gradients against `jax.vmap` of `jax.grad`."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedpareto.components import registry
from fedpareto.federated.contributions.per_example import clipped_gradient_sum, differentiated
from fedpareto.models.layers import Conv, Dense, StandardizedConv, images, max_pool
from fedpareto.models.model import build, from_module
from fedpareto.tasks.classification import Classification

LOSS = Classification().loss

SPECS = [
    ({"name": "logistic"}, (7,)),
    ({"name": "mlp", "hidden": "5-4"}, (7,)),
    ({"name": "mlp", "hidden": "5-4", "bias": False}, (7,)),
    ({"name": "2nn"}, (28, 28, 1)),
    ({"name": "dp_cnn"}, (28, 28, 1)),
    ({"name": "fedavg_cnn"}, (28, 28, 1)),
    ({"name": "fedavg_cifar_cnn"}, (24, 24, 3)),
    ({"name": "cifar_cnn"}, (8, 8, 3)),
    ({"name": "scatter_cnn"}, (8, 8, 5)),
]
FORMED_ONE_BY_ONE = {"wrn"}


def batch_of(shape, n=6):
    x = jax.random.normal(jax.random.key(2), (n, *shape))
    return x, jnp.arange(n) % 3, jnp.arange(n) != 4


def close(a, b, tolerance=2e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance * max(1.0, float(jnp.abs(y).max())), rtol=0)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "stride", "side"), [(3, 1, 7), (4, 2, 13), (5, 3, 11)])
def test_a_convolution_is_that_of_flax(size, stride, side, padding):
    x = jax.random.normal(jax.random.key(0), (3, side, side, 2))
    ours = Conv(4, size, stride, padding)
    theirs = nn.Conv(4, (size, size), (stride, stride), padding)
    params = jax.jit(theirs.init)(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, {"params": jax.eval_shape(ours.init, jax.random.key(1), images(x))["params"]}
    )

    def loss(apply):
        return lambda params, x: jnp.sum(jnp.sin(apply(params, x)))

    def mine(params, x):
        return ours.apply(params, images(x)).transpose(3, 1, 2, 0)

    of_both = jax.jit(lambda *at: [jax.value_and_grad(loss(apply), (0, 1))(*at) for apply in (mine, theirs.apply)])
    close(*of_both(params, x))


@pytest.mark.parametrize(("stride", "window", "padding"), [(1, 2, "VALID"), (2, 2, "VALID"), (2, 3, "SAME")])
def test_a_pooling_is_that_of_flax_also_where_values_tie(stride, window, padding):
    x = jnp.round(2 * jax.random.normal(jax.random.key(0), (3, 9, 8, 2)))  # ties in most windows
    how = ((window, window), (stride, stride), padding)
    weights = jax.random.normal(jax.random.key(1), nn.max_pool(x, *how).shape)

    def ours(x):
        return jnp.sum(weights * max_pool(images(x), stride, window, padding).transpose(3, 1, 2, 0))

    def theirs(x):
        return jnp.sum(weights * nn.max_pool(x, *how))

    close(*jax.jit(lambda x: [jax.value_and_grad(loss)(x) for loss in (ours, theirs)])(x))


def test_the_cnn_is_the_one_written_in_flax():
    class Reference(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.max_pool(nn.relu(nn.Conv(16, (8, 8), (2, 2), "SAME")(x)), (2, 2))
            x = nn.max_pool(nn.relu(nn.Conv(32, (4, 4), (2, 2), "VALID")(x)), (2, 2))
            x = nn.relu(nn.Dense(32)(x.reshape(x.shape[0], -1)))
            return nn.Dense(10)(x)

    model, reference = build({"name": "dp_cnn"}, (28, 28, 1), 10), Reference()
    x = jax.random.normal(jax.random.key(3), (5, 28, 28, 1))
    params = jax.jit(reference.init)(jax.random.key(4), x)["params"]
    close(jax.jit(model.init)(jax.random.key(4)), params)
    close(*jax.jit(lambda p: [model.apply(p, x), reference.apply({"params": p}, x)])(params))


@pytest.mark.parametrize(
    ("spec", "shape"), SPECS, ids=lambda value: value.get("name", "") if isinstance(value, dict) else ""
)
def test_clipped_sums_are_those_of_gradients_taken_one_by_one(spec, shape):
    assert {one["name"] for one, _ in SPECS} | FORMED_ONE_BY_ONE == set(registry.names("model"))
    model = build(spec, shape, 3)
    assert model.layers is not None
    params = jax.jit(model.init)(jax.random.key(1))
    x, y, real = batch_of(shape)
    forms = [jax.jit(partial(form, model, LOSS)) for form in (clipped_gradient_sum, differentiated)]
    for clip in (0.1, 3.0, jnp.inf):
        fast, slow = (form(params, x, y, real=real, clip_norm=jnp.float32(clip)) for form in forms)
        close(fast, slow)
    assert float(fast.norms[4]) == 0
    assert float(jnp.ptp(fast.norms)) > 0


@pytest.mark.parametrize("form", [clipped_gradient_sum, differentiated])
def test_an_example_that_is_not_finite_contributes_nothing(form):
    model = build({"name": "dp_cnn"}, (28, 28, 1), 3)
    params = jax.jit(model.init)(jax.random.key(1))
    x, y, _ = batch_of((28, 28, 1))
    compiled = jax.jit(partial(form, model, LOSS))
    poisoned = compiled(params, x.at[2].set(jnp.inf), y, real=jnp.ones(6, bool), clip_norm=jnp.float32(0.5))
    without = compiled(params, x, y, real=jnp.arange(6) != 2, clip_norm=jnp.float32(0.5))
    close(poisoned.gradient, without.gradient)


def test_standardised_weights_have_mean_0_and_length_1_whatever_the_weights():
    layer, x = StandardizedConv(5, 3), jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    params = layer.init(jax.random.key(1), x)["params"]
    assert {name: leaf.shape for name, leaf in params.items()} == {"kernel": (3, 3, 4, 5), "gain": (5,), "bias": (5,)}
    scaled = params | {"kernel": 3 * params["kernel"] + 0.7}
    close(layer.apply({"params": params}, x), layer.apply({"params": scaled}, x))
    # A single bright pixel reads one weight after the other off the output.
    dot = jnp.zeros((4, 5, 5, 4)).at[jnp.arange(4), 2, 2, jnp.arange(4)].set(1)
    weights = layer.apply({"params": params}, dot)[:, 1:4, 1:4].reshape(-1, 5)
    np.testing.assert_allclose(weights.sum(0), 0, atol=1e-5)
    np.testing.assert_allclose((weights**2).sum(0), 1, rtol=1e-5)


class Standardised(nn.Module):
    """A layer between two that the fast path knows, whose learned weights are not those that multiply."""

    @nn.compact
    def __call__(self, x):
        x = StandardizedConv(4, 3)(x.reshape(x.shape[0], 3, 3, 1))
        return Dense(3)(x.mean((1, 2)))


class Scaled(nn.Module):
    """A layer that the fast path does not know."""

    @nn.compact
    def __call__(self, x):
        return nn.LayerNorm()(Dense(3)(x))


class Twice(nn.Module):
    """One layer used twice, whose gradient is a sum of two outer products."""

    @nn.compact
    def __call__(self, x):
        layer = Dense(7)
        return layer(nn.relu(layer(x)))


@pytest.mark.parametrize(
    ("module", "size"),
    [(Scaled(), 7), (Twice(), 7), (Standardised(), 9)],
    ids=["unknown layer", "shared layer", "standardised weights"],
)
def test_other_models_are_differentiated_example_by_example(module, size):
    model = from_module(module, (size,))
    assert model.layers is None
    params = jax.jit(model.init)(jax.random.key(1))
    x, y, real = batch_of((size,))
    gradients = jax.vmap(lambda x, y: jax.grad(lambda p: -jax.nn.log_softmax(model.apply(p, x[None]))[0, y])(params))(
        x, y
    )
    norms = jnp.sqrt(sum(jnp.sum(leaf.reshape(6, -1) ** 2, 1) for leaf in jax.tree.leaves(gradients)))
    factors = jnp.where(real, jnp.minimum(1, 0.2 / norms), 0)
    expected = jax.tree.map(lambda leaf: jnp.tensordot(factors, leaf, 1), gradients)
    close(clipped_gradient_sum(model, LOSS, params, x, y, real=real, clip_norm=jnp.float32(0.2)).gradient, expected)
