"""The workflow as a user runs it: sweep, look, change something, sweep again."""

import json
import math
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from project import TINY, Project

RESULT_COLUMNS = ["run_id", "accuracy", "loss", "worst_client_accuracy", "epsilon", "epsilon_rdp"]


@pytest.fixture
def project(swept, tmp_path):
    """A private copy of the swept project."""
    copy = Project.__new__(Project)
    copy.folder = tmp_path / "project"
    shutil.copytree(swept.folder, copy.folder)
    return copy


def jobs(output: str) -> dict[str, int]:
    """The job table of a Snakemake run: rule -> number of jobs."""
    table = re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)
    return {rule: int(count) for rule, count in table if rule != "total"}


def test_a_sweep_leaves_tables_and_figures(swept):
    runs = swept.table("runs")
    # (2 clips x 2 noises + the non-private baseline) x 2 seeds x 2 client counts
    assert len(runs) == 20
    assert set(runs.status) == {"ok"}
    private = runs[runs.noise_multiplier > 0]
    assert np.isfinite(private.epsilon).all()
    assert (private.epsilon == private.epsilon_pld).all()
    assert (private.epsilon_pld <= private.epsilon_rdp).all()
    assert set(private.epsilon_by) == {"pld"}
    assert (runs[runs.baseline == "non_private"].epsilon == math.inf).all()
    assert set(private.unit) == {"client"}
    assert set(private.adjacency) == {"add_or_remove_one"}
    for figure in ("pareto", "heatmap", "rounds", "cost", "partition"):
        for ending in ("svg", "pdf", "png"):
            assert (swept.folder / f"results/figures/tiny/{figure}.{ending}").stat().st_size > 1000
    for name in ("runs", "tradeoff", "rounds", "partitions"):
        written = pd.read_csv(swept.folder / f"results/tables/{name}.csv")
        assert list(written.columns) == list(swept.table(name).columns)


def test_the_epsilon_in_the_tables_is_what_the_command_line_answers(swept):
    from fedpareto.cli.main import main

    row = swept.table("runs").query("noise_multiplier == 1.0 and clients == 20").iloc[0]
    flags = {
        "--noise-multiplier": row.noise_multiplier,
        "--sampling-rate": row.sampling_rate,
        "--steps": row.rounds,
        "--delta": row.delta,
    }
    arguments = [str(part) for pair in flags.items() for part in pair]
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["epsilon", *arguments, "--json"]) == 0
    # The table's epsilon also pays for the overflow of the cohort buffer, a thousandth of delta.
    assert row.epsilon == pytest.approx(json.loads(out.getvalue())["epsilon"], rel=1e-3)


def test_a_second_sweep_does_nothing(project):
    assert "Nothing to be done" in project.sweep()


def test_touching_the_code_does_nothing(project):
    (project.folder / "src/fedpareto/federated/engine/round.py").touch()
    assert "Nothing to be done" in project.sweep()


def test_an_edit_of_the_training_code_retrains(project):
    path = project.folder / "src/fedpareto/federated/engine/round.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    assert jobs(project.run("sweep", "-n").stdout)["train"] == 2


def test_an_edit_of_the_figures_draws_and_does_not_train(project):
    path = project.folder / "src/fedpareto/analysis/figures/draw.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    planned = jobs(project.run("sweep", "-n").stdout)
    assert planned.get("figure") == 5
    assert not {"train", "account", "data"} & set(planned)


def test_an_added_noise_level_trains_the_new_runs_only_and_changes_no_old_one(project):
    before = project.table("runs")[RESULT_COLUMNS].set_index("run_id")
    shutil.rmtree(project.folder / "results/logs/train")
    project.write(TINY.replace("[1.0, 2.0]", "[1.0, 2.0, 4.0]"))
    project.tables()
    after = project.table("runs")[RESULT_COLUMNS].set_index("run_id")
    assert len(after) == 28
    assert project.trained() == 8
    pd.testing.assert_frame_equal(after.loc[before.index], before, check_exact=True)


def test_damaged_files_are_made_again_and_the_rest_is_not(project):
    results = project.folder / "results"
    before = project.table("rounds")
    runs = project.table("runs").sort_values("run_id")
    cut, unreadable = runs.run_id.iloc[0], runs.run_id.iloc[-1]
    bundle = runs.bundle_id.iloc[0]
    os.truncate(results / f"runs/{cut}/model.npz", 300)
    (results / f"runs/{unreadable}/result.json").write_bytes(b"\xff\xfe{")
    damaged = [
        f"bundles/{bundle}/metrics.parquet",
        f"specs/{bundle}.json",
        "figures/tiny/pareto.png",
        "data/digits.npz",
    ]
    for name in damaged:
        os.truncate(results / name, 20)
    damaged += [f"runs/{cut}/model.npz", f"runs/{unreadable}/result.json"]
    sizes = {path: path.stat().st_size for path in results.rglob("*") if path.is_file()}
    for looking in (["sweep", "-n"], ["--unlock"], ["--summary"]):
        project.run(*looking)
    assert sizes == {path: path.stat().st_size for path in results.rglob("*") if path.is_file()}
    shutil.rmtree(results / "logs/train")
    said = project.sweep()
    assert {line.split()[0] for line in said.splitlines() if "was damaged" in line} == {f"results/{n}" for n in damaged}
    assert project.trained() == 2
    assert all((results / name).stat().st_size > 100 for name in damaged)
    pd.testing.assert_frame_equal(project.table("rounds"), before, check_exact=True)
    assert "Nothing to be done" in project.sweep()


def test_a_damaged_picture_is_drawn_again_alone(project):
    picture = project.folder / "results/figures/tiny/cost.png"
    os.truncate(picture, 100)
    assert jobs(project.sweep()) == {"figure": 1, "sweep": 1}
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}, "XLA_FLAGS has --xla_cpu_enable_fast_math"),
        ({"JAX_PLATFORMS": "cuda"}, "JAX does not start with JAX_PLATFORMS=cuda: there is no such device"),
        ({"JAX_NUM_CPU_DEVICES": "many"}, "JAX_NUM_CPU_DEVICES = many must be a whole number from 1"),
    ],
)
def test_settings_with_which_nothing_can_be_trained_stop_before_any_job(project, variables, said):
    (project.folder / "results/figures/tiny/pareto.svg").unlink()
    done = project.run("sweep", **variables)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project.folder / "results/figures/tiny/pareto.svg").exists()


def test_a_file_in_the_place_of_a_folder_is_one_line(project):
    shutil.rmtree(project.folder / "results/data")
    (project.folder / "results/data").touch()
    done = project.run("sweep")
    assert done.returncode != 0
    assert "results/data is no folder" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_overlay_and_the_command_line_override_leaves(project):
    overlay = project.folder / "overlay.yaml"
    overlay.write_text("studies: {tiny: {rounds: 4}}\n")
    project.tables("--configfile", "overlay.yaml", "--config", "seeds=1", "noise_multiplier=[3]")
    runs = project.table("runs")
    assert set(runs.rounds) == {4}
    assert set(runs.seed) == {0}
    assert set(runs.noise_multiplier) == {0.0, 3.0}


def test_a_bad_configuration_stops_before_any_job_with_one_line_a_problem(project):
    project.write(TINY.replace("1.0e-3", "1e-3").replace("rounds: 6", "round: 6"))
    done = project.run("sweep")
    assert done.returncode != 0
    message = done.stdout + done.stderr
    assert "Traceback" not in message
    assert "config/config.yaml: studies.tiny.delta = 1e-3" in message
    assert "1.0e-3" in message
    assert "rounds" in message


def test_the_report_is_self_contained(project):
    done = project.run("--report", "report.html")
    assert done.returncode == 0, done.stderr
    page = (project.folder / "report.html").read_text()
    assert "pareto" in page
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page)
