"""Damaged files are found, removed and made again; nothing else is."""

import json
import shutil
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from attacked import stand_in

from fedpareto.attacks import stage
from fedpareto.attacks.results import AttackResults
from fedpareto.attacks.target import Target
from fedpareto.cli.main import main
from fedpareto.data import arrays
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.store import store
from fedpareto.federated.store.checkpoint import Checkpoints
from fedpareto.federated.store.store import RunResult
from fedpareto.system import damage, paths

RESULT = RunResult(
    run_id="r1",
    fingerprint="f",
    status="ok",
    diverged_round=None,
    overflow_rounds=0,
    refused_rounds=0,
    rounds=[0],
    metrics={"accuracy": [0.5]},
    final={},
    wall_s=1.0,
    device="cpu",
    execution={},
    versions={},
    parameters=3,
    secure_aggregation=None,
)
OF_BUNDLE = ["runs", "metrics", "partition", "clients", "curves", "attacks", "roc", "pictures"]
FIGURES = [paths.figure_file("s", "f", ending) for ending in ("svg", "pdf", "png")]
MODEL = {"w": np.arange(1000, dtype=np.float32)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with one finished run and one file of each kind in its results."""
    home = tmp_path_factory.mktemp("made")
    store.save(home / paths.RUNS_FOLDER, RESULT, MODEL)
    for path in map(home.joinpath, paths.outputs(["b1"], ["d"], OF_BUNDLE, ["runs"], FIGURES)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps({"a": 1}) + "\n" if "data" in path.parts else "[]")
        elif path.suffix == ".npz":
            np.savez(path, x=np.zeros(100))
        elif path.suffix in (".parquet", ".csv"):
            frame = pd.DataFrame({"a": [1, 2]})
            frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path)
        else:
            plt.figure(figsize=(1, 1)).savefig(path)
            plt.close()
    return home


@pytest.fixture
def results(made, tmp_path, monkeypatch):
    """The results of the working folder: a copy of the above."""
    shutil.copytree(made / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def clear():
    outputs = paths.outputs(["b1", "not made"], ["d"], OF_BUNDLE, ["runs"], FIGURES)
    return damage.clear(outputs, {"b1": ["r1", "not made"]})


def test_what_is_whole_stays(results):
    before = files(results)
    assert clear() == []
    assert files(results) == before


@pytest.mark.parametrize("size", [0, 3, -2, 0.5], ids=["empty", "three bytes", "two bytes short", "half"])
def test_files_that_are_cut_are_removed(results, size):
    for path in [path for path in results.rglob("*") if path.is_file() and path.suffix != ".csv"]:
        whole = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(whole + size if size < 0 else int(whole * size) if size == 0.5 else size)
    clear()
    assert {path for path in files(results) if not path.endswith(".csv")} == set()


def test_bytes_that_are_lost_from_the_middle_of_an_archive_are_seen(results):
    path = results / "data" / "d.npz"
    content = path.read_bytes()
    path.write_bytes(content[:200] + content[300:])
    assert clear() == ["results/data/d.npz"]


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b'{"run_id": "r1"', b'{"run_id": }', b""])
def test_a_damaged_result_takes_its_run_and_the_bundles_table_of_runs_with_it(results, content):
    (results / "runs/r1/result.json").write_bytes(content)
    before = files(results)
    assert clear() == ["results/runs/r1/result.json"]
    assert before - files(results) == {"runs/r1/result.json", "runs/r1/model.npz", "bundles/b1/runs.parquet"}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xff\xfe" + text,
        lambda text: text[:-5],
        lambda text: text.replace(b'"status"', b'"state"'),
        lambda text: text.replace(b'"status"', b'"more": 1, "status"'),
        lambda text: b"[]",
    ],
)
def test_a_run_whose_result_cannot_be_read_is_trained_again(results, change, capsys):
    path = results / "runs/r1/result.json"
    assert store.load(results / "runs", "r1", "f") == RESULT
    path.write_bytes(change(path.read_bytes()))
    assert store.load(results / "runs", "r1", "f") is None
    (line,) = capsys.readouterr().out.splitlines()
    assert "runs/r1/result.json" in line
    assert "trained again" in line


def test_a_run_whose_model_is_cut_is_trained_again(results, capsys):
    path = results / "runs/r1/model.npz"
    path.write_bytes(path.read_bytes()[:500])
    assert store.load(results / "runs", "r1", "f") is None
    assert "trained again" in capsys.readouterr().out


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_is_seen_where_a_model_is_read(results):
    path = results / "runs/r1/model.npz"
    np.testing.assert_array_equal(store.model(results / "runs", "r1")["w"], MODEL["w"])
    flip(path)
    assert clear() == []  # ends alone do not show it
    with pytest.raises(damage.DamagedFile, match=r"model\.npz was damaged .*CRC.* run the sweep again"):
        store.model(results / "runs", "r1")
    assert not path.exists()


def test_a_flipped_bit_is_seen_where_data_are_read(results, capsys):
    path = results / "data" / "d.npz"
    x = np.zeros((50, 3), np.float32)
    data = PreparedData(x, np.zeros(50, np.int32), x, np.zeros(50, np.int32), np.array(["a"]))
    arrays.write(data, {}, path, path.with_suffix(".json"))
    np.testing.assert_array_equal(arrays.read(path).x_train, x)
    flip(path)
    with pytest.raises(damage.DamagedFile, match=r"d\.npz was damaged .* run the sweep again"):
        arrays.read(path)
    assert not path.exists()


def test_what_is_not_of_the_results_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.npz"
    own.write_text("a,b\n1,2\n")
    with pytest.raises(damage.DamagedFile, match=r"own\.npz cannot be read"):
        arrays.read(own)
    assert own.read_text() == "a,b\n1,2\n"
    with pytest.raises(FileNotFoundError):
        arrays.read(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"\xff", b"[{}]", b"[1"])
def test_a_spec_that_cannot_be_read_is_one_line(results, content, capsys):
    path = results / "specs/b1.json"
    path.write_bytes(content)
    assert main(["account", "--spec", "results/specs/b1.json", "--output", "results/privacy/b1.json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedpareto account: results/specs/b1.json was damaged (")
    assert not path.exists()


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("attacks", None),
        ("roc", None),
        ("pictures", b""),
        ("attacks", b"PAR1 garbage PAR1"),
        ("roc", b"PAR1" + b"\xff" * 60 + b"\x30\x00\x00\x00PAR1"),
    ],
)
def test_evidence_that_cannot_be_read_is_found_again_at_once(results, monkeypatch, table, content):
    made = []
    monkeypatch.setattr(stage.provenance, "fingerprint", lambda module: "code")
    stand_in(monkeypatch, lambda target, spec: made.append(spec) or AttackResults())
    target, wanted = Target((SimpleNamespace(run_id="r1"),), {}, None, {}), {"r1": [{"name": "audit"}]}

    def attack():
        return stage.attack_bundle(target, wanted, results / "attacks", "code")

    first = attack()
    (path,) = (results / "attacks").glob(f"*/{table}.parquet")
    path.unlink() if content is None else path.write_bytes(content)
    again = attack()
    attack()
    assert len(made) == 2
    pd.testing.assert_frame_equal(again[table], first[table])


def test_a_damaged_model_that_is_to_be_attacked_has_its_bundle_trained_again(results):
    flip(results / "runs/r1/model.npz")
    before = files(results)
    bundle = SimpleNamespace(runs=(SimpleNamespace(run_id="r1"),), bundle_id="b1")
    folders = {"runs_folder": results / "runs", "attacks_folder": results / "attacks"}
    with pytest.raises(damage.DamagedFile, match="run the sweep again"):
        stage.attack_stored(bundle, {"r1": []}, {}, None, **folders)
    assert before - files(results) == {"runs/r1/model.npz", "runs/r1/result.json", "bundles/b1/runs.parquet"}


@pytest.mark.parametrize("content", [b"", b"PAR1 garbage PAR1", b"PAR1" + b"\xff" * 60 + b"\x30\x00\x00\x00PAR1"])
def test_a_table_that_cannot_be_read_is_one_line(results, content, capsys):
    (results / "tables/runs.parquet").write_bytes(content)
    arguments = [
        "--tables",
        "results/tables",
        "--study",
        "s",
        "--figure",
        "pareto",
        "--output",
        "results/figures/s/pareto",
    ]
    assert main(["figures", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedpareto figures: results/tables/runs.parquet was damaged (")
    assert not (results / "tables/runs.parquet").exists()


def test_checkpoints_of_garbage_are_left_out_and_make_room_for_new_ones(tmp_path, capsys):
    checkpoints, state = Checkpoints(tmp_path), {"a": np.arange(3.0)}
    checkpoints.save(1, state)
    for content in (b"", b"\xff\xfe garbage", b"[]"):
        garbage = tmp_path / "00000007"
        garbage.mkdir(exist_ok=True)
        for path in (tmp_path / "00000001").rglob("*"):
            if path.is_file():
                target = garbage / path.relative_to(tmp_path / "00000001")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        block, restored = checkpoints.restore(state)
        assert block == 1
        np.testing.assert_array_equal(restored["a"], state["a"])
        assert len(capsys.readouterr().out.splitlines()) == 1
    checkpoints.save(2, state)
    assert [path.name for path in tmp_path.iterdir()] == ["00000002"]
