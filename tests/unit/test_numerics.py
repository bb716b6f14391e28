"""The forms that a model's products may have give the same function, reach every product, and never the sums of what was clipped."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from for_a_gpu import lowered
from problem import assert_close

from fedpareto.federated.conformance.engine import QUICK
from fedpareto.federated.contributions.per_example import clipped_gradient_sum
from fedpareto.federated.execution import devices
from fedpareto.models.model import build
from fedpareto.models.numerics import CONVOLUTIONS, PRECISIONS, Numerics
from fedpareto.tasks.classification import Classification

IMAGES = {"dp_cnn": (28, 28, 1), "scatter_cnn": (8, 8, 6)}  # strides and both paddings
LOSS = Classification().loss
PRODUCT = re.compile(r"stablehlo\.(?:dot_general |convolution\().*")
PRECISION = re.compile(r"precision = \[(\w+), (\w+)\]|#stablehlo<precision (\w+)>, #stablehlo<precision (\w+)>")


def batch(name, n=6):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((n, *IMAGES[name])), jnp.float32)
    return x, jnp.asarray(rng.integers(0, 10, n), jnp.int32)


def loss_and_gradient(model):
    def loss(params, x, y):
        return jnp.mean(LOSS(model.apply(params, x), y))

    return jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)


def clipped(model):
    def total(params, x, y):
        return clipped_gradient_sum(model, LOSS, params, x, y, real=y >= 0, clip_norm=jnp.float32(0.5))

    return jax.jit(total, compiler_options=QUICK)


@pytest.mark.parametrize("name", IMAGES)
def test_both_forms_of_a_convolution_are_one_function(name):
    x, y = batch(name)
    patches, lax = (build({"name": name}, IMAGES[name], 10, Numerics(convolution=form)) for form in CONVOLUTIONS)
    params = patches.init(jax.random.key(0))
    for compute in (loss_and_gradient, clipped):
        found, expected = compute(lax)(params, x, y), compute(patches)(params, x, y)
        assert_close(found, expected, rtol=1e-4, atol=1e-5)


def precisions(text):
    """How often each precision stands at a product in a program's text."""
    found = [PRECISION.search(line) for line in PRODUCT.findall(text)]
    return Counter("unstated" if match is None else next(filter(None, match.groups())) for match in found)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize(("precision", "stated"), [(PRECISIONS[0], "HIGHEST"), (PRECISIONS[1], "HIGH")])
def test_the_precision_reaches_every_product_forward_and_backward(precision, stated, convolution):
    x, y = batch("dp_cnn")
    model = build({"name": "dp_cnn"}, IMAGES["dp_cnn"], 10, Numerics(convolution, precision))
    text, _ = lowered(loss_and_gradient(model), model.init(jax.random.key(0)), x, y)
    # Two convolutions and two dense layers: each forward, and backward to its weights; to its input but for the first.
    assert precisions(text) == {stated: 11}


def test_what_was_clipped_is_summed_in_float32_on_every_device():
    x, y = batch("dp_cnn")
    model = build({"name": "dp_cnn"}, IMAGES["dp_cnn"], 10, Numerics(precision="tensorfloat32"))
    text, _ = lowered(clipped(model), model.init(jax.random.key(0)), x, y)
    counts = precisions(text)
    assert counts["HIGHEST"] == 6  # kernel and bias of two convolutions, kernels of two dense layers
    assert counts["HIGH"] == counts.total() - 6 > 0


def test_the_users_own_default_does_not_reach_a_model():
    x, y = batch("dp_cnn")
    model = build({"name": "dp_cnn"}, IMAGES["dp_cnn"], 10)
    params = model.init(jax.random.key(0))
    with jax.default_matmul_precision("bfloat16"):
        text, _ = lowered(loss_and_gradient(model), params, x, y)
    assert set(precisions(text)) == {"HIGHEST"}


def test_a_cpu_computes_in_float32_and_the_user_may_choose():
    model = build({"name": "logistic"}, (3,), 2)
    layout, _ = devices.choose(1, model, 10.0, "client")
    assert layout.numerics == Numerics("patches", "float32")
    layout, _ = devices.choose(1, model, 10.0, "client", wanted={"convolution": "lax", "precision": "tensorfloat32"})
    assert layout.numerics == Numerics("lax", "tensorfloat32")
    assert layout.to_dict()["precision"] == "tensorfloat32"
