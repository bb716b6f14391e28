"""Whatever a user's own code makes of a batch, one record moves a clipped sum by no more than the clip norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedpareto.components.registry import ComponentError
from fedpareto.config.load import checked
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.contributions.per_example import clipped_gradient_sum
from fedpareto.federated.inputs.setup import model_of
from fedpareto.federated.preprocessings import learning
from fedpareto.privacy.clipping import global_norm
from fedpareto.sweep.sweep import plan_sweep
from fedpareto.tasks import build as tasks

CLIP = 0.1
CODE = """
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from fedpareto.models.layers import Dense
from fedpareto.tasks.classification import Classification
from fedpareto.tasks.interface import Task


class Centred(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        h = jnp.tanh(Dense(16)(x.reshape(len(x), -1)))
        return Dense(self.outputs)(h - h.mean(axis=0) + jnp.roll(h, 1, axis=0))


@dataclass(frozen=True)
class Standardised:
    def output_shape(self, example_shape):
        return example_shape

    def transformed(self, arrays, x):
        return (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-3)


@dataclass(frozen=True)
class Pairs(Task):
    TARGETS: ClassVar = "classes"
    METRICS: ClassVar = {"accuracy": {"label": "accuracy"}}

    def outputs(self, targets, classes):
        return classes

    def loss(self, outputs, targets):
        same = (targets[:, None] == targets) & ~jnp.eye(len(targets), dtype=bool)
        apart = jnp.sum((outputs[:, None] - outputs) ** 2, axis=2)
        return Classification().loss(outputs, targets) + jnp.sum(jnp.where(same, apart, 0.0), axis=1)

    def example_scores(self, outputs, targets):
        return {"accuracy": (jnp.argmax(outputs, axis=1) == targets).astype(jnp.float32)}
"""
STUDY = {
    "dataset": "digits", "clients": 10, "sampling_rate": 0.5, "rounds": 1, "model": "mlp", "unit": "record",
    "clip_norm": CLIP, "noise_multiplier": 1.0, "delta": 1e-5, "baselines": [],
}  # fmt: skip


def sums(run):
    """Clipped sums of a batch and of the batch without each of its records, as the engine makes them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 8)).astype(np.float32), np.asarray([0, 1, 2, 0, 0, 1], np.int32)
    data = PreparedData(x, y, x, y, np.asarray(["a", "b", "c"]))
    model, task = model_of(run, data), tasks.build(run.task)
    if (preprocessing := learning.build(run.training.preprocessing)) is not None:
        model = learning.prepend(model, preprocessing, {})
    params = model.init(jax.random.key(0))

    def clipped(real):
        return clipped_gradient_sum(
            model, task.loss, params, jnp.asarray(x), jnp.asarray(y), real=real, clip_norm=jnp.float32(CLIP)
        ).gradient

    everybody = jnp.ones(6, bool)
    return clipped(everybody), [clipped(everybody.at[i].set(False)) for i in range(6)]


@pytest.mark.parametrize(
    "own",
    [
        {"model": "./own.py:Centred"},
        {"preprocessing": "./own.py:Standardised"},
        {"task": "./own.py:Pairs"},
        {"model": "./own.py:Centred", "preprocessing": "./own.py:Standardised"},
    ],
    ids=str,
)
def test_one_record_moves_a_clipped_sum_by_the_clip_norm_at_most(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "check", lambda *_: None)  # it refuses this task; the sum must be right without it
    (tmp_path / "own.py").write_text(CODE)
    tree = {"studies": {"s": STUDY | own}}
    (run,) = plan_sweep(checked(tree, [("test", tree)])).runs.values()
    whole, others = sums(run)
    moved = [float(global_norm(jax.tree.map(jnp.subtract, whole, other))) for other in others]
    assert max(moved) <= CLIP * (1 + 1e-4)
    assert max(moved) > CLIP / 2


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [0, 0, 0, 0, 1]])
def test_a_loss_that_mixes_the_batch_is_refused_whatever_the_first_labels_are(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CODE)
    spec = {"name": "./own.py:Pairs"}
    with pytest.raises(ComponentError, match="must have a loss in which each example stands alone"):
        tasks.check(spec, tasks.build(spec), 5, np.asarray(labels, np.int32))
