"""Membership inference on real runs: what is known of its methods, and what noise does to all of them. Seeds are fixed."""

import numpy as np
import pytest
from attacked import attack as attack_of
from membership_targets import target

from fedpareto.attacks import guarantee_bounds as bounds
from fedpareto.attacks.membership import attack as of_attack
from fedpareto.attacks.membership.shadow_runs import Signals
from fedpareto.attacks.results import frame

SPEC = {"shadows": 16}
membership, client_membership = attack_of("membership"), attack_of("client_membership")
METHODS = {"loss_threshold", "lira_online", "lira_offline", "rmia"}


def tables(evidence):
    return frame("attacks", evidence.findings), frame("roc", evidence.roc)


@pytest.fixture(scope="module")
def overfitted():
    """A network that fits the records of five clients closely, without noise."""
    attacked = target(
        dataset="digits",
        clients=5,
        rounds=8,
        model={"name": "mlp", "hidden": "64"},
        local_epochs=10,
        client_learning_rate=0.3,
        clip_norm="null",
        noise_multiplier=0,
    )
    return attacked, tables(membership(attacked, SPEC))


@pytest.fixture(scope="module")
def noisy():
    """Runs at epsilon 1 and at hardly any, to which both attacks are put."""
    attacked = target(clients=50, sampling_rate=0.3, rounds=20, noise_multiplier=[4.15, 64], batch_size=4)
    tabled = [(tables(attack(attacked, SPEC))) for attack in (membership, client_membership)]
    return attacked, *tabled


def test_lira_beats_the_loss_on_an_overfitted_model(overfitted):
    _, (findings, _) = overfitted
    auc = findings[(findings.score == "auc") & findings.client.isna()].set_index("method")
    assert set(auc.index) == METHODS
    # Intervals at 95 % that do not touch; three seeds gave 0.60 to 0.61 and 0.52 to 0.53.
    for method in METHODS - {"loss_threshold"}:
        assert auc.low[method] > auc.high["loss_threshold"]
    tpr = findings[(findings.score == "tpr_at_fpr_0.01") & findings.client.isna()].set_index("method")
    assert tpr.low["lira_online"] > tpr.high["loss_threshold"]
    assert tpr.low["lira_online"] > 0.01


def at_chance(auc):
    return (np.abs(auc.value - 0.5) < auc.high - auc.low).all()


def test_noise_brings_every_method_to_chance(noisy):
    """False alarms: 1e-3 for each area that is held against chance, at twice its interval of 95 % (Student, 15 degrees)."""
    attacked, *both = noisy
    weak, strong = sorted(attacked.runs, key=lambda run: run.to_dict()["noise_multiplier"])
    assert attacked.accounted[weak.run_id].final.epsilon_rdp == pytest.approx(1.0, abs=0.1)
    for findings, roc in both:
        auc = findings[findings.score == "auc"]
        of_strong = auc[auc.run_id == strong.run_id]
        assert len(of_strong) == findings.method.nunique()
        assert at_chance(of_strong)
        # At epsilon 1 whole clients may be told a little: 0.54 at most over 6 seeds, where the guarantee allows 0.625.
        assert (auc.value < 0.6).all()
        assert (auc.low <= auc.bound).all()
        rates = findings[findings.score != "auc"]
        assert (rates.low <= rates.bound).all()
        assert (rates.value >= rates.low).all()
        assert (roc.allowed >= roc.fpr).all()
        assert (roc.allowed < 1).any()
        # The intervals are not so wide that nothing would be found.
        assert (auc.high - auc.low < 0.13).all()
    of_records = both[0][0]
    at_one = of_records[(of_records.run_id == weak.run_id) & (of_records.score == "auc")]
    assert at_chance(at_one)


def test_rows_say_what_they_are(overfitted, noisy):
    attacked, (findings, roc) = overfitted
    assert set(findings.score) == {"auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"}
    assert (findings.groupby(["client", "method"], dropna=False).size() == 3).all()
    assert set(findings.client.dropna()) == set(range(5))
    # Every method's score over everybody counts against a policy: the strongest may be any of them.
    assert set(findings[findings.success].score) == {"auc"}
    assert findings[findings.success].client.isna().all()
    assert sorted(findings[findings.success].method) == sorted(findings.method.unique())
    assert not findings.covered.any()
    assert findings.bound.isna().all()
    assert (roc.allowed == 1).all()
    whole = findings[findings.client.isna()]
    assert (whole.positives == 8 * 1438).all()
    assert (whole.negatives == 8 * 1438).all()
    # Clients share out the records.
    counted = findings[findings.client.notna() & (findings.score == "auc") & (findings.method == "rmia")]
    assert counted.positives.sum() == 8 * 1438
    rates = findings[findings.score == "tpr_at_fpr_0.001"]
    assert (rates.realised_fpr <= 0.001).all()
    assert (rates.baseline == 0.001).all()

    attacked, (findings, _), (of_clients, roc) = noisy
    assert findings.client.isna().all()
    assert (of_clients.positives == 8 * 50).all()
    assert findings.covered.all()
    assert of_clients.covered.all()
    for run in attacked.runs:
        proven = attacked.accounted[run.run_id]
        for table, steps in ((findings, 2), (of_clients, 1)):
            own = table[(table.run_id == run.run_id)]
            assert set(own[own.score == "auc"].bound) == {bounds.max_auc(proven, steps)}
            assert set(own[own.score == "tpr_at_fpr_0.01"].bound) == {bounds.max_tpr(0.01, proven, steps)[0]}
        points = roc[roc.run_id == run.run_id]
        np.testing.assert_allclose(points.allowed, bounds.max_tpr(points.fpr.to_numpy(), proven))
    assert findings[findings.score == "auc"].realised_fpr.isna().all()


def test_there_is_no_attack_where_there_is_no_common_model():
    alone = target("alone", baselines=["alone"])
    for attack in (membership, client_membership):
        assert why(attack(alone, SPEC)) == {"every client trains by itself: there is no update and no common model"}


def test_one_client_is_not_looked_for():
    assert why(client_membership(target(clients=1), SPEC)) == {"there is one client, and no other to tell it from"}


def why(evidence):
    """The reasons of an attack that could not be made."""
    assert not any(row.success or np.isfinite(row.value) for row in evidence.findings)
    assert not evidence.roc
    return {row.reason for row in evidence.findings}


@pytest.mark.parametrize("attack", [membership, client_membership])
def test_shadows_that_diverged_are_no_targets(attack, monkeypatch):
    attacked = target()
    signals = Signals(*(np.random.default_rng(0).normal(size=(1, 16, n)).astype(np.float32) for n in (455, 114)))
    monkeypatch.setattr(of_attack, "shadow_signals", lambda *_: signals)
    signals.train[0, 3, 7] = np.inf  # one score is enough
    rows = frame("attacks", attack(attacked, SPEC).findings)
    units = 6 if attack is client_membership else 455
    assert (rows[rows.client.isna()].positives == 7 * units).all()
    assert (rows[rows.client.isna()].negatives == 7 * units).all()
    signals.test[:] = np.nan
    assert why(attack(attacked, SPEC)) == {
        "no unit is inside one and outside another shadow run whose scores are finite"
    }
