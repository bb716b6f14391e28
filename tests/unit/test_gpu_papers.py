"""Papers that want a GPU: their studies compile and take a step, on a handful of made-up images."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from fedpareto.data.arrays import PreparedData
from fedpareto.federated import evaluation
from fedpareto.federated.results import write_bundle
from fedpareto.federated.train import train_bundle
from fedpareto.papers import FOLDER, read_folder
from fedpareto.plan import make_plan
from fedpareto.privacy.account import account
from fedpareto.run import Bundle

PAPERS = {
    name: paper
    for name, paper in read_folder(Path(__file__).parents[2] / FOLDER).items()
    if paper.device == "gpu" and paper.config
}
IMAGES = 8


def made_up():
    rng = np.random.default_rng(0)
    x = rng.random((IMAGES + 4, 32, 32, 3)).astype(np.float32)
    y = np.arange(IMAGES + 4, dtype=np.int32) % 10
    return PreparedData(x[:IMAGES], y[:IMAGES], x[IMAGES:], y[IMAGES:], np.array([str(i) for i in range(10)]))


def cut_down(run, whole_model=False):
    """The run on few images and for one round: all that is compiled is the same but for sizes."""
    augmentation = run.augmentation and run.augmentation | {"multiplicity": min(2, run.augmentation["multiplicity"])}
    shallow = {"depth": 10, "width": 1} if run.model["name"] == "wrn" and not whole_model else {}
    small = replace(run, rounds=1, evaluate_every=1, augmentation=augmentation, model=run.model | shallow)
    if run.unit == "record":
        return replace(small, records=IMAGES, sampling_rate=0.25)
    return replace(small, clients=4, sampling_rate=0.25, local_epochs=1, batch_size=2)


@pytest.fixture
def quick_compilation(whole_model):
    """A small model takes one step: what the compiler saves on it is worth more than what it would gain."""
    jax.config.update("jax_disable_most_optimizations", not whole_model)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize(
    ("name", "whole_model"),
    [*((name, False) for name in PAPERS), pytest.param("de-cifar-wrn", True, marks=pytest.mark.slow)],
)
def test_a_paper_that_wants_a_gpu_takes_a_step_without(name, whole_model, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 1)
    data = made_up()
    (bundle, *others) = make_plan(PAPERS[name].config).bundles.values()
    # Bundles of one paper differ in nothing that is left here.
    assert len({cut_down(one.runs[0]).static_key for one in (bundle, *others)}) == 1
    bundle = Bundle((cut_down(bundle.runs[0], whole_model),))
    accounted = account(bundle)
    folders = {"runs_folder": tmp_path / "runs", "checkpoints_folder": tmp_path / "checkpoints"}
    results = train_bundle(bundle, accounted, data, **folders, execution={"devices": 1})
    (result,) = results
    assert result.status == "ok"
    assert np.isfinite(result.metrics["loss"]).all()
    assert result.metrics["loss"][1] != result.metrics["loss"][0]
    write_bundle(tmp_path / "bundle", bundle, accounted, results, data)
