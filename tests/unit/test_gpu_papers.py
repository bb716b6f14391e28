"""Papers that want a GPU: their studies compile and take a step, on a handful of made-up images."""

from pathlib import Path

import jax
import numpy as np
import pytest

from fedpareto.config.papers import FOLDER, read_folder
from fedpareto.data import facts
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.execution import chunks
from fedpareto.federated.store.results import write_bundle
from fedpareto.federated.train import train_bundle
from fedpareto.statuses import FINISHED
from fedpareto.sweep.account import account
from fedpareto.sweep.run import Bundle
from fedpareto.sweep.sweep import plan_sweep

PAPERS = {
    name: paper
    for name, paper in read_folder(Path(__file__).parents[2] / FOLDER).items()
    if paper.device == "gpu" and paper.config
}
IMAGES = 8


def made_up(shape):
    rng = np.random.default_rng(0)
    x = rng.random((IMAGES + 4, *shape)).astype(np.float32)
    y = np.arange(IMAGES + 4, dtype=np.int32) % 10
    return PreparedData(x[:IMAGES], y[:IMAGES], x[IMAGES:], y[IMAGES:], np.array([str(i) for i in range(10)]))


def cut_down(run, whole_model=False):
    """The run on few images and for one round: all that is compiled is the same but for sizes."""
    augmentation = run.training.augmentation
    if augmentation is not None:
        augmentation = augmentation | {"multiplicity": min(2, augmentation["multiplicity"])}
    shallow = {"depth": 10, "width": 1} if run.model["name"] == "wrn" and not whole_model else {}
    small = run.replace(rounds=1, evaluate_every=1, augmentation=augmentation, model=run.model | shallow)
    if run.contribution.unit == "record":
        return small.replace(records=IMAGES, sampling_rate=0.25)
    return small.replace(
        clients=4, partition={"name": "iid"}, sampling_rate=0.25, local_epochs=1, batch_size=2, delta=None,
        target_epsilon=None, noise_multiplier=0.0,
    )  # fmt: skip


def cases():
    """A run of each program that is left of each paper."""
    for name, paper in PAPERS.items():
        programs = {}
        for run in plan_sweep(paper.config).runs.values():
            programs.setdefault(cut_down(run).static_key, run)
        for number, run in enumerate(programs.values()):
            yield pytest.param(run, False, id=f"{name} {number}")
            if run.model["name"] == "wrn":
                yield pytest.param(run, True, id=f"{name} {number}, whole model", marks=pytest.mark.slow)


@pytest.fixture
def quick_compilation(whole_model):
    """A small model takes one step: what the compiler saves on it is worth more than what it would gain."""
    jax.config.update("jax_disable_most_optimizations", not whole_model)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize(("run", "whole_model"), list(cases()))
def test_a_paper_that_wants_a_gpu_takes_a_step_without(run, whole_model, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 1)
    data = made_up(facts.of_class(run.data.dataset).shape)
    bundle = Bundle((cut_down(run, whole_model),))
    accounted = account(bundle)
    folders = {"runs_folder": tmp_path / "runs", "checkpoints_folder": tmp_path / "checkpoints"}
    results = train_bundle(bundle, accounted, data, **folders, execution={"devices": 1})
    (result,) = results
    assert result.status in FINISHED
    assert np.isfinite(result.metrics["loss"]).all()
    assert result.metrics["loss"][1] != result.metrics["loss"][0]
    write_bundle(tmp_path / "bundle", bundle, accounted, results, data)
