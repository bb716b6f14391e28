"""What a study attacks, and the policy of a recommendation: read, checked, and planned."""

import pytest

from fedpareto.config.load import ConfigError, checked
from fedpareto.sweep.sweep import Sweep, plan_sweep

STUDY = {
    "dataset": "digits",
    "clients": [50, 100],
    "sampling_rate": 0.2,
    "rounds": 5,
    "model": "logistic",
    "client_learning_rate": 0.1,
    "clip_norm": [0.3, 1.0],
    "noise_multiplier": [1, 2],
    "delta": 1e-3,
    "seeds": 2,
    "baselines": ["non_private", "centralised", "alone"],
}


def planned(**changes):
    return plan_sweep(
        checked({"studies": {"s": STUDY | changes}}, [("study.yaml", {"studies": {"s": STUDY | changes}})])
    )


def problem(**changes):
    with pytest.raises(ConfigError) as caught:
        planned(**changes)
    return str(caught.value)


def test_nothing_is_attacked_unasked():
    plan = planned()
    assert not plan.attacks
    assert not plan.attacked
    assert not {"leakage", "roc", "audit"} & set(plan.figures("s"))


def test_attacks_are_made_on_the_first_seed_of_every_private_point_and_without_privacy():
    plan = planned(attacks="membership")
    runs = [plan.runs[run] for run in plan.attacks]
    assert {run.seed for run in runs} == {0}
    assert {run.baseline for run in runs} == {None, "non_private"}
    assert len(runs) == 2 * (2 * 2 + 1)
    assert set(plan.attacked) <= set(plan.bundles)
    assert all(spec == ({"name": "membership", "shadows": 16},) for spec in plan.attacks.values())


def test_attacked_picks_points_and_the_reference_that_goes_with_them():
    plan = planned(attacks="membership", attacked={"clients": 50, "clip_norm": 0.3})
    runs = [plan.runs[run] for run in plan.attacks]
    assert {(run.data.clients, run.contribution.clip_norm, run.to_dict()["noise_multiplier"]) for run in runs} == {
        (50, 0.3, 1.0),
        (50, 0.3, 2.0),
        (50, None, 0.0),
    }


def test_arguments_that_are_lists_make_an_attack_each():
    plan = planned(attacks=[{"name": "gradient_inversion", "records": [1, 4]}, "audit"])
    (specs,) = {str(specs): specs for specs in plan.attacks.values()}.values()
    assert [(spec["name"], spec.get("records")) for spec in specs] == [
        ("gradient_inversion", 1),
        ("gradient_inversion", 4),
        ("audit", None),
    ]


def test_attacks_do_not_rename_runs_or_bundles():
    assert planned(attacks="membership").bundles.keys() == planned().bundles.keys()


def test_a_plan_survives_its_file():
    plan = planned(attacks=["membership", "audit"], policy={"largest_epsilon": 3})
    again = Sweep.from_json(plan.to_json())
    assert again.attacks == plan.attacks
    assert again.policies == plan.policies
    assert again.policies["s"]["largest_epsilon"] == 3
    assert again.policies["s"]["smallest_accuracy"] is None
    assert again.digest == plan.digest


def test_figures_are_those_of_what_was_tried():
    assert {"leakage", "roc", "riskfront"} <= set(planned(attacks="membership").figures("s"))
    assert "audit" not in planned(attacks="membership").figures("s")
    assert "audit" in planned(attacks="audit").figures("s")
    assert "reconstructions" in planned(attacks="model_inversion").figures("s")
    assert "recommendation" in planned(policy={"largest_epsilon": 3}).figures("s")


def test_another_policy_makes_the_tables_again():
    assert planned(policy={"largest_epsilon": 3}).digest != planned(policy={"largest_epsilon": 4}).digest


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"attacks": "memberschip"},
            "studies.s.attacks = memberschip must be a name that exists (did you mean membership?)",
        ),
        ({"attacks": {"name": "membership", "shadows": 5}}, "shadows = 5 must be an even number of at least 4"),
        (
            {"attacks": {"name": "gradient_inversion", "records": 33}},
            "records = 33 must be a whole number from 1 to 32",
        ),
        ({"attacked": {"clients": 50}}, "studies.s.attacked = {clients: 50} must stand beside attacks"),
        (
            {"attacks": "audit", "attacked": {"clients": 51}},
            "studies.s.attacked.clients = 51 must be a value of clients in this study (it has 50, 100)",
        ),
        (
            {"attacks": "audit", "attacked": {"clip": 1}},
            "studies.s.attacked.clip = 1 must be a key that picks points of the grid (did you mean clip_norm?)",
        ),
        ({"attacks": "audit", "attacked": 3}, "studies.s.attacked = 3 must be a mapping"),
        ({"policy": {"largest_epsilon": 0}}, "studies.s.policy.largest_epsilon = 0 must be a number above 0"),
        ({"policy": {"epsilon": 1}}, "studies.s.policy.epsilon = 1 must be a key that exists"),
        ({"policy": {"trust": ["centrall"]}}, "studies.s.policy.trust = [centrall] must be a list of central"),
        ({"policy": {"trust": []}}, "studies.s.policy.trust = [] must hold at least one value"),
        ({"policy": 3}, "studies.s.policy = 3 must be a mapping"),
        (
            {"policy": {"largest_membership": 0.6}},
            "largest_membership = 0.6 must stand beside an attack that measures it: client_membership or membership",
        ),
        (
            {"attacks": "audit", "trust": "local"},
            "studies.s.attacks = audit must not be made on this study: clients add the noise by themselves",
        ),
        (
            {"attacks": ["membership", "audit"], "algorithm": "scaffold", "sampling_rate": 1.0},
            "studies.s.attacks[1] = audit",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(changes, line):
    assert line in problem(**changes)


def test_a_comparison_has_a_policy_of_its_own():
    tree = {
        "studies": {"a": STUDY | {"attacks": "membership"}, "b": STUDY},
        "comparisons": {"both": {"studies": ["a", "b"], "policy": {"largest_membership": 0.6}}},
    }
    plan = plan_sweep(checked(tree, [("study.yaml", tree)]))
    assert plan.policies["both"]["largest_membership"] == 0.6
    assert plan.figures("both") == ("comparison", "riskfront", "recommendation")
    tree["comparisons"]["both"]["policy"] = {"largest_reconstruction": 0.1}
    with pytest.raises(ConfigError, match=r"comparisons.both.policy.largest_reconstruction = 0.1 must stand beside"):
        checked(tree, [("study.yaml", tree)])


def test_reconstructions_are_drawn_of_pictures_only():
    assert "reconstructions" not in planned(attacks="gradient_inversion", dataset="breast_cancer").figures("s")
    assert "reconstructions" in planned(attacks="gradient_inversion", dataset="mnist").figures("s")
