"""Tables as `columns.toml` declares them: page, files, additions, and what stops a stage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from made_up import bundle, row

from fedpareto.analysis.tables.build import build_tables, read_tables, write_tables
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.columns.column import Column, ColumnError, Metric
from fedpareto.columns.declared import (
    ACCOUNTANTS,
    CALIBRATING,
    CLASSIFICATION,
    DEFAULT,
    HEADLINE,
    NAMES,
    RUNS,
    TABLES,
    Additions,
    table,
)
from fedpareto.columns.frames import additions_of, of_rows, to_parquet, typed
from fedpareto.columns.page import page
from fedpareto.config.load import load
from fedpareto.config.schema import schema
from fedpareto.federated.store.results import NO_COLUMN
from fedpareto.federated.store.results import additions_of as additions_of_bundle
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import PrivacySetting
from fedpareto.sweep.sweep import plan_sweep

ROOT = Path(__file__).parents[2]
ERROR = Metric("rmse", "Root mean squared error.", unit="years", by_round=True, over_seeds=("mean", "low", "high"))
WARMUP = Column("warmup", "count", "key", "Rounds without noise.")
STUDY = {
    "dataset": "digits",
    "clients": 10,
    "rounds": 2,
    "model": "logistic",
    "local_epochs": 1,
    "noise_multiplier": 0,
    "client_learning_rate": 0.1,
}


def test_the_page_of_tables_is_the_declaration():
    assert (ROOT / "docs" / "tables.md").read_text() == page(), "python -m fedpareto.columns > docs/tables.md"


def test_every_column_has_one_line_of_help():
    for declared in map(table, NAMES):
        assert declared.help.endswith(".")
        for column in declared.columns:
            assert column.help.endswith("."), (declared.name, column.name)
            assert "\n" not in column.help


@pytest.mark.parametrize(("what", "value"), [("type", "word"), ("role", "kye")])
def test_a_type_or_role_that_does_not_exist_is_named(what, value):
    given = {"type": "text", "role": "key"} | {what: value}
    with pytest.raises(ColumnError, match=f"column x: {what} = {value} must be one of"):
        Column("x", help="X.", **given)


def test_every_key_of_a_run_is_a_column_or_needs_none(tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"studies": {"s": STUDY}}))
    for one in plan_sweep(load([tmp_path / "c.yaml"])).bundles.values():
        assert additions_of_bundle(one) == DEFAULT
        for run in one.runs:
            said = {key for key, value in run.to_dict().items() if value is not None}
            assert said <= {*RUNS.names, *NO_COLUMN}


def test_a_further_key_of_a_run_is_declared_by_the_study_language(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"studies": {"s": STUDY}}))
    (one,) = plan_sweep(load([tmp_path / "c.yaml"])).bundles.values()
    said = one.runs[0].to_dict() | {"warmup": 3}
    monkeypatch.setattr(type(one.runs[0]), "to_dict", lambda run: said)
    with pytest.raises(ColumnError, match="table runs: the key warmup of a run is no column"):
        additions_of_bundle(one)
    rule = {"type": ["integer", "null"], "default": 0, "description": "Rounds without noise."}
    monkeypatch.setitem(schema()["study"], "warmup", rule)
    assert additions_of_bundle(one).keys == (replace(WARMUP, unset=0),)


def test_accountants_are_those_that_guarantees_and_the_study_language_know():
    known = [accountant.name for accountant in ACCOUNTANTS]
    for noise in (0.0, 1.0):
        plan = PrivacyPlan(PrivacySetting(), population=1, rounds=1, clip_norm=1.0, noise_multiplier=noise, delta=1e-5)
        assert set(guarantee(plan).epsilons) == set(known)
    assert schema()["study"]["accountant"]["enum"] == [accountant.name for accountant in CALIBRATING]
    assert schema()["study"]["accountant"]["default"] == HEADLINE == "pld"


def test_a_metric_of_a_task_is_a_column_of_every_table_that_has_scores():
    added = Additions((ERROR,))
    assert "rmse" in table("runs", added).having("metric")
    assert "rmse" in table("rounds", added).names
    for name in ("tradeoff", "attacks", "roc", "pictures", "recommendation"):
        names = table(name, added).names
        assert {"rmse_mean", "rmse_low", "rmse_high"} <= set(names)
        assert "accuracy_mean" not in names
    assert "warmup" in table("tradeoff", Additions(keys=(WARMUP,))).names


def test_a_name_that_two_tasks_use_differently_is_refused():
    with pytest.raises(ColumnError, match="column loss is declared in two ways"):
        DEFAULT.union(Additions((Metric("loss", "Mean squared error.", better="lower", by_round=False),)))
    assert DEFAULT.union(Additions((ERROR,))).metrics == (*CLASSIFICATION, ERROR)


def test_a_file_carries_what_is_declared_nowhere_else(tmp_path):
    added = Additions((*CLASSIFICATION, ERROR), (WARMUP,))
    frame = pd.DataFrame([row("runs", run_id="a") | {"rmse": 1.5, "warmup": 3}])
    to_parquet(frame, table("runs", added).of_bundle, tmp_path / "added.parquet", added)
    to_parquet(frame.drop(columns=["rmse", "warmup"]), RUNS.of_bundle, tmp_path / "plain.parquet")
    assert additions_of(tmp_path / "added.parquet") == added
    assert additions_of(tmp_path / "plain.parquet") == DEFAULT


def test_columns_that_a_bundle_adds_reach_every_table(tmp_path):
    folder = bundle(tmp_path)
    home = folder / "bundles" / ("b" * 16)
    added = Additions((*CLASSIFICATION, ERROR), (WARMUP,))
    for name in ("runs", "rounds"):
        declared = table(name, added).of_bundle
        path = home / f"{declared.file}.parquet"
        frame = pd.read_parquet(path).assign(rmse=2.0, warmup=1)
        to_parquet(frame[list(declared.names)], declared, path, added)
    write_tables(folder / "plan.json", folder / "bundles", folder / "tables")
    read = read_tables(folder / "tables")
    assert read.additions == added
    assert (read.tradeoff["rmse_mean"] == 2.0).all()
    assert (read.tradeoff["warmup"] == 1).all()
    assert read.tradeoff["n_seeds"].eq(4).all()
    assert read.rounds["rmse"].eq(2.0).all()
    assert read.runs["warmup"].dtype == "Int64"


def test_a_score_of_a_seed_that_nobody_declared_does_not_split_points(tmp_path):
    # It used to be taken for a key of the grid: every seed became a point.
    folder = bundle(tmp_path)
    path = folder / "bundles" / ("b" * 16) / "runs.parquet"
    frame = pd.read_parquet(path)
    frame.assign(brier=np.arange(len(frame))).to_parquet(path)
    with pytest.raises(
        TableError, match=r"runs\.parquet: brier is no column of the table runs \(train its bundle again"
    ):
        build_tables(json.loads((folder / "plan.json").read_text()), folder / "bundles")


@pytest.mark.parametrize(
    ("name", "column"), [("runs", "stragglers"), ("metrics", "loss"), ("curves", "largest_epsilon")]
)
def test_a_column_that_a_bundle_lacks_is_named(name, column, tmp_path):
    folder = bundle(tmp_path)
    path = folder / "bundles" / ("b" * 16) / f"{name}.parquet"
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    with pytest.raises(
        TableError, match=rf"{name}\.parquet: lacks {column} \(train its bundle again with this version"
    ):
        build_tables(json.loads((folder / "plan.json").read_text()), folder / "bundles")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The tables of a bundle."""
    folder = bundle(tmp_path_factory.mktemp("written"))
    write_tables(folder / "plan.json", folder / "bundles", folder / "tables")
    return folder / "tables"


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_another_version_are_not_drawn(name, written, tmp_path):
    for path in written.glob("*.parquet"):
        (tmp_path / path.name).hardlink_to(path)
    path = tmp_path / f"{name}.parquet"
    frame = pd.read_parquet(path).assign(more=1)
    path.unlink()
    frame.to_parquet(path)
    with pytest.raises(TableError, match=rf"{name}\.parquet: more is no column of the table {name} \(make the tables"):
        read_tables(tmp_path)


def test_what_is_written_is_declared(tmp_path):
    clients = table("clients").of_bundle
    own = {"epsilon": 0.9, "epsilon_by": "pld", "epsilon_pld": 0.9, "epsilon_rdp": 1.0}
    good = {"run_id": "a", "client": 0, "records": 7} | own
    with pytest.raises(ColumnError, match=r"table clients: more is no column of the table clients \(declare it in"):
        of_rows([good, good | {"more": 1}], clients)
    with pytest.raises(ColumnError, match="table clients: lacks records"):
        to_parquet(pd.DataFrame([good]).drop(columns="records"), clients, tmp_path / "x.parquet")
    with pytest.raises(ColumnError, match="table clients: column records must hold values of type integer"):
        typed(pd.DataFrame([good | {"records": "many"}]), clients)
    assert not (tmp_path / "x.parquet").exists()
