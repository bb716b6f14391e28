"""Known faults of the field as small mechanisms: the checks catch each, and pass its sound version.

Seeds are fixed. With another seed, a sound mechanism here would fail one statistical check with probability `ALARM`.
"""

import math
from dataclasses import replace

import dp_accounting
import jax
import numpy as np
import pytest
from dp_accounting import rdp
from jax_privacy.auditing import CanaryScoreAuditor
from scipy import stats
from sound import (
    ADD,
    CLAIM,
    CLIP,
    DELTA,
    DIMENSION,
    LEAVES,
    NOISE,
    RATE,
    SOUND,
    STEPS,
    SWAP,
    UNITS,
    claiming,
    clip,
    clipped_sum,
    extremes,
    fixed_size,
    poisson,
    proven,
    shuffled,
    vectors,
    white,
    whole_runs,
)

from fedpareto.privacy.conformance import (
    CHECKS,
    Claim,
    Mechanism,
    WholeRun,
    check_audit,
    check_distinguishing,
    check_divisor,
    check_epsilon,
    check_noise_independence,
    check_noise_scale,
    check_overflow,
    check_released,
    check_sampling,
    check_sensitivity,
    least_epsilon,
)


@pytest.mark.parametrize("name", CHECKS)
def test_a_sound_mechanism_passes(name):
    assert CHECKS[name](SOUND) == []


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 1.0, 1), (2.0, 0.25, 40), (1.1, 0.02, 300), (4.0, 1.0, 30)])
def test_the_least_epsilon_is_just_below_the_proven_one(noise, rate, steps):
    upper = proven(noise, rate, steps)
    claim = replace(CLAIM, noise_multiplier=noise, rate=rate, steps=steps, epsilon=upper)
    assert 0.99 * upper < least_epsilon(claim) <= upper
    # An exchange moves twice as far as an addition, and without sampling that is all there is to it.
    if rate == 1:
        swap = proven(noise / 2, rate, steps)
        assert 0.99 * swap < least_epsilon(replace(claim, adjacency=SWAP)) <= swap


# 1. Noise for a plain mean on a mean weighted by numbers of examples (Flower).


def weighted_units():
    rng = np.random.default_rng(8)
    return [(vector, int(count)) for vector, count in zip(vectors(), rng.integers(1, 200, UNITS), strict=True)]


def test_01_noise_divided_on_a_weighted_mean():
    cohort, cap = 10, 100

    def weighted_mean(data, cohort):
        total = sum(data[i][1] for i in cohort)
        with np.errstate(all="ignore"):
            return sum((data[i][1] * clip(data[i][0]) for i in cohort), np.zeros(DIMENSION)) / max(total, 1)

    def capped(data, cohort):
        return clipped_sum(lambda unit: clip(unit[0]) * min(unit[1], cap) / cap, CLAIM.divisor)(data, cohort)

    faulty = replace(
        claiming(SOUND, divisor=float(cohort), sampling="fixed_size", adjacency=SWAP),
        data=weighted_units(),
        extremes=[(vector, count) for vector in extremes() for count in (1, 10_000)],
        sample=fixed_size(cohort),
        query=weighted_mean,
    )
    assert "more than the claimed" in check_sensitivity(faulty)[0]
    assert check_divisor(faulty)
    assert check_sensitivity(replace(faulty, query=capped)) == []
    assert check_divisor(replace(faulty, query=capped)) == []


# 2. Divided by those who came (Opacus). 14. The same, and an update that is not finite goes through the clipping.


def test_02_divided_by_the_realised_cohort():
    faulty = replace(SOUND, query=lambda data, cohort: SOUND.query(data, cohort) * CLAIM.divisor / max(len(cohort), 1))
    assert "realised" in check_divisor(faulty)[0]
    assert check_divisor(SOUND) == []


def careless(update):
    return update * min(1.0, CLIP / max(np.linalg.norm(update), 1e-30))


def test_14_an_update_that_is_not_finite_is_not_clipped():
    faulty = replace(SOUND, query=clipped_sum(careless, CLAIM.divisor))
    assert "not finite" in check_sensitivity(faulty)[0]
    assert check_sensitivity(SOUND) == []
    realised = replace(SOUND, query=lambda data, cohort: clipped_sum(careless, max(len(cohort), 1))(data, cohort))
    assert check_sensitivity(realised)
    assert check_divisor(realised)


# 3. Replace one accounted for without doubling the sensitivity (dp-accounting's RDP 0.6.0).


def rdp_as_it_comes(noise, rate, steps):
    accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    event = dp_accounting.GaussianDpEvent(noise)
    if rate < 1:
        event = dp_accounting.SampledWithoutReplacementDpEvent(UNITS, round(rate * UNITS), event)
    accountant.compose(dp_accounting.SelfComposedDpEvent(event, steps))
    return accountant.get_epsilon(DELTA)


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 1), (1.0, 20), (0.5, 1)])
def test_03_replace_one_without_doubling(rate, steps):
    size = round(rate * UNITS)
    mechanism = replace(
        claiming(
            SOUND, adjacency=SWAP, sampling="fixed_size", rate=rate, steps=steps, noise_multiplier=1.0, divisor=size
        ),
        sample=fixed_size(size, steps),
        noise=white(CLIP / size),
    )
    faulty = claiming(mechanism, epsilon=rdp_as_it_comes(1.0, rate, steps))
    assert SWAP in check_epsilon(faulty)[0]
    # Halving the noise that the accountant is told is the remedy.
    assert check_epsilon(claiming(mechanism, epsilon=rdp_as_it_comes(0.5, rate, steps))) == []


# 4. Noise calibrated for epochs where steps are run (FLamby's heart disease, 199 records: 15 epochs against 1500 steps).


def test_04_epochs_are_calibrated_and_steps_are_run():
    records, batch, epochs, run = 199, 4, 15, 1500
    rate = batch / records
    calibrated = round(epochs * records / batch)

    def too_much(noise):
        return proven(noise, rate, calibrated) - 1.0

    low, high = 0.8, 3.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if too_much(middle) > 0 else (low, middle)
    claim = replace(
        CLAIM, unit="record", rate=rate, steps=calibrated, noise_multiplier=high, divisor=float(batch), epsilon=1.0
    )
    mechanism = replace(SOUND, claim=claim, data=vectors(records), noise=white(claim.noise_stddev))
    assert "1500 releases" in check_epsilon(replace(mechanism, sample=poisson(rate, run)))[0]
    assert check_epsilon(replace(mechanism, sample=poisson(rate, calibrated))) == []


# 5. One key for the noise of all leaves (JAX's example of DP-SGD), or of all rounds, or of all clients.


def keyed_noise(key_of_leaf, stddev):
    def noise(rng, cohorts):
        key = jax.random.key(int(rng.integers(2**31)))
        drawn = [jax.random.normal(key_of_leaf(key, i), (len(cohorts), n)) for i, n in enumerate(LEAVES)]
        return list(zip(*(stddev * np.asarray(leaf) for leaf in drawn), strict=True))

    return noise


def test_05_one_key_for_all_leaves():
    faulty = replace(SOUND, noise=keyed_noise(lambda key, leaf: key, CLAIM.noise_stddev))
    assert any("leaves 0 and 1" in fault for fault in check_noise_independence(faulty))
    assert check_noise_independence(replace(SOUND, noise=keyed_noise(jax.random.fold_in, CLAIM.noise_stddev))) == []


def test_05_one_key_for_all_rounds_or_all_runs():
    def same_rounds(rng, cohorts):
        return SOUND.noise(rng, cohorts[:1]) * len(cohorts)

    def same_runs(rng, cohorts):
        return SOUND.noise(np.random.default_rng(0), cohorts)

    assert any("releases" in fault for fault in check_noise_independence(replace(SOUND, noise=same_rounds)))
    assert any("two runs" in fault for fault in check_noise_independence(replace(SOUND, noise=same_runs)))


# 6. Noise of a larger cohort than the one that is simulated (pfl-research: 1000 instead of 50).


def test_06_noise_scaled_to_a_larger_cohort():
    faulty = replace(SOUND, noise=white(CLAIM.noise_stddev * 50 / 1000))
    assert "not the claimed" in check_noise_scale(faulty)[0]
    assert check_epsilon(faulty)
    assert check_noise_scale(SOUND) == []
    assert check_epsilon(SOUND) == []
    # A tenth too little is seen as well.
    assert check_noise_scale(replace(SOUND, noise=white(CLAIM.noise_stddev * 0.9)))


# 7. Layers clipped one by one, charged as if the whole had that norm.


def by_layer(bound):
    def clip_layers(update):
        return np.concatenate([clip(part, bound) for part in np.split(update, np.cumsum(LEAVES)[:-1])])

    return clip_layers


def test_07_layers_clipped_one_by_one():
    faulty = replace(SOUND, query=clipped_sum(by_layer(CLIP), CLAIM.divisor))
    assert "more than the claimed" in check_sensitivity(faulty)[0]
    sound = replace(SOUND, query=clipped_sum(by_layer(CLIP / math.sqrt(len(LEAVES))), CLAIM.divisor))
    assert check_sensitivity(sound) == []


# 8. Drawn once a round, used in several steps, each charged as if it were drawn afresh.


def test_08_drawn_once_a_round_and_charged_with_amplification_by_step():
    local = 4

    def once_a_round(rng, n):
        return [cohort for cohort in poisson(steps=STEPS // local)(rng, n) for _ in range(local)]

    violations = check_sampling(replace(SOUND, sample=once_a_round))
    assert any("releases 0 and 1 of a run share" in fault for fault in violations)
    assert not any("releases 0 and 4" in fault for fault in violations)
    assert check_sampling(SOUND) == []


# 9. A Poisson claim over batches of a shuffled order, or of a fixed size.


@pytest.mark.parametrize("sample", [shuffled(10), fixed_size(10)])
def test_09_a_poisson_claim_over_other_batches(sample):
    violations = check_sampling(replace(SOUND, sample=sample))
    assert any("cohort sizes have spread" in fault for fault in violations)


def test_09_each_scheme_passes_under_its_own_name_only():
    schemes = {"poisson": poisson(), "fixed_size": fixed_size(10), "shuffled": shuffled(10)}
    for claimed in schemes:
        for real, sample in schemes.items():
            violations = check_sampling(replace(claiming(SOUND, sampling=claimed), sample=sample))
            assert (violations == []) == (claimed == real), (claimed, real, violations)


def test_09_a_wrong_rate_and_a_favourite_are_caught():
    assert any("joins at" in fault for fault in check_sampling(replace(SOUND, sample=poisson(0.27))))

    def favourite(rng, n):
        return [np.flatnonzero(rng.random(n) < np.where(np.arange(n) == 7, 0.4, RATE)) for _ in range(STEPS)]

    assert any("client 7 joins at" in fault for fault in check_sampling(replace(SOUND, sample=favourite)))

    def couples(rng, n):
        return [np.flatnonzero(np.repeat(rng.random(n // 2) < RATE, 2)) for _ in range(STEPS)]

    assert any("independently" in fault for fault in check_sampling(replace(SOUND, sample=couples)))


# 10. An auditor that finds leakage where there is none (jax_privacy 2.0.0).


def test_10_the_gdp_audit_finds_leakage_in_nothing():
    def gdp(inside, outside):
        return CanaryScoreAuditor(inside, outside).epsilon_from_gdp(0.05, 1e-5)

    def clopper_pearson(inside, outside):
        return CanaryScoreAuditor(inside, outside).epsilon_clopper_pearson(0.05, 1e-5)

    def blind(inside, outside):
        return 0.0

    assert "null audits" in check_audit(gdp, 0.05)[0]
    assert check_audit(clopper_pearson, 0.05) == []
    assert "finds nothing" in check_audit(blind, 0.05)[0]


# 11. A factor that brings small updates up to the bound and leaves large ones as they are.


def test_11_a_factor_the_wrong_way_round():
    def stretched(update):
        norm = np.linalg.norm(update)
        return update * max(1.0, CLIP / norm) if np.isfinite(norm) and norm > 0 else np.zeros_like(update)

    faulty = replace(SOUND, query=clipped_sum(stretched, CLAIM.divisor))
    assert "more than the claimed" in check_sensitivity(faulty)[0]
    assert check_sensitivity(SOUND) == []


# 12. A Poisson cohort that may outgrow its buffer, for free.


def test_12_overflow_that_nobody_pays_for():
    limit = int(stats.binom.isf(DELTA / STEPS, UNITS, RATE)) + 1

    def cut(rng, n):
        return [cohort[:limit] for cohort in poisson()(rng, n)]

    faulty = replace(claiming(SOUND, cohort_limit=limit), sample=cut)
    assert "outgrows" in check_overflow(faulty)[0]
    overflow = STEPS * stats.binom.sf(limit, UNITS, RATE)
    left = DELTA - overflow
    paid = claiming(faulty, accounted_delta=left, epsilon=proven(NOISE, RATE, STEPS, left))
    for check in (check_overflow, check_epsilon, check_sensitivity, check_sampling):
        assert check(paid) == []


# 13. Noise in shares, one from each client of a Poisson cohort: its strength tells how many there were.


def test_13_noise_shares_of_a_poisson_cohort_tell_how_many_came():
    units, rate, steps, noise, dimension = 20, 0.9, 20, 20.0, 800
    expected = units * rate
    claim = Claim("client", ADD, "poisson", rate, steps, noise, CLIP, expected, DELTA, proven(noise, rate, steps))
    assert claim.epsilon < 1.0
    share = claim.noise_stddev / math.sqrt(expected)

    def shares(rng, cohorts):
        # As many shares as there are clients, added up.
        return [[rng.normal(0, share * math.sqrt(len(cohort)), dimension)] for cohort in cohorts]

    def query(data, cohort):
        rows = np.array([data[i] for i in cohort]).reshape(-1, dimension)
        norms = np.linalg.norm(rows, axis=1)
        return np.minimum(1, CLIP / np.maximum(norms, 1e-30)) @ rows / expected

    sound = Mechanism(
        claim=claim,
        data=vectors(units, dimension),
        extremes=extremes(dimension),
        sample=poisson(rate, steps),
        query=query,
        noise=white(claim.noise_stddev, (dimension,)),
    )
    faulty = replace(sound, noise=shares)
    found = check_distinguishing(faulty)
    assert "spread" in found[0]
    assert float(found[0].split("at least ")[1].split(",")[0]) > 2 * claim.epsilon
    assert check_noise_scale(faulty)
    assert check_distinguishing(sound) == []
    assert check_noise_scale(sound) == []


# 15. Several local steps on the same records, and one noise at the server.


def local_steps(steps):
    """Descent on the mean distance to the records; each step clips every record's gradient."""

    def query(data, cohort):
        model = np.zeros(DIMENSION)
        with np.errstate(all="ignore"):
            for _ in range(steps):
                model = model - clipped_sum(lambda record: clip(model - record), CLAIM.divisor)(data, cohort)  # noqa: B023
        return model

    return query


def test_15_several_local_steps_under_one_noise():
    records = claiming(SOUND, unit="record")
    assert "more than the claimed" in check_sensitivity(replace(records, query=local_steps(5)))[0]
    assert check_sensitivity(replace(records, query=local_steps(1))) == []


# 16. A run that ends where the training loss, without noise, is not finite: its later models stay as they are.


def quiet_mechanism(**changes):
    """Much noise and a small epsilon."""
    noise = 4 * NOISE
    claim = replace(CLAIM, noise_multiplier=noise, epsilon=proven(noise, RATE, STEPS))
    return replace(SOUND, claim=claim, noise=white(claim.noise_stddev), extremes=extremes()[::4], **changes)


def loss_is_finite(model, data, cohort):
    with np.errstate(all="ignore"):
        return np.isfinite(np.square([data[i] for i in cohort]).sum())


def test_16_a_run_that_ends_where_a_training_loss_is_not_finite():
    sound = quiet_mechanism(run=whole_runs(SOUND.query, white(4 * CLAIM.noise_stddev)))
    faulty = replace(sound, run=whole_runs(SOUND.query, sound.noise, goes_on=loss_is_finite))
    assert "releases that move" in check_released(faulty)[0]
    assert "not finite" in check_released(faulty)[0]
    assert check_released(sound) == []


def test_16_a_run_may_end_by_what_it_has_released():
    """As soon as the model is far from where it began: seldom at the same time, with any unit."""
    sound = quiet_mechanism()
    far = 2 * CLAIM.noise_stddev * math.sqrt(DIMENSION * STEPS)
    ends = whole_runs(SOUND.query, sound.noise, goes_on=lambda model, data, cohort: np.linalg.norm(model) < far)
    moved = [len(np.unique(ends(SOUND.data, np.random.default_rng(seed)).models, axis=0)) for seed in range(20)]
    assert min(moved) < max(moved) <= STEPS
    assert check_released(replace(sound, run=ends)) == []


def test_16_a_release_that_is_not_finite():
    violations = check_released(quiet_mechanism(query=clipped_sum(careless, CLAIM.divisor), run=None))
    assert any("releases that are finite" in fault for fault in violations)


# 17 to 21. What a run shows beside its models follows its units, and not what was released.


def showing(outcomes, **changes):
    """A sound mechanism whose runs show outcomes beside their models."""
    sound = quiet_mechanism()
    return replace(sound, run=whole_runs(sound.query, sound.noise, outcomes=outcomes, **changes))


def test_17_a_status_by_the_training_loss():
    def by_the_loss(models, data, cohorts):
        ended_well = all(loss_is_finite(models[-1], data, cohort) for cohort in cohorts)
        return {"status": "ok" if ended_well else "diverged"}

    def by_the_model(models, data, cohorts):
        far = CLAIM.noise_stddev * 4 * math.sqrt(DIMENSION * STEPS)
        return {"status": "ok" if np.linalg.norm(models[-1]) < far else "diverged"}

    assert any("status" in fault for fault in check_released(showing(by_the_loss)))
    assert check_released(showing(by_the_model)) == []
    assert {showing(by_the_model).run(SOUND.data, np.random.default_rng(s)).outcomes["status"] for s in range(20)} == {
        "ok",
        "diverged",
    }


def test_18_a_stop_at_a_training_accuracy():
    """A unit is fitted that the model is not far from: one that is far from everything keeps the run from stopping."""
    near = 3 * 4 * CLAIM.noise_stddev * math.sqrt(DIMENSION)

    def not_all_fitted(model, data, cohort):
        with np.errstate(all="ignore"):
            return not (np.linalg.norm(model - data, axis=1) < near).all()

    violations = check_released(showing(lambda models, data, cohorts: {}, goes_on=not_all_fitted))
    assert any("releases that move" in fault for fault in violations)

    def rounds_done(models, data, cohorts):
        return {
            "rounds_done": next((t + 1 for t, c in enumerate(cohorts) if not not_all_fitted(models[t], data, c)), STEPS)
        }

    assert any("rounds_done" in fault for fault in check_released(showing(rounds_done)))


def short(data):
    """Which units are within the clip norm."""
    with np.errstate(all="ignore"):
        return np.linalg.norm(data, axis=1) <= CLIP


def clip_norms(noisy):
    """The clip norm of every round, which follows the share of a cohort that is shorter; with noise on the count or without."""
    stddev = 4 * NOISE if noisy else 0.0

    def outcomes(models, data, cohorts):
        rng, clip_norm, shown = np.random.default_rng(int(abs(models[0, 0]) * 1e9)), CLIP, []
        bits = short(data) - 0.5
        for cohort in cohorts:
            shown.append(clip_norm)
            share = (bits[cohort].sum() + stddev * rng.normal()) / (CLAIM.divisor if noisy else max(1, len(cohort)))
            clip_norm = clip_norm * math.exp(-0.2 * share)
        return {"clip_norm": shown}

    return outcomes


def test_19_a_clip_norm_that_follows_the_norms_without_noise():
    violations = check_released(showing(clip_norms(noisy=False)))
    assert any("clip_norm [" in fault for fault in violations)
    # Sum and noisy count together spend little more than the sum alone: less than can be told here.
    assert check_released(showing(clip_norms(noisy=True))) == []


def test_20_a_file_that_is_written_where_somebody_was_clipped():
    def files(models, data, cohorts):
        clipped = not short(data)[np.concatenate(cohorts)].all()
        return {"files": {"model.npz", "result.json"} | ({"clipped.csv"} if clipped else set())}

    violations = check_released(showing(files))
    assert any("files has clipped.csv" in fault or "files lacks clipped.csv" in fault for fault in violations)
    assert check_released(showing(lambda models, data, cohorts: {"files": {"model.npz", "result.json"}})) == []


def test_21_a_round_that_is_skipped_where_an_update_is_not_finite():
    noise = quiet_mechanism().noise

    def skipping(data, rng):
        shown, model, done = [], np.zeros(DIMENSION), 0
        for cohort in poisson()(rng, len(data)):
            if loss_is_finite(model, data, cohort):
                model = model + SOUND.query(data, cohort) + np.concatenate(noise(rng, [cohort])[0])
                done += 1
            shown.append(model)
        return WholeRun(np.array(shown), {"rounds_done": done})

    violations = check_released(quiet_mechanism(run=skipping))
    assert any("releases that move" in fault for fault in violations)
    assert any("rounds_done" in fault for fault in violations)


def test_a_number_that_is_missing_tells_too():
    def score(models, data, cohorts):
        known = all(loss_is_finite(models[-1], data, cohort) for cohort in cohorts)
        return {"score": [0.5, float(np.tanh(models[-1, 0])) if known else None]}

    assert any("score [1] is" in fault for fault in check_released(showing(score)))
