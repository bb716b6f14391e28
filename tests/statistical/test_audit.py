"""Audits of the engine: sound runs are never found to leak more than they prove, and broken ones are caught.

Seeds are fixed. With another seed a sound run's bound would be above its proven epsilon (by PLD) with probability 5 % at most, for
each adversary; much less in truth, for the bounds are not tight.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attacked import attack

from fedpareto.attacks.audit.attack import Audit, canaries_in, findings_of
from fedpareto.attacks.audit.canary_runs import _expected, copies_of, observe
from fedpareto.attacks.audit.scores import CanaryLaw, canary_law, log_likelihood_ratio, simulated_scores
from fedpareto.attacks.target import Target
from fedpareto.components.threats import OUTSIDER, PARTICIPANTS, SERVER
from fedpareto.config.load import checked
from fedpareto.data import arrays
from fedpareto.data.prepare import prepare
from fedpareto.federated.contributions import client
from fedpareto.federated.inputs.setup import measure
from fedpareto.sweep.account import account
from fedpareto.sweep.sweep import plan_sweep

BASE = {
    "dataset": "digits",
    "clients": 60,
    "sampling_rate": 0.2,
    "rounds": 20,
    "model": "logistic",
    "local_steps": 1,
    "batch_size": 8,
    "client_learning_rate": 0.5,
    "clip_norm": 0.3,
    "noise_multiplier": 1.5,
    "delta": 1e-4,
}
RECORD = {"unit": "record", "local_steps": None, "batch_size": None, "client_learning_rate": None}
SKELLAM = {"trust": "distributed", "sampling": "fixed_size", "mechanism": "skellam"}
SPEC = {"method": "one_run", "canaries": None, "runs": 32}
audit = attack("audit")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare("digits", folder / "digits.npz", folder / "digits.json", None)
    return arrays.read(folder / "digits.npz")


def target_of(data, **changes):
    """The private runs of a study."""
    study = {key: value for key, value in (BASE | changes).items() if value is not None}
    plan = plan_sweep(checked({"studies": {"s": study}}, [("test", {})]))
    (bundle,) = [bundle for bundle in plan.bundles.values() if any(run.privacy for run in bundle.runs)]
    needed = measure(bundle.runs, data) if bundle.needs_data_to_account else None
    return Target(tuple(run for run in bundle.runs if run.privacy), account(bundle, needed), data, {})


@pytest.fixture(scope="module")
def two(data):
    """Two runs of noise multipliers 1.5 and 3, accounted for once."""
    return target_of(data, noise_multiplier=[1.5, 3.0])


def only(target, *rows):
    """Some of its runs, with nothing computed of them yet."""
    return replace(target, runs=tuple(target.runs[i] for i in rows))


def quietest(target):
    return max(range(len(target.runs)), key=lambda i: target.runs[i].to_dict()["noise_multiplier"])


def lower_bounds(findings, score="epsilon_lower"):
    return {row.adversary: row for row in findings if row.score == score}


def changed(target, **values):
    """A target whose program is not the one its plans are about; what it takes is computed once and kept, so put there."""
    for name, value in values.items():
        vars(target)[name] = value
    return target


def test_a_sound_run_is_within_its_epsilon_and_one_with_too_little_noise_is_caught(two):
    target, quiet = only(two, 0, 1), quietest(two)
    stddev = target.run_params.noise_stddev.at[quiet].divide(4)
    findings = audit(changed(target, run_params=target.run_params._replace(noise_stddev=stddev)), SPEC).findings
    broken = [row for row in findings if row.run_id == two.runs[quiet].run_id]
    sound = [row for row in findings if row not in broken]
    for adversary, row in lower_bounds(sound).items():
        assert 0 < row.value <= row.bound, adversary
        assert row.low == row.value
        assert (row.positives or 0) + (row.negatives or 0) == 32 * 30
    for adversary, row in lower_bounds(broken).items():
        assert row.value > row.bound, adversary
    for row in lower_bounds(sound, "auc").values():
        assert 0.5 < row.low < row.value < row.bound
        assert not row.success
    for row in lower_bounds(sound, "epsilon_estimate").values():
        assert 0.3 * row.bound < row.value < row.bound
    assert set(lower_bounds(sound)) == {PARTICIPANTS, OUTSIDER}  # against a trusted server nothing is claimed


def test_missing_clipping_is_caught(two, monkeypatch):
    monkeypatch.setattr(client, "clip_factor", lambda norm, clip_norm: jnp.ones_like(norm))
    for row in lower_bounds(audit(only(two, quietest(two)), SPEC).findings).values():
        assert row.value > row.bound


def test_cohorts_larger_than_the_plan_says_are_caught(two):
    target = only(two, quietest(two))
    static = replace(target.static, sampling_rate=1.0, max_cohort_size=target.static.clients)
    for row in lower_bounds(audit(changed(target, static=static), SPEC).findings).values():
        assert row.value > row.bound


def test_a_sound_run_is_shown_to_leak_more_than_half_of_its_epsilon(data):
    target = target_of(data, clients=512, sampling_rate=1.0, rounds=2, noise_multiplier=1.9, delta=1e-5)
    spec = {"method": "one_run", "canaries": 256, "runs": 64}
    for row in lower_bounds(audit(target, spec).findings).values():
        assert row.bound == target.accounted[row.run_id].final.epsilon_pld
        assert 0.5 * row.bound < row.value <= row.bound


def seen_of(target, canaries, copies, absent):
    run_params = copies_of(target.run_params, [run.run_id for run in target.runs], copies)
    return observe(
        target.static, target.device_data, run_params, canaries=canaries, absent=absent, known=np.ones(copies, bool)
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(RECORD | {"sampling_rate": 0.05, "rounds": 30}, marks=pytest.mark.slow),
        SKELLAM | {"clients": 40, "noise_multiplier": 2.0, "rounds": 30},
    ],
    ids=["record", "skellam"],
)
def test_releases_are_what_the_plan_says_of_a_canary(data, changes):
    """A sampled canary adds one clip norm, or takes one off; where nobody else is there, the rest is the plan's noise."""
    target = target_of(data, **changes)
    (run,) = target.runs
    law = canary_law(target.plans[run.run_id], 0.0)
    assert law.absent == (-1.0 if run.contribution.trust == "distributed" else 0.0)
    canaries = 40 if run.contribution.trust == "distributed" else 300
    seen = seen_of(target, canaries, 8, law.absent)
    adds = seen.sampled * np.where(seen.present, 1.0, law.absent)[:, None, :]
    rest = seen.released - adds
    assert np.mean(seen.sampled) == pytest.approx(law.inclusion_probability, rel=0.1)
    if run.contribution.trust == "distributed":  # all of the population: no honest member hides anything
        assert np.std(rest) == pytest.approx(law.noise, rel=0.05)
    slope = np.sum(seen.released * adds) / np.sum(adds**2)
    assert slope == pytest.approx(1.0, abs=4 * np.std(rest) / np.sqrt(np.sum(adds**2)))
    found = lower_bounds(findings_of(run, target.accounted[run.run_id], seen, "one_run"))
    assert all(row.covered and row.value <= row.bound for row in found.values())
    assert (SERVER in found) == (run.contribution.trust == "distributed")
    if SERVER in found:
        assert found[SERVER].value == found[PARTICIPANTS].value


@pytest.mark.slow
def test_many_runs_plants_one_canary_each_and_bounds_a_sound_run(data):
    target = target_of(data, clients=4, sampling_rate=1.0, rounds=2, noise_multiplier=1.0, delta=1e-2)
    found = audit(target, {"method": "many_runs", "canaries": None, "runs": 400})
    for row in lower_bounds(found.findings).values():
        assert 0.1 * row.bound < row.value <= row.bound
        assert row.positives + row.negatives == 400


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trust": "local"}, "by themselves"),
        ({"unit": "record", "trust": "distributed"}, "their own records"),
        ({"algorithm": "scaffold"}, "two vectors"),
        ({"clipping": {"name": "adaptive"}}, "its clip norm adapts"),
        ({"noise_multiplier": 0.0}, "no epsilon to audit"),
    ],
)
def test_what_is_not_covered_is_left_alone_and_says_why(two, changes, why):
    runs = tuple(run.replace(**changes) for run in two.runs)
    rows = audit(replace(two, runs=runs), SPEC).findings
    assert {row.run_id for row in rows} == {run.run_id for run in runs}
    assert all(why in row.reason and np.isnan(row.value) and not row.success for row in rows)
    assert {row.method for row in rows} == {SPEC["method"]}
    assert not any(map(Audit().not_applicable, two.runs))


def test_how_many_canaries():
    assert canaries_in(100, 650, "one_run", None) == 50
    assert canaries_in(100, 160, "one_run", None) == 20
    assert canaries_in(10_000, 10**6, "one_run", None) == 256
    assert canaries_in(1, 4, "one_run", None) == 1
    assert canaries_in(100, 650, "one_run", 500) == 100
    assert canaries_in(100, 650, "many_runs", None) == 1


LAW = CanaryLaw(12, 1.3, 0.25, 1.0, seen=False, scheduled=False, absent=0.0, strategy=(1.0,))


@pytest.mark.parametrize(
    "law",
    [
        LAW,
        replace(LAW, absent=-1.0),
        replace(LAW, seen=True),
        replace(LAW, response_probability=0.7),
        replace(LAW, inclusion_probability=1.0, seen=True),
        replace(LAW, seen=True, scheduled=True, strategy=(0.8, 0.5, 0.33)),
    ],
)
def test_scores_are_log_likelihood_ratios(law):
    """E[e^score | absent] = 1 = E[e^-score | present], which a wrong scale or a wrong sign breaks."""
    ratios, _, present = simulated_scores(law, np.random.default_rng(0))
    for ratio in (ratios[~present], -ratios[present]):
        assert np.exp(ratio).mean() == pytest.approx(1.0, abs=5 * np.exp(ratio).std() / np.sqrt(len(ratio)))
    assert ratios[present].mean() > ratios[~present].mean()


def test_rounds_without_a_release_do_not_count():
    rng = np.random.default_rng(0)
    x, sampled = rng.normal(size=(3, 12, 5)), rng.random((3, 12, 5)) < 0.5
    holes = x.copy()
    holes[:, 3] = np.nan
    kept = np.delete(np.arange(12), 3)
    np.testing.assert_allclose(
        log_likelihood_ratio(holes, sampled, LAW), log_likelihood_ratio(x[:, kept], sampled[:, kept], LAW)
    )


def test_what_to_expect_of_a_copy_is_the_mean_of_the_other_known_copies_of_its_run():
    vectors = np.array([1.0, 2.0, 6.0, np.nan, 10.0, 20.0, 60.0, 40.0])[:, None, None]  # two runs of four copies
    known = np.array([True, False, True, False])
    np.testing.assert_allclose(_expected(vectors, known)[:4, 0, 0], [6, 3.5, 1, 3.5])
    np.testing.assert_allclose(_expected(vectors, known | True)[4:, 0, 0], [40, 110 / 3, 70 / 3, 30])
    assert not _expected(vectors[:2], np.array([True])).any()  # alone there is nothing to go by


def test_copies_have_keys_of_their_own(two):
    target = two
    copies = copies_of(target.run_params, ["a", "b"], 3)
    assert len(np.unique(np.asarray(copies.secret_key), axis=0)) == 6
    assert np.array_equal(copies.noise_stddev, np.repeat(target.run_params.noise_stddev, 3))
    assert jax.tree.structure(copies) == jax.tree.structure(target.run_params)
