"""The attack stage: what is tried on whom, what is kept, and what it writes."""

from types import SimpleNamespace

import pandas as pd
import pytest
from attacked import stand_in

from fedpareto.attacks import stage
from fedpareto.attacks.results import AttackResult, AttackResults, Picture, RocPoint, frame, not_made
from fedpareto.attacks.target import Target
from fedpareto.federated.store.store import RunResult, save

AUDIT, MEMBERSHIP = {"name": "audit", "runs": 4}, {"name": "membership", "shadows": 8}


def run(name):
    return SimpleNamespace(run_id=name)


@pytest.fixture
def calls(monkeypatch):
    """The attacks that were made, each of which finds one thing a run."""
    made = []

    def attack(target, spec):
        made.append((spec["name"], [one.run_id for one in target.runs]))
        return AttackResults(
            [AttackResult(one.run_id, spec["name"], "m", "outsider", "auc", 0.5) for one in target.runs]
        )

    stand_in(monkeypatch, attack)
    return made


def attacked(folder, wanted, runs="ab", models="code"):
    target = Target(tuple(map(run, runs)), {}, None, {})
    return stage.attack_bundle(target, wanted, folder, models)


def test_every_run_is_attacked_as_is_wanted_for_it(tmp_path, calls, capsys):
    found = attacked(tmp_path, {"a": [AUDIT, MEMBERSHIP], "b": [MEMBERSHIP]})
    assert calls == [("audit", ["a"]), ("membership", ["a", "b"])]
    assert list(zip(found["attacks"]["run_id"], found["attacks"]["attack"], strict=True)) == [
        ("a", "audit"),
        ("a", "membership"),
        ("b", "membership"),
    ]
    assert "here the attack is made again" not in capsys.readouterr().out  # it is made for the first time


def test_what_was_found_is_found_again(tmp_path, calls):
    first = attacked(tmp_path, {"a": [AUDIT], "b": [AUDIT]})
    again = attacked(tmp_path, {"a": [AUDIT], "b": [AUDIT]})
    assert len(calls) == 1
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])


@pytest.mark.parametrize(
    "change",
    [
        {"models": "other"},
        {"wanted": {"a": [AUDIT | {"runs": 5}], "b": [AUDIT]}},
        {"runs": "a", "wanted": {"a": [AUDIT]}},
    ],
    ids=["models", "arguments", "runs"],
)
def test_what_would_be_something_else_is_made_anew(tmp_path, calls, change):
    usual = {"wanted": {"a": [AUDIT], "b": [AUDIT]}}
    attacked(tmp_path, **usual)
    attacked(tmp_path, **usual | change)
    assert len(calls) > 1


def test_a_killed_stage_goes_on_where_it_was(tmp_path, calls, monkeypatch):
    working = stage.registry.build

    def killed(target, spec):
        if spec["name"] == "membership":
            raise KeyboardInterrupt
        return working("attack", spec)(target)

    stand_in(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        attacked(tmp_path, {"a": [AUDIT, MEMBERSHIP]}, "a")
    monkeypatch.setattr(stage.registry, "build", working)
    assert len(attacked(tmp_path, {"a": [AUDIT, MEMBERSHIP]}, "a")["attacks"]) == 2
    assert [name for name, _ in calls] == ["audit", "membership"]


def test_files_have_the_same_columns_and_types_whatever_was_found(tmp_path):
    full = {
        "attacks": frame("attacks", [AttackResult("a", "audit", "m", "outsider", "auc", 0.5, client=3, positives=2)]),
        "roc": frame("roc", [RocPoint("a", "membership", "m", "outsider", None, 0.1, 0.2, 0.5)]),
        "pictures": frame("pictures", [Picture("a", "g", "m", "server", 1, "true", 0, 20.0, "2x2x1", [1.0, 2, 3, 4])]),
    }
    stage.write(tmp_path / "full", full)
    stage.write(tmp_path / "none", stage._frames(AttackResults()))
    for name, table in full.items():
        some, none = (pd.read_parquet(tmp_path / part / f"{name}.parquet") for part in ("full", "none"))
        assert len(none) == 0
        assert len(some) == len(table) == 1
        some, none = (table.drop(columns="pixels", errors="ignore") for table in (some, none))
        assert dict(some.dtypes) == dict(none.dtypes)
    assert list(pd.read_parquet(tmp_path / "full" / "pictures.parquet")["pixels"][0]) == [1.0, 2.0, 3.0, 4.0]


def test_a_run_that_diverged_says_why_it_is_not_attacked(tmp_path, calls, capsys):
    rest = {
        "diverged_round": None,
        "overflow_rounds": 0,
        "refused_rounds": 0,
        "rounds": [0],
        "metrics": {},
        "final": {},
        "wall_s": 0.0,
        "device": "cpu",
        "execution": {},
        "versions": {},
        "parameters": 1,
        "secure_aggregation": None,
    }
    for name, status in (("a", "ok"), ("b", "diverged"), ("c", "refused"), ("d", "learned_nothing")):
        save(tmp_path / "runs", RunResult(run_id=name, fingerprint="f", status=status, **rest), {"w": pd.array([1.0])})
    found = stage.attack_stored(
        SimpleNamespace(runs=tuple(map(run, "abcde"))),
        {"a": [AUDIT], "b": [AUDIT | {"method": "one_run"}, MEMBERSHIP], "c": [AUDIT], "d": [AUDIT]},
        {},
        None,
        runs_folder=tmp_path / "runs",
        attacks_folder=tmp_path / "attacks",
    )
    rows = found["attacks"]
    assert rows[rows["reason"] == ""]["run_id"].tolist() == ["a", "c", "d"]
    lost = rows[rows["reason"] != ""]
    assert list(zip(lost["run_id"], lost["attack"], lost["method"], strict=True)) == [
        ("b", "audit", "one_run"),
        ("b", "membership", ""),
    ]
    assert set(lost["reason"]) == {"the run diverged: it has no model to attack"}
    assert lost["value"].isna().all()
    assert "membership on b: not made, the run diverged" in capsys.readouterr().out


def test_a_reason_is_kept_with_the_evidence(tmp_path, monkeypatch, capsys):
    def attack(target, spec):
        return AttackResults([not_made(one.run_id, spec["name"], "it is too small") for one in target.runs])

    stand_in(monkeypatch, attack)
    for _ in range(2):  # made, and found again
        rows = attacked(tmp_path, {"a": [AUDIT], "b": [AUDIT]})["attacks"]
        assert rows["reason"].tolist() == ["it is too small"] * 2
    said = capsys.readouterr().out
    assert "0 scores" in said
    assert said.count("audit on a, b: not made, it is too small") == 1
