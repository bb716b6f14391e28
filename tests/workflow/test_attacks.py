"""Attacks in the workflow: made on what was trained, made again when something else is asked for, and nothing else."""

import shutil

import pytest
from project import TINY, Project

ATTACKS = """\
    attacks:
      - {name: gradient_inversion, method: analytic, records: 2, victims: 3}
      - {name: membership, shadows: 4}
      - {name: audit, runs: 4}
    attacked: {clients: 20, clip_norm: 1.0}
    policy: {largest_membership: 0.99, trust: [central]}
"""


@pytest.fixture(scope="module")
def attacked(swept, tmp_path_factory):
    """The swept project, swept again with attacks."""
    copy = Project.__new__(Project)
    copy.folder = tmp_path_factory.mktemp("attacked") / "project"
    shutil.copytree(swept.folder, copy.folder)
    shutil.rmtree(copy.folder / "results/logs/train")
    copy.write(TINY + ATTACKS)
    copy.sweep()
    return copy


def test_attacks_train_no_run_again(attacked):
    assert not (attacked.folder / "results/logs/train").exists()


def test_what_is_found_stands_beside_the_runs(attacked):
    runs, attacks = attacked.table("runs"), attacked.table("attacks")
    picked = attacks.merge(runs[["run_id", "seed", "baseline"]], on="run_id", suffixes=("", "_of_run"))
    assert set(picked["seed"]) == {0}
    assert set(picked["clients"]) == {20}
    # Two noise levels, and the run without privacy.
    assert picked["run_id"].nunique() == 3
    assert set(attacks["attack"]) == {"gradient_inversion", "membership", "audit"}
    bounds = attacks[(attacks["attack"] == "audit") & (attacks["score"] == "epsilon_lower")]
    assert len(bounds) == 2 * 2
    assert (bounds["value"] <= bounds["bound"]).all()
    server = attacks[(attacks["adversary"] == "server") & (attacks["score"] == "psnr")]
    assert not server["covered"].any()
    assert not attacked.table("roc").empty
    assert set(attacked.table("recommendation")["coordinator"]) == {"trusted", "not trusted"}
    for figure in ("leakage", "roc", "audit", "riskfront", "recommendation"):
        for ending in ("svg", "pdf", "png"):
            assert (attacked.folder / f"results/figures/tiny/{figure}.{ending}").stat().st_size > 1000


def test_a_second_sweep_does_nothing(attacked):
    assert "Nothing to be done" in attacked.sweep()


@pytest.mark.slow
def test_another_argument_makes_that_attack_and_no_other(attacked, tmp_path):
    copy = Project.__new__(Project)
    copy.folder = tmp_path / "project"
    shutil.copytree(attacked.folder, copy.folder)
    kept = {path.name for path in (copy.folder / "results/attacks").iterdir()}
    copy.write(TINY + ATTACKS.replace("victims: 3", "victims: 2"))
    copy.sweep()
    assert not (copy.folder / "results/logs/train").exists()
    assert len({path.name for path in (copy.folder / "results/attacks").iterdir()} - kept) == 1
