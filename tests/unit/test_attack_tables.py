"""Tables of what attacks found."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_up import attack, bundle

from fedpareto.analysis.tables.build import build_tables, read_tables, write_tables
from fedpareto.analysis.tables.tradeoff import TableError
from fedpareto.attacks import results as evidence
from fedpareto.columns.declared import table
from fedpareto.columns.frames import ARROW, DTYPES


def attacked(folder):
    """A bundle of which four runs, one of two studies, are attacked."""
    bundle(folder)
    runs = pd.read_parquet(folder / "bundles" / ("b" * 16) / "runs.parquet")
    return attack(folder, runs.iloc[[0, 4, 8, 48]], policies={"one": {"largest_epsilon": 4.0}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = attacked(tmp_path_factory.mktemp("attacked"))
    write_tables(home / "plan.json", home / "bundles", home / "tables")
    return home


@pytest.fixture(scope="module")
def tables(folder):
    return read_tables(folder / "tables")


@pytest.mark.parametrize("name", evidence.KINDS)
def test_the_columns_are_those_that_attacks_write(name):
    written, declared = evidence.frame(name, []), table(name).of_bundle
    assert set(declared.names) == {field.name for field in dataclasses.fields(evidence.KINDS[name])}
    assert tuple(written) == declared.names
    for column in declared.columns:
        assert str(written[column.name].dtype) == ("string" if column.type == "text" else DTYPES[column.type])


def test_rows_stand_beside_their_run_and_the_accuracy_of_its_point(tables):
    assert set(tables.attacks["run_id"]) == {f"{number:016x}" for number in (0, 4, 8, 48)}
    one = tables.attacks[tables.attacks["study"] == "one"]
    expected = tables.runs[tables.runs["study"] == "one"].set_index("run_id")
    points = tables.tradeoff[tables.tradeoff["study"] == "one"].set_index("point_id")
    for row in one.drop_duplicates("run_id").itertuples():
        run = expected.loc[row.run_id]
        assert (row.clients, row.noise_multiplier, row.kind) == (run["clients"], run["noise_multiplier"], run["kind"])
        for column in ("epsilon", "epsilon_pld", "epsilon_rdp", "adjacency"):
            assert getattr(row, column) == run[column]
        assert (row.epsilon_by == "pld") == np.isfinite(row.epsilon)
        assert row.accuracy_mean == points.loc[run["point_id"], "accuracy_mean"]


def test_a_run_of_two_studies_stands_in_both_and_of_studies_takes_them_apart(tables):
    counts = tables.attacks.groupby("study")["run_id"].nunique()
    assert counts.to_dict() == {"one": 4, "two": 2}
    own = tables.of_studies(["two"])
    assert set(own.attacks["study"]) == set(own.roc["study"]) == set(own.pictures["study"]) == {"two"}


def test_rows_of_runs_that_the_plan_does_not_want_attacked_are_left_out(folder):
    plan = json.loads((folder / "plan.json").read_text())
    wanted = f"{4:016x}"
    plan["attacks"] = {wanted: plan["attacks"][wanted]}
    built = build_tables(plan, folder / "bundles")
    for name in evidence.KINDS:
        assert set(getattr(built, name)["run_id"]) == {wanted}


@pytest.mark.parametrize("keys", [(), ("attacks",), ("policies",)])
def test_without_attacks_the_tables_are_empty_with_their_columns_and_types(keys, tmp_path):
    bundle(tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text()) | {key: {} for key in keys}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    write_tables(tmp_path / "plan.json", tmp_path / "bundles", tmp_path / "tables")
    for declared in map(table, evidence.KINDS):
        schema = pq.read_schema(tmp_path / "tables" / f"{declared.name}.parquet")
        assert tuple(schema.names) == declared.names
        for column in declared.columns:
            assert schema.field(column.name).type == ARROW[column.type], (declared.name, column)
    read = read_tables(tmp_path / "tables")
    assert read.recommendation.empty
    assert read.of_studies(["one"]).attacks.empty


def test_the_same_types_whether_or_not_something_was_found(tables, folder, tmp_path):
    bundle(tmp_path)
    write_tables(tmp_path / "plan.json", tmp_path / "bundles", tmp_path / "tables")
    for name in (*evidence.KINDS, "recommendation"):
        full, empty = (pq.read_schema(home / "tables" / f"{name}.parquet") for home in (folder, tmp_path))
        assert full.names == empty.names
        for column in full.names:
            # pandas 3 stores strings with 64-bit offsets.
            types = [str(schema.field(column).type).removeprefix("large_") for schema in (full, empty)]
            assert types[0] == types[1], (name, column)


def test_pictures_keep_their_pixels_in_parquet_only(folder, tables):
    written = pd.read_parquet(folder / "bundles" / ("b" * 16) / "pictures.parquet")
    first = tables.pictures.iloc[0]
    same = written[(written["run_id"] == first["run_id"])].iloc[0]
    np.testing.assert_array_equal(first["pixels"], same["pixels"])
    assert first["pixels"].dtype == np.float32
    assert "pixels" not in pd.read_csv(folder / "tables" / "pictures.csv").columns
    assert len(pd.read_csv(folder / "tables" / "pictures.csv")) == len(tables.pictures)


def test_counts_that_may_be_missing_stay_whole_numbers(folder):
    text = (folder / "tables" / "attacks.csv").read_text()
    assert ",32," in text
    assert ",32.0," not in text


@pytest.mark.parametrize("name", evidence.KINDS)
def test_a_bundle_that_was_not_attacked_yet_is_named(name, tmp_path):
    attacked(tmp_path)
    path = tmp_path / "bundles" / ("b" * 16) / f"{name}.parquet"
    path.unlink()
    plan = json.loads((tmp_path / "plan.json").read_text())
    with pytest.raises(TableError, match=f"{name}.parquet: is not there .attack its bundle first"):
        build_tables(plan, tmp_path / "bundles")


def test_the_recommendations_of_a_comparison_are_those_of_its_studies_together(folder):
    plan = json.loads((folder / "plan.json").read_text())
    plan["comparisons"] = {"both": {"title": "Both", "studies": ["one", "two"]}}
    plan["policies"] = {name: {"largest_epsilon": 4.0} for name in ("one", "both")}
    built = build_tables(plan, folder / "bundles")
    for studies, expected in ((["one"], {"one"}), (["two"], set()), (["two", "one"], {"both"})):
        assert set(built.of_studies(studies).recommendation["study"]) == expected


def test_tables_made_without_attacks_have_them_empty(tables):
    bare = type(tables)(tables.runs, tables.rounds, tables.tradeoff, tables.partitions, tables.clients)
    for name in (*evidence.KINDS, "recommendation"):
        assert getattr(bare, name).empty
        assert list(getattr(bare, name)) == list(getattr(replace(tables), name))
