"""A user's own files: plan, checks and data job read the same, nothing changes in silence, and faults are one line."""

import gzip
import json
import os
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from fedpareto.cli import main as cli
from fedpareto.config.load import ConfigError, data_options
from fedpareto.data import DataError, UserFileError, arrays, checked, facts
from fedpareto.data.own.user import describe, load_user_file
from fedpareto.data.partitions.dealing import partition
from fedpareto.data.prepare import prepare
from fedpareto.federated.inputs.device_data import data_of


def options(path, **given):
    given = {"label": None if str(path).endswith(".npz") else "outcome"} | given
    return data_options({"path": str(path)} | {key: value for key, value in given.items() if value is not None})


def loaded(path, **given):
    """Data and report, and that the plan knew the same of them before."""
    own = options(path, **given)
    known = facts.of_options(own)
    data, report = load_user_file(own)
    checked.check("own", data)
    assert known.train == len(data.y_train) == report["examples"]["train"]
    assert known.clients == (None if data.client_names is None else len(data.client_names))
    assert report["features"] == np.prod(data.x_train.shape[1:])
    assert describe(own).report["class_rows"] == report["class_rows"]
    return data, report


def refused(path, **given):
    """What plan and data job say, both, of a file that cannot serve: one line."""
    lines = []
    for read in (facts.of_options, load_user_file):
        with pytest.raises(UserFileError) as error:
            read(options(path, **given))
        lines.append(str(error.value))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    return lines[0]


def written(folder, header, rows, name="own.csv"):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def numbered(values, n=200):
    """`n` rows of a number, one of `values` in turn, and one of two classes."""
    return [f"{i},{values[i % len(values)]},{i % 2}" for i in range(1, n + 1)]


def columns(report):
    return {row["column"]: row for row in report["columns"]}


# A table as most are.


def frame(n=60):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.normal(50, 10, n),
            "ward": rng.choice(["a", "b"], n),
            "constant": 1,
            "fold": ["train"] * (n - 20) + ["test"] * 20,
            "hospital": rng.choice(["north", "south", "west"], n),
            "outcome": rng.choice(["ill", "well"], n),
        }
    )
    table.loc[3, "age"] = np.nan
    table.loc[5, "ward"] = None
    table.loc[n - 1, "ward"] = "unseen"
    return table


OWN = {"client": "hospital", "split": "fold"}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_users_table(tmp_path, ending):
    path = tmp_path / f"own.{ending}"
    getattr(frame(), f"to_{ending}")(path, index=False)
    prepare("own", tmp_path / "own.npz", tmp_path / "own.json", options(path, **OWN))
    data, report = arrays.read(tmp_path / "own.npz"), json.loads((tmp_path / "own.json").read_text())
    assert data.x_train.shape == (40, 3)  # age, ward a, ward b
    assert data.class_names.tolist() == ["ill", "well"]
    assert data.client_names.tolist() == ["north", "south", "west"]
    assert report["constant_columns_dropped"] == ["constant"]
    assert report["missing_values"] == {"age": 1, "ward": 1}
    assert report["test_rows_with_unseen_categories"] == {"ward": 1}
    assert "training rows" in report["fitted_on"]
    said = columns(report)
    assert [row["role"] for row in said.values()] == ["feature", "feature", "constant", "split", "client", "label"]
    assert (said["ward"]["kind"], said["ward"]["values"], said["ward"]["missing"]) == (
        "category",
        "3: b, a, unseen",
        "1",
    )
    assert said["age"]["kind"] == "number"
    assert report["client_rows"]["number"] == 3


def test_the_test_rows_do_not_touch_the_training_rows(tmp_path):
    table = frame()
    table.to_csv(tmp_path / "a.csv", index=False)
    table.loc[table["fold"] == "test", "age"] = 1e6
    table.to_csv(tmp_path / "b.csv", index=False)
    a, _ = loaded(tmp_path / "a.csv", **OWN)
    b, _ = loaded(tmp_path / "b.csv", **OWN)
    np.testing.assert_array_equal(a.x_train, b.x_train)
    assert not np.array_equal(a.x_test, b.x_test)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(outcome="ill"), "it has 1 different labels"),
        (lambda t: t.assign(outcome=t["outcome"].where(t.index != 2)), "empty in 1 rows, the first is row 4"),
        (lambda t: t.assign(fold="treat"), "it holds 'treat'"),
        (lambda t: t.assign(fold="training"), "no row says test"),
        (lambda t: t.assign(hospital=t["hospital"].where(t.index != 2)), "say of every row whose it is"),
        (lambda t: t.drop(columns="hospital").assign(hospitals="x"), "did you mean hospitals?"),
        (lambda t: t[["constant", "fold", "hospital", "outcome"]], "must hold a feature column that differs"),
    ],
)
def test_a_users_mistakes_are_one_line(tmp_path, change, said):
    change(frame()).to_csv(tmp_path / "own.csv", index=False)
    assert said in refused(tmp_path / "own.csv", **OWN)


# Rows and fields.


def test_row_names_without_a_name_are_refused(tmp_path):  # as R's write.table leaves them
    rows = [f'"{i}",s{i % 4},0.{i},0.{201 - i},{i % 2}' for i in range(1, 201)]
    said = refused(written(tmp_path, "site,a,b,outcome", rows), client="site")
    assert "row 2 has 5 fields and the header 4" in said


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("x,y,outcome,z", "1,2,0,5,", "row 2 has 5 fields and the header 4"),
        ("x,y,outcome", "1,2,0,", "row 2 has 4 fields and the header 3"),
        ("x,y,outcome", "1,2", "row 2 has 2 fields and the header 3"),
        ("x,y,outcome", '"1,2,0', "an opened quote may miss its end"),
        ("x,y,outcome", '1,2,"0', "must close every quote (in row 2 a field goes over"),
    ],
)
def test_a_row_has_as_many_fields_as_the_header(tmp_path, header, row, said):
    assert said in refused(written(tmp_path, header, [row, *["1,2,0"] * 9]))


def test_lines_of_blanks_are_no_rows_and_quoted_line_breaks_are_no_line_breaks(tmp_path):
    rows = [f"0.{i},0.{202 - i},{i % 2}" for i in range(1, 202)] + ["   ", ""]
    assert len(loaded(written(tmp_path, "a,b,outcome", rows))[0].y_train) == 160
    rows = [f'{i},"w{i % 3}\nx, y",{i % 2}' for i in range(200)]
    data, report = loaded(written(tmp_path, "a,b,outcome", rows))
    assert len(data.y_train) == 160
    assert columns(report)["b"]["values"] == "3: w0 x, y, w1 x, y, w2 x, y"


@pytest.mark.parametrize("place", [0, 1, 3])
def test_stray_quotes_swallow_no_rows(tmp_path, place):
    rows = [[f"n{i % 8}", str(i % 9), str(i % 5), str(i % 2)] for i in range(40)]
    for at in (5, 25):
        rows[at][place] = '"' + rows[at][place]
    assert "in row 7 a field goes over 21 lines" in refused(
        written(tmp_path, "note,a,b,outcome", [",".join(row) for row in rows])
    )


def test_fields_of_several_lines_are_read(tmp_path):
    rows = [f'{i},0.{i},{i % 2},"w{i % 3}\nfine, it is"' for i in range(200)]
    assert columns(loaded(written(tmp_path, "id,b,outcome,note", rows), drop=["id"])[1])["note"]["kind"] == "category"


def test_the_line_of_names_stands_once(tmp_path):
    rows = [*numbered(["1", "2"]), "a,v,outcome", *numbered(["3", "4"])]
    assert "row 202 repeats it" in refused(written(tmp_path, "a,v,outcome", rows))
    assert "the first line seems to hold data" in refused(written(tmp_path, "0,0,1", ["1,2,3"]), label="0")


def test_a_split_that_trains_on_one_class_is_refused(tmp_path):
    rows = [f"0.{i},{'train' if i % 2 else 'test'},{i % 2}" for i in range(40)]
    assert "split = fold must mark training rows of two classes" in refused(
        written(tmp_path, "b,fold,outcome", rows), split="fold"
    )


@pytest.mark.parametrize("name", ["", '""', "Unnamed: 0", "Unnamed: 0.1"])
def test_numbers_of_rows_are_no_feature(tmp_path, name):
    rows = [f"{i + i % 3 * 1000},0.{i},{i % 2}" for i in range(1, 201)]
    data, report = loaded(written(tmp_path, f"{name},a,outcome", rows))
    assert data.x_train.shape == (160, 1)
    assert report["columns"][0]["role"] == "row numbers"


def test_a_column_without_a_name_is_empty_or_refused(tmp_path):
    data, report = loaded(written(tmp_path, "a,outcome,,", [f"0.{i},{i % 2},,\t" for i in range(1, 201)]))
    assert data.x_train.shape == (160, 1)
    assert [row["role"] for row in report["columns"]] == ["feature", "label", "empty", "empty"]
    path = written(tmp_path, "a,outcome,", [f"0.{i},{i % 2},x{i % 2}" for i in range(1, 201)])
    assert "column 3 has no name and holds 'x1': name it, or drop: ['(column 3)']" in refused(path)
    assert loaded(path, drop=["(column 3)"])[0].x_train.shape == (160, 1)


def test_the_index_of_pandas_is_no_feature(tmp_path):
    table = pd.DataFrame({"b": np.arange(50.0), "outcome": [0, 1] * 25}).sample(frac=0.9, random_state=0)
    table.to_parquet(tmp_path / "own.parquet")
    data, report = loaded(tmp_path / "own.parquet")
    assert data.x_train.shape == (36, 1)
    assert columns(report)["__index_level_0__"]["role"] == "row numbers"


def test_a_name_stands_once_in_the_header(tmp_path):
    for header in ("outcome,b,outcome", "outcome,b , b", "outcome,b,\u200bb"):
        assert "must name every column differently" in refused(written(tmp_path, header, ["0,1,1"] * 9))


# Ids, classes and splits are text.


def test_ids_are_text_everywhere(tmp_path):
    ids = ["01", "1", "02", "2"]
    data, report = loaded(written(tmp_path, "a,site,outcome", numbered(ids)), client="site", test_fraction=0.25)
    assert data.client_names.tolist() == ["01", "02", "1", "2"]
    assert "'1' and '01' are two clients" in " ".join(report["notes"])
    for ids in (["1.0", "1"], ["true", "truer"], ["1e3", "1000"]):
        assert set(loaded(written(tmp_path, "a,site,outcome", numbered(ids)), client="site")[0].client_names) == set(
            ids
        )


def test_ids_of_parquet_are_as_their_owner_writes_them(tmp_path):
    table = pd.DataFrame({"a": np.arange(200.0), "outcome": [0, 1] * 100})
    for ids, names in (
        ([1.0, 20.0], ["1", "20"]),
        ([7, 8], ["7", "8"]),
        ([True, False], ["false", "true"]),
        ([0.5, 2], ["0.5", "2"]),
    ):
        table.assign(site=ids * 100).to_parquet(tmp_path / "own.parquet")
        assert loaded(tmp_path / "own.parquet", client="site")[0].client_names.tolist() == names


@pytest.mark.parametrize("words", [["None", "Mild", "Severe"], ["NA", "ZA"], ["nan", "null", "?", "N/A"]])
def test_words_that_look_like_missing_are_classes_and_clients(tmp_path, words):
    path = written(tmp_path, "a,b,outcome", [f"0.{i},0.{i},{words[i % len(words)]}" for i in range(201)])
    assert loaded(path)[0].class_names.tolist() == sorted(words)
    path = written(tmp_path, "a,site,outcome", numbered(words))
    assert sorted(loaded(path, client="site")[0].client_names.tolist()) == sorted(words)


def test_only_an_empty_field_is_missing_in_a_column_of_words_and_the_rest_is_said(tmp_path):
    path = written(tmp_path, "a,smoker,outcome", numbered(["None", "daily", "NA", "", "?"]))
    data, report = loaded(path)
    assert data.x_train.shape == (160, 4)
    assert columns(report)["smoker"]["missing"] == "80 (? 40)"
    assert [note for note in report["notes"] if "'NA' is a category of its own (40 rows)" in note]
    data, report = loaded(written(tmp_path, "a,lab,outcome", numbered(["1.5", "NA", "", "2", "n/a"])))
    assert data.x_train.shape == (160, 2)
    assert columns(report)["lab"]["missing"] == "120 (NA 40, n/a 40)"


def test_one_institution_in_several_spellings(tmp_path):
    path = written(tmp_path, "a,site,outcome", numbered(["North", "North ", "North\u200b", "South"]))
    data, report = loaded(path, client="site")
    assert data.client_names.tolist() == ["North", "South"]
    assert "'North ' and 'North\\u200b' and 'North' are one" in " ".join(report["notes"])
    composed = written(tmp_path, "a,site,outcome", numbered(["Köln", "Ko\u0308ln", "Bonn"]))
    assert loaded(composed, client="site")[0].client_names.tolist() == ["Bonn", "Köln"]
    for pair in (["St-Luc", "St\u2011Luc"], ["Mary's", "Mary\u2019s"], ["a\u200db", "ab"], ["St. Mary", "St. Mary."]):
        path = written(tmp_path, "a,site,outcome", numbered(pair))
        assert "name every client in one spelling" in refused(path, client="site")
    for other in ("North\u200e", ' "North"', "No\u00adrth"):
        path = written(tmp_path, "a,site,outcome", numbered(["North", other, "South"]))
        assert loaded(path, client="site")[0].client_names.tolist() == ["North", "South"]
    path = written(tmp_path, "a,site,outcome", numbered(["North", "north", "South", "SOUTH"]))
    assert "'north' and 'North': write one, or say client_case" in refused(path, client="site")
    assert len(loaded(path, client="site", client_case="exact")[0].client_names) == 4
    data, _ = loaded(path, client="site", client_case="folded")
    assert {name.casefold() for name in data.client_names} == {"north", "south"}
    assert sorted(np.bincount(data.client_train).tolist()) == [79, 81]


@pytest.mark.parametrize("words", [["Yes", "yes"], [">50K", ">50K."], ["1", "1.0"], ["1", "01"]])
def test_one_class_in_several_spellings_is_refused(tmp_path, words):
    path = written(tmp_path, "a,b,outcome", [f"0.{i},0.{i},{[*words, 'other'][i % 3]}" for i in range(201)])
    assert "name every class in one spelling" in refused(path)


def test_a_column_has_one_role(tmp_path):
    path = written(tmp_path, "a,site,outcome", numbered(["x", "y"]))
    assert "client = outcome must be another column than label" in refused(path, client="outcome")
    assert "drop = site must be another column than client" in refused(path, client="site", drop=["a", "site"])
    assert "categories = outcome" in refused(path, categories=["outcome"])


def test_rows_that_are_left_out_count_nowhere(tmp_path):
    rows = [f"s{i % 4},{i},{'test' if i % 3 == 0 else 'training'},{i % 2}" for i in range(200)]
    rows += ["s9,1,Validation,7", "s9,not a number,val,"]
    data, report = loaded(written(tmp_path, "site,b,fold,outcome", rows), client="site", split="fold")
    assert data.client_names.tolist() == ["s0", "s1", "s2", "s3"]
    assert data.class_names.tolist() == ["0", "1"]
    assert report["examples"]["left out"] == 2


def test_who_has_test_rows_only_is_no_client(tmp_path):
    rows = [f"{'b' if i % 5 else 'a'},{i},{'train' if i % 5 else 'test'},{i % 2}" for i in range(200)]
    rows += [f"c,{i},{'train' if i % 5 else 'test'},{i % 2}" for i in range(50)]
    data, report = loaded(written(tmp_path, "site,b,fold,outcome", rows), client="site", split="fold")
    assert data.client_names.tolist() == ["b", "c"]
    assert "1 of 3 owners have test rows only" in " ".join(report["notes"])
    dealt = partition(
        data.y_train,
        data.y_test,
        scheme={"name": "natural"},
        clients=2,
        seed=0,
        client_train=data.client_train,
        client_test=data.client_test,
    )
    assert dealt.train_count.tolist() == [160, 40]
    # Of the test rows 40 are of the owner that is no client, and 10 of the only client that has any.
    assert np.bincount(np.asarray(data_of(data, {0: dealt}).test_client)[0]).tolist() == [10] + [0] * 49 + [40]


def test_a_class_that_only_tests_is_said(tmp_path):
    rows = [f"{i},{'train' if i % 5 else 'test'},{i % 2}" for i in range(200)] + ["1,test,rare"]
    assert "no training row has the label rare" in " ".join(
        loaded(written(tmp_path, "b,fold,outcome", rows), split="fold")[1]["notes"]
    )


def test_split_words_that_say_nothing_are_named(tmp_path):
    path = written(tmp_path, "a,fold,outcome", numbered(["0", "1"]))
    said = refused(path, split="fold")
    assert "split = fold must hold train, training, test" in said
    assert "'0'" in said or "'1'" in said
    path = written(tmp_path, "a,b,outcome", [*numbered(["0.1", "0.2"]), "1,2,rare"])
    assert "there is one only of rare" in refused(path)


# Numbers, dates and categories.


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["<0.5", *["1.5", "2.5"] * 50], "it holds '<0.5' (2): write numbers"),
        (["<0.5", "<0.5", "1", ">90"], "it holds '<0.5' (100)"),
        (["12 mg", *["3"] * 20], "'12 mg'"),
        (['"1,23"', '"4,5"', "6"], 'write decimal: ","'),
        (['"1,234"', '"2,345"', "6"], 'decimal: "," if the comma is the decimal sign, or leave commas out'),
        (['"0,370"', '"1,250"', '"12,125"'], 'write decimal: ","; drop'),
        ([f"{i / 7:.2f} mg/dl" for i in range(1, 40)], "leave signs, units and blanks out"),
        ([f"{i / 7:.1f}%" for i in range(1, 40)], "leave signs, units and blanks out"),
        ([f"€ {i}.50" for i in range(1, 40)], "leave signs, units and blanks out"),
        ([f"({i}.5)" for i in range(1, 40)], "leave signs, units and blanks out"),
        ([f"{i} {i + 100}.5" for i in range(1, 40)], "leave signs, units and blanks out"),
        ([f"{100 + i}/{60 + i}" for i in range(40)], "leave signs, units and blanks out"),
        ([x for i in range(40) for x in ("TND", f"{i / 7:.2f}")], "it holds 'TND' (100)"),
        ([x for i in range(28) for x in ("unknown", f"2024-03-{i + 1:02d}")], "it holds 'unknown'"),
        (["07MAR2024", "08MAR2024"], "must hold dates as 2024-03-07"),
        (["07-Mar-2024", '"March 8, 2024"'], "must hold dates as 2024-03-07"),
        (["2024Q1", "2024Q2"], "must hold dates as 2024-03-07"),
        (["2024-03-07-10.00.00.000000", "2024-03"], "must hold dates as 2024-03-07"),
        (["10:30 AM", "1 days 02:00:00", "PT1H"], "must hold times as numbers"),
        (["2024-03-07", "2024-03-08", "2024-13-08"], "write all of them as 2024-03-07"),
        (["03/07/2024", "03/08/2024"], "must hold dates as 2024-03-07"),
        (["7.3.24", "8.3.24", ""], "must hold dates as 2024-03-07"),
        (["1:30", "12:00"], "must hold times as numbers"),
        (["inf", "1", "2"], "row 2 of column v holds"),
        (["1e39", "1", "2"], "row 2 of column v holds 1e+39"),
        (["1e200", "2e200"], "of column v holds"),
    ],
)
def test_what_means_a_number_and_is_none_is_refused(tmp_path, values, said):
    rows = [f"0.{i},{values[i % len(values)]},{i % 2}" for i in range(200)]
    line = refused(written(tmp_path, "a,v,outcome", rows))
    assert said in line
    assert "column v" in line


def test_what_means_a_number_is_one(tmp_path):
    same = [
        (["1.5", "2.5", "-3"], {}),
        (['"1,5"', '"2,5"', "-3"], {"decimal": ","}),
        (["1.50", "+2.5", "−3"], {}),
        (["15e-1", "2.5", "-3.0"], {}),
    ]
    arrays_of = [loaded(written(tmp_path, "a,v,outcome", numbered(v)), **given)[0].x_train for v, given in same]
    for other in arrays_of[1:]:
        np.testing.assert_array_equal(arrays_of[0], other)
    assert loaded(written(tmp_path, "a,v,outcome", numbered(["True", "false"])))[0].x_train.shape == (160, 2)
    # A missing value changes no other.
    german = ["1.234", "12.500", "3.750", "500"]
    for values in (german, [*german, "NA"]):
        _, report = loaded(written(tmp_path, "a,v,outcome", numbered(values)), decimal=",")
        assert columns(report)["v"]["values"] == "500 to 12500"
    path = written(tmp_path, "a,v,outcome", numbered(["0.5", "1.234"]))
    assert "must hold numbers with a decimal comma" in refused(path, decimal=",")
    few = ["10 mg", "20 mg", "40 mg"]
    assert columns(loaded(written(tmp_path, "a,v,outcome", numbered(few)))[1])["v"]["kind"] == "category"


def test_codes_that_may_stand_for_nothing(tmp_path):
    rows = [
        f"0.{i},{-999 if i % 9 == 0 else i % 7},{'unknown' if i % 5 else 'x'},{i % 3},{i % 2}" for i in range(1, 201)
    ]
    path = written(tmp_path, "a,v,w,u,outcome", rows)
    assert "-999 is read as a number (missing: ['-999']" in " ".join(loaded(path)[1]["notes"])
    _, report = loaded(path, missing=["-999", "unknown"], categories=["u"])
    assert columns(report)["v"]["values"] == "0 to 6"
    assert columns(report)["v"]["missing"] == "22 (-999 22)"
    assert columns(report)["w"]["missing"] == "160 (unknown 160)"
    assert columns(report)["u"]["missing"] == ""
    pd.DataFrame({"v": [-999, 1, 2, 3] * 50, "outcome": [0, 1] * 100}).to_parquet(tmp_path / "own.parquet")
    assert columns(loaded(tmp_path / "own.parquet", missing=["-999"])[1])["v"]["missing"] == "50"


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("day,b,outcome", lambda i: f"202403{i % 28 + 1:02d},{i % 7},{i % 2}", "look like dates"),
        ("patient,b,outcome", lambda i: f"{7000 + i},{i % 7},{i % 2}", "column patient: every row has another whole number"),
        ("b,twin,outcome", lambda i: f"0.{i},{'ny'[i % 2]},{i % 2}", "column twin tells the label of every row"),
        ("b,kind,outcome", lambda i: f"0.{i},{['Yes', 'yes', 'no'][i % 3]},{i % 2}", "'yes' and 'Yes' are different categories"),
        ("zip,b,outcome", lambda i: f"{'NA' if i == 7 else '01067' if i % 2 else '10115'},{i},{i % 3 % 2}", "begin with a zero"),
        ("b,v,outcome", lambda i: f"0.{i},{i % 7},{['0', '1', 'NA'][i % 3]}", "'NA' is a class of its own"),
        ("b,v,outcome", lambda i: f"0.{i},{i % 7},{i % 30 + 0.5}", "label outcome holds 30 different numbers"),
    ],
)  # fmt: skip
def test_what_may_not_be_meant_is_said(tmp_path, header, row, said):
    assert said in " ".join(loaded(written(tmp_path, header, [row(i) for i in range(1, 201)]))[1]["notes"])


def test_categories_that_only_test_are_said(tmp_path):
    rows = [f"{'xy'[i % 2] if i % 5 else 'z'},0.{i},{'train' if i % 5 else 'test'},{i % 2}" for i in range(200)]
    notes = loaded(written(tmp_path, "ward,b,fold,outcome", rows), split="fold")[1]["notes"]
    assert "column ward: 40 test rows hold categories that no training row has" in notes


def test_dates_are_days(tmp_path):
    rows = [f"2024-03-{i % 28 + 1:02d},2024-03-07T{i % 24:02d}:30:00Z,{i % 2}" for i in range(200)]
    data, report = loaded(written(tmp_path, "day,moment,outcome", rows))
    assert data.x_train.shape == (160, 2)
    assert [(row["kind"], row["values"]) for row in report["columns"]][:2] == [
        ("date", "2024-03-01 to 2024-03-28"),
        ("date", "2024-03-07 00:30 to 2024-03-07 23:30"),
    ]


def test_types_of_parquet(tmp_path):
    n = 200
    table = pa.table(
        {
            "decimal": pa.array(np.arange(n) / 4).cast(pa.decimal128(9, 2)),
            "moment": pd.date_range("2024-03-07", periods=n, freq="h"),
            "stay": pd.to_timedelta(np.arange(n), "h"),
            "flag": np.arange(n) % 2 == 0,
            "text": pa.array([str(i % 7) for i in range(n)]),
            "coded": pa.array([str("abc"[i % 3]) for i in range(n)]).dictionary_encode(),
            "nested": [[1, 2]] * n,
            "view": pa.array(["x", "y", "z", "x"] * 50, pa.string_view()),
            "outcome": [i % 2 for i in range(n)],
        }
    )
    parquet.write_table(table, tmp_path / "own.parquet")
    assert "column nested holds list<" in refused(tmp_path / "own.parquet")
    data, report = loaded(tmp_path / "own.parquet", drop=["nested"])
    assert [row["kind"] for row in report["columns"]][:6] == [
        "number",
        "date",
        "number",
        "number",
        "number",
        "category",
    ]
    assert data.x_train.shape == (160, 5 + 3 + 3)
    assert columns(report)["view"]["kind"] == "category"
    frame = pd.DataFrame({"race": pd.Categorical([1, 2, 3, 5] * 50), "b": np.arange(200.0), "outcome": [0, 1] * 100})
    frame.to_parquet(tmp_path / "categorical.parquet")
    assert columns(loaded(tmp_path / "categorical.parquet")[1])["race"]["values"] == "4: 1, 2, 3, 5"
    _, report = loaded(tmp_path / "own.parquet", drop=["nested"], categories=["text", "flag"])
    assert columns(report)["text"]["values"].startswith("7: ")
    assert columns(report)["flag"]["values"].startswith("2: ")


def test_categories_have_a_limit(tmp_path):
    rows = [f"p{i},{i},{i % 2}" for i in range(3000)]
    path = written(tmp_path, "id,b,outcome", rows)
    assert "column id has 3,000 in 3,000 rows: drop: [id]" in refused(path)
    assert loaded(path, drop=["id"])[0].x_train.shape[1] == 1
    path = written(tmp_path, "id,b,outcome", rows[:100])
    assert "column id has 100 in 100 rows" in refused(path)
    assert loaded(path, most_levels=100)[0].x_train.shape == (80, 81)
    path = written(tmp_path, "ward,b,outcome", [f"w{i % 40},{i},{i % 2}" for i in range(60)])
    loaded(path)


def test_numbers_that_read_as_names_on_request(tmp_path):
    path = written(tmp_path, "a,zip,outcome", numbered(["01067", "10115", "50667"]))
    data, report = loaded(path)
    assert data.x_train.shape[1] == 2
    assert "begin with a zero" in " ".join(report["notes"])
    assert loaded(path, categories=["zip"])[0].x_train.shape[1] == 4


def test_a_column_that_differs_by_less_than_float32_tells_is_refused(tmp_path):
    path = written(tmp_path, "a,v,outcome", numbered(["1e-200", "2e-200"]))
    with pytest.raises(DataError, match="columns v differ by too little"):
        load_user_file(options(path))


# Files.


def test_other_separators_are_named_and_read(tmp_path):
    rows = [f"0.{i};{i % 3};{i % 2}" for i in range(1, 201)]
    assert "write separator: ';'" in refused(written(tmp_path, "a;b;outcome", rows))
    same = [
        loaded(written(tmp_path, "a;b;outcome", rows), separator=";")[0],
        loaded(written(tmp_path, "sep=;", ["a;b;outcome", *rows], "own.CSV"))[0],
        loaded(written(tmp_path, "a\tb\toutcome", [row.replace(";", "\t") for row in rows], "own.tsv"))[0],
        *(
            loaded(written(tmp_path, "a\tb\toutcome", [row.replace(";", "\t") for row in rows]), separator=tab)[0]
            for tab in ("\t", "tab", "\\t")
        ),
        loaded(written(tmp_path, "\ufeffa,b,outcome", [row.replace(";", ",") for row in rows]))[0],
    ]
    packed = tmp_path / "own.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "own.csv").read_bytes()))
    same.append(loaded(packed)[0])
    assert len({data.content_sha256 for data in same}) == 1


def test_a_long_field_is_no_fault_of_the_encoding(tmp_path):
    rows = [f"{i},{'x' * 140_000 if i % 2 else 'y'},{i % 2}" for i in range(20)]
    assert loaded(written(tmp_path, "a,b,outcome", rows))[0].x_train.shape == (16, 3)
    assert "must be a CSV file in UTF-8" in refused(written(tmp_path, "a,b,outcome", [f"1,{'x' * 2**24},0"]))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("own.csv", b"", "it is empty"),
        ("own.csv", b"a,outcome\n", "it is empty"),
        ("own.csv", b"\n\n", "it is empty"),
        ("own.csv", "a,outcome\n1,2\n".encode("utf-16"), "must be a CSV file in UTF-8"),
        ("own.csv", b"a,outcome\n\xff\xfe,1\n", "must be a CSV file in UTF-8"),
        ("own.csv", b"\x89PNG\r\n\x1a\n\0\0", "must be a CSV file in UTF-8"),
        ("own.csv.gz", b"a,outcome\n1,0\n", "must be a CSV file in UTF-8"),
        ("own.csv.gz", gzip.compress(b"a,outcome\n" + b"1,0\n" * 99, mtime=0)[:-20], "must be a CSV file in UTF-8"),
        ("own.parquet", b"PAR1 no PAR1", "must be a Parquet file"),
        ("own.xlsx", b"", "must end in .csv"),
        ("own.csv", b"PK\x03\x04xl", "it is a spreadsheet or a ZIP archive: save the table as CSV"),
        ("own.csv", gzip.compress(b"a,outcome\n", mtime=0), "it is packed by gzip: call it .csv.gz"),
        ("own.csv", "a,outcome\nö,1\n".encode("latin-1"), "it holds the byte 0xf6: save it as 'CSV UTF-8'"),
        ("own.csv", b"a,outcome", "it is empty"),
        ("own.npz", b"x", "must be an NPZ file"),
    ],
)
def test_files_that_are_none_of_these(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "own.csv")
    assert "must be a file that exists (it is a folder, a pipe or a device)" in refused(tmp_path / "own.csv")


def test_wide_tables_are_refused_at_once(tmp_path):
    names = [f"cg{i:08d}_BC21" for i in range(100_000)]
    path = written(tmp_path, ",".join([*names, "outcome"]), [",".join(["1"] * 100_001)] * 3)
    assert "have at most 20,000 columns (it has 100,001" in refused(path)


def test_a_file_that_unpacks_to_more_than_is_allowed(tmp_path):
    packed = tmp_path / "own.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b,outcome\n" + b"1,2,0\n" * 500_000, 1))
    assert "must unpack to at most 0.005 GB" in refused(packed, largest_gb=0.005)
    parquet.write_table(pa.table({"outcome": pa.array([0]).take(pa.array([0] * 3_000_000))}), tmp_path / "own.parquet")
    assert "must unpack to at most 0.001 GB" in refused(tmp_path / "own.parquet", largest_gb=0.001)
    np.savez_compressed(tmp_path / "own.npz", x=np.zeros((1000, 1000)), y=np.arange(1000) % 2)
    assert "unpack to at most 0.005 GB (it unpacks to 0.00801 GB" in refused(tmp_path / "own.npz", largest_gb=0.005)
    path = written(tmp_path, "a,b,outcome", [f"w{i % 60},{i},{i % 2}" for i in range(2000)])
    assert "it makes 61 features of 2,000 rows" in refused(path, largest_gb=0.0005)


# Arrays.


def npz(folder, **changes):
    rng = np.random.default_rng(0)
    content = {"x": rng.normal(size=(50, 3)), "y": ["no", "yes"] * 25, "client": ["a", "b "] * 25} | changes
    path = folder / "own.npz"
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    return path


def test_a_users_arrays(tmp_path):
    data, report = loaded(npz(tmp_path))
    assert data.x_train.shape == (40, 3)
    assert data.client_names.tolist() == ["a", "b"]
    assert report["client_rows"] == {
        "number": 2,
        "smallest": {"name": "a", "rows": 20},
        "largest": {"name": "a", "rows": 20},
    }
    parts = {
        f"{name}_{part}": array for part in ("train", "test") for name, array in (("x", np.eye(4)), ("y", [0, 1, 0, 1]))
    }
    data, _ = loaded(npz(tmp_path, x=None, y=None, client=None, **parts))
    assert (len(data.y_train), len(data.y_test), data.client_names) == (4, 4, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": np.array([[1, "a"]] * 50, object)}, "x does: save it with a plain dtype"),
        ({"x": np.ones((50, 3)) * 1j}, "hold real numbers in x (it holds complex128"),
        ({"x": np.full((50, 3), "a")}, "hold real numbers in x"),
        ({"x": np.ones(50)}, "must hold x as [examples, features]"),
        ({"x": np.ones((50, 0))}, "must hold x as [examples, features]"),
        ({"x": np.where(np.eye(50) == 1, np.nan, 1.0)}, "x[0, 0] is nan, one of 50"),
        ({"x": np.where(np.eye(50) == 1, 1e300, 1.0)}, "x[0, 0] is 1e+300"),
        ({"y": np.eye(50)}, "write one class number an example: np.argmax(y, axis=1) of one-hot rows"),
        ({"y": [0.0, np.nan] * 25}, "hold a label for every example (y is nan at 1)"),
        ({"y": [0, 1] * 20}, "must hold as many rows in y as in x (40 and 50)"),
        ({"y": np.arange(50)}, "y has 50 different values in 50 examples"),
        ({"y": [2] + [0, 1] * 24 + [0]}, "there is one only of 2"),
        ({"client": ["a"] * 20}, "must hold as many rows in client as in x (20 and 50)"),
        ({"client": ["a", ""] * 25}, "client is empty at 1"),
        ({"client": ["a", "A"] * 25}, "must name every client in one spelling"),
        (
            {"client": np.array([b"K\xf6ln", b"K\xdfln"] * 25)},
            "must hold text in UTF-8 in client (it holds the byte 0x",
        ),
        ({"y": ["yes", "no", "yes ", "Yes", "no"] * 10}, "name every class in one spelling"),
        ({"y": ["", "a"] * 25}, "say of every example its class (y is empty at 0)"),
        ({"client": None, "clients": ["a"] * 50}, "is 'clients' meant for client?"),
        ({"client": None, "client_train": ["a"] * 50}, "is 'client_train' meant for client?"),
        ({"client": np.array(["a"] * 50, object)}, "client does: save it with a plain dtype"),
        ({"x": None}, "must hold x and y"),
        ({"x": None, "y": None, "x_train": np.ones((9, 2)), "y_train": [0] * 9}, "must hold x and y, or x_train"),
    ],
)
def test_arrays_that_do_not_fit_each_other(tmp_path, changes, said):
    path = npz(tmp_path, **changes)
    with pytest.raises(UserFileError) as error:
        load_user_file(options(path))
    assert said in str(error.value)


def test_arrays_of_test_examples(tmp_path):
    parts = {"x": None, "y": None, "client": None, "x_train": np.ones((9, 2)), "y_train": [0, 1, 2] * 3}
    narrow = npz(tmp_path, **parts, x_test=np.ones((9, 3)), y_test=[0, 1, 2] * 3)
    assert "those of x_train and x_test are 2 and 3" in refused(narrow)
    empty = npz(tmp_path, **parts, x_test=np.ones((0, 2)), y_test=[])
    assert "must hold x_test as [examples, features]" in refused(empty)
    unknown = npz(tmp_path, **parts, x_test=np.ones((3, 2)), y_test=[0, 1, 3])
    assert "no training example has the label 3" in " ".join(loaded(unknown)[1]["notes"])
    mixed = npz(tmp_path, **parts, x_test=np.ones((3, 2)), y_test=["0", "1", "2"])
    assert "must hold labels of one kind" in refused(mixed)
    one = npz(tmp_path, **parts | {"y_train": [1] * 9}, x_test=np.ones((3, 2)), y_test=[0, 1, 1])
    assert "hold training examples of two classes" in refused(one)
    owners = {"client_train": np.arange(9) % 3, "client_test": np.arange(3.0), "names": ["x"]}
    data, report = loaded(npz(tmp_path, **parts, **owners, x_test=np.ones((3, 2)), y_test=[0, 1, 2]))
    assert data.client_test.tolist() == [0, 1, 2]
    assert "arrays that are not used: names" in report["notes"]
    alone = npz(tmp_path, **parts, x_test=np.ones((3, 2)), y_test=[0, 1, 2], client_train=[1] * 9)
    assert "must hold client_train and client_test, or neither" in refused(alone)


def test_a_header_that_claims_more_than_there_is(tmp_path):
    path = npz(tmp_path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["x.npy"] = content["x.npy"].replace(b"(50, 3)", b"(10**6, 3)".ljust(7)[:7])
    bad = content["x.npy"].replace(b"(50, 3), }  ", b"(999999999999, 3), }"[:12])
    for x in (content["x.npy"], bad, content["x.npy"][:90], b"", b"\x93NUMPY\x03\x00" + b"\0" * 99):
        with zipfile.ZipFile(path, "w") as archive:
            for name, own in (content | {"x.npy": x}).items():
                archive.writestr(name, own)
        refused(path)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (500000000000, 1), }"
    claimed = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 80
    with zipfile.ZipFile(path, "w") as archive:
        for name, own in (content | {"x.npy": claimed}).items():
            archive.writestr(name, own)
    assert "x claims 4,000,000,000,000 bytes and there are 80" in refused(path)


def test_pictures_are_looked_at(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8))
    notes = " ".join(loaded(npz(tmp_path, x=pictures))[1]["notes"])
    assert "channels first" in notes
    assert "rescale, deviation: 255" in notes
    assert "label = y must not stand beside an NPZ file" in refused(npz(tmp_path), label="y")


# What is said.


def test_a_file_is_checked_without_a_study(tmp_path, capsys):
    path = written(tmp_path, "a,site,outcome", numbered(["x [b]", "y"]))
    assert cli.main(["data", "--check", str(path), "--label", "outcome", "--client", "site"]) == 0
    said = capsys.readouterr().out
    assert "own.csv: 1 feature, 160 training and 40 test rows" in said
    assert "2 clients, the smallest x [b]" in said
    assert cli.main(["data", "--check", str(path), "--label", "outcom"]) == 1
    assert (
        capsys.readouterr().err
        == f"fedpareto data: label = outcom must be a column of {path} (did you mean outcome?)\n"
    )
    assert cli.main(["data", "--check", str(path), "--label", "outcome", "--most-levels", "1"]) == 1
    assert "most_levels = 1.0 must be a whole number" in capsys.readouterr().err
    more = [
        "--client-case",
        "exact",
        "--test-fraction",
        "0.3",
        "--largest-gb",
        "2",
        "--missing",
        "z",
        "--separator",
        ",",
    ]
    assert cli.main(["data", "--check", str(path), "--label", "outcome", "--client", "site", *more]) == 0
    assert "140 training and 60 test rows" in capsys.readouterr().out
    assert cli.main(["data", "--check", str(path), "--label", "outcome", "--decimal", ";"]) == 1
    assert "--check: datasets.file.decimal = ; must be '.' or ','" in capsys.readouterr().err


def test_a_plan_says_what_was_read(tmp_path, capsys):
    path = written(tmp_path, "a,v,outcome", numbered(["p", "q", "r"]))
    study = {
        "dataset": "own",
        "clients": 10,
        "rounds": 1,
        "model": "logistic",
        "client_learning_rate": 0.1,
        "baselines": [],
    }
    (tmp_path / "c.yaml").write_text(
        json.dumps({"studies": {"s": study}, "datasets": {"own": {"path": str(path), "label": "outcome"}}})
    )
    assert cli.main(["plan", "--configfile", str(tmp_path / "c.yaml")]) == 0
    said = capsys.readouterr().out
    assert "v        feature  category  3: q, r, p" in said
    assert "own: 4 features, 160 training and 40 test rows" in said
    (tmp_path / "c.yaml").write_text(
        json.dumps({"studies": {"s": study}, "datasets": {"digits": {"path": str(path), "label": "outcome"}}})
    )
    assert cli.main(["plan", "--configfile", str(tmp_path / "c.yaml")]) == 1
    assert "datasets.digits = digits must be another name than that of a registered data set" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text(
        json.dumps({"studies": {"s": study}, "datasets": {"own": {"path": "{x}.csv", "label": "outcome"}}})
    )
    assert cli.main(["plan", "--configfile", str(tmp_path / "c.yaml")]) == 1
    assert (
        "datasets.own.path = {x}.csv must hold no braces (Snakemake takes them for wildcards" in capsys.readouterr().err
    )


def test_a_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, "a,v,outcome", numbered(["p", "q"]), "$own {x}.csv")
    assert loaded("~/$own {x}.csv")[0].x_train.shape == (160, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"x_train": np.full((4, 2), np.nan, np.float32)},
        {"x_train": np.ones((4, 2))},
        {"x_test": np.ones((2, 3), np.float32)},
        {"x_test": np.ones((0, 2), np.float32), "y_test": np.ones(0, np.int32)},
        {"y_train": np.array([0, 1, 0], np.int32)},
        {"y_train": np.array([0, 1, 0, 2], np.int32)},
        {"y_test": np.array([0, 1])},
        {"client_train": np.zeros(4, np.int32)},
    ],
)
def test_what_a_loader_makes_is_checked(change):
    good = {
        "x_train": np.ones((4, 2), np.float32),
        "y_train": np.array([0, 1, 0, 1], np.int32),
        "x_test": np.ones((2, 2), np.float32),
        "y_test": np.array([0, 1], np.int32),
        "class_names": np.array(["a", "b"]),
    }
    checked.check("good", arrays.PreparedData(**good))
    with pytest.raises(DataError):
        checked.check("bad", arrays.PreparedData(**good | change))


def test_options_are_checked():
    with pytest.raises(ConfigError, match="separator = ;; must be one character"):
        data_options({"path": "a.csv", "label": "b", "separator": ";;"})


def test_labels_that_are_not_finite_numbers_are_classes(tmp_path):
    words = [*(f"{i}.5" for i in range(24)), "inf"]
    path = written(tmp_path, "a,b,outcome", [f"0.{i},{i % 7},{words[i % 25]}" for i in range(1, 201)])
    assert len(loaded(path)[0].class_names) == 25
