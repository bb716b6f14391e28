"""Papers by name: those that want a GPU say so before anything is fetched or trained."""

import shutil
import subprocess

from project import ROOT, Project, environment


def test_a_paper_that_wants_a_gpu_is_refused_without_one_before_any_job(tmp_path):
    project = Project(tmp_path)
    shutil.copytree(ROOT / "config" / "papers", tmp_path / "config" / "papers")
    blind = {k: v for k, v in environment().items() if k != "JAX_PLATFORMS"}
    blind |= {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        project.command("reproduce_de-cifar-wrn"), cwd=tmp_path, env=blind, capture_output=True, text=True, timeout=300
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "needs a GPU" in line]
    assert line.startswith("de-cifar-wrn needs a GPU and JAX sees none")
    assert "JAX_PLATFORMS=cpu" in line
    assert not (tmp_path / "results" / "specs").exists()
    assert not (tmp_path / "results" / "data").exists()
    # All that a CPU can do leaves it out, and a look at what would be done is no training.
    assert "de-cifar-wrn" not in project.run("-n", "reproduce").stdout
    assert project.run("-n", "reproduce_de-cifar-wrn").returncode == 0
