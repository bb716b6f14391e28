"""Configurations: what they mean, and the one line that each mistake gets."""

import inspect
import json

import numpy as np
import optax
import pandas as pd
import pytest
import yaml

from fedpareto.config.load import ConfigError, from_snakemake, load
from fedpareto.config.schema import schema
from fedpareto.sweep.run import Bundle
from fedpareto.sweep.sweep import Sweep, plan_sweep

GOOD = {
    "dataset": "digits",
    "clients": [50, 100],
    "sampling_rate": 0.2,
    "rounds": 10,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "clip_norm": [0.5, 1.0],
    "noise_multiplier": [1, 2],
    "delta": 1.0e-4,
    "seeds": 3,
}


def write(folder, study=None, name="config.yaml", **top):
    path = folder / name
    path.write_text(yaml.safe_dump({"studies": {"s": GOOD if study is None else study}} | top))
    return path


def plan_of(folder, changes=None, **top):
    return plan_sweep(load([write(folder, GOOD | (changes or {}), **top)]))


def message(folder, changes=None, text=None, without=(), **top):
    path = write(folder, {k: v for k, v in (GOOD | (changes or {})).items() if k not in without}, **top)
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load([path])
    return str(error.value).replace(f"{folder}/", "")


def test_a_study_is_the_grid_of_its_lists_with_its_non_private_baseline(tmp_path):
    plan = plan_of(tmp_path)
    runs = list(plan.runs.values())
    assert len(runs) == 2 * 3 * (2 * 2 + 1)
    assert {(r.contribution.clip_norm, r.privacy.noise_multiplier) for r in runs if r.privacy} == {
        (0.5, 1),
        (0.5, 2),
        (1, 1),
        (1, 2),
    }
    for run in runs:
        assert (run.baseline == "non_private") == (run.privacy is None) == (run.contribution.clip_norm is None)


def test_noise_clip_seed_and_rates_share_a_program_and_clients_do_not(tmp_path):
    plan = plan_of(tmp_path, {"client_learning_rate": [0.1, 0.2]})
    assert sorted(len(bundle.runs) for bundle in plan.bundles.values()) == [30, 30]


def test_lists_inside_mappings_and_lists_of_alternatives_sweep(tmp_path):
    partition = ["iid", {"name": "dirichlet", "alpha": [0.1, 1]}]
    plan = plan_of(
        tmp_path, {"partition": partition, "server_optimizer": {"name": ["sgd", "adam"], "learning_rate": 0.1}}
    )
    assert len({json.dumps(run.data.partition) for run in plan.runs.values()}) == 3
    assert {run.training.server_optimizer["name"] for run in plan.runs.values()} == {"sgd", "adam"}


def test_seeds_may_be_a_list(tmp_path):
    assert {run.seed for run in plan_of(tmp_path, {"seeds": [7, 9]}).runs.values()} == {7, 9}


def test_run_ids_do_not_depend_on_key_order_or_on_how_a_number_is_written(tmp_path):
    shuffled = dict(reversed(GOOD.items())) | {"noise_multiplier": [1.0, 2.0], "clip_norm": [0.5, 1]}
    assert set(plan_of(tmp_path).runs) == set(plan_of(tmp_path, shuffled).runs)


def test_clients_that_draw_shards_may_be_more_than_the_examples(tmp_path):
    shards = {"name": "shards", "shard_size": 20}
    plan = plan_of(
        tmp_path, {"partition": shards, "clients": 2000, "delta": 1.0e-5, "baselines": ["centralised"], "batch_size": 8}
    )
    assert {json.dumps(run.data.partition["shard_size"]) for run in plan.runs.values() if run.baseline is None} == {
        "20"
    }
    # 400 clients a round, each with two shards of 20 in steps of 8
    assert {run.training.local_steps for run in plan.runs.values() if run.baseline == "centralised"} == {400 * 5}
    without = plan_of(tmp_path, {"partition": {"name": "shards", "shard_size": None}}).runs
    assert set(without) == set(plan_of(tmp_path, {"partition": "shards"}).runs)


def test_a_network_has_one_name_however_it_is_written(tmp_path):
    def models(text):
        path = write(tmp_path)
        path.write_text(path.read_text().replace("model: logistic", f"model: {text}"))
        return {json.dumps(run.model) for run in plan_sweep(load([path])).runs.values()}

    assert models("mlp") == models("{name: mlp, hidden: 32}") == models("{name: mlp, hidden: ['32', 32], bias: true}")
    assert models("{name: mlp, hidden: 1000-13-10}") == {'{"name": "mlp", "hidden": "1000-13-10"}'}  # no date
    assert len(models("{name: mlp, hidden: [32, 64-32], bias: [true, false]}")) == 4


def test_an_added_noise_level_keeps_every_old_run(tmp_path):
    before, after = plan_of(tmp_path), plan_of(tmp_path, {"noise_multiplier": [1, 2, 4]})
    assert set(before.runs) < set(after.runs)


def test_centralised_does_the_work_of_the_cohort(tmp_path):
    plan = plan_of(tmp_path, {"baselines": ["centralised"], "batch_size": 8, "local_epochs": 2, "clients": 100})
    (run,) = [r for r in plan.runs.values() if r.baseline == "centralised" and r.seed == 0]
    # 20 clients a round, each two passes over about 14.38 examples in steps of 8
    assert (run.data.clients, run.cohort.sampling_rate, run.training.local_steps) == (1, 1.0, 20 * 2 * 2)


def test_plans_and_bundles_survive_json(tmp_path):
    plan = plan_of(tmp_path)
    assert Sweep.from_json(plan.to_json()) == plan
    bundle = next(iter(plan.bundles.values()))
    assert Bundle.from_json(bundle.to_json()).bundle_id == bundle.bundle_id


def test_a_later_file_overlays_and_the_top_level_overrides_every_study(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("studies: {s: {rounds: 4}}\nseeds: 1\n")
    plan = plan_sweep(load([write(tmp_path), overlay]))
    assert {(run.training.rounds, run.seed) for run in plan.runs.values()} == {(4, 0)}


def test_only_restricts_to_a_study(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({"studies": {"a": GOOD, "b": GOOD}, "only": "b"}))
    assert list(plan_sweep(load([path])).studies) == ["b"]


def test_the_command_line_is_read_as_yaml(tmp_path):
    path = write(tmp_path)
    merged = yaml.safe_load(path.read_text()) | {"noise_multiplier": ["3", "4"], "rounds": 5, "clip_norm": "1.0"}
    plan = plan_sweep(from_snakemake(merged, [path]))
    assert {run.to_dict()["noise_multiplier"] for run in plan.runs.values()} == {0.0, 3.0, 4.0}


# A study of record-level privacy: what only matters to local training is blank.
RECORD = {"unit": "record", "local_epochs": None, "batch_size": None, "client_learning_rate": None, "delta": 1.0e-5}


# Images that can be mirrored and cut.
CIFAR = {"dataset": "cifar10", "model": "wrn", "delta": 1.0e-5}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"round": 5}, "config.yaml: studies.s.round = 5 must be a key that exists (did you mean rounds?)"),
        ({"delta": "1e-5"}, "studies.s.delta = 1e-5 must be a number above 0 and below 1/clients (YAML reads 1e-5 as text; write 1.0e-5)"),
        ({"delta": 0.01}, "studies.s.delta = 0.01 must be below 1/clients = 0.01 for 100 clients"),
        ({"noise_multiplier": [1, -2]}, "studies.s.noise_multiplier[1] = -2 must be a number of at least 0"),
        ({"clip_norm": float("inf")}, "studies.s.clip_norm = inf must be a number above 0, and finite"),
        ({"client_learning_rate": float("nan")}, "studies.s.client_learning_rate = nan must be a number above 0, and finite"),
        ({"noise_multiplier": []}, "studies.s.noise_multiplier = [] must hold at least one value"),
        ({"clients": [50, 5000]}, "studies.s.clients[1] = 5000 must be at most 1438: digits has 1,438 training examples"),
        ({"sampling_rate": 0}, "studies.s.sampling_rate = 0 must be above 0 and at most 1"),
        ({"sampling_rate": 1.5}, "studies.s.sampling_rate = 1.5 must be above 0 and at most 1"),
        ({"sampling_rate": 0.001}, "studies.s.sampling_rate = 0.001 must give an expected cohort of at least one of 50 clients"),
        ({"target_epsilon": 2}, "studies.s.target_epsilon = [2] must not stand beside noise_multiplier"),
        ({"clip_norm": None}, "studies.s.clip_norm = null must be a number above 0 where there is noise"),
        ({"rounds": 2.5}, "studies.s.rounds = 2.5 must be a whole number of at least 1"),
        ({"rounds": True}, "studies.s.rounds = true must be a whole number of at least 1"),
        ({"dataset": "digit"}, "studies.s.dataset = digit must be a registered data set or one of datasets (did you mean digits?)"),
        ({"model": "2nn"}, "studies.s.model = 2nn must fit 28 x 28 x 1 images, which digits does not have"),
        ({"model": "logistics"}, "studies.s.model = logistics must be a name that exists (did you mean logistic?)"),
        ({"model": {"name": "mlp", "hidden": "64x32"}}, "studies.s.model.hidden = 64x32 must be widths from 1 to 99999, joined by - (e.g. 32, or 64-32 for two layers)"),
        ({"model": {"name": "mlp", "hidden": ["32", "64-0"]}}, "studies.s.model.hidden[1] = 64-0 must be widths from 1 to 99999, joined by -"),
        ({"model": {"name": "mlp", "hidden": "0"}}, "studies.s.model.hidden = 0 must be widths from 1 to 99999, joined by - (e.g. 32,"),
        ({"model": {"name": "mlp", "bias": "no"}}, "studies.s.model.bias = no must be true or false"),
        ({"partition": {"name": "dirichlet"}}, "studies.s.partition.alpha = null must be a number above 0"),
        ({"partition": "natural"}, "studies.s.partition = natural must not be natural: digits does not say whose an example is"),
        ({"server_optimizer": {"name": "adam", "momentum": 0.9}}, "studies.s.server_optimizer.momentum = 0.9 must be a key that exists"),
        ({"local_epochs": 1, "local_steps": 5}, "studies.s.local_steps = [5] must not stand beside local_epochs"),
        ({"trust": "nobody"}, "studies.s.trust = nobody must be central, distributed or local"),
        ({"trust": "local", "participation": "secret"}, "studies.s.participation = secret must be seen with unit: client and trust: local (everybody sees the update that a client sends, hence that it took part)"),
        ({"trust": "distributed"}, "studies.s.mechanism = gaussian must be discrete_gaussian or skellam with trust: distributed"),
        ({"trust": "distributed", "mechanism": "skellam"}, "studies.s.sampling = poisson must be fixed_size, shuffled or cyclic with trust: distributed (the strength of the noise tells how many shares are in it"),
        ({"trust": "local", "noise_multiplier": 0}, "studies.s.trust = local must come with noise"),
        ({"mechanism": "skellam"}, "studies.s.mechanism = skellam must be gaussian or banded without trust: distributed"),
        ({"mechanism": "banded"}, "studies.s.sampling = poisson must be cyclic with mechanism: banded"),
        ({"mechanism": {"name": "banded", "bands": 6}, "sampling": "cyclic"}, "studies.s.mechanism = banded must have at most as many bands as rounds from one participation to the next"),
        ({"weighting": "examples"}, "studies.s.weighting = examples must have a cap (without one a client with many examples moves the sum by more than the clip norm"),
        ({"sampling": "shuffled", "participation": "secret"}, "studies.s.participation = secret must be seen with this sampling (a schedule uses everybody once a pass"),
        ({"algorithm": "scaffold", "trust": "local"}, "studies.s.algorithm = scaffold must be fedavg or fedprox here"),
        ({"algorithm": "scaffold", "sampling": "fixed_size"}, "studies.s.participation = null must be seen with algorithm: scaffold and this sampling (control variates remember who took part"),
        ({"trust": "distributed", "mechanism": "skellam", "sampling": "fixed_size", "participation": "secret"}, "studies.s.participation = secret must be seen with unit: client and trust: distributed (the server of secure aggregation asks clients"),
        ({"clipping": "adaptive", "trust": "local"}, "studies.s.clipping = adaptive must be fixed here"),
        ({"stop_at_epsilon": 1, "noise_multiplier": 0}, "studies.s.stop_at_epsilon = 1 must come with noise"),
        (RECORD | {"algorithm": "scaffold"}, "studies.s.algorithm = scaffold must be fedavg with unit: record"),
        (RECORD | {"dropout": 0.1}, "studies.s.dropout = 0.1 must be 0 with unit: record and trust: central"),
        (RECORD | {"trust": "local", "batch_size": 8, "client_learning_rate": 0.1}, "studies.s.local_steps = null must be set with unit: record and trust: local"),
        ({"seeds": 5000}, "studies.s = a grid of 40,000 runs must have at most 10,000"),
        ({"baselines": ["centralized"]}, "studies.s.baselines[0] = centralized must be a name that exists (did you mean centralised?)"),
        ({"baselines": None}, "studies.s.baselines = null must be a list of non_private, centralised, alone"),
        ({"seeds": 0}, "studies.s.seeds = 0 must be a count of at least 1 or a list of whole numbers (5 means 0 to 4)"),
        ({"seeds": [0, -1]}, "studies.s.seeds[1] = -1 must be a whole number from 0 to 2147483647"),
        ({"seeds": "5"}, "studies.s.seeds = 5 must be a count of at least 1 or a list of whole numbers (write 5 without quotes)"),
        ({"seeds": 10**9}, "studies.s = a grid of 8,000,000,000 runs must have at most 10,000"),
        ({"rounds": 10**12}, "studies.s.rounds = 1000000000000 must be a whole number of at least 1, and at most 2147483647"),
        ({"max_runs": "many"}, "studies.s.max_runs = many must be a whole number of at least 1"),
        ({"title": 3}, "studies.s.title = 3 must be text"),
        ({3: 4}, "studies.s.3 = 4 must be a key that exists (one of title, dataset"),
        ({"partition": [["iid"]]}, "studies.s.partition[0] = [iid] must be a name that exists (one of dirichlet, iid"),
        ({"delta": [None, 1.0e-4]}, "studies.s.delta[0] = null must be set where there is noise (remove it: runs without noise need no delta, and get none)"),
        ({"noise_multiplier": "1"}, "studies.s.noise_multiplier = 1 must be a number of at least 0 (write 1 without quotes)"),
        ({"sampling_rate": [0.2, 0.001], "clients": 100}, "studies.s.sampling_rate[1] = 0.001 must give an expected cohort of at least one of 100 clients (write at least 0.01)"),
        ({"dataset": "heart_disease", "partition": "natural", "clients": 4, "sampling_rate": 0.1}, "studies.s.sampling_rate = 0.1 must give an expected cohort of at least one of 4 clients (write at least 0.25)"),
        ({"dataset": "heart_disease", "partition": "natural", "clients": 5}, "studies.s.clients = 5 must be 4, the natural clients of heart_disease (leave the key out)"),
        ({"client_learning_rate": None}, "studies.s.client_learning_rate = null must be a number above 0 (e.g. 0.1)"),
        (RECORD | {"local_steps": 5}, "studies.s.local_steps = 5 must not stand beside unit: record (several steps on a client's records need noise at every step"),
        (RECORD | {"local_epochs": 1}, "studies.s.local_epochs = 1 must not stand beside unit: record"),
        (RECORD | {"batch_size": 8}, "studies.s.batch_size = 8 must not stand beside unit: record (sampling_rate says how many records a round expects; remove it)"),
        (RECORD | {"client_learning_rate": 0.1}, "studies.s.client_learning_rate = 0.1 must not stand beside unit: record (the learning rate is that of server_optimizer; remove it)"),
        (RECORD | {"unit": ["record", "client"]}, "studies.s.unit = [record, client] must hold one value with unit: record"),
        (RECORD | {"preprocessing": {"name": "pca", "dimensions": 5}}, "studies.s.preprocessing.noise_multiplier = null must be set where there is noise (pca gives away of all records what it learns"),
        ({"preprocessing": {"name": "pca", "dimensions": 5, "noise_multiplier": 8}}, "studies.s.preprocessing = pca must be none, rescale or group_norm here (what it learns of all records is noised by a trusted server"),
        (RECORD | {"dataset": "mnist", "model": "dp_cnn", "preprocessing": {"name": "pca", "dimensions": 5, "noise_multiplier": 8}}, "studies.s.model = dp_cnn must not look at images after preprocessing: pca"),
        ({"stop_at_accuracy": 0.9}, "studies.s.stop_at_accuracy = 0.9 must not stand where there is noise (when a run ends would tell of its data"),
        (RECORD | {"dataset": "mnist", "preprocessing": {"name": "pca", "dimensions": 785, "noise_multiplier": 8}}, "studies.s.preprocessing.dimensions = 785 must be at most 784, the pixels of mnist"),
        ({"dataset": "mnist", "preprocessing": {"name": "group_norm", "groups": 2}}, "studies.s.preprocessing.groups = 2 must divide 1, the channels of mnist"),
        ({"dataset": "mnist_scattering", "augmentation": "flip_and_crop"}, "studies.s.augmentation = flip_and_crop must see images, unlike mnist_scattering"),
        (RECORD | {"client_learning_rate_decay": [1, 0.9]}, "studies.s.client_learning_rate_decay[1] = 0.9 must not stand beside unit: record"),
        ({"model": {"name": "mlp", "hidden": "32\n"}}, "studies.s.model.hidden = 32"),
        ({"preprocessing": "pca"}, "studies.s.preprocessing.dimensions = null must be a whole number of at least 1"),
        ({"server_optimizer": {"name": "sgd", "decay_rounds": 10}}, "studies.s.server_optimizer.final_learning_rate = null must be set beside decay_rounds"),
        (RECORD | {"baselines": ["alone"]}, "studies.s.baselines[0] = alone must be non_private with unit: record"),
        (RECORD | {"delta": 0.001}, "studies.s.delta = 0.001 must be below 1/records = 0.0006954 for 1438 records (a delta of 1/n allows giving one record away whole; write 1.0e-5)"),
        (RECORD | {"sampling_rate": 0.0001}, "studies.s.sampling_rate = 0.0001 must give an expected cohort of at least one of 1438 records"),
        (RECORD | {"partition": {"name": "shards", "shard_size": 10}}, "studies.s.partition = shards must have no shard_size with unit: record (a record that several clients hold is used several times, and the noise hides one use"),
        ({"partition": {"name": "shards", "shard_size": 1000}}, "studies.s.partition.shard_size = 1000 must be at most 719: digits has 1,438 training examples, and a client draws 2 shards"),
        ({"partition": {"name": "shards", "shard_size": 4, "minimum": 9}}, "studies.s.partition.shard_size = 4 must give every client its minimum of 9 (write at least 5)"),
        ({"augmentation": "flip_and_crop"}, "studies.s.augmentation = flip_and_crop must see images, unlike digits (tables have nothing to mirror or to cut; remove the key)"),
        (CIFAR | {"augmentation": {"name": "flip_and_crop", "multiplicity": 16}}, "studies.s.augmentation = flip_and_crop must have multiplicity 1 with unit: client (several views are averaged before a record's gradient is clipped"),
        (CIFAR | {"augmentation": {"name": "flip_and_crop", "crop": 24}}, "studies.s.augmentation.crop = 24 must be null with model wrn (it is scored on whole images)"),
        (CIFAR | {"augmentation": {"name": "flip_and_crop", "crop": 28}, "model": "fedavg_cifar_cnn"}, "studies.s.augmentation.crop = 28 must be null or 24 with model fedavg_cifar_cnn"),
        (CIFAR | {"augmentation": {"name": "flip_and_crop", "padding": 29}}, "studies.s.augmentation.padding = 29 must be a whole number from 0 to 28"),
        (RECORD | CIFAR | {"trust": "local", "local_steps": 2, "batch_size": 8, "client_learning_rate": 0.1, "augmentation": "flip_and_crop"}, "studies.s.augmentation = flip_and_crop must be none with unit: record under this trust"),
        ({"dataset": "mnist", "model": "wrn"}, "studies.s.model = wrn must fit 32 x 32 x 3 images, which mnist does not have (use logistic or mlp, or one of cifar10)"),
        ({"dataset": "cifar10", "model": "dp_cnn"}, "studies.s.model = dp_cnn must fit 28 x 28 x 1 images, which cifar10 does not have (use logistic or mlp, or one of fashion_mnist, mnist, pneumoniamnist)"),
        ({"dataset": "mnist", "model": "scatter_cnn"}, "studies.s.model = scatter_cnn must fit 8 x 8 x any images, which mnist does not have"),
        (CIFAR | {"model": {"name": "wrn", "depth": 17}}, "studies.s.model.depth = 17 must be 10, 16, 22, 28, 34 or 40"),
        ({"averaging": 0.9999}, "studies.s.averaging = 0.9999 must be a name that exists (one of none, ema)"),
        ({"averaging": {"name": "ema", "decay": 1}}, "studies.s.averaging.decay = 1 must be above 0 and below 1"),
        ({"client_learning_rate_decay": 1.1}, "studies.s.client_learning_rate_decay = 1.1 must be above 0 and at most 1"),
        ({"unit": "patient"}, "studies.s.unit = patient must be client or record"),
        ({"partition": {"name": "iid", "minimum": 20}}, "studies.s.clients[1] = 100 must be at most 71: digits has 1,438 training examples, of which every client keeps 20"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line(tmp_path, changes, line):
    said = message(tmp_path, changes)
    assert line in said
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "config.yaml: studies = null must hold at least one study (see config/config.yaml)"),
        ("studies:\n", "config.yaml: studies = null must be a mapping of study names to studies"),
        ("studies: {a: }\n", "config.yaml: studies.a = null must be a mapping"),
        ("- a\n", "config.yaml: must be a mapping with the key studies, and is [a]"),
        ("studies:\n  {[1, 2]: 3}\n", "config.yaml: [1, 2] cannot be a key, in line 2 (write a name)"),
        ("studies:\n  a: {rounds: 1, rounds: 2}\n", "config.yaml: rounds stands twice, the second time in line 2 (remove one, or give the study another name)"),
    ],
)  # fmt: skip
def test_a_file_of_the_wrong_shape_has_one_line(tmp_path, text, said):
    assert message(tmp_path, text=text) == said


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ({"only": []}, "config.yaml: only = [] must name at least one study (remove the key for all of them)"),
        ({"only": 3}, "config.yaml: only = 3 must be a name that exists (one of s)"),
        ({"only": ["s", "t"]}, "config.yaml: only[1] = t must be a name that exists (one of s)"),
        ({"only": True}, "config.yaml: only = true must be the name of a study or a list of names"),
        ({"datasets": [1]}, "config.yaml: datasets = [1] must be a mapping of names to files of your own"),
        ({"round": 3}, "config.yaml: round = 3 must be a key that exists (did you mean rounds?)"),
    ],
)
def test_mistakes_at_the_top_level(tmp_path, top, said):
    assert message(tmp_path, **top) == said


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("width: int = 'x'", "give width a default that it takes (x must be a whole number)"),
        (
            "width: Annotated[int, Rule(minimum=1)] = 0",
            "a default that it takes (0 must be a whole number of at least 1)",
        ),
        ("width: Literal['a', 'b'] = 'c'", "give width a default that it takes (c must be "),
    ],
)
def test_a_default_of_ones_own_that_its_type_forbids_is_refused(tmp_path, monkeypatch, field, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(f"class Net:\n    {field}\n")
    for model in ("./net.py:Net", {"name": "./net.py:Net"}):
        assert said in message(tmp_path, {"model": model})


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError) as error:
        load([tmp_path / "none.yaml", tmp_path / "binary.yaml"])
    first, second = str(error.value).splitlines()
    assert first == f"{tmp_path}/none.yaml: no such file"
    assert second.startswith(f"{tmp_path}/binary.yaml: cannot be read as text")


def test_yaml_merge_keys_are_no_duplicates(tmp_path):
    path = tmp_path / "c.yaml"
    good = yaml.safe_dump(GOOD, default_flow_style=True, width=10_000).strip()
    path.write_text(f"studies:\n  a: &a {good}\n  b: {{<<: *a, rounds: 4}}\n")
    plan = plan_sweep(load([path]))
    assert [{plan.runs[run].training.rounds for run in plan.studies[study]} for study in "ab"] == [{10}, {4}]


def test_a_study_of_records_draws_its_cohorts_from_them(tmp_path):
    plan = plan_of(tmp_path, RECORD)
    assert {
        (run.contribution.unit, run.data.records, run.training.local_steps, run.training.local_epochs)
        for run in plan.runs.values()
    } == {("record", 1438, 1, None)}


def test_how_training_is_laid_out_is_no_part_of_a_run(tmp_path):
    plain = plan_of(tmp_path)
    set_by_hand = plan_sweep(load([write(tmp_path)], {"execution": {"at_once": 8, "devices": 1}}))
    assert set_by_hand.execution == {"at_once": 8, "devices": 1}
    assert set(plain.runs) == set(set_by_hand.runs)
    with pytest.raises(ConfigError, match=r"execution.at_once = 0 must be a whole number of at least 1"):
        load([write(tmp_path)], {"execution": {"at_once": 0}})
    with pytest.raises(ConfigError, match=r"execution.atonce = 1 must be a key that exists \(did you mean at_once\?\)"):
        load([write(tmp_path)], {"execution": {"atonce": 1}})


def test_private_runs_need_a_delta(tmp_path):
    assert "studies.s.delta = null must be set where there is noise" in message(tmp_path, without=["delta"])


def test_an_epsilon_that_rdp_cannot_prove_is_refused_before_any_job(tmp_path):
    said = message(tmp_path, {"target_epsilon": [0.001, 1], "accountant": "rdp"}, without=["noise_multiplier"])
    assert "studies.s.target_epsilon[0] = 0.001 must be at least" in said
    assert "accountant: pld" in said


def test_all_mistakes_are_reported_at_once(tmp_path):
    said = message(tmp_path, {"round": 5, "delta": "1e-5", "dataset": "digit", "sampling_rate": 0})
    assert len(said.splitlines()) == 4


def test_a_duplicate_study_is_refused(tmp_path):
    said = message(tmp_path, text="studies:\n  a: {rounds: 1}\n  a: {rounds: 2}\n")
    assert said == "config.yaml: a stands twice, the second time in line 3 (remove one, or give the study another name)"


def test_broken_yaml_names_its_line(tmp_path):
    assert message(tmp_path, text="studies:\n  a: [1\n").startswith("config.yaml: is not YAML in line")


def test_the_file_that_holds_the_key_is_named(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("studies: {s: {rounds: -4}}\n")
    with pytest.raises(ConfigError) as error:
        load([write(tmp_path), overlay])
    assert str(error.value).startswith(f"{overlay}: studies.s.rounds = -4")
    with pytest.raises(ConfigError) as error:
        load([write(tmp_path)], {"rounds": -4})
    assert str(error.value).startswith("--config: studies.s.rounds = -4")


def test_snakemake_lists_the_base_file_last_and_the_overlay_is_named_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, overlay = write(tmp_path), tmp_path / "overlay.yaml"
    overlay.write_text("studies: {s: {rounds: -4}}\nclip_norm: .nan\n")
    merged = yaml.safe_load(base.read_text())
    merged["studies"]["s"]["rounds"] = -4
    merged |= {"clip_norm": float("nan"), "noise_multiplier": ["0", "-1"]}
    with pytest.raises(ConfigError) as error:
        from_snakemake(merged, [overlay, "config.yaml"])
    assert sorted(line.split(" must ")[0] for line in str(error.value).splitlines()) == [
        "--config: studies.s.noise_multiplier[1] = -1",
        "overlay.yaml: studies.s.clip_norm = nan",
        "overlay.yaml: studies.s.rounds = -4",
    ]


def test_text_of_the_command_line_that_is_no_yaml_stays_text(tmp_path):
    path = write(tmp_path)
    plan = plan_sweep(from_snakemake(yaml.safe_load(path.read_text()) | {"title": "Digits: a: b"}, [path]))
    assert plan.titles == {"s": "Digits: a: b"}


def test_whole_numbers_may_carry_a_point(tmp_path):
    floats = {"seeds": 3.0, "rounds": 10.0, "clients": [50.0, 100.0]}
    assert plan_of(tmp_path, floats).runs == plan_of(tmp_path).runs


def table(folder):
    path = folder / "own.csv"
    pd.DataFrame({"age": range(40), "outcome": [0, 1] * 20, "hospital": list("abcd") * 10}).to_csv(path, index=False)
    return path


def test_a_users_file_brings_its_natural_clients(tmp_path):
    own = {"path": str(table(tmp_path)), "label": "outcome", "client": "hospital"}
    study = {k: v for k, v in GOOD.items() if k != "clients"} | {
        "dataset": "own",
        "partition": "natural",
        "sampling_rate": 1,
    }
    plan = plan_sweep(load([write(tmp_path, study, datasets={"own": own})]))
    assert {run.data.clients for run in plan.runs.values()} == {4}


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ({"path": "missing.csv", "label": "outcome"}, "datasets.own.path = missing.csv must be a file that exists"),
        ({"label": "outcom"}, "datasets.own.label = outcom must be a column of"),
        ({"label": "outcome", "client": "hospitals"}, "(did you mean hospital?)"),
        ({}, "datasets.own.label = null must name the label column (one of age, outcome, hospital)"),
        ({"label": "outcome", "lable": "x"}, "datasets.own.lable = x must be a key that exists (did you mean label?)"),
        ({"label": "outcome", "drop": ["age", "ages"]}, "datasets.own.drop[1] = ages must be a column of"),
        ({"label": 3}, "datasets.own.label = 3 must be the name of the label column"),
        ({"path": None}, "datasets.own.path = null must be the path of a CSV, Parquet or NPZ file"),
        ({"path": "config.yaml"}, "datasets.own.path = config.yaml must end in .csv, .csv.gz, .tsv, .parquet or .npz"),
        ({"path": "latin.csv", "label": "a"}, "datasets.own.path = latin.csv must be a CSV file in UTF-8"),
        ({"path": "empty.csv", "label": "a"}, "datasets.own.path = empty.csv must hold a line of column names"),
        ({"path": "bad.parquet", "label": "a"}, "datasets.own.path = bad.parquet must be a Parquet file"),
        ({"path": "bad.npz"}, "datasets.own.path = bad.npz must be an NPZ file"),
        ({"path": "other.npz"}, "datasets.own.path = other.npz must hold x and y, or x_train, y_train, x_test and y_test (it holds z)"),
    ],
)  # fmt: skip
def test_mistakes_about_a_users_file(tmp_path, monkeypatch, own, line):
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "latin.csv": b"a,b\n\xff\xfe,1\n",
        "empty.csv": b"",
        "bad.parquet": b"x",
        "bad.npz": b"x",
    }.items():
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "other.npz", z=np.zeros(3))
    own = {"path": str(table(tmp_path))} | own
    said = message(tmp_path, {"dataset": "own"}, datasets={"own": own})
    assert line in said
    assert len(said.splitlines()) == 1


def test_a_users_split_column_and_compressed_table_are_counted(tmp_path):
    path = tmp_path / "own.csv.gz"
    pd.DataFrame({"x": range(200), "y": [0, 1] * 100, "fold": ["Train", "train", "train", "test"] * 50}).to_csv(path)
    own = {"path": str(path), "label": "y", "split": "fold"}
    said = message(tmp_path, {"dataset": "own", "clients": 151}, datasets={"own": own})
    assert "studies.s.clients = 151 must be at most 150: own has 150 training examples" in said


def test_a_users_arrays_are_known_from_their_headers(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.zeros((1000, 28, 28, 1), np.uint8), y=np.arange(1000) % 2, client=np.arange(1000) % 7)
    own = {"own": {"path": str(path)}}
    said = message(tmp_path, {"dataset": "own", "clients": 801, "model": "dp_cnn"}, datasets=own)
    assert said.splitlines() == [
        "config.yaml: studies.s.clients = 801 must be at most 800: own has 800 training examples (write at most 800)"
    ]
    natural = {k: v for k, v in GOOD.items() if k != "clients"} | {"dataset": "own", "partition": "natural"}
    plan = plan_sweep(load([write(tmp_path, natural, datasets=own)]))
    assert {run.data.clients for run in plan.runs.values()} == {7}


def test_the_optimizers_and_their_arguments_are_those_of_optax():
    known = schema()["server_optimizer"]
    for name, arguments in known.items():
        parameters = set(inspect.signature(getattr(optax, name)).parameters)
        ours = {"final_learning_rate", "decay_rounds"}  # a schedule for learning_rate
        assert (set(arguments) | {"learning_rate"}) - ours <= parameters, name


def test_checking_and_planning_import_no_numerical_library():
    import subprocess
    import sys

    code = (
        "import sys; from fedpareto.config.load import load; from fedpareto.sweep.sweep import plan_sweep;"
        "plan_sweep(load(['config/config.yaml']));"
        "print([m for m in ('numpy', 'pandas', 'jax', 'dp_accounting') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_smallest_epsilon_is_what_the_accountant_leaves():
    from fedpareto.config.check_privacy import LARGEST_ORDER, smallest_epsilon
    from fedpareto.privacy.accounting.rdp import ORDERS

    assert max(ORDERS) == LARGEST_ORDER
    orders = np.array(ORDERS)
    floor = np.min(np.log1p(-1 / orders) - np.log(1e-5 * orders) / (orders - 1))
    assert smallest_epsilon(1e-5) == pytest.approx(max(0.0, floor))
