"""benchmarks/gpu.py: stages in processes of their own, budgets, rows that survive, golden numbers that are today's."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import gpu_cases
import gpu_right
import pytest
from gpu_stage import Stage

ROOT = Path(__file__).parents[2]


def call(*arguments, **environment):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()][1:], done.stderr


@pytest.fixture
def stage(tmp_path):
    return lambda: Stage(tmp_path, tmp_path / "s.rows", reduced=True, seconds=100.0)


def test_the_golden_numbers_are_those_of_todays_runs(tmp_path):
    golden = json.loads(gpu_cases.GOLDEN.read_text())
    cases = {case.name: {run.run_id for run in case.bundle.runs} for case in gpu_cases.cases(tmp_path)}
    assert {name: set(golden[name]) for name in cases} == cases
    assert set(golden) - set(cases) == {"made_on"}
    assert gpu_cases.GOLDEN.stat().st_size < 100_000


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "client_central" else pytest.mark.slow)
     for n in json.loads(gpu_cases.GOLDEN.read_text()) if n != "made_on"],
)  # fmt: skip
def test_this_machine_computes_the_golden_numbers(name, tmp_path):
    case = next(case for case in gpu_cases.cases(tmp_path) if case.name == name)
    found = gpu_right.compared(case, tmp_path / name, gpu_right.TOGETHER)
    assert found["right"], found


def test_a_line_that_a_killed_process_left_half_written_is_no_row(stage):
    this = stage()
    this.emit("a", value=float("nan"))
    this.rows.write_text(this.rows.read_text() + '{"what": "b", "val')
    again = stage()
    again.emit("c", value=2.0)
    assert gpu.rows(this.folder, "s") == [{"what": "a", "value": None}, {"what": "c", "value": 2.0}]


def test_other_numbers_are_told_from_the_golden_ones():
    golden = next(iter(json.loads(gpu_cases.GOLDEN.read_text())["client_central"].values()))
    off = golden | {"projections": [value * (1 + 3 * gpu_right.TOLERANCE) for value in golden["projections"]]}
    assert gpu_cases.difference(golden, golden) == {"model": 0.0, "loss": 0.0, "epsilon": 0.0}
    assert gpu_cases.difference(off, golden)["model"] > gpu_right.TOLERANCE


def test_a_row_is_measured_once_and_one_that_failed_again(stage):
    calls = []

    def works():
        calls.append("works")
        return {"value": 1.0}

    def fails():
        calls.append("fails")
        raise MemoryError("no room\nmore of it")

    for _ in range(2):
        this = stage()
        this.measure("a", works)
        this.measure("b", fails)
        this.finish()
    assert calls == ["works", "fails", "fails"]
    rows = gpu.rows(this.folder, "s")
    assert [row["what"] for row in rows] == ["a", "b"]
    assert rows[1]["failed"] == "MemoryError: no room"


def test_what_an_earlier_attempt_did_not_end_comes_last(stage):
    order = []

    def dies():
        raise SystemExit

    with pytest.raises(SystemExit):
        stage().measure("endless", dies)
    again = stage()
    for name in ("endless", "other"):
        again.measure(name, lambda name=name: order.append(name) or {})
    again.finish()
    assert order == ["other", "endless"]


def test_a_stage_runs_writes_and_is_not_run_again(tmp_path):
    for _ in range(2):
        status, lines, errors = call("--reduced", "--stages", "machine", "--out", tmp_path)
        assert (status, errors) == (0, "")
        assert [(line["stage"], line["status"], line["rows"]) for line in lines] == [("machine", "ok", 5)]
    results = json.loads((tmp_path / "cpu-reduced.json").read_text())
    assert results["reduced"]
    assert [row["what"] for row in results["stages"]["machine"]["rows"]][:2] == ["device", "copy"]
    assert "| copy |" in (tmp_path / "cpu-reduced.md").read_text()
    (rows,) = tmp_path.glob(".*/machine.rows")
    assert len(rows.read_text().split()) > 5 == rows.read_text().count('"what"')  # the second call measured nothing


def test_a_stage_that_takes_too_long_is_ended_and_keeps_what_it_has(tmp_path, monkeypatch):
    slow = tmp_path / "slow_stage.py"
    slow.write_text("import time\n\ndef slow(stage):\n    stage.emit('first', value=1)\n    time.sleep(600)\n")
    monkeypatch.setitem(gpu.STAGES, "machine", gpu.TimedStage("slow_stage", "slow", 1.0))
    script = tmp_path / "gpu.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(gpu.HERE)!r}]\nimport importlib.util as u\n"
        f"s = u.spec_from_file_location('gpu', {str(gpu.HERE / 'gpu.py')!r}); m = u.module_from_spec(s)\n"
        "sys.modules['gpu'] = m; s.loader.exec_module(m)\n"
        "m.STAGES['machine'] = m.TimedStage('slow_stage', 'slow', 1.0)\nm.main()\n"
    )
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "environment", lambda: {**os.environ, "PYTHONPATH": str(ROOT / "src")})
    ended = gpu.run_stage("machine", tmp_path, 12.0, reduced=True)
    assert (ended["status"], ended["rows"]) == ("out of time", 1)


def test_no_stage_starts_without_time(tmp_path):
    status, lines, _ = call("--reduced", "--stages", "machine", "right", "--minutes", "0.01", "--out", tmp_path)
    assert [line["status"] for line in lines] == ["no time left"] * 2
    assert status == 2


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "NEEDED", ("jax", "surely_not_there"))
    assert gpu.missing() == ["surely_not_there"]


def test_wheels_for_a_bare_machine_are_those_of_the_lock():
    from fedpareto.system import environment

    locked = environment.versions((ROOT / "requirements.lock").read_text())
    wanted = environment.versions((ROOT / "benchmarks" / "requirements-gpu.txt").read_text())
    assert {name: versions <= locked[name] for name, versions in wanted.items()} == dict.fromkeys(wanted, True)


@pytest.mark.slow
def test_every_stage_runs_in_reduced_form(tmp_path):
    status, lines, errors = call("--reduced", "--minutes", "60", "--out", tmp_path)
    assert [(line["stage"], line["status"]) for line in lines] == [(name, "ok") for name in gpu.STAGES], errors
    assert status == 0
    assert (tmp_path / "cpu-reduced.svg").is_file()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax_cuda13_plugin") is None, reason="needs jax[cuda13], and no card")
def test_programs_compile_for_a_described_gpu():
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_compile.py"), "--only", "client_central"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| client_central | 12 |" in done.stdout
