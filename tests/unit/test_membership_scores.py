"""Scores of membership on signals whose distribution is known."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fedpareto.attacks.membership.scores import InOut, lira_offline, lira_online, loss_threshold, rmia
from fedpareto.attacks.membership.shadow_runs import balanced_halves, membership_of, paired

ALARM = 1e-3


def auc(scores):
    inside, outside = (part[np.isfinite(part)] for part in scores)
    return roc_auc_score(np.repeat([1, 0], [len(inside), len(outside)]), np.concatenate([inside, outside]))


def gaussians(units, shadows, gain, seed=0, width=3.0):
    """Halves and signals: every unit has a level of its own, and is `gain` standard deviations higher where it is inside."""
    rng = np.random.default_rng(seed)
    in_out_split = balanced_halves(units, shadows, rng)
    phi = rng.normal(size=(shadows, units)) + width * rng.normal(size=units) + gain * membership_of(in_out_split)
    return in_out_split, paired(phi, in_out_split)


@pytest.mark.parametrize("shadows", [4, 16, 30])
def test_every_unit_is_in_half_of_the_shadows(shadows):
    in_out_split = balanced_halves(500, shadows, np.random.default_rng(0))
    membership_mask = membership_of(in_out_split)
    assert (membership_mask.sum(axis=0) == shadows // 2).all()
    assert (np.sort(np.concatenate(in_out_split), axis=0) == np.arange(shadows)[:, None]).all()
    # Shadows are about half full, and which units they have is drawn anew for each: Binomial(500, 1/2) within 6 deviations.
    assert (np.abs(membership_mask.sum(axis=1) - 250) < 6 * np.sqrt(125)).all()
    assert len({row.tobytes() for row in membership_mask}) == shadows
    np.testing.assert_array_equal(np.take_along_axis(membership_mask, in_out_split.inside, axis=0), True)
    np.testing.assert_array_equal(np.take_along_axis(membership_mask, in_out_split.outside, axis=0), False)


@pytest.mark.parametrize("shadows", [0, 2, 7])
def test_halves_need_an_even_number_of_shadows(shadows):
    with pytest.raises(ValueError, match=f"shadows = {shadows} must be an even number, at least 4"):
        balanced_halves(10, shadows, np.random.default_rng(0))


@pytest.mark.parametrize("shadows", [16, 128])
def test_lira_reaches_the_area_of_the_likelihood_ratio(shadows):
    _, signals = gaussians(2000, shadows, gain=1.0)
    # A shift of d between unit Gaussians has area Phi(d / sqrt 2); the middle of the means is known up to variance 1 / (shadows - 2).
    best = stats.norm.cdf(1 / np.sqrt(2 * (1 + 1 / (shadows - 2))))
    error = 4 * np.sqrt(1 / 6 / signals.inside.size) * 2
    assert auc(lira_online(signals)) == pytest.approx(best, abs=error + 0.004)
    # Offline the level is known up to 1 / (shadows / 2 - 1).
    level = stats.norm.cdf(1 / np.sqrt(2 * (1 + 1 / (shadows / 2 - 1))))
    assert auc(lira_offline(signals)) == pytest.approx(level, abs=error + 0.004)
    assert auc(loss_threshold(signals)) < 0.62 < auc(rmia(signals, *population(signals, shadows)))


def population(signals, shadows):
    """The runs of signals that were not made of halves, and phi of a population."""
    runs = balanced_halves(signals.inside.shape[1], shadows, np.random.default_rng(9))
    return runs, np.random.default_rng(8).normal(size=(shadows, 100))


def test_lira_weighs_units_by_what_membership_does_to_them():
    rng = np.random.default_rng(1)
    in_out_split = balanced_halves(1000, 200, rng)
    gain = np.where(np.arange(1000) < 500, 0.0, 2.0)
    signals = paired(rng.normal(size=(200, 1000)) + gain * membership_of(in_out_split), in_out_split)
    # The exact likelihood ratio: nothing for the first half of the units.
    exact = auc(InOut(*(gain * (phi - gain / 2) for phi in signals)))
    assert auc(lira_online(signals)) == pytest.approx(exact, abs=0.01)
    assert auc(lira_offline(signals)) < exact - 0.05


def test_few_shadows_do_not_make_lira_worse_than_no_references():
    # A small gain among few runs: each unit's own difference of means is noise, and alone would lose what all units share.
    _, signals = gaussians(3000, 16, gain=0.2)
    best = stats.norm.cdf(0.2 / np.sqrt(2 * (1 + 1 / 14)))
    assert auc(lira_online(signals)) == pytest.approx(best, abs=0.012)


@pytest.mark.parametrize("score", ["loss", "online", "offline", "rmia"])
def test_signals_without_membership_score_one_half(score):
    """False alarms: `ALARM` for each score, by the spread over 60 repetitions."""
    areas = []
    for seed in range(60):
        in_out_split, signals = gaussians(200, 8, gain=0.0, seed=seed)
        others = np.random.default_rng([seed, 1]).normal(size=(8, 50))
        areas.append(auc(score_of(score, signals, in_out_split, others)))
    error = np.std(areas) / np.sqrt(len(areas))
    # Leaving out leans below 1/2 by a part of the spread of one area (see `roc.area`), and never above.
    assert -0.5 * np.std(areas) - 3.3 * error < np.mean(areas) - 0.5 < 3.3 * error


def score_of(name, signals, in_out_split, others):
    if name == "rmia":
        return rmia(signals, in_out_split, others)
    return {"loss": loss_threshold, "online": lira_online, "offline": lira_offline}[name](signals)


@pytest.mark.parametrize("score", ["offline", "rmia"])
def test_offline_scores_do_not_read_runs_that_have_the_unit(score):
    in_out_split, signals = gaussians(50, 8, gain=1.0)
    others = np.random.default_rng(3).normal(size=(8, 30))
    garbled = signals._replace(inside=signals.inside.copy())
    garbled.inside[1:] = 1e6
    clean, dirty = (score_of(score, part, in_out_split, others) for part in (signals, garbled))
    np.testing.assert_array_equal(dirty.outside, clean.outside)
    np.testing.assert_array_equal(dirty.inside[0], clean.inside[0])
    assert not np.array_equal(lira_online(garbled).outside, lira_online(signals).outside)
    # Nor do they read of the population what those runs say of it: for a single unit these are the runs in `in_out_split.inside`.
    one = InOut(*(part[:, :1] for part in signals)), InOut(*(part[:, :1] for part in in_out_split))
    changed = others.copy()
    changed[in_out_split.inside[1:, 0]] = -50.0
    np.testing.assert_array_equal(rmia(*one, changed).outside, rmia(*one, others).outside)
    changed[in_out_split.outside[1:, 0]] = -50.0
    assert not np.array_equal(rmia(*one, changed).outside, rmia(*one, others).outside)


@pytest.mark.parametrize("score", ["online", "offline", "rmia"])
def test_a_target_and_its_partner_are_not_among_their_references(score):
    in_out_split, signals = gaussians(30, 8, gain=1.0)
    others = np.random.default_rng(3).normal(size=(8, 30))
    clean = score_of(score, signals, in_out_split, others)
    for kind in (0, 1):
        garbled = InOut(*(part.copy() for part in signals))
        garbled[kind][2] += 100.0
        dirty = score_of(score, garbled, in_out_split, others)
        np.testing.assert_allclose(dirty[1 - kind][2], clean[1 - kind][2], rtol=1e-9)
        assert not np.array_equal(dirty[kind][2], clean[kind][2])


def test_rmia_follows_its_formula_and_grows_with_the_target():
    in_out_split, signals = gaussians(20, 8, gain=0.5, width=1.0)
    others = np.random.default_rng(4).normal(size=(8, 40))

    def p(phi):
        return 1 / (1 + np.exp(-phi))

    for gamma, share in ((1.0, 1.0), (1.3, 0.4)):
        scores = rmia(signals, in_out_split, others, gamma, share)
        for pair, unit, kind in ((0, 0, 0), (3, 7, 1), (2, 19, 0)):
            lacking = np.delete(in_out_split.outside[:, unit], pair)
            q = np.mean([p(phi) for phi in np.delete(signals.outside[:, unit], pair)])
            ratio = p(signals[kind][pair, unit]) / (((1 + share) * q + 1 - share) / 2)
            of_others = p(others[in_out_split[kind][pair, unit]]) / p(others[lacking]).mean(axis=0)
            expected = np.mean(ratio / of_others >= gamma)
            # Ties are broken by less than half a step.
            assert expected <= scores[kind][pair, unit] < expected + 0.5 / 40
    higher = signals._replace(inside=signals.inside + 0.3)
    assert (rmia(higher, in_out_split, others).inside > rmia(signals, in_out_split, others).inside).all()
    assert (rmia(signals, in_out_split, others, 2.0).inside <= rmia(signals, in_out_split, others).inside).all()


@pytest.mark.parametrize("score", ["online", "offline", "rmia"])
def test_runs_that_diverged_are_left_out_with_their_partners(score):
    in_out_split, signals = gaussians(40, 8, gain=1.0)
    others = np.random.default_rng(5).normal(size=(8, 30))
    lost = 3
    others[lost] = np.nan
    broken = InOut(*(np.where(of == lost, np.nan, phi) for of, phi in zip(in_out_split, signals, strict=True)))
    scores = score_of(score, broken, in_out_split, others)
    gone = (in_out_split.inside == lost) | (in_out_split.outside == lost)
    for part in scores:
        np.testing.assert_array_equal(np.isnan(part), gone)
    everything = InOut(*(np.full_like(phi, np.nan) for phi in signals))
    assert np.isnan(np.concatenate(score_of(score, everything, in_out_split, others))).all()


def test_runs_that_are_all_alike_tell_nothing_and_break_nothing():
    signals = InOut(np.ones((4, 6)), np.ones((4, 6)))
    for scores in (lira_online(signals), lira_offline(signals)):
        assert np.isfinite(np.concatenate(scores)).all()
        assert auc(scores) == 0.5
