"""Every program can be lowered for a GPU, without one: training by unit and trust, baselines, papers, attacks."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import gpu_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from attacked import digits, target
from for_a_gpu import DryRun, NotForAGPU, lowered
from test_gpu_papers import PAPERS, cut_down, made_up

from fedpareto.attacks import adversary_view as transcript
from fedpareto.attacks import model_inversion, stage
from fedpareto.attacks.gradient_inversion import labels, matching
from fedpareto.config import load as config
from fedpareto.data import facts
from fedpareto.federated.execution import devices
from fedpareto.federated.inputs.setup import measure, model_arrays
from fedpareto.federated.train import train_bundle
from fedpareto.sweep.account import AccountedRun, privacy_plan
from fedpareto.sweep.run import Bundle
from fedpareto.sweep.sweep import plan_sweep

ROOT = Path(__file__).parents[2]
# As on a GPU: members of a cohort and runs in vectorised chunks.
AS_ON_A_GPU = {"at_once": 8, "runs_at_once": 2, "devices": 1}
SMOKE = plan_sweep(config.load([ROOT / "config/studies/smoke.yaml"])).bundles
CASES = list(yaml.safe_load(gpu_cases.STUDIES.read_text())["studies"])
ATTACKS = [
    {"name": "gradient_inversion", "method": method, "records": 2, "victims": 2, "restarts": 1, "steps": 2,
     "total_variation": None}
    for method in ("analytic", "dlg", "cosine")
] + [
    {"name": "model_inversion", "steps": 2},
    {"name": "membership", "shadows": 4},
    {"name": "client_membership", "shadows": 4},
    {"name": "audit", "method": "one_run", "runs": 8, "canaries": 4},
]  # fmt: skip


@cache
def cases():
    with tempfile.TemporaryDirectory() as folder:
        return {case.name: case for case in gpu_cases.cases(Path(folder))}


@pytest.fixture
def dry(monkeypatch):
    already = [(labels, "_simulated_bias"), (matching, "_search"), (model_inversion, "_ascend"), (transcript, "_look")]
    return DryRun(monkeypatch, already)


def train(bundle, data, folder, **execution):
    """Trains runs, whose epsilons nobody asks for: their plans are all that shapes a program."""
    measured, unknown = measure(bundle.runs, data), (SimpleNamespace(epsilon=np.inf),)
    accounted = {run.run_id: AccountedRun(privacy_plan(run, measured), unknown) for run in bundle.runs}
    folders = {"runs_folder": folder / "runs", "checkpoints_folder": folder / "checkpoints"}
    return train_bundle(bundle, accounted, data, **folders, execution=AS_ON_A_GPU | execution)


@pytest.mark.parametrize(
    ("name", "convolution"),
    [*((name, "patches") for name in CASES), ("convolutions", "lax"), ("record_central", "lax")],
)
def test_units_trust_models_and_mechanisms(name, convolution, dry, tmp_path):
    case = cases()[name]
    train(case.bundle, case.data, tmp_path, convolution=convolution)
    _, advance = dry.texts
    assert ("stablehlo.convolution" in advance) == (convolution == "lax" or name == "augmentation")


@pytest.mark.parametrize(
    "bundle", SMOKE.values(), ids=[f"{b.runs[0].baseline} {b.runs[0].data.clients}" for b in SMOKE.values()]
)
def test_the_smoke_study(bundle, dry, tmp_path):
    train(bundle, digits(), tmp_path)
    assert len(dry.texts) == 2


def papers():
    for name, paper in PAPERS.items():
        programs = {}
        for run in plan_sweep(paper.config).runs.values():
            programs.setdefault(cut_down(run).static_key, run)
        yield from (pytest.param(run, id=f"{name} {i}") for i, run in enumerate(programs.values()))


@pytest.mark.parametrize("run", list(papers()))
def test_papers_that_want_a_gpu(run, dry, tmp_path):
    data = made_up(facts.of_class(run.data.dataset).shape)
    train(Bundle((cut_down(run),)), data, tmp_path)
    assert len(dry.texts) == 2


OTHERS = {
    "distributed": {"trust": "distributed", "mechanism": {"name": "skellam"}, "sampling": "fixed_size"},
    "local": {"trust": "local"},
    "record": {"unit": "record", "local_epochs": None, "batch_size": None, "client_learning_rate": None},
}


def attacked():
    for spec in ATTACKS:
        name = f"{spec['name']} {spec['method']}" if "method" in spec else spec["name"]
        yield pytest.param(spec, {}, id=name)
        if spec["name"] == "audit" or spec.get("method") == "cosine":
            others = {other: change for other, change in OTHERS.items() if (spec["name"], other) != ("audit", "local")}
            yield from (pytest.param(spec, change, id=f"{name}, {other}") for other, change in others.items())


@pytest.mark.parametrize(("spec", "change"), list(attacked()))
def test_attacks(spec, change, dry, monkeypatch):
    choose = devices.choose

    def as_on_a_gpu(runs, model, cohort, unit, wanted=None, views=1):
        return choose(runs, model, cohort, unit, wanted={**(wanted or {}), **AS_ON_A_GPU}, views=views)

    monkeypatch.setattr(devices, "choose", as_on_a_gpu)
    made = target(**change)
    first = jax.tree.map(np.asarray, made.model.init(jax.random.key(0)))
    made = replace(made, models={run.run_id: model_arrays(first) for run in made.runs})
    stage.make(spec, made)
    assert dry.texts


class TestWhatIsNotForAGPU:
    def test_a_call_back_to_the_host(self):
        def calls_back(x):
            return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

        with pytest.raises(NotForAGPU, match=r"callback|backend cpu"):
            lowered(jax.jit(calls_back), jnp.ones(3))

    def test_float64(self):
        with jax.enable_x64(True), pytest.raises(NotForAGPU, match="float64"):
            lowered(jax.jit(lambda x: x * 2), np.ones(3))

    def test_an_operation_without_a_lowering(self):
        with pytest.raises(NotForAGPU, match="not found for platform cuda"):
            lowered(jax.jit(lambda x: jax.lax.linalg.schur(x)), jnp.ones((3, 3)))

    def test_what_a_gpu_can_do_passes(self):
        text, zeros = lowered(jax.jit(lambda x: x @ x), jnp.ones((3, 3)))
        assert "stablehlo.dot_general" in text
        assert zeros.shape == (3, 3)
