"""Every configuration that ships is valid."""

from pathlib import Path

import pytest

from fedpareto.config.load import load
from fedpareto.sweep.sweep import plan_sweep

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("path", sorted(CONFIG.glob("studies/*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_are_valid_and_say_how_to_run_them(path):
    plan = plan_sweep(load([CONFIG / "config.yaml", path], {"only": path.stem}))
    assert list(plan.studies) == list(plan.comparisons.get(path.stem, [path.stem]))
    assert f"--configfile config/studies/{path.name} --config only={path.stem}" in path.read_text()


def test_the_default_sweep_has_at_least_250_runs_on_two_data_sets():
    plan = plan_sweep(load([CONFIG / "config.yaml"]))
    assert len(plan.runs) >= 250
    assert {run.data.dataset for run in plan.runs.values()} == {"digits", "breast_cancer"}
