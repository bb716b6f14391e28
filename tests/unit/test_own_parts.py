"""Preprocessings, partitions and data sets in files of the user's own, in a folder outside of the package."""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml

from fedpareto.cli.main import main
from fedpareto.config.load import ConfigError, checked
from fedpareto.data import DataError, arrays, facts
from fedpareto.data.partitions.dealing import partition
from fedpareto.data.prepare import prepare
from fedpareto.federated.inputs.device_data import partitions_of
from fedpareto.federated.preprocessings import learning
from fedpareto.sweep.account import privacy_plan
from fedpareto.sweep.sweep import plan_sweep

STUDY = {
    "dataset": "digits",
    "model": "logistic",
    "rounds": 2,
    "clients": 10,
    "client_learning_rate": 0.1,
    "noise_multiplier": 0,
}
RECORDS = {
    "dataset": "digits",
    "model": "logistic",
    "rounds": 2,
    "clients": 10,
    "unit": "record",
    "sampling_rate": 0.1,
    "clip_norm": 1.0,
    "noise_multiplier": 2.0,
    "delta": 1.0e-5,
}
PREPROCESSINGS = '''
"""Two preprocessings of my own."""
from dataclasses import dataclass
from typing import Annotated, ClassVar
import numpy as np
from fedpareto.components.rules import PRELIMINARY_NOISE, Rule

@dataclass(frozen=True)
class Crop:
    """Examples cut to their first features.

    Attributes:
      length: Features that are kept.
    """
    FLATTENS: ClassVar = True
    AT_MOST_FEATURES: ClassVar = "length"
    length: Annotated[int, Rule(minimum=1)]

    def output_shape(self, example_shape):
        return (self.length,)

    def transformed(self, arrays, x):
        return x.reshape(len(x), -1)[:, : self.length]

@dataclass(frozen=True)
class Centre:
    """Examples less their mean."""
    RELEASES: ClassVar = 1
    noise_multiplier: Annotated[float | None, PRELIMINARY_NOISE] = None

    def output_shape(self, example_shape):
        return example_shape

    def sums(self, x, bounded):
        rows = x.reshape(len(x), -1).astype(np.float64)
        if bounded:
            rows = rows / np.maximum(1, np.linalg.norm(rows, axis=1, keepdims=True))
        return (rows.sum(axis=0),)

    def learned(self, means):
        return {"mean": means[0].astype(np.float32)}

    def transformed(self, arrays, x):
        return x - arrays["mean"].reshape(x.shape[1:])

class Two(Centre):
    """It learns more than it says."""
    def sums(self, x, bounded):
        return (*super().sums(x, bounded),) * 2
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    while str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def parsed(study, **top):
    tree = {"studies": {"s": study}} | top
    return checked(tree, [("mine.yaml", tree)])


def test_a_preprocessing_of_the_users_is_parsed_and_used(folder):
    (folder / "my_pre.py").write_text(PREPROCESSINGS)
    spec = {"name": "./my_pre.py:Crop", "length": [8, 9]}
    plan = plan_sweep(parsed(STUDY | {"preprocessing": spec}))
    assert {run.training.preprocessing["length"] for run in plan.runs.values()} == {8, 9}
    crop = learning.build(spec | {"length": 8})
    assert learning.output_shape(crop, (8, 8, 1)) == (8,)
    assert np.array_equal(crop.transformed({}, np.arange(24.0).reshape(2, 12)), [np.arange(8), np.arange(12, 20)])
    with pytest.raises(DataError, match="length = 8 must be at most 4, all features"):
        learning.output_shape(crop, (4,))


def test_a_preprocessing_of_the_users_that_learns_is_noised_and_charged(folder):
    (folder / "my_pre.py").write_text(PREPROCESSINGS)
    study = RECORDS | {"preprocessing": {"name": "./my_pre.py:Centre", "noise_multiplier": 8}}
    plans = [privacy_plan(run) for run in plan_sweep(parsed(study)).runs.values()]
    assert sorted(plan.preprocessing_noise_multipliers for plan in plans) == [(), (8.0,)]
    centre, two = (learning.build({"name": f"./my_pre.py:{name}"}) for name in ("Centre", "Two"))
    x = np.full((5000, 3), 0.1, np.float32)
    key = jax.random.key(0)
    exact, noisy = (
        learning.learned(centre, learning.statistics(centre, x, True), noise, 5000, key)["mean"]
        for noise in ((), (8.0,))
    )
    assert exact == pytest.approx([0.1] * 3)
    assert 0 < np.abs(noisy - exact).max() < 0.01
    with pytest.raises(DataError, match="sums of Two returns 2 arrays, and its RELEASES says 1"):
        learning.learned(two, learning.statistics(two, x, True), (8.0,), 5000, key)


@pytest.mark.parametrize(
    ("study", "line"),
    [
        (
            STUDY | {"preprocessing": {"name": "./my_pre.py:Crop", "length": 0}},
            "mine.yaml: studies.s.preprocessing.length = 0 must be a whole number of at least 1",
        ),
        (
            STUDY | {"preprocessing": "./my_pre.py:Crop"},
            "mine.yaml: studies.s.preprocessing.length = null must be a whole number of at least 1 (Features that are kept.)",
        ),
        (
            STUDY | {"preprocessing": "./other.py:Crop"},
            "mine.yaml: studies.s.preprocessing = ./other.py:Crop must be in a file that exists "
            "(there is no ./other.py in this folder)",
        ),
        (
            STUDY | {"preprocessing": "crop"},
            "mine.yaml: studies.s.preprocessing = crop must be a name that exists "
            "(one of none, data_norm, group_norm, pca, rescale)",
        ),
        (
            STUDY | {"dataset": "mnist", "preprocessing": {"name": "./my_pre.py:Crop", "length": 785}},
            "mine.yaml: studies.s.preprocessing.length = 785 must be at most 784, the pixels of mnist",
        ),
        (
            STUDY | {"dataset": "mnist", "model": "dp_cnn", "preprocessing": {"name": "./my_pre.py:Crop", "length": 7}},
            "mine.yaml: studies.s.model = dp_cnn must not look at images after preprocessing: ./my_pre.py:Crop "
            "(use logistic, mlp or 2nn)",
        ),
        (
            RECORDS | {"preprocessing": "./my_pre.py:Centre"},
            "mine.yaml: studies.s.preprocessing.noise_multiplier = null must be set where there is noise (./my_pre.py:Centre "
            "gives away of all records what it learns: charge it, e.g. noise_multiplier: 8)",
        ),
    ],
)
def test_what_is_wrong_with_a_preprocessing_of_the_users_is_one_line(folder, study, line):
    (folder / "my_pre.py").write_text(PREPROCESSINGS)
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        parsed(study)


PARTITIONS = '''
"""Partitions of my own."""
from dataclasses import dataclass
from typing import Annotated, ClassVar
import numpy as np
from fedpareto.components.rules import Rule

@dataclass(frozen=True)
class First:
    """The first client holds a share of all examples.

    Attributes:
      share: Of the first client.
    """
    share: Annotated[float, Rule(exclusiveMinimum=0, exclusiveMaximum=1)] = 0.5

    def deal(self, strata, clients, rng):
        rest = rng.integers(1, clients, len(strata))
        return np.where(rng.random(len(strata)) < self.share, 0, rest)

class Beyond:
    """It deals to a client that is not there."""
    def deal(self, strata, clients, rng):
        return np.full(len(strata), clients)

@dataclass(frozen=True)
class Overlapping:
    """Every client draws examples."""
    DRAWS: ClassVar = True
    each: int = 5

    def deal(self, strata, clients, rng):
        return rng.integers(0, len(strata), (clients, self.each))

class Unsaid(Overlapping):
    """Clients draw examples, and the class does not say so."""
    DRAWS: ClassVar = False
'''


def dealt(scheme, clients=4):
    y = np.arange(200) % 10
    return partition(y, y[:50], scheme=scheme, clients=clients, seed=0)


def test_a_partition_of_the_users_is_parsed_and_dealt_by(folder):
    (folder / "my_part.py").write_text(PARTITIONS)
    plan = plan_sweep(
        parsed(STUDY | {"partition": {"name": "./my_part.py:First", "share": [0.25, 0.75], "minimum": 3}})
    )
    specs = [run.data.partition for run in plan.runs.values()]
    assert [spec["share"] for spec in specs] == [0.25, 0.75]
    counts = dealt(specs[1]).train_count
    assert counts.sum() == 200
    assert counts.min() >= 3
    assert 120 < counts[0] < 180
    assert dealt({"name": "./my_part.py:Overlapping"}).train_index.shape == (4, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Beyond", r"must deal whole numbers from 0 to 3 of shape \(200,\), and deals 4 to 4"),
        ("Unsaid", r"must deal whole numbers from 0 to 3 of shape \(200,\), and deals int64 \(4, 5\)"),
    ],
)
def test_a_partition_of_the_users_deals_what_it_says(folder, name, words):
    (folder / "my_part.py").write_text(PARTITIONS)
    with pytest.raises(DataError, match=f"partition ./my_part.py:{name} {words}"):
        dealt({"name": f"./my_part.py:{name}"})


@pytest.mark.parametrize(
    ("study", "line"),
    [
        (
            STUDY | {"partition": {"name": "./my_part.py:First", "share": 1}},
            "mine.yaml: studies.s.partition.share = 1 must be above 0 and below 1",
        ),
        (
            STUDY | {"partition": "./my_part.py:Second"},
            "mine.yaml: studies.s.partition = ./my_part.py:Second must name a class of my_part.py "
            "(it defines First, Beyond, Overlapping, Unsaid)",
        ),
        (
            RECORDS | {"partition": "./my_part.py:Overlapping"},
            "mine.yaml: studies.s.partition = ./my_part.py:Overlapping must have no shard_size with unit: record",
        ),
    ],
)
def test_what_is_wrong_with_a_partition_of_the_users_is_one_line(folder, study, line):
    (folder / "my_part.py").write_text(PARTITIONS)
    with pytest.raises(ConfigError) as error:
        parsed(study)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


DATA = '''
"""Data of my own."""
from dataclasses import dataclass
from typing import Annotated, ClassVar
import numpy as np
from fedpareto.components.rules import Rule
from fedpareto.data.arrays import PreparedData
import waves

def split(rows, shape=(6,)):
    x = waves.of(rows, shape)
    y = (np.arange(rows) % 3).astype(np.int32)
    cut = rows * 4 // 5
    data = PreparedData(x[:cut], y[:cut], x[cut:], y[cut:], np.array(["a", "b", "c"]))
    return data, {"preprocessing": "none", "fitted_on": "nothing"}

@dataclass(frozen=True)
class Waves:
    """Waves.

    Attributes:
      rows: Examples of both parts.
    """
    LICENCE: ClassVar = "mine"
    rows: Annotated[int, Rule(minimum=10, multipleOf=10)] = 100

    def load(self, files):
        return split(self.rows)

class Pictures:
    """Pictures."""
    TRAIN: ClassVar = 80
    SHAPE: ClassVar = (28, 28, 1)

    def load(self, files):
        return split(100, (28, 28, 1))

class Fewer(Pictures):
    """It says less than it loads."""
    TRAIN: ClassVar = 60

class Broken:
    """It fails."""
    def load(self, files):
        return 1 / 0

class Bare:
    """It returns no report."""
    def load(self, files):
        return split(100)[0], None
'''
WAVES = """
import numpy as np

def of(rows, shape):
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)
"""
MINE = STUDY | {"dataset": "mine"}


@pytest.fixture
def data_folder_of_mine(folder):
    (folder / "my_data.py").write_text(DATA)
    (folder / "waves.py").write_text(WAVES)
    yield folder
    sys.modules.pop("waves", None)


def test_a_data_set_of_the_users_is_planned_and_prepared(data_folder_of_mine, capsys):
    config = parsed(MINE, datasets={"mine": {"loader": {"name": "./my_data.py:Waves", "rows": 200}}})
    assert "waves" not in sys.modules  # nothing of it has run
    plan = plan_sweep(config)
    options = ["--options", json.dumps(dict(plan.datasets["mine"]))]
    assert plan.dataset_arguments("mine").startswith("--options ")
    assert main(["data", "--dataset", "mine", *options, "--output", "a.npz", "--report", "a.json"]) == 0
    data, report = arrays.read(Path("a.npz")), json.loads(Path("a.json").read_text())
    assert (report["train"], report["example_shape"], report["licence"]) == (160, [6], "mine")
    assert report["content_sha256"] == data.content_sha256
    (data_folder_of_mine / "mine.yaml").write_text(
        yaml.safe_dump({"studies": {"s": MINE}, "datasets": {"mine": {"loader": "./my_data.py:Waves"}}})
    )
    capsys.readouterr()
    assert main(["plan", "--configfile", "mine.yaml"]) == 0
    assert "mine: loaded by ./my_data.py:Waves(rows=100)" in capsys.readouterr().out


def test_the_facts_of_a_data_set_of_the_users_are_its_constants(data_folder_of_mine):
    assert facts.of_options({"loader": {"name": "./my_data.py:Pictures"}}) == facts.DatasetInfo(
        80, (28, 28, 1), declared=True
    )
    assert facts.of_options({"loader": {"name": "./my_data.py:Waves"}}) == facts.DatasetInfo(None, declared=True)
    datasets = {"mine": {"loader": "./my_data.py:Pictures"}}
    plan = plan_sweep(parsed(RECORDS | {"dataset": "mine", "model": "dp_cnn"}, datasets=datasets))
    assert {run.data.records for run in plan.runs.values()} == {80}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Fewer", "mine: TRAIN of ./my_data.py:Fewer is 60, and load returns 80 (correct it)"),
        ("Broken", "mine: load of ./my_data.py:Broken fails: ZeroDivisionError: division by zero (my_data.py, line "),
        ("Bare", "mine: load of ./my_data.py:Bare must return a PreparedData and a mapping, its report"),
    ],
)
def test_a_data_set_of_the_users_that_fails_is_one_line(data_folder_of_mine, capsys, name, words):
    options = json.dumps({"loader": {"name": f"./my_data.py:{name}"}})
    assert main(["data", "--dataset", "mine", "--options", options, "--output", "a.npz", "--report", "a.json"]) == 1
    assert capsys.readouterr().err.startswith(f"fedpareto data: {words}")
    assert not Path("a.npz").exists()


@pytest.mark.parametrize(
    ("loader", "line"),
    [
        (
            {"loader": {"name": "./my_data.py:Waves", "rows": 15}},
            "mine.yaml: datasets.mine.loader.rows = 15 must be a whole number of at least 10",
        ),
        (
            {"loader": {"name": "./my_data.py:Waves", "rows": [10, 20]}},
            "mine.yaml: datasets.mine.loader = {name: ./my_data.py:Waves, rows: [10, 20]} must have one value an argument "
            "(make a data set of each)",
        ),
        (
            {"loader": "./my_data.py:Waves", "label": "y"},
            "mine.yaml: datasets.mine.label = y must not stand beside loader (a class reads the data itself)",
        ),
        (
            {"loader": "./your_data.py:Waves"},
            "mine.yaml: datasets.mine.loader = ./your_data.py:Waves must be in a file that exists "
            "(there is no ./your_data.py in this folder)",
        ),
        (
            {"loader": {"name": "./my_data.py:Waves", "row": 10}},
            "mine.yaml: datasets.mine.loader.row = 10 must be a key that exists (did you mean rows?)",
        ),
        (
            {"loader": None},
            "mine.yaml: datasets.mine.loader = null must be a name that exists",
        ),
    ],
)
def test_what_is_wrong_with_a_data_set_of_the_users_is_one_line(data_folder_of_mine, loader, line):
    with pytest.raises(ConfigError) as error:
        parsed(MINE, datasets={"mine": loader})
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("study", "line"),
    [
        (
            RECORDS,
            "mine.yaml: studies.s.dataset = mine must have a known number of records with unit: record (the number of training "
            "records is not known before the data are loaded: give its class TRAIN)",
        ),
        (
            STUDY | {"model": "dp_cnn"},
            "mine.yaml: studies.s.model = dp_cnn must fit 28 x 28 x 1 images, which mine does not have (use logistic or mlp, or "
            "give the class of the data set its SHAPE)",
        ),
        (
            {key: value for key, value in STUDY.items() if key != "clients"} | {"partition": "natural"},
            "mine.yaml: studies.s.partition = natural must not be natural: mine does not say whose an example is (give its "
            "class CLIENTS, or use iid or dirichlet)",
        ),
    ],
)
def test_what_a_data_set_of_the_users_does_not_say_is_asked_for(data_folder_of_mine, study, line):
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        parsed(study | {"dataset": "mine"}, datasets={"mine": {"loader": "./my_data.py:Waves"}})


def test_the_examples_of_the_documentation_work(folder):
    text = Path(__file__).parents[2].joinpath("docs", "extending.md").read_text()
    for title, file in (("A preprocessing", "first.py"), ("A partition", "one_large.py"), ("A data set", "waves.py")):
        section = re.search(rf"## {title}\n```python\n(.*?)```", text, re.DOTALL)
        (folder / file).write_text(section[1])
    study = STUDY | {
        "dataset": "waves",
        "preprocessing": {"name": "./first.py:First", "length": 4},
        "partition": {"name": "./one_large.py:OneLarge", "share": [0.2, 0.5]},
    }
    plan = plan_sweep(parsed(study, datasets={"waves": {"loader": {"name": "./waves.py:Waves", "rows": 200}}}))
    prepare("waves", Path("waves.npz"), Path("waves.json"), plan.datasets["waves"])
    data = arrays.read(Path("waves.npz"))
    for run in plan.runs.values():
        preprocessing = learning.build(run.training.preprocessing)
        assert np.array_equal(preprocessing.transformed({}, data.x_train), data.x_train[:, :4])
        (dealt,) = partitions_of([run], data).values()
        assert dealt.train_count.sum() == 200
        assert dealt.train_count[0] / 200 == pytest.approx(run.data.partition["share"], abs=0.1)
