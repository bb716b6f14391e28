"""Models have the parameter counts of their papers."""

import jax
import jax.numpy as jnp
import pytest

from fedpareto.models import build


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
    ],
)
def test_parameter_counts(spec, shape, parameters):
    model = build(spec, shape, 10)
    assert model.parameters == parameters
    logits = model.apply(model.init(jax.random.key(0)), jnp.ones((3, *shape)))
    assert logits.shape == (3, 10)
    assert logits.dtype == jnp.float32
