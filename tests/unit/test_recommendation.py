"""Which point a policy picks, and what it says of that."""

import numpy as np
import pandas as pd
import pytest
from made_up import proved

from fedpareto.analysis.tables.recommendation import NOT_TRUSTED, SEVERAL, TRUSTED, recommend
from fedpareto.columns.declared import table

SEEDS = 4


def grid(*points):
    """`runs` and `tradeoff` of a made-up study: (name, epsilon, accuracies by seed, and what else differs)."""
    runs, rows = [], []
    for name, epsilon, accuracies, *more in points:
        about = {"study": "s", "dataset": "d", "partition": "iid", "unit": "client", "clients": 10, "trust": "central"}
        about |= {"clip_norm": 1.0, "noise_multiplier": 1.0, "participation": "secret", "delta": 1e-4}
        about |= {
            "point_id": name,
            **proved(epsilon),
            "epsilon_by": "pld" if np.isfinite(epsilon) else None,
            "adjacency": "add_or_remove_one",
            "kind": "private" if np.isfinite(epsilon) else "non_private",
        }
        about |= more[0] if more else {}
        values = np.asarray(accuracies, float)
        runs += [about | {"seed": seed, "status": "ok", "accuracy": value} for seed, value in enumerate(values)]
        half = np.ptp(values) / 2
        ends = (np.nan, np.nan) if len(values) < 2 else (values.mean() - half, values.mean() + half)
        rows.append(
            about
            | {"n_seeds": len(values), "n_ok": len(values), "n_learned": len(values), "accuracy_mean": values.mean()}
        )
        rows[-1] |= {"accuracy_low": ends[0], "accuracy_high": ends[1]}
    return pd.DataFrame(runs), pd.DataFrame(rows)


def around(mean, half=0.01):
    return mean + half * np.array([-1, -0.5, 0.5, 1])


def found(*rows):
    """Rows of `attacks` that stand for their attack: (point, attack, adversary, value, high)."""
    names = ("point_id", "attack", "adversary", "value", "high")
    table = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows], columns=list(names))
    table[["value", "high"]] = table[["value", "high"]].astype(float)
    return table.assign(study="s", success=True, reason="")


def pick(points, attacks=(), policy=(), coordinator=TRUSTED, comparisons=None):
    runs, tradeoff = grid(*points)
    table = recommend({"s": dict(policy)}, comparisons or {}, runs=runs, tradeoff=tradeoff, attacks=found(*attacks))
    return table[table["coordinator"] == coordinator].iloc[0]


THREE = [("a", 1.0, around(0.7)), ("b", 2.0, around(0.8)), ("c", 8.0, around(0.9)), ("free", np.inf, around(0.95))]


def test_the_most_accurate_within_the_limits_is_picked_with_its_cost():
    row = pick(THREE, policy={"largest_epsilon": 4.0})
    assert row["point_id"] == "b"
    assert row["point_study"] == "s"
    assert row["cost"] == pytest.approx(15.0)
    assert row["binding"] is None
    assert not row["measured"]
    assert "most accurate of 2 points" in row["why"]
    assert "not measured" in row["why"]


def test_no_limits_pick_the_most_accurate_private_point_and_never_one_without_a_guarantee():
    assert pick(THREE)["point_id"] == "c"
    clipped = ("d", np.inf, around(0.99), {"kind": "clipped"})
    assert pick([*THREE, clipped], [("d", "membership", "outsider", 0.5, 0.5)])["point_id"] == "c"


def test_a_calibrated_epsilon_meets_its_target_to_four_digits():
    points = [("a", 2.00003, around(0.7)), ("b", 2.01, around(0.8))]
    assert pick(points, policy={"largest_epsilon": 2.0})["point_id"] == "a"


def test_the_upper_end_of_the_strongest_attack_counts():
    attacks = [("b", "membership", "outsider", 0.5, 0.62), ("b", "client_membership", "participants", 0.55, 0.58)]
    attacks += [("a", "membership", "outsider", 0.5, 0.55)]
    assert pick(THREE, attacks, {"largest_membership": 0.62})["point_id"] == "b"
    row = pick(THREE, attacks, {"largest_membership": 0.6})
    assert row["point_id"] == "a"
    assert row["membership_high"] == 0.55
    both = pick(THREE, attacks, {"largest_membership": 0.7})
    assert (both["membership"], both["membership_high"]) == (0.55, 0.62)


def test_a_value_without_an_interval_is_its_own_upper_end():
    attacks = [("a", "gradient_inversion", "outsider", 0.3, np.nan)]
    assert pick(THREE, attacks, {"largest_reconstruction": 0.3})["point_id"] == "a"
    assert pick(THREE, attacks, {"largest_reconstruction": 0.29})["point_id"] is None


def test_a_point_that_nobody_attacked_does_not_fit_a_limit_on_leakage():
    attacks = [("a", "membership", "outsider", 0.5, 0.55)]
    row = pick(THREE, attacks, {"largest_membership": 0.6})
    assert row["point_id"] == "a"
    assert row["measured"]
    assert "2 points more accurate cannot be judged, since nobody attacked them" in row["why"]
    # What was measured is membership: a limit on reconstruction needs its own.
    assert pick(THREE, attacks, {"largest_reconstruction": 0.9})["point_id"] is None
    none = pick(THREE, [], {"largest_membership": 0.6})
    assert none["point_id"] is None
    assert none["binding"] == "largest_membership"
    assert "nobody attacked any of the 3 points" in none["why"]
    assert not none["measured"]


def test_an_attack_that_could_not_be_made_is_no_sign_of_little_leakage():
    runs, tradeoff = grid(*THREE)
    names = ("point_id", "attack", "adversary", "value", "high")
    made = found(*[(point, "gradient_inversion", "outsider", 0.1, 0.2) for point in "ab"])
    missing = pd.DataFrame([("c", "gradient_inversion", "", np.nan, np.nan)], columns=list(names))
    attacks = pd.concat([made, missing.assign(study="s", success=False, reason="nobody holds 32 records")])
    policies = {"s": {"largest_reconstruction": 0.5}}
    row = recommend(policies, {}, runs=runs, tradeoff=tradeoff, attacks=attacks).iloc[0]
    assert row["point_id"] == "b"
    assert "1 point more accurate cannot be judged, since no attack on it could be made: nobody holds 32" in row["why"]
    runs, tradeoff = grid(THREE[2])
    row = recommend(policies, {}, runs=runs, tradeoff=tradeoff, attacks=attacks).iloc[0]
    assert row["point_id"] is None
    assert "1 point cannot be judged, since no attack on it could be made" in row["why"]
    assert not row["measured"]


def test_a_point_that_learned_nothing_is_not_picked():
    runs, tradeoff = grid(*THREE)
    tradeoff.loc[tradeoff["point_id"] == "c", "n_learned"] = 0
    assert recommend({"s": {}}, {}, runs=runs, tradeoff=tradeoff, attacks=found()).iloc[0]["point_id"] == "b"
    tradeoff["n_learned"] = np.where(tradeoff["point_id"] == "c", SEEDS, 0)
    row = recommend({"s": {"largest_epsilon": 4.0}}, {}, runs=runs, tradeoff=tradeoff, attacks=found()).iloc[0]
    assert (row["point_id"], row["binding"]) == (None, "largest_epsilon")
    assert row["why"].endswith("a point would; 2 points within the limits learned nothing")
    tradeoff["n_learned"] = 0
    row = recommend({"s": {"largest_epsilon": 4.0}}, {}, runs=runs, tradeoff=tradeoff, attacks=found()).iloc[0]
    assert (row["point_id"], row["binding"]) == (None, "learned")
    assert row["why"] == "none fits; of 2 points within the limits none learned anything"
    # One seed that did is enough: the mean over all of them is what it is.
    tradeoff.loc[tradeoff["point_id"] == "a", "n_learned"] = 1
    assert recommend({"s": {}}, {}, runs=runs, tradeoff=tradeoff, attacks=found()).iloc[0]["point_id"] == "a"


def test_the_coordinator_counts_only_where_it_is_not_trusted():
    local = {"trust": "local"}
    points = [("a", 1.0, around(0.7), local), ("b", 2.0, around(0.8), local), ("c", 3.0, around(0.9))]
    attacks = [(name, "membership", "outsider", 0.5, 0.55) for name in "abc"]
    attacks += [("b", "membership", "server", 0.8, 0.9), ("c", "membership", "server", 1.0, 1.0)]
    policy = {"largest_membership": 0.6}
    assert pick(points, attacks, policy)["point_id"] == "c"
    assert pick(points, attacks, policy, NOT_TRUSTED)["point_id"] == "a"
    assert pick(points, attacks, policy | {"trust": ["local"]})["point_id"] == "b"
    row = pick(points, attacks, policy | {"trust": ["central"]}, NOT_TRUSTED)
    assert row["point_id"] is None
    assert row["binding"] == "trust"


def test_the_lower_end_of_accuracy_counts():
    points = [("a", 1.0, around(0.75, 0.001)), ("b", 1.0, around(0.76, 0.1))]
    assert pick(points, policy={"smallest_accuracy": 0.7})["point_id"] == "a"
    assert pick(points)["point_id"] == "b"


def test_which_limit_binds():
    attacks = [(name, "membership", "outsider", auc, auc) for name, auc in zip("abc", (0.5, 0.7, 0.9), strict=True)]
    row = pick(THREE, attacks, {"largest_membership": 0.6, "smallest_accuracy": 0.75})
    assert row["point_id"] is None
    assert row["binding"] == "largest_membership, smallest_accuracy"
    assert "AUC at most 0.6" in row["why"]
    assert pick(THREE, attacks, {"largest_epsilon": 0.5})["binding"] == "largest_epsilon"
    # c is accurate enough, but leaks too much and costs too much epsilon.
    policy = {"largest_epsilon": 4.0, "largest_membership": 0.8, "smallest_accuracy": 0.85}
    assert pick(THREE, attacks, policy)["binding"] == "smallest_accuracy"
    policy = {"largest_epsilon": 0.5, "largest_membership": 0.8, "smallest_accuracy": 0.85}
    row = pick(THREE, attacks, policy)
    assert row["binding"] == SEVERAL
    assert np.isnan(row["cost"])


def test_how_sure_the_seeds_make_us():
    assert pick(THREE)["sure"] == 1.0
    # Another seed set for each: their luck is not shared.
    even = [("a", 1.0, around(0.8, 0.05)), ("b", 1.0, around(0.8001, 0.05))]
    runs, tradeoff = grid(*even)
    runs.loc[runs["point_id"] == "b", "seed"] += SEEDS
    tables = [recommend({"s": {}}, {}, runs=runs, tradeoff=tradeoff, attacks=found()) for _ in range(2)]
    assert 0.4 < tables[0]["sure"].iloc[0] < 0.6
    pd.testing.assert_frame_equal(*tables)
    # Alone, and sometimes not accurate enough.
    uneven = [("a", 1.0, [0.6, 0.8, 0.8, 0.8])]
    runs, tradeoff = grid(*uneven)
    tradeoff["accuracy_low"] = 0.7
    assert (
        0.9
        < recommend({"s": {"smallest_accuracy": 0.7}}, {}, runs=runs, tradeoff=tradeoff, attacks=found())["sure"].iloc[
            0
        ]
        < 1.0
    )
    rivals = [("a", 1.0, around(0.8, 0.001)), ("b", 1.0, around(0.82, 0.1))]
    # b is out for its lower end, and yet a may not be the best.
    assert pick(rivals, policy={"smallest_accuracy": 0.78})["point_id"] == "a"
    assert pick(rivals, policy={"smallest_accuracy": 0.78})["sure"] < 0.5


def test_one_seed_says_nothing_of_its_spread():
    row = pick([("a", 1.0, [0.8])], policy={"smallest_accuracy": 0.8})
    assert row["point_id"] == "a"
    assert np.isnan(row["sure"])
    assert "one seed" in row["why"]


def test_a_point_with_a_diverged_seed_is_not_picked():
    runs, tradeoff = grid(*THREE)
    tradeoff.loc[tradeoff["point_id"] == "c", "n_ok"] = SEEDS - 1
    assert recommend({"s": {}}, {}, runs=runs, tradeoff=tradeoff, attacks=found())["point_id"].iloc[0] == "b"


def test_the_cost_is_against_as_many_clients():
    points = [("a", 1.0, around(0.7)), ("few", np.inf, around(0.9)), ("many", np.inf, around(0.99), {"clients": 50})]
    assert pick(points)["cost"] == pytest.approx(20.0)
    assert np.isnan(pick(points[:1])["cost"])


def test_a_comparison_chooses_among_its_studies_and_keeps_units_and_data_apart():
    points = [("a", 1.0, around(0.7)), ("b", 1.0, around(0.8), {"study": "t", "trust": "distributed"})]
    points += [("r", 1.0, around(0.9), {"study": "t", "unit": "record"})]
    points += [("e", 1.0, around(0.6), {"study": "t", "dataset": "e"})]
    runs, tradeoff = grid(*points)
    policies = {"s": {}, "both": {}}
    table = recommend(policies, {"both": {"studies": ["s", "t"]}}, runs=runs, tradeoff=tradeoff, attacks=found())
    both = table[(table["study"] == "both") & (table["coordinator"] == TRUSTED)]
    assert dict(zip(zip(both["dataset"], both["unit"], strict=True), both["point_id"], strict=True)) == {
        ("d", "client"): "b",
        ("d", "record"): "r",
        ("e", "client"): "e",
    }
    assert set(both["studies"]) == {"s t"}
    assert set(table[table["study"] == "s"]["point_id"].dropna()) == {"a"}
    assert both.set_index("point_id")["point_study"].to_dict() == {"b": "t", "r": "t", "e": "t"}


def test_points_of_another_adjacency_are_another_question_and_never_compete():
    swap = {"adjacency": "replace_one", "trust": "local"}
    # At one epsilon the more accurate point promises less.
    points = [("a", 2.0, around(0.9)), ("b", 2.0, around(0.8), swap), ("free", np.inf, around(0.95))]
    runs, tradeoff = grid(*points)
    table = recommend({"s": {"largest_epsilon": 2.0}}, {}, runs=runs, tradeoff=tradeoff, attacks=found())
    rows = table.set_index(["adjacency", "coordinator"])
    assert len(rows) == 4
    assert rows.loc[("add_or_remove_one", TRUSTED), "point_id"] == "a"
    assert rows.loc[("replace_one", TRUSTED), "point_id"] == rows.loc[("replace_one", NOT_TRUSTED), "point_id"] == "b"
    assert rows.loc[("replace_one", TRUSTED), "why"].startswith("the only point within the limits")
    none = rows.loc[("add_or_remove_one", NOT_TRUSTED)]
    assert (none["point_id"], none["binding"]) == (None, "trust")
    assert none["why"] == "none fits; there is no point with distributed or local trust whose seeds all finished"


def test_the_limit_on_epsilon_is_on_the_headline():
    row = pick(THREE, policy={"largest_epsilon": 2.0})  # 2.2 by RDP
    assert (row["point_id"], row["epsilon"], row["epsilon_by"]) == ("b", 2.0, "pld")
    assert row["epsilon_rdp"] == pytest.approx(2.2)


def test_the_table_has_its_columns_and_types_with_and_without_rows():
    runs, tradeoff = grid(*THREE)
    full = recommend({"s": {"largest_epsilon": None, "trust": None}}, {}, runs=runs, tradeoff=tradeoff, attacks=found())
    none = recommend({}, {}, runs=runs, tradeoff=tradeoff, attacks=found())
    assert list(full) == list(none) == list(table("recommendation").names)
    assert (full.dtypes == none.dtypes).all()
