"""Tasks of a user's own: trained end to end, exact example by example, and refused in one line where they do not fit."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from attacked import STUDY
from problem import (
    CLASSES,
    FEATURES,
    MODEL,
    assert_close,
    compiled_round,
    first_run,
    make_data,
    make_hypers,
    make_static,
)

from fedpareto.components import registry
from fedpareto.components.registry import ComponentError
from fedpareto.config.load import checked
from fedpareto.config.problems import ConfigError
from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData
from fedpareto.data.checked import check
from fedpareto.federated.contributions.per_example import clipped_gradient_sum, differentiated
from fedpareto.federated.inputs.setup import measure, model_of, partitions_of
from fedpareto.federated.store.results import write_bundle
from fedpareto.federated.train import train_bundle
from fedpareto.models.model import build
from fedpareto.sweep.account import account
from fedpareto.sweep.run import Bundle
from fedpareto.sweep.sweep import plan_sweep
from fedpareto.tasks import build as tasks
from fedpareto.tasks.classification import Classification

TASKS = dedent(
    '''
    """Two tasks."""

    from dataclasses import dataclass
    from typing import Annotated, ClassVar

    import jax
    import jax.numpy as jnp
    import numpy as np

    from fedpareto.components.rules import Rule
    from fedpareto.tasks.interface import Task


    @dataclass(frozen=True)
    class Hinge(Task):
        """Multiclass hinge loss.

        Attributes:
          margin: By which the label's output should exceed the others.
        """

        TARGETS: ClassVar = "classes"
        METRICS: ClassVar = {"accuracy": {"label": "test accuracy", "limits": (0, 1), "percent": True}}
        margin: Annotated[float, Rule(exclusiveMinimum=0)] = 1.0

        def outputs(self, targets, classes):
            return classes

        def loss(self, outputs, targets):
            label = targets[:, None] == jnp.arange(outputs.shape[1])
            true = jnp.where(label, outputs, 0.0).sum(axis=1)
            other = jnp.where(label, -jnp.inf, outputs).max(axis=1)
            return jnp.maximum(0.0, self.margin + other - true)

        def example_scores(self, outputs, targets):
            return {"accuracy": (jnp.argmax(outputs, axis=1) == targets).astype(jnp.float32)}


    @dataclass(frozen=True)
    class Squares(Task):
        """Several numbers at once by least squares."""

        TARGETS: ClassVar = "numbers"
        METRICS: ClassVar = {
            "rmse": {"label": "test RMSE", "better": "lower", "limits": (0, None)},
            "r2": {"label": "test R2", "better": "higher", "by_round": False},
        }

        def outputs(self, targets, classes):
            return targets.shape[1]

        def loss(self, outputs, targets):
            return 0.5 * jnp.sum(jnp.square(outputs - targets), axis=1)

        def example_scores(self, outputs, targets):
            return {"square": jnp.mean(jnp.square(outputs - targets), axis=1)}

        def scores(self, means):
            return {"rmse": jnp.sqrt(means["square"]), "loss": means["loss"]}

        def final_metrics(self, predictions, targets):
            left = np.sum((predictions - targets) ** 2)
            return {"r2": float(1 - left / np.sum((targets - targets.mean(axis=0)) ** 2))}

        def constant_scores(self, targets):
            return {"rmse": float(np.sqrt(targets.var(axis=0).mean()))}


    @dataclass(frozen=True)
    class Batched(Squares):
        """A loss in which the examples of a batch meet."""

        def loss(self, outputs, targets):
            return super().loss(outputs - outputs.mean(axis=0), targets)


    @dataclass(frozen=True)
    class Unscored(Squares):
        """No score for a metric."""

        def scores(self, means):
            return means


    @dataclass(frozen=True)
    class Lossless(Task):
        """No loss."""

        TARGETS: ClassVar = "numbers"
        METRICS: ClassVar = {"mae": {"label": "mean absolute error"}}


    class Thawed(Task):
        """No frozen dataclass."""

        TARGETS, METRICS = Squares.TARGETS, Squares.METRICS
        outputs, loss, example_scores = Squares.outputs, Squares.loss, Squares.example_scores


    class Silent:
        """Says nothing."""
    '''
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_tasks.py").write_text(TASKS)
    yield tmp_path
    while str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def linear_data(n=160, features=6, numbers=2):
    """Numbers that are a linear function of the features, and noise."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n + 60, features)).astype(np.float32)
    y = (x @ rng.normal(size=(features, numbers)) + 0.1 * rng.normal(size=(n + 60, numbers))).astype(np.float32)
    return PreparedData(x[:n], y[:n], x[n:], y[n:], np.array([], str))


def bundles(data, task, **changes):
    """The bundles of a study on a made-up data set, whose facts no configuration knows."""
    study = {key: value for key, value in (STUDY | {"dataset": "breast_cancer"} | changes).items() if value is not None}
    planned = plan_sweep(checked({"studies": {"s": study}}, [("study", {})])).bundles.values()
    records = len(data.y_train)
    for bundle in planned:
        runs = [run.replace(task=task, records=run.data.records and records) for run in bundle.runs]
        yield Bundle(tuple(sorted(runs, key=lambda run: run.run_id)))


def train(folder, data, task, **changes):
    """Rows of runs and metrics, and results by algorithm."""
    runs, metrics, results = [], [], {}
    for bundle in bundles(data, task, **changes):
        accounted = account(bundle, measure(bundle.runs, data))
        made = train_bundle(bundle, accounted, data, runs_folder=folder / "r", checkpoints_folder=folder / "c")
        write_bundle(folder / bundle.bundle_id, bundle, accounted, made, data)
        runs.append(pd.read_parquet(folder / bundle.bundle_id / "runs.parquet"))
        metrics.append(pd.read_parquet(folder / bundle.bundle_id / "metrics.parquet"))
        results |= {run.training.algorithm: result for run, result in zip(bundle.runs, made, strict=True)}
    return pd.concat(runs).set_index("algorithm"), pd.concat(metrics), results


def test_numbers_are_learned_with_and_without_noise_and_are_in_the_tables(folder, capsys):
    data = linear_data()
    check("made up", data)
    changes = {"rounds": 12, "client_learning_rate": 0.05, "clip_norm": 5.0, "noise_multiplier": [0.5, 0]}
    changes |= {"partition": {"name": "dirichlet", "alpha": 1.0}, "baselines": ["alone"]}
    runs, metrics, results = train(folder, data, {"name": "./own_tasks.py:Squares"}, **changes)
    deviation = float(np.sqrt(data.y_test.var(axis=0).mean()))
    assert (runs["status"] == "ok").all()
    assert (runs["rmse"] < deviation).all()
    assert (runs["task"] == "./own_tasks.py:Squares").all()
    assert (runs["worst_client_rmse"] >= runs["median_client_rmse"]).all()  # lower is better
    assert not {"accuracy", "f1"} & {*runs.columns, *metrics.columns}
    # R2 on the host, RMSE on the device: of the same predictions.
    np.testing.assert_allclose(runs["r2"]["fedavg"], 1 - (runs["rmse"]["fedavg"] / deviation) ** 2, rtol=0.2)
    scores = results["fedavg"].metrics
    np.testing.assert_allclose(scores["loss"], np.square(scores["rmse"]), rtol=1e-5)  # half the sum of two squares
    assert results["alone"].metrics["rmse"] == [pytest.approx(runs["rmse"]["alone"])]
    assert "mean rmse" in capsys.readouterr().out
    (bundle, *_) = bundles(data, {"name": "./own_tasks.py:Squares"}, **changes)
    strata = pd.read_parquet(folder / bundle.bundle_id / "partition.parquet")
    assert strata["label"].nunique() == 10
    assert strata["count"].sum() == len(data.y_train)


def test_a_loss_of_ones_own_on_classes_is_another_run_with_the_same_metrics(folder):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0)
    data = PreparedData(x[:150], y[:150].astype(np.int32), x[150:], y[150:].astype(np.int32), np.array(["a", "b", "c"]))
    hinge = {"name": "./own_tasks.py:Hinge", "margin": 2.0}
    changes = {"noise_multiplier": 0, "clip_norm": None, "rounds": 15}
    runs, _, results = train(folder / "hinge", data, hinge, **changes)
    plain, _, _ = train(folder / "plain", data, None, **changes)
    assert results["fedavg"].status == "ok"
    assert runs["accuracy"]["fedavg"] > 0.65
    assert runs["run_id"]["fedavg"] != plain["run_id"]["fedavg"]
    assert "task" not in plain  # the usual one
    assert "f1" not in runs
    assert json.loads((folder / "hinge" / "r" / runs["run_id"]["fedavg"] / "result.json").read_text())["final"] == {}


@pytest.mark.parametrize("model", [{"name": "logistic"}, {"name": "mlp", "hidden": "5"}], ids=lambda spec: spec["name"])
@pytest.mark.parametrize("form", [clipped_gradient_sum, differentiated])
@pytest.mark.parametrize("name", ["Hinge", "Squares"])
def test_the_clipped_sum_of_any_task_is_that_of_gradients_taken_one_by_one(folder, name, form, model):
    task = tasks.build({"name": f"./own_tasks.py:{name}"})
    rng = np.random.default_rng(0)
    model = build(model, (6,), 3)
    params = model.init(jax.random.key(1))
    x, real = jnp.asarray(rng.normal(size=(8, 6)), jnp.float32), jnp.arange(8) != 2
    y = (
        jnp.asarray(rng.integers(0, 3, 8), jnp.int32)
        if name == "Hinge"
        else jnp.asarray(rng.normal(size=(8, 3)), jnp.float32)
    )
    gradients = jax.vmap(lambda x, y: jax.grad(lambda p: task.loss(model.apply(p, x[None]), y[None])[0])(params))(x, y)
    squares = sum(jnp.sum(jnp.square(leaf.reshape(8, -1)), axis=1) for leaf in jax.tree.leaves(gradients))
    clip = float(jnp.median(jnp.sqrt(squares)))
    factors = jnp.where(real, jnp.minimum(1.0, clip / jnp.maximum(jnp.sqrt(squares), 1e-12)), 0.0)
    expected = jax.tree.map(lambda leaf: jnp.tensordot(factors, leaf, 1), gradients)
    ours = form(model, task.loss, params, x, y, real=real, clip_norm=jnp.float32(clip))
    assert 0 < int(jnp.sum(factors < 1)) < 8
    np.testing.assert_allclose(ours.norms, jnp.where(real, jnp.sqrt(squares), 0.0), rtol=1e-5, atol=1e-6)
    assert_close(ours.gradient, expected, rtol=1e-4, atol=1e-6)


def test_a_round_steps_by_the_clipped_gradients_of_its_task(folder):
    task = tasks.build({"name": "./own_tasks.py:Squares"})
    y = np.random.default_rng(1).normal(size=(80, CLASSES)).astype(np.float32)
    data = make_data()
    data = data._replace(
        train=data.train._replace(y=jnp.asarray(y[:60])), test=data.test._replace(y=jnp.asarray(y[60:]))
    )
    static = make_static(
        task=task, unit="record", sampling_rate=1.0, max_cohort_size=60, expected_cohort=60.0, at_once=7
    )
    run_params = first_run(make_hypers(clip=4.0, noise=0.0))
    params = MODEL.init(jax.random.key(1))
    optimizer = static.server(run_params.server)
    stepped, _, report = compiled_round(static, data, run_params, params, optimizer.init(params), jnp.int32(0))
    whole = differentiated(
        MODEL, task.loss, params, data.train.x, data.train.y, real=jnp.ones(60, bool), clip_norm=jnp.float32(4.0)
    )
    expected = jax.tree.map(lambda old, total: old - total / 60, params, whole.gradient)
    assert_close(stepped, expected, rtol=1e-4, atol=1e-6)
    assert 0 < float(report.clipped_fraction) < 1
    assert MODEL.example_shape == (FEATURES,)


def refused(**changes):
    with pytest.raises(ConfigError) as raised:
        checked({"studies": {"s": STUDY | changes}}, [("study", {})])
    return str(raised.value)


def test_what_does_not_fit_is_refused_when_the_configuration_is_read(folder):
    line = refused(task="./own_tasks.py:Squares")
    assert "be a task of classes: those are the targets of digits, and it wants numbers" in line
    assert "have" not in line.split("task")[0]
    assert "say whether its targets are classes or numbers" in refused(task="./own_tasks.py:Silent")
    assert "margin" in refused(task={"name": "./own_tasks.py:Hinge", "margin": -1})
    assert "classification" in refused(task="classificaton")
    (folder / "own_tasks.py").write_text(TASKS.replace('{"accuracy": {', '{"right": {'))
    line = refused(task="./own_tasks.py:Hinge", stop_at_accuracy=0.5, noise_multiplier=0, delta=None)
    assert "takes no accuracy at an evaluation" in line
    (folder / "own_tasks.py").write_text(TASKS.replace('{"accuracy": {', '{"rounds": {'))
    assert "call no metric rounds, which is another column of the tables" in refused(task="./own_tasks.py:Hinge")
    (folder / "own_tasks.py").write_text(TASKS.replace('"label": "test accuracy"', '"unit": "share"'))
    assert "name its metrics, the first one with a label" in refused(task="./own_tasks.py:Hinge")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Batched", "have a loss in which each example stands alone"),
        ("Unscored", "score rmse, which it names"),
        ("Lossless", "have all methods of a task"),
        ("Thawed", "be a frozen dataclass"),
        ("Silent", "inherit from fedpareto.tasks.interface.Task"),
    ],
)
def test_what_is_no_task_is_refused_before_it_trains(folder, name, words):
    data = linear_data()
    (bundle,) = bundles(data, {"name": f"./own_tasks.py:{name}"})
    with pytest.raises(ComponentError, match=words):
        model_of(bundle.runs[0], data)


def test_data_with_other_targets_than_the_task_are_refused_before_it_trains(folder):
    data = linear_data()
    (bundle,) = bundles(data, None)
    with pytest.raises(DataError, match="the targets of the data are numbers, and task classification learns classes"):
        model_of(bundle.runs[0], data)
    with pytest.raises(DataError, match="must be finite"):
        check("made up", replace(data, y_test=np.full_like(data.y_test, np.nan)))


@pytest.mark.parametrize("name", ["membership", "client_membership", "gradient_inversion", "model_inversion"])
def test_attacks_that_read_classes_say_so_of_a_task_of_numbers(folder, name):
    (bundle,) = bundles(linear_data(), {"name": "./own_tasks.py:Squares"})
    attack = registry.build("attack", {"name": name})
    assert "the targets of the task are numbers" in attack.not_applicable(bundle.runs[0])
    assert attack.not_applicable(bundle.runs[0].replace(task={"name": "./own_tasks.py:Hinge"})) is None
    assert registry.build("attack", {"name": "audit"}).not_applicable(bundle.runs[0]) is None


def test_the_usual_task_is_no_part_of_a_runs_name(folder):
    study = {"studies": {"s": STUDY | {"task": ["classification", "./own_tasks.py:Hinge"]}}}
    (plain,) = plan_sweep(checked({"studies": {"s": STUDY}}, [("study", {})])).runs
    planned = plan_sweep(checked(study, [("study", {})]))
    assert plain in planned.runs
    assert len(planned.runs) == len(planned.bundles) == 2
    tasks_of = {run.run_id: run.task for run in planned.runs.values()}
    assert tasks_of.pop(plain) is None
    assert list(tasks_of.values()) == [{"name": "./own_tasks.py:Hinge", "margin": 1.0}]


def test_classes_are_dealt_as_they_are():
    y = np.array([2, 0, 1], np.int32)
    assert Classification().strata(y) is y


def test_numbers_are_dealt_by_their_size(folder):
    data = linear_data()
    (bundle,) = bundles(data, {"name": "./own_tasks.py:Squares"}, partition={"name": "shards", "shards_per_client": 1})
    dealt = partitions_of(bundle.runs, data)[0]
    spread = [np.ptp(data.y_train[rows[:n], 0]) for rows, n in zip(dealt.train_index, dealt.train_count, strict=True)]
    assert np.median(spread) < 0.5 * np.ptp(data.y_train[:, 0])


def test_the_task_of_the_documentation_is_a_task(folder):
    text = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    (folder / "hinge.py").write_text(text.split("## A task")[1].split("```python\n")[1].split("```")[0])
    study = {"studies": {"s": STUDY | {"task": {"name": "./hinge.py:Hinge", "margin": [0.5, 1]}}}}
    for run in plan_sweep(checked(study, [("study", {})])).runs.values():
        task = tasks.build(run.task)
        tasks.check(run.task, task, task.outputs(np.arange(3), 3), np.arange(3, dtype=np.int32))
        loss = task.loss(jnp.asarray([[2.0, 1.75, 0.0]]), jnp.asarray([0]))
        assert loss.tolist() == [task.margin - 0.25]
