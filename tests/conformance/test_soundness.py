"""Every rule of `fedpareto.privacy.soundness` refuses what it is about, in a configuration's words and in a plan."""

from dataclasses import replace

import pytest
from plans import DISTRIBUTED

from fedpareto.privacy import soundness
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError
from fedpareto.privacy.setting import LocalSteps, PrivacySetting, SecureAggregation, schedule_length
from fedpareto.privacy.soundness import violations

ADD, SWAP, ZERO = "add_or_remove_one", "replace_one", "zero_out"


@pytest.mark.parametrize(
    ("unit", "trust", "sampling", "expected"),
    [
        ("client", "central", "poisson", ZERO),
        ("client", "central", "fixed_size", SWAP),
        ("client", "central", "shuffled", SWAP),
        ("client", "central", "cyclic", SWAP),
        ("record", "central", "poisson", ZERO),
        ("record", "central", "fixed_size", SWAP),
        ("record", "central", "shuffled", SWAP),
        ("client", "distributed", "fixed_size", SWAP),
        ("client", "distributed", "shuffled", SWAP),
        ("client", "distributed", "cyclic", SWAP),
        ("record", "distributed", "poisson", ZERO),
        ("client", "local", "poisson", SWAP),
        ("client", "local", "fixed_size", SWAP),
        ("client", "local", "shuffled", SWAP),
        ("client", "local", "cyclic", SWAP),
        ("record", "local", "poisson", ADD),
        ("record", "local", "fixed_size", ADD),
        ("record", "local", "shuffled", ADD),
    ],
)
def test_adjacency_where_all_see_who_takes_part(unit, trust, sampling, expected):
    assert_adjacent(unit, trust, sampling, "seen", expected)


@pytest.mark.parametrize(
    ("unit", "trust", "sampling", "expected"),
    [
        ("client", "central", "poisson", ADD),
        ("client", "central", "fixed_size", SWAP),
        ("record", "central", "poisson", ADD),
        ("record", "distributed", "poisson", ADD),
        ("record", "local", "poisson", ADD),
        ("record", "local", "fixed_size", ADD),
    ],
)
def test_adjacency_where_nobody_sees_who_takes_part(unit, trust, sampling, expected):
    assert_adjacent(unit, trust, sampling, "secret", expected)


def assert_adjacent(unit, trust, sampling, participation, expected):
    mechanism = "skellam" if trust == "distributed" else "gaussian"
    plan = PrivacyPlan(
        PrivacySetting(unit, trust, sampling, participation, mechanism, sampling_rate=0.1),
        population=100,
        rounds=3,
        clip_norm=0.5,
        noise_multiplier=3.0,
        delta=1e-5,
        sum=DISTRIBUTED.sum if trust == "distributed" else None,
        local=LocalSteps(1, (0.1,)) if (unit, trust) == ("record", "local") else None,
    )
    assert plan.setting.adjacency == expected
    assert plan.sensitivity == (1.0 if expected == SWAP else 0.5)
    assert plan.relative_noise == pytest.approx(1.5 if expected == SWAP else 3.0)


# For every rule of soundness a choice that breaks it and no other, and what is to be changed to make that choice sound.
SEEN = {"participation": "seen"}
OWN = "tests/conformance/own_components.py"
BROKEN = [
    (PrivacySetting(unit="record", several_steps=True), {"several_steps": False}),
    (PrivacySetting(weight_cap=0), {"weight_cap": 100}),
    (PrivacySetting(weight_cap=100, trust="local", **SEEN), {"weight_cap": None}),
    (PrivacySetting(trust="distributed", sampling="fixed_size"), {"mechanism": "skellam"}),
    (PrivacySetting(mechanism="skellam"), {"mechanism": "gaussian"}),
    (PrivacySetting(trust="distributed", mechanism="skellam", sampling_rate=0.5), {"sampling_rate": 1.0}),
    (
        PrivacySetting(unit="record", trust="distributed", mechanism="skellam", sampling="fixed_size"),
        {"sampling": "poisson"},
    ),
    (
        PrivacySetting(
            trust="distributed", mechanism="skellam", sampling="fixed_size", sampling_rate=0.5, participation="secret"
        ),
        SEEN,
    ),
    (PrivacySetting(trust="local", participation="secret"), SEEN),
    (PrivacySetting(sampling="shuffled", participation="secret"), SEEN),
    (PrivacySetting(unit="record", sampling="cyclic", **SEEN), {"sampling": "shuffled"}),
    (PrivacySetting(mechanism="banded", sampling="shuffled", **SEEN), {"sampling": "cyclic"}),
    (
        PrivacySetting(mechanism="banded", sampling="cyclic", sampling_rate=0.5, min_separation=2, bands=3, **SEEN),
        {"bands": 2},
    ),
    (PrivacySetting(mechanism="banded", sampling="cyclic", trust="local", **SEEN), {"trust": "central"}),
    (PrivacySetting(clipping="adaptive", trust="local", **SEEN), {"trust": "central"}),
    (PrivacySetting(unit="record", clipping="adaptive", trust="local", **SEEN), {"trust": "central"}),
    (PrivacySetting(clipping="adaptive", mechanism="banded", sampling="cyclic", **SEEN), {"mechanism": "gaussian"}),
    (PrivacySetting(algorithm="scaffold", clipping="adaptive"), {"clipping": "fixed"}),
    (PrivacySetting(algorithm="scaffold", sampling="fixed_size", sampling_rate=0.5), {"sampling": "poisson"}),
    (PrivacySetting(algorithm="scaffold", sampling="fixed_size", sampling_rate=0.5, participation="secret"), SEEN),
    (PrivacySetting(algorithm="fedprox", unit="record"), {"unit": "client"}),
    (PrivacySetting(learns_from_records=True), {"unit": "record"}),
    (PrivacySetting(unit="record", dropout=True), {"dropout": False}),
    (PrivacySetting(unit="record", drawn_shards=True), {"unit": "client"}),
    (PrivacySetting(unit="record", stragglers=True), {"stragglers": False}),
    (PrivacySetting(algorithm="scaffold", stragglers=True), {"algorithm": "fedprox"}),
    (PrivacySetting(augmentation="flip_and_crop", unit="record", trust="local"), {"augmentation": "none"}),
    (PrivacySetting(augmentation="flip_and_crop", views=4), {"views": 1}),
    (PrivacySetting(mechanism=f"{OWN}:SilentMechanism"), {"mechanism": "gaussian"}),
    (PrivacySetting(algorithm=f"{OWN}:SilentAlgorithm"), {"algorithm": "fedavg"}),
    (PrivacySetting(algorithm=f"{OWN}:Forgetful"), {"algorithm": "fedavg"}),
    (PrivacySetting(algorithm=f"{OWN}:Pair", trust="local", **SEEN), {"trust": "central"}),
    (PrivacySetting(algorithm=f"{OWN}:Mindful", sampling_rate=0.5), SEEN),
]


@pytest.mark.parametrize("unit", ["client", "record"])
@pytest.mark.parametrize("sampling", ["poisson", "fixed_size", "shuffled"])
@pytest.mark.parametrize("participation", ["secret", "seen"])
def test_a_clip_norm_may_adapt_wherever_a_server_noises_sum_and_count_of_one_sample(unit, sampling, participation):
    fixed = PrivacySetting(unit=unit, sampling=sampling, participation=participation, sampling_rate=0.5)
    if any(violations(fixed)):
        assert (sampling, participation) == ("shuffled", "secret")
        return
    plan = plan_of(replace(fixed, clipping="adaptive"))
    assert plan.private
    assert plan.noise_stddev > plan_of(fixed).noise_stddev
    assert plan.relative_noise == plan_of(fixed).relative_noise


def only_broken(rule):
    return [pair for pair in BROKEN if [r for r in soundness._RULES if r.broken(pair[0])] == [rule]]


@pytest.mark.parametrize("rule", soundness._RULES, ids=lambda rule: f"{rule.key}: {rule.must}"[:60])
def test_every_refusal_is_hit_alone_and_goes_away(rule):
    pairs = only_broken(rule)
    assert pairs, "no choice in BROKEN breaks this rule alone"
    for choice, repair in pairs:
        (fault,) = violations(choice)
        assert (fault.key, fault.must, fault.why) == (rule.key, rule.must, rule.why)
        assert list(violations(replace(choice, **repair))) == []


def plan_of(setting):
    return PrivacyPlan(
        setting,
        population=100,
        rounds=10,
        clip_norm=1.0,
        noise_multiplier=2.0,
        delta=1e-5,
        strategy=(setting.bands**-0.5,) * setting.bands,
        sum=SecureAggregation(10, 100, 18, 0.6) if setting.trust == "distributed" else None,
        local=LocalSteps(1, (0.1,)) if setting.trains_records_locally else None,
        preprocessing_noise_multipliers=(8.0,) if setting.learns_from_records else (),
    )


@pytest.mark.parametrize(("setting", "repair"), BROKEN)
def test_a_plan_refuses_all_that_the_table_knows(setting, repair):
    (fault,) = violations(setting)
    with pytest.raises(PrivacyPlanError) as refusal:
        plan_of(setting)
    assert str(refusal.value) == f"{fault.key} must {fault.must}: {fault.why}"
    assert plan_of(replace(setting, **repair)).private


@pytest.mark.parametrize(("setting", "repair"), BROKEN)
def test_a_plan_holds_the_setting_that_was_judged(setting, repair):
    sound = replace(setting, **repair)
    separation = schedule_length(100, sound.sampling_rate)
    assert plan_of(sound).setting == replace(sound, min_separation=separation)


def test_what_follows_from_the_numbers_of_a_plan_is_not_taken_from_elsewhere():
    claimed = PrivacySetting(mechanism="banded", sampling="cyclic", sampling_rate=0.5, min_separation=9, bands=1)
    plan = PrivacyPlan(claimed, population=100, rounds=9, clip_norm=1.0, noise_multiplier=0.0, delta=None)
    assert plan.setting.min_separation == 2
    with pytest.raises(PrivacyPlanError, match="at most as many bands"):
        plan.replace(noise_multiplier=1.0, delta=1e-5, strategy=(0.5,) * 4)


def test_clients_under_secure_aggregation_may_not_count_on_poisson_sampling():
    with pytest.raises(PrivacyPlanError, match="size of the cohort must be public"):
        DISTRIBUTED.replace(sampling="poisson", sampling_rate=0.5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sum": None}, "sizes of secure aggregation"),
        ({"trust": "central", "mechanism": "gaussian"}, "sizes of secure aggregation"),
        ({"local": LocalSteps(1, (0.1,))}, "local steps"),
        ({"population": 0}, "at least 1"),
        ({"rounds": -1}, "at least 1"),
        ({"sampling": "sorted"}, "poisson or fixed_size"),
        ({"unit": "household"}, "client or record"),
        ({"participation": "rumoured"}, "secret or seen"),
        ({"mechanism": "laplace"}, "one of banded, discrete_gaussian, gaussian, skellam"),
    ],
)
def test_plans_without_a_meaning_are_refused(change, reason):
    with pytest.raises(PrivacyPlanError, match=reason):
        DISTRIBUTED.replace(**change)
