"""What a run leaves beside its models does not depend on any record's raw value: files, tables, status and log.

Numbers that come of the released models differ, as they may: each is a function of what was noised.
"""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from attacked import STUDY, digits

from fedpareto.columns.declared import DEFAULT
from fedpareto.config.load import checked
from fedpareto.federated import train
from fedpareto.federated.inputs.setup import measure
from fedpareto.federated.inputs.state import NOISELESS
from fedpareto.federated.store.results import write_bundle
from fedpareto.sweep.account import account
from fedpareto.sweep.sweep import plan_sweep
from fedpareto.tasks.classification import Classification

CASES = {
    "client": {"clipping": {"name": "adaptive"}},
    "record": {"unit": "record", "sampling_rate": 0.05, "clipping": {"name": "adaptive"}}
    | dict.fromkeys(("local_epochs", "batch_size", "client_learning_rate")),
    "secure_sum": {"trust": "distributed", "sampling": "fixed_size", "dropout": 0.1, "mechanism": {"name": "skellam"}},
}
# Scores of the released models on held-out data, and the clip norms, which are released themselves.
OF_RELEASES = {metric.name for metric in DEFAULT.metrics} | {"clip_norm", "wrapped_fraction", "test_loss"}
# Outside the guarantee, as docs/privacy.md says.
OUTSIDE = {*NOISELESS, "wall_s", "secagg_client_s", "secagg_server_s"}


def outputs(study, data, folder, capsys):
    """Files, tables and lines of the log of one bundle, without their numbers."""
    (bundle,) = plan_sweep(checked({"studies": {"s": study}}, [("study", {})])).bundles.values()
    accounted = account(bundle, measure(bundle.runs, data) if bundle.needs_data_to_account else None)
    capsys.readouterr()
    with np.errstate(all="raise"):  # what is printed on standard error would tell, too
        results = train.train_bundle(
            bundle, accounted, data, runs_folder=folder / "runs", checkpoints_folder=folder / "half"
        )
    said = capsys.readouterr()
    write_bundle(folder / "tables", bundle, accounted, results, data)
    tables = {path.name: pd.read_parquet(path) for path in sorted((folder / "tables").iterdir())}
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return files, tables, [re.sub(r"[0-9.]+", "#", line) for line in (said.out + said.err).splitlines()]


@pytest.mark.parametrize("case", CASES)
def test_files_tables_status_and_log_are_the_same_whatever_a_record_holds(case, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "SEGMENT_SECONDS", 1e9)  # how often a line is said follows the clock
    study = {key: value for key, value in (STUDY | CASES[case]).items() if value is not None}
    files, tables, lines = outputs(study, digits(), tmp_path / "usual", capsys)
    assert {"metrics.parquet", "runs.parquet"} <= set(tables)
    assert any(file.endswith("model.npz") for file in files)
    x = digits().x_train.copy()
    x[7], x[8] = np.nan, 3e38
    other_files, other_tables, other_lines = outputs(study, replace(digits(), x_train=x), tmp_path / "other", capsys)
    assert other_files == files
    assert other_lines == lines
    for name, table in tables.items():
        other = other_tables[name]
        covered = [column for column in table.columns if column not in OUTSIDE]
        pd.testing.assert_frame_equal(table[covered].isna(), other[covered].isna())
        exactly = [column for column in covered if column not in OF_RELEASES]
        pd.testing.assert_frame_equal(table[exactly], other[exactly])


def test_every_score_of_the_task_is_known_to_be_one():
    assert set(Classification().score_names) <= OF_RELEASES
