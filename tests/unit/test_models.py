"""Models have the parameter counts of their papers, and standardise what they see as these do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedpareto.components.registry import ComponentError
from fedpareto.models.model import build
from fedpareto.models.normalisation import normalised


@pytest.mark.parametrize(
    ("spec", "shape", "parameters"),
    [
        ({"name": "logistic"}, (28, 28, 1), 7_850),
        ({"name": "mlp", "hidden": "32"}, (64,), 2_410),
        ({"name": "mlp", "hidden": "64-32"}, (29,), 1_920 + 2_080 + 330),
        ({"name": "mlp", "hidden": "600-100", "bias": False}, (28, 28, 1), 531_400),
        ({"name": "2nn"}, (28, 28, 1), 199_210),
        ({"name": "dp_cnn"}, (28, 28, 1), 26_010),
        ({"name": "fedavg_cnn"}, (28, 28, 1), 1_663_370),
        ({"name": "fedavg_cifar_cnn"}, (32, 32, 3), 1_068_298),
        ({"name": "cifar_cnn"}, (32, 32, 3), 550_570),
        ({"name": "scatter_cnn"}, (8, 8, 243), 187_210),
    ],
)
def test_parameter_counts(spec, shape, parameters):
    model = build(spec, shape, 10)
    assert model.parameters == parameters
    logits = jax.eval_shape(lambda key, x: model.apply(model.init(key), x), jax.random.key(0), jnp.ones((3, *shape)))
    assert logits.shape == (3, 10)
    assert logits.dtype == jnp.float32


def of_a_wide_resnet(depth, width):
    """Parameters of the network of De et al., counted by hand: every convolution has a gain and a bias, every norm too."""
    conv = lambda size, inputs, outputs: size**2 * inputs * outputs + 2 * outputs  # noqa: E731
    norm = lambda channels: 2 * channels  # noqa: E731
    total, inputs = conv(3, 3, 16), 16
    for channels in (16 * width, 32 * width, 64 * width):
        total += norm(inputs) + conv(1, inputs, channels)
        for _ in range((depth - 4) // 6):
            total += norm(inputs) + conv(3, inputs, channels) + norm(channels) + conv(3, channels, channels)
            inputs = channels
    return total + norm(inputs) + inputs * 10 + 10


@pytest.mark.parametrize(("depth", "width", "millions"), [(16, 4, 2.75), (40, 4, 8.96)])
def test_a_wide_resnet_has_the_size_of_its_paper(depth, width, millions):
    model = build({"name": "wrn", "depth": depth, "width": width, "normalisation": "cifar10"}, (32, 32, 3), 10)
    assert model.parameters == of_a_wide_resnet(depth, width)
    assert model.parameters / 1e6 == pytest.approx(millions, abs=0.01)
    assert model.layers is None  # its gradients are formed one by one


def test_the_network_of_the_tutorial_sees_the_middle():
    model = build({"name": "fedavg_cifar_cnn"}, (32, 32, 3), 10)
    params, apply = jax.jit(model.init)(jax.random.key(0)), jax.jit(model.apply)
    x = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
    logits = apply(params, x)
    np.testing.assert_allclose(logits, apply(params, x[:, 4:28, 4:28]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(logits, apply(params, x.at[:, :4].set(0.5)))
    assert float(jnp.abs(logits - apply(params, x.at[:, 4].set(0.5))).max()) > 0


def test_images_are_standardised():
    x = jax.random.uniform(jax.random.key(0), (3, 8, 8, 3)) * jnp.asarray([0.2, 0.5, 1.0])
    by_image = normalised(x, "per_image")
    np.testing.assert_allclose(by_image.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(by_image.std((1, 2, 3)), 1, rtol=1e-4)
    # Brighter or of more contrast: the same to whoever looks at each image by itself.
    np.testing.assert_allclose(normalised(0.5 * x + 0.1, "per_image"), by_image, atol=1e-4)
    assert np.isfinite(normalised(jnp.full((1, 4, 4, 3), 0.3), "per_image")).all()
    grey = normalised(jnp.full((1, 2, 2, 3), 0.5), "cifar10")[0, 0, 0]
    np.testing.assert_allclose(grey, [0.0348, 0.0733, 0.2044], atol=1e-3)
    np.testing.assert_array_equal(normalised(x, "none"), x)


OWN = """
import flax.linen as nn
import jax.numpy as jnp


class {name}(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x.reshape(len(x), -1)[:, : self.outputs]", r"must have parameters \(there is nothing to train\)"),
        ("return nn.Dense(3)(x)", r"must return float32 \[batch, 4\] \(for a batch of 3 it returns float32 \[3, 3\]\)"),
        (
            "return nn.Dense(4)(nn.Dropout(0.5, deterministic=False)(x))",
            "must be a flax module of examples of 5 numbers .*Rng",
        ),
        ("return nn.Dense(4)(x) if x.sum() > 0 else nn.Dense(4)(x)", "must be a flax module of examples of 5 numbers"),
        ("raise KeyError(1)", r"must be a flax module of examples of 5 numbers \(KeyError: 1\)"),
        (
            "return nn.Dense(4, param_dtype=jnp.bfloat16)(x).astype(jnp.float32)",
            "must have parameters of float32, and none of bfloat16",
        ),
        ("return nn.Dense(4)(nn.BatchNorm(use_running_average=False)(x))", "must keep nothing beside its parameters"),
    ],
)
def test_what_is_no_model_is_one_line(body, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(OWN.format(name="Net", body=body))
    with pytest.raises(ComponentError, match=message) as refusal:
        build({"name": "./net.py:Net"}, (5,), 4)
    assert len(str(refusal.value).splitlines()) == 1
