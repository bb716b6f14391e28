"""Every kind of plan against closed forms and brute force."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from dp_accounting import rdp
from dp_accounting.pld import pld_pmf, privacy_loss_distribution
from plans import (
    ADAPTIVE,
    BANDED,
    CENTRAL,
    DISTRIBUTED,
    DISTRIBUTED_RECORD,
    KINDS,
    LOCAL_CLIENT,
    SCHEDULED,
    SECRET_RECORD,
    SEEN_RECORD,
    by_rdp,
    proven,
)
from scipy.optimize import brentq
from scipy.stats import binom, norm

from fedpareto.privacy.accounting import amplification
from fedpareto.privacy.accounting import pld as by_pld
from fedpareto.privacy.accounting.epsilon import by_client, guarantee, guarantees
from fedpareto.privacy.accounting.rdp import rdp_curve, whole_curve
from fedpareto.privacy.mechanisms import lattice_mechanism
from fedpareto.privacy.plan import PrivacyPlanError
from fedpareto.privacy.setting import LocalSteps
from fedpareto.sweep.account import DataSizes, account, privacy_plan
from fedpareto.sweep.run import KEYS, Bundle, Run


def exact_delta(epsilon, noise):
    """Balle and Wang (2018), Theorem 8: one Gaussian of this noise over its sensitivity."""
    half, shift = 0.5 / noise, epsilon * noise
    return norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift)


def exact_epsilon(delta, noise):
    return brentq(lambda e: exact_delta(e, noise) - delta, 0.0, 200.0, xtol=1e-12)


def is_gaussian(plan, noise):
    """Whether PLD is that of one Gaussian: never below the closed form, and hardly above it."""
    exact = exact_epsilon(plan.accounted_delta, noise)
    return exact - 1e-9 <= proven(plan).epsilon_pld <= exact * (1 + 2e-3)


# --- one Gaussian, whatever the plan calls it ---------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (3.0, 7), (20.0, 40)])
def test_participations_of_a_client_that_noises_its_own_update_are_one_gaussian_at_half_the_noise(noise, rounds):
    plan = LOCAL_CLIENT.replace(noise_multiplier=noise, rounds=rounds)
    assert plan.accounted_delta == pytest.approx(plan.delta, rel=1e-12)
    assert is_gaussian(plan, noise / (2 * math.sqrt(rounds)))


@pytest.mark.parametrize("sampling", ["shuffled", "cyclic"])
@pytest.mark.parametrize(("rounds", "passes"), [(1, 1), (9, 1), (10, 1), (11, 2), (25, 3)])
def test_a_schedule_uses_a_unit_once_a_pass(sampling, rounds, passes):
    plan = SCHEDULED.replace(sampling=sampling, rounds=rounds)
    assert plan.setting.min_separation == 10
    assert plan.compositions(rounds) == plan.releases(rounds) == passes
    assert plan.accounted_delta == pytest.approx(plan.delta, rel=1e-12)
    assert is_gaussian(plan, 2.0 / (2 * math.sqrt(passes)))


@pytest.mark.parametrize(("population", "rate"), [(100, 0.1), (105, 0.1), (7, 0.4), (10, 0.15), (5, 0.9), (3, 0.1)])
@pytest.mark.parametrize("rounds", [1, 5, 12, 23])
def test_no_unit_takes_part_more_often_than_its_schedule_says(population, rate, rounds):
    plan = SCHEDULED.replace(population=population, sampling_rate=rate)
    size = max(1, round(plan.expected_cohort))
    rng = np.random.default_rng(0)
    for sampling in ("shuffled", "cyclic"):
        most, order = 0, rng.permutation(population)
        for _ in range(50):
            counts = np.zeros(population, int)
            for t in range(rounds):
                if t % plan.setting.min_separation == 0 and sampling == "shuffled":
                    order = rng.permutation(population)
                start = t % plan.setting.min_separation * size
                assert start + size <= population
                counts[order[start : start + size]] += 1
            most = max(most, counts.max())
        assert most == plan.replace(sampling=sampling).compositions(rounds)


def mean_over_participations(plan, epsilon):
    """Delta of a run whose cohorts everybody sees, from the closed form of one Gaussian and the binomial law."""
    counts = np.arange(1, plan.rounds + 1)
    deltas = [exact_delta(epsilon, plan.relative_noise / math.sqrt(k)) for k in counts]
    return float(np.dot(binom.pmf(counts, plan.rounds, plan.inclusion_probability), deltas))


@pytest.mark.parametrize(
    ("rate", "rounds", "noise", "delta", "before"),
    [
        (0.2, 60, 20.0, 1e-4, 2.085),  # the right values: 1.203, 0.859, 0.868
        (0.1, 100, 30.0, 1e-5, 1.532),
        (0.01, 1000, 30.0, 1e-5, 1.587),
        (0.5, 12, 4.0, 1e-9, 20.0),
        (0.9, 3000, 60.0, 1e-8, 20.0),
    ],
)
def test_participation_that_is_seen_costs_its_mean(rate, rounds, noise, delta, before):
    plan = LOCAL_CLIENT.replace(population=1000, sampling_rate=rate, rounds=rounds, noise_multiplier=noise, delta=delta)
    assert plan.accounted_delta == pytest.approx(plan.delta - plan.overflow_probability, rel=1e-9)
    found = proven(plan)
    exact = brentq(lambda e: mean_over_participations(plan, e) - plan.accounted_delta, 0.0, 200.0, xtol=1e-12)
    assert exact <= found.epsilon_pld <= exact * (1 + 1e-6)
    assert found.epsilon_pld < found.epsilon_rdp < before
    # In Rényi's divergence the mean is that of exp((a - 1) D): exact, whether or not it is known who took part.
    orders, one = rdp_curve(plan)
    within = (orders - 1) * orders / (2 * plan.relative_noise**2) < 500
    by_hand = np.log1p(rate * np.expm1(((orders - 1) * orders / (2 * plan.relative_noise**2))[within]))
    assert one[within] == pytest.approx(by_hand / (orders[within] - 1), rel=1e-9)


@pytest.mark.parametrize(
    "plan",
    [
        CENTRAL.replace(population=50, sampling_rate=0.2, rounds=20, participation="seen"),
        CENTRAL.replace(population=50, sampling_rate=0.2, rounds=20, participation="seen", sampling="fixed_size"),
        CENTRAL.replace(population=50, unit="record", sampling_rate=0.2, rounds=20, participation="seen"),
        LOCAL_CLIENT.replace(population=50, sampling_rate=0.2, rounds=20),
        LOCAL_CLIENT.replace(population=50, sampling_rate=0.2, rounds=20, sampling="fixed_size"),
    ],
)
def test_the_mean_is_that_of_who_was_seen_whatever_the_row(plan):
    exact = brentq(lambda e: mean_over_participations(plan, e) - plan.accounted_delta, 0.0, 200.0, xtol=1e-12)
    assert proven(plan).epsilon_pld == pytest.approx(exact, rel=1e-6)
    assert not plan.amplified


def test_noise_that_composes_by_itself_has_no_mean_over_participations(monkeypatch):
    # A mechanism that says that its rounds together are one Gaussian says it of a unit that may be in all of them.
    drawn = LOCAL_CLIENT.replace(sampling_rate=0.2, rounds=20, noise_multiplier=10.0)
    monkeypatch.setattr(type(drawn.noise), "compositions", lambda self, plan, rounds: float(rounds))
    for found, everybody in zip(
        *(guarantees(plan, [1, 20]) for plan in (drawn.replace(), drawn.replace(sampling_rate=1.0))), strict=True
    ):
        assert found.epsilon_rdp == pytest.approx(everybody.epsilon_rdp, rel=1e-9)
        assert found.epsilon_pld == pytest.approx(everybody.epsilon_pld, rel=1e-9)


def test_who_took_part_and_what_came_out_are_together_no_more_than_the_mean():
    # Two rounds, each with the Gaussian of a swapped unit or without, seen: the curve by brute force over both.
    plan = LOCAL_CLIENT.replace(sampling_rate=0.3, rounds=2, noise_multiplier=4.0, delta=1e-3)
    grid = np.linspace(-40, 40, 2001) / 4.0

    def log_mass(at):
        return norm.logpdf(grid, loc=at, scale=2.0) + math.log(grid[1] - grid[0])

    epsilon, total = proven(plan).epsilon_pld, 0.0
    for seen in itertools.product((0, 1), repeat=2):
        weight = math.prod(0.3 if one else 0.7 for one in seen)
        here, there = ((log_mass(a * seen[0])[:, None] + log_mass(a * seen[1])[None]).ravel() for a in (0, 1))
        total += weight * np.maximum(0, np.exp(here) - np.exp(epsilon + there)).sum()
    assert total == pytest.approx(1e-3, rel=1e-3)


def test_all_that_may_go_wrong_is_paid_out_of_delta():
    overflowing = CENTRAL.replace(population=1000, sampling_rate=0.1, rounds=50)
    assert 0 < overflowing.overflow_probability <= 1e-3 * overflowing.delta
    own_batches, sampler = (1e-3 * CENTRAL.delta,) * 2
    for plan, paid in (
        (overflowing, 0.0),
        (SECRET_RECORD, own_batches),
        (SEEN_RECORD, own_batches),
        (DISTRIBUTED, sampler),
        (DISTRIBUTED.replace(sampling_rate=0.5), sampler),
        (DISTRIBUTED_RECORD, own_batches + sampler),
    ):
        paid += plan.overflow_probability + (0.0 if plan.setting.discrete else plan.budget.sampler)
        assert plan.accounted_delta == pytest.approx(plan.delta - paid, rel=1e-12)
        assert plan.reserved_delta == pytest.approx(paid, rel=1e-9)
    # What is paid is missing: the epsilon is that of the smaller delta.
    assert by_rdp(SECRET_RECORD) > by_rdp(SECRET_RECORD.replace(delta=1.01 * SECRET_RECORD.delta))


def test_a_run_whose_failures_use_up_delta_proves_nothing(monkeypatch):
    plan = replace(CENTRAL)
    monkeypatch.setattr(type(plan.noise), "delta_share", lambda self, plan: 2 * plan.delta)
    (found,) = guarantees(replace(plan), [1])
    assert found.epsilon_rdp == found.epsilon_pld == math.inf
    assert found.warnings == (
        "no guarantee: all of delta = 1e-05 and more is spent on what may fail (noise beyond the draws of its sampler: 2e-05)",
    )


@pytest.mark.parametrize(("population", "rate", "rounds"), [(100, 0.3, 100), (20, 0.1, 5), (3000, 0.01, 1000)])
def test_overflow_is_what_one_unit_cannot_be_seen_by(population, rate, rounds):
    plan = CENTRAL.replace(population=population, sampling_rate=rate, rounds=rounds)
    pad, others = plan.max_cohort_size, population - 1
    # With as many others as there are places, one unit pushes another out: then the sum moves by more than the clip norm.
    assert plan.overflow_probability == pytest.approx(rounds * binom.sf(pad - 1, others, rate), rel=1e-9)
    assert plan.overflow_probability <= 1e-3 * plan.delta < rounds * binom.sf(pad - 2, others, rate)
    assert plan.max_batch_size(population, rate) == pad


def brute_force_sensitivity(strategy, rounds, patterns):
    """Largest squared norm of C u over participation patterns and signs of the contributions."""
    matrix = np.zeros((rounds, rounds))
    for column in range(rounds):
        for band, value in enumerate(strategy[: rounds - column]):
            matrix[column + band, column] = value
    worst = 0.0
    for pattern in patterns:
        for signs in itertools.product((-1.0, 1.0), repeat=len(pattern)):
            worst = max(worst, float(((matrix[:, list(pattern)] @ np.array(signs)) ** 2).sum()))
    return worst


@pytest.mark.parametrize("strategy", [(1.0,), (0.8, 0.6), (0.8, 0.48, 0.36), (0.6, 0.48, 0.64)])
@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 11])
def test_releases_of_banded_noise_are_the_squared_sensitivity(strategy, rounds):
    plan = BANDED.replace(strategy=strategy, sampling_rate=0.25, rounds=rounds)
    assert plan.setting.min_separation == 4
    patterns = [tuple(range(first, rounds, 4)) for first in range(min(4, rounds))]
    worst = brute_force_sensitivity(strategy, rounds, patterns)
    assert plan.releases(rounds) == pytest.approx(worst, rel=1e-9)
    assert is_gaussian(plan, 2.0 / (2 * math.sqrt(worst)))
    orders, one = rdp_curve(plan)
    assert one * plan.releases(rounds) == pytest.approx(orders * worst * 4 / (2 * 4), rel=1e-9)


@pytest.mark.parametrize("count_noise", [None, 1.1, 3.0, 50.0])
def test_adaptive_clipping_splits_the_noise_between_update_and_count(count_noise):
    plan = ADAPTIVE.replace(count_noise=count_noise, clip_norm=0.3)
    update = plan.noise_stddev / plan.clip_norm
    assert plan.noise_multiplier**-2 == pytest.approx(update**-2 + (2 * plan.count_stddev) ** -2, rel=1e-12)
    assert update > plan.noise_multiplier
    # Two Gaussians, of sensitivities C and 1/2, are one at the noise multiplier of the plan.
    orders, together = rdp_curve(plan.replace(sampling_rate=1.0, sampling="poisson", population=1))
    apart = orders / (2 * update**2) + orders * 0.5**2 / (2 * plan.count_stddev**2)
    assert together == pytest.approx(apart, rel=1e-9)


def test_adaptive_clipping_costs_noise_and_not_epsilon():
    fixed = ADAPTIVE.replace(clipping="fixed")
    for name in ("epsilon_rdp", "epsilon_pld", "epsilon_rdp_classic"):
        assert getattr(proven(ADAPTIVE), name) == getattr(proven(fixed), name)
    assert ADAPTIVE.noise_stddev > fixed.noise_stddev


# --- records that are noised by the clients -----------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [SECRET_RECORD, SEEN_RECORD], ids=["secret", "seen"])
def test_the_guarantee_is_that_of_the_client_with_the_largest_rate(plan):
    alone = [by_rdp(plan.replace(local=replace(plan.local, record_rates=(r,)))) for r in plan.local.record_rates]
    assert [one["rdp"] for one in by_client(plan)] == pytest.approx(alone)
    for accountant, worst in (("rdp", by_rdp(plan)), ("pld", proven(plan).epsilon_pld)):
        own = [one[accountant] for one in by_client(plan)]
        assert worst == max(own) == own[2]
        assert np.argsort(own, kind="stable").tolist() == [1, 3, 0, 4, 2]
        assert own[0] == own[4]


def test_steps_of_all_participations_compose():
    everybody = SEEN_RECORD.replace(sampling_rate=1.0)
    assert everybody.releases(20) == 80
    # One client's own records, sampled by Poisson at every step, are a central run of so many rounds.
    central = CENTRAL.replace(sampling_rate=0.2, rounds=80, delta=everybody.accounted_delta)
    assert proven(everybody).epsilon_rdp == pytest.approx(proven(central).epsilon_rdp, rel=1e-6)
    assert proven(everybody).epsilon_pld == pytest.approx(proven(central).epsilon_pld, rel=1e-3)
    # In a schedule of three batches a client's steps are those of every third round.
    shuffled = SEEN_RECORD.replace(sampling="shuffled", sampling_rate=1 / 3, population=3, rounds=18)
    assert (shuffled.compositions(18), shuffled.releases(18)) == (6, 24)


@pytest.mark.parametrize(
    ("rate", "rounds", "steps", "own", "delta", "right"),
    [(0.5, 10, 2, 1 / 3, 1e-5, 2.939), (0.2, 60, 4, 0.1, 1e-5, 1.741), (0.05, 200, 10, 0.1, 1e-6, 3.058)],
)
def test_steps_on_records_of_clients_that_are_seen_cost_their_mean(rate, rounds, steps, own, delta, right):
    plan = SEEN_RECORD.replace(
        population=1000, sampling_rate=rate, rounds=rounds, local=LocalSteps(steps, (own,)), delta=delta
    )
    found = proven(plan)
    assert found.epsilon_pld == pytest.approx(right, rel=2e-3)
    # By the law of the number of participations: composed apart for each of them, and then averaged.
    step = privacy_loss_distribution.from_gaussian_mechanism(2.0, sampling_prob=own, value_discretization_interval=1e-3)
    counts = [k for k in range(1, rounds + 1) if binom.pmf(k, rounds, rate) > 1e-4 * delta]
    deltas = [step.self_compose(int(k) * steps).get_delta_for_epsilon(found.epsilon_pld) for k in counts]
    assert np.dot(binom.pmf(counts, rounds, rate), deltas) == pytest.approx(plan.accounted_delta, rel=5e-3)


@pytest.mark.parametrize("sampling", ["poisson", "fixed_size"])
def test_secrecy_of_clients_adds_nothing_to_records_that_they_noise_themselves(sampling):
    seen = SEEN_RECORD.replace(sampling=sampling, population=10)
    assert proven(seen.replace(participation="secret")) == proven(seen)


def test_one_guarantee_for_all_has_no_epsilon_by_client():
    with pytest.raises(PrivacyPlanError, match="epsilons of their own"):
        by_client(CENTRAL)


@pytest.mark.parametrize("plan", [SECRET_RECORD, SEEN_RECORD], ids=["secret", "seen"])
def test_more_clients_of_their_own_do_not_change_the_guarantee(plan):
    one, many = (plan.replace(local=LocalSteps(4, (0.2,) * n), population=n) for n in (1, 5000))
    # The pad of the round's cohort is the one thing that knows how many there are.
    assert by_rdp(many) == pytest.approx(by_rdp(one), rel=1e-4)
    assert rdp_curve(many)[1].tolist() == rdp_curve(one)[1].tolist()
    noisy = LOCAL_CLIENT.replace(sampling_rate=0.2, rounds=30, noise_multiplier=10.0, sampling="fixed_size")
    assert by_rdp(noisy.replace(population=10)) == by_rdp(noisy.replace(population=10_000))


def test_a_client_that_always_takes_part_hides_nothing():
    hidden, seen = (plan.replace(sampling_rate=1.0) for plan in (SECRET_RECORD, SEEN_RECORD))
    assert by_rdp(hidden) == by_rdp(seen)
    assert by_rdp(hidden.replace(sampling_rate=0.01)) < by_rdp(hidden)


def a_run(**changes):
    values = {name: None for name in KEYS} | {
        "dataset": "none",
        "partition": {"name": "iid"},
        "clients": 5,
        "model": {"name": "logistic"},
        "algorithm": "fedavg",
        "sampling": "poisson",
        "sampling_rate": 0.3,
        "rounds": 20,
        "local_steps": 4,
        "batch_size": 5,
        "server_optimizer": {"name": "sgd"},
        "unit": "record",
        "trust": "local",
        "clip_norm": 0.7,
        "noise_multiplier": 2.0,
        "accountant": "rdp",
        "delta": 1e-5,
        "evaluate_every": 10,
        "seed": 0,
    }
    return Run.from_dict(values | changes)


@pytest.mark.parametrize(
    ("preprocessing", "releases"),
    [
        ({"name": "pca", "dimensions": 5, "noise_multiplier": 8.0}, (8.0,)),
        ({"name": "data_norm", "mean_norm": 1.0, "square_norm": 1.0, "noise_multiplier": 8.0}, (8.0, 8.0)),
        ({"name": "group_norm", "groups": 3}, ()),
        (None, ()),
    ],
)
def test_what_a_preprocessing_learns_is_charged_release_by_release(preprocessing, releases):
    run = a_run(trust="central", records=500, local_steps=1, preprocessing=preprocessing)
    assert privacy_plan(run).preprocessing_noise_multipliers == releases
    assert privacy_plan(run.replace(noise_multiplier=0.0, delta=None)).preprocessing_noise_multipliers == ()


def test_as_many_clients_are_asked_for_noise_shares_as_a_round_has():
    asked = a_run(
        unit="client", clients=7, sampling_rate=0.4, sampling="fixed_size", local_steps=1, trust="distributed",
        mechanism={"name": "skellam", "bits": 16, "threshold": 0.6}, noise_multiplier=4.0,
    )  # fmt: skip
    measured = DataSizes(parameters=10, records={0: (10,) * 7})
    assert privacy_plan(asked, measured).sum.participants == 3
    # Records are drawn by all clients, and every one of these adds its share.
    records = asked.replace(unit="record", records=70, sampling="poisson")
    assert privacy_plan(records, measured).sum.participants == 7


def test_the_client_in_the_middle_is_reported_beside_the_worst():
    run = a_run()
    accounted = account(Bundle((run,)), DataSizes(parameters=10, records={0: (50, 250, 25, 100, 50)}))[run.run_id]
    plan = SEEN_RECORD.replace(population=5, clip_norm=0.7, participation=None, several_steps=True)
    assert accounted.plan == plan
    own = by_client(plan)
    assert list(accounted.client_epsilons) == own
    for name in ("rdp", "pld"):
        assert accounted.final.epsilons[name] == pytest.approx(max(one[name] for one in own))
    by_pld = sorted(one["pld"] for one in own)
    assert accounted.final.epsilon_median == by_pld[2] < min(accounted.final.epsilon, sorted(o["rdp"] for o in own)[2])
    assert by_pld[0] < by_pld[2]


# --- integer noise under secure aggregation -----------------------------------------------------------------------------

LAWS = ("skellam", "discrete_gaussian")


@pytest.mark.parametrize("law", LAWS)
def test_integer_noise_tends_to_the_gaussian_as_bits_grow(law):
    plans = {b: DISTRIBUTED.replace(mechanism=law, sum=replace(DISTRIBUTED.sum, bits=b)) for b in (10, 12, 16, 20, 24)}
    # At integer orders, which are all that is proved for integer noise; a vector swapped for another moves it by 2 C.
    curves = {b: rdp_curve(plan) for b, plan in plans.items()}
    orders = curves[24][0]
    gaussian = orders * (2 / 4.0) ** 2 / 2
    excess = [float((one / gaussian).max()) - 1 for _, one in curves.values()]
    assert excess == sorted(excess, reverse=True)
    assert excess[0] > 0.2
    assert 0 < excess[-1] < 1e-4
    assert all((one >= gaussian).all() for _, one in curves.values())
    epsilons = [by_rdp(plans[b]) for b in (10, 12, 16, 20)]
    assert epsilons == sorted(epsilons, reverse=True)
    limit, _ = rdp.compute_epsilon(orders, gaussian * 5, plans[20].accounted_delta)
    assert limit <= epsilons[-1] <= 1.001 * limit


@pytest.mark.parametrize("law", LAWS)
def test_a_grid_too_fine_to_sample_from_is_refused(law):
    with pytest.raises(PrivacyPlanError, match="fewer bits make a coarser grid"):
        guarantee(DISTRIBUTED.replace(mechanism=law, sum=replace(DISTRIBUTED.sum, bits=24)))


@pytest.mark.parametrize("law", LAWS)
def test_fewer_answers_that_must_come_mean_larger_shares(law):
    def share(threshold):
        plan = DISTRIBUTED.replace(mechanism=law, sum=replace(DISTRIBUTED.sum, threshold=threshold))
        lattice = lattice_mechanism.encoding_of(plan)
        return lattice.share_variance * lattice.granularity**2

    # The fewest answers make up the noise that is accounted: 40 x 0.75 = 30 of variance (z C)^2 / 30 each.
    assert share(0.75) == pytest.approx((4.0 * 0.5) ** 2 / 30)
    assert share(0.55) == pytest.approx((4.0 * 0.5) ** 2 / 22)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("bits", [2, 4])
def test_too_few_bits_are_refused(law, bits):
    plan = DISTRIBUTED.replace(mechanism=law, sum=replace(DISTRIBUTED.sum, bits=bits), population=4000)
    with pytest.raises(PrivacyPlanError, match="too few"):
        guarantee(plan)


@pytest.mark.parametrize("law", LAWS)
def test_a_sampler_that_errs_more_than_is_paid_for_proves_nothing(law, monkeypatch):
    plan = DISTRIBUTED.replace(mechanism=law)
    epsilon = by_rdp(plan)
    share = plan.noise.delta_share(plan)
    assert 0 < lattice_mechanism.sampler_error(plan) * (1 + math.exp(epsilon)) <= share
    draws = 512 * 40 * 5  # coordinates x shares x rounds
    most = share / (1 + math.exp(epsilon)) / draws
    for error, expected in ((0.99 * most, epsilon), (1.01 * most, math.inf)):
        monkeypatch.setattr(lattice_mechanism, "largest_total_variation", lambda *_, error=error: error)
        fresh = replace(plan)
        assert lattice_mechanism.sampler_error(fresh) == pytest.approx(draws * error)
        assert (
            fresh.noise.numerics(fresh) == f"exact integers, threefry, but for a total variation of {draws * error:.2g}"
        )
        assert guarantee(fresh).epsilon_rdp == expected


@pytest.mark.parametrize("law", LAWS)
def test_secrecy_of_records_never_costs_more_under_secure_aggregation(law):
    hidden = DISTRIBUTED_RECORD.replace(mechanism=law, sampling_rate=0.1, participation="secret", rounds=30)
    seen = hidden.replace(participation="seen")
    assert by_rdp(hidden) <= by_rdp(seen)
    assert by_rdp(hidden.replace(sampling_rate=0.02)) < by_rdp(seen.replace(sampling_rate=0.02))


@pytest.mark.parametrize(("rate", "rounds", "noise", "before"), [(0.2, 60, 8.0, 2.557), (0.5, 20, 8.0, 2.323)])
def test_integer_noise_has_the_least_of_all_bounds_order_by_order(rate, rounds, noise, before):
    plan = DISTRIBUTED_RECORD.replace(
        sampling_rate=rate, rounds=rounds, noise_multiplier=noise, clip_norm=1.0, participation="secret",
        sum=replace(DISTRIBUTED.sum, dimension=8000, bits=16),
    )  # fmt: skip
    orders, one = rdp_curve(plan)

    def alone(at):
        return lattice_mechanism.encoding_of(plan).rdp(at, swapped=False)

    secret = np.array([amplification.poisson(alone, rate, int(a)) for a in orders])
    drawn = amplification.mixture(alone(orders), rate, orders)
    assert one.tolist() == np.minimum(secret, drawn).tolist()
    assert (secret < drawn).any()
    assert by_rdp(plan) == pytest.approx({0.2: 2.110, 0.5: 1.856}[rate], abs=2e-3)
    assert by_rdp(plan) < before


@pytest.mark.parametrize(
    ("noise", "rate", "rounds", "delta", "before"),
    [(24.1, 0.0068, 37, 4.3e-8, 0.0494), (11.6, 0.0046, 77, 9e-7, 0.0871)],
)
def test_small_epsilons_of_integer_noise_are_found_at_far_orders(noise, rate, rounds, delta, before):
    plan = DISTRIBUTED_RECORD.replace(
        participation="secret", sampling_rate=rate, rounds=rounds, noise_multiplier=noise, delta=delta
    )
    every = lattice_mechanism.encoding_of(plan).rdp(np.arange(2.0, 8001.0), swapped=False)
    orders = np.arange(1000, 8001, 8)
    secret = [amplification.poisson(lambda at: every[at.astype(int) - 2], rate, int(a)) for a in orders]
    least = rdp.compute_epsilon(orders, rounds * np.array(secret), plan.accounted_delta)[0]
    assert least * (1 - 1e-4) <= by_rdp(plan) <= 1.05 * least
    assert by_rdp(plan) < 0.85 * before


def test_pld_is_not_claimed_where_there_is_none():
    for plan in (DISTRIBUTED, DISTRIBUTED_RECORD):
        assert math.isnan(guarantee(plan.replace(sampling_rate=0.01)).epsilon_pld)


# --- limits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_more_noise_costs_less_and_no_noise_is_without_end(kind):
    plan = KINDS[kind]
    epsilons = [by_rdp(plan.replace(noise_multiplier=z)) for z in (2.0, 2.2, 8.0, 64.0)]
    assert all(more < less for less, more in itertools.pairwise(epsilons))
    nothing = guarantee(plan.replace(noise_multiplier=0.0))
    assert nothing.epsilon_rdp == nothing.epsilon_pld == nothing.epsilon_rdp_classic == math.inf
    assert (guarantees(plan, [0])[0].epsilon_rdp == 0.0) == (not plan.preprocessing_noise_multipliers)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_without_bound_costs_nothing(kind):
    # RDP up to order 1,024 cannot say less than about 0.0035 at delta = 1e-5.
    assert by_rdp(KINDS[kind].replace(noise_multiplier=1e5, preprocessing_noise_multipliers=())) < 0.004


@pytest.mark.parametrize("kind", KINDS)
def test_epsilon_grows_with_the_rounds(kind):
    plan = KINDS[kind]
    epsilons = [g.epsilon_rdp for g in guarantees(plan, range(plan.rounds + 1), only=("rdp",))]
    assert epsilons == sorted(epsilons)
    assert epsilons[0] < epsilons[1] < epsilons[-1]
    assert (epsilons[0] == 0) == (not plan.preprocessing_noise_multipliers)


SECRET_SUM = DISTRIBUTED_RECORD.replace(sampling_rate=0.1, rounds=60, noise_multiplier=40.0, participation="secret")


@pytest.mark.parametrize("plan", [*KINDS.values(), SECRET_SUM], ids=[*KINDS, "skellam, strong noise"])
def test_the_curve_of_a_run_promises_what_its_guarantee_does_and_not_more(plan):
    orders, whole = whole_curve(plan)
    by_curve, _ = rdp.compute_epsilon(orders, whole, plan.delta - plan.reserved_delta)
    assert by_curve >= by_rdp(plan) * (1 - 1e-12)
    assert by_curve <= by_rdp(plan) * (1 + 1e-2)
    assert by_rdp(plan) <= plan.largest_epsilon


def test_all_steps_of_a_participation_are_what_its_secrecy_hides():
    orders, hidden = rdp_curve(SECRET_RECORD)
    central = CENTRAL.replace(sampling_rate=SECRET_RECORD.local.worst)
    _, step = rdp_curve(central, orders.tolist())
    q, steps = SECRET_RECORD.setting.sampling_rate, SECRET_RECORD.local.steps
    exponent = (orders - 1) * steps * step
    within = exponent < 500  # where float64 can hold it
    assert within.sum() > 30
    by_hand = np.log1p(q * np.expm1(exponent[within])) / (orders[within] - 1)
    assert hidden[within] == pytest.approx(by_hand, rel=1e-9)


# --- what rounding and time leave of PLD ----------------------------------------------------------------------------------


def central(rate, noise, steps, delta):
    return CENTRAL.replace(population=1, sampling_rate=rate, noise_multiplier=noise, rounds=steps, delta=delta)


def provable_delta(rate, noise, steps, epsilon, interval):
    """A delta that no valid epsilon may undercut: losses rounded down and composed in floats of 80 bits."""
    gaussian = privacy_loss_distribution.from_gaussian_mechanism
    one = gaussian(
        noise,
        sampling_prob=rate,
        value_discretization_interval=interval,
        pessimistic_estimate=False,
        use_connect_dots=False,
    )._pmf_remove.to_dense_pmf()
    size = 1 << (4 * one.size).bit_length()
    probs = np.zeros(size, np.clongdouble)
    probs[: one.size] = one._probs
    composed = np.real(np.fft.ifft(np.fft.fft(probs) ** steps))
    cells = int(np.dot(one._probs, np.arange(one.size)) * steps) - size // 2 + np.arange(size)
    loss = (one._lower_loss * steps + cells) * np.longdouble(interval)
    over = loss > epsilon
    return float(np.sum(composed[cells % size][over] * -np.expm1(epsilon - loss[over])))


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta"),
    [
        (0.00503, 0.726, 3000, 1e-13),  # was 7.7508, where 8.068 is true
        (0.0194, 1.209, 3000, 1e-14),
        (0.0001, 0.5, 100_000, 1e-12),  # was 20.1, where RDP proves 8.2
        (0.000429, 0.764, 1_000_000, 1e-11),  # was 6.112, where 6.38 is true
        (0.00192, 0.92, 30_000, 1e-12),  # was 8.00, where RDP proves 4.18
    ],
)
def test_pld_says_why_it_has_no_epsilon_where_rounding_may_take_delta(rate, noise, steps, delta):
    found = guarantee(central(rate, noise, steps, delta))
    assert math.isnan(found.epsilon_pld)
    assert math.isfinite(found.epsilon_rdp)
    assert "PLD not computed: rounding may move delta by" in found.warnings[0]


def test_the_error_of_rounding_is_paid_for_out_of_delta():
    plan = central(0.00503, 0.726, 3000, 2e-11)
    found = guarantee(plan).epsilon_pld
    assert provable_delta(0.00503, 0.726, 3000, found, 1e-4) <= 2e-11
    left = plan.accounted_delta - 6e-12
    step = privacy_loss_distribution.from_gaussian_mechanism(
        0.726,
        sampling_prob=0.00503,
        value_discretization_interval=by_pld._pld_interval([0.726], by_rdp(plan), 3000)[0],
    )
    assert found == pytest.approx(step.self_compose(3000).get_epsilon_for_delta(left), rel=1e-12)


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta", "epsilon"),
    [
        (0.2, 2.0, 60, 1e-4, 3.260471142172135),
        (0.1, 1.0, 100, 1e-5, 7.046668232618339),
        (256 / 60000, 1.1, 14063, 1e-5, 2.3833965709114437),
        (1.0, 5.0, 100, 1e-12, 15.641125772),
    ],
)
def test_pld_at_usual_deltas_is_what_it_was_before_rounding_was_paid_for(rate, noise, steps, delta, epsilon):
    found = guarantee(central(rate, noise, steps, delta)).epsilon_pld
    assert epsilon <= found <= epsilon * (1 + 1e-6)


@pytest.mark.parametrize(
    ("rate", "noise", "rounds", "delta", "right"),
    [  # by FFT of a tilted distribution on a grid of 1e-6
        (3.09e-5, 1.159, 10_000, 1.09e-6, 0.01011),
        (1.039e-5, 0.9755, 1_000_000, 5.38e-6, 0.0428),
        (1.022e-5, 2.568, 1_000_000, 6.61e-8, 0.0159),
        (1.886e-5, 0.9221, 100_000, 1.5e-6, 0.0293),
    ],
)
def test_pld_is_tight_where_rdp_is_far_above_it(rate, noise, rounds, delta, right):
    plan = CENTRAL.replace(sampling_rate=rate, noise_multiplier=noise, rounds=rounds, delta=delta, population=1)
    found = guarantee(plan, only=("pld",))
    assert right < found.epsilon_pld < 1.05 * right < found.epsilon_rdp / 4


def test_a_mechanism_that_everybody_sees_run_or_not_has_its_delta_times_the_rate():
    whole = pld_pmf.DensePLDPmf(0.5, -2, np.array([0.1, 0.2, 0.3, 0.2, 0.1]), 0.1, True)
    seen = by_pld._with_probability(0.3, whole)
    for epsilon in (0.0, 0.25, 0.5, 0.9, 1.0, 20.0):
        assert seen.get_delta_for_epsilon(epsilon) == pytest.approx(
            0.3 * whole.get_delta_for_epsilon(epsilon), rel=1e-12
        )
    assert seen.get_delta_for_epsilon(20.0) == pytest.approx(0.03)


def test_pld_above_rdp_is_not_used():
    # The grid is as fine as one step's memory allows, and a billion steps add up its roundings: 3.19 against 1.76.
    found = guarantee(central(1e-5, 1.0, 10**9, 1e-5))
    assert math.isnan(found.epsilon_pld)
    assert re.fullmatch(r"PLD not used: its epsilon is 3\.\d+, above the 1\.761 of RDP", found.warnings[0])
    (short,) = guarantees(central(1e-7, 1.0, 10_000, 1e-5), [10_000])
    assert short.epsilon_rdp == 0.0
    assert math.isnan(short.epsilon_pld)


def test_the_time_of_pld_does_not_grow_with_the_steps(monkeypatch):
    # dp-accounting computes (values of one step) ** steps to find out that a sparse distribution becomes a dense one.
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(pld_pmf.SparsePLDPmf, "self_compose", never)
    found = guarantee(central(1e-7, 1.0, 10**8, 1e-5))
    # About sqrt(steps) rate sqrt(e - 1) Gaussian losses, on a coarse grid.
    assert 0.003 < found.epsilon_pld < found.epsilon_rdp


def test_a_composition_that_needs_too_much_memory_is_refused():
    found = guarantee(central(1e-3, 1000.0, 10**9, 1e-5))
    assert math.isnan(found.epsilon_pld)
    assert "1,000,000,000 compositions need a grid of 5.1e+08 values" in found.warnings[0]


def test_early_rounds_keep_their_epsilon_by_pld_where_late_ones_have_none():
    early, late = guarantees(central(0.00503, 0.726, 3000, 1e-13), [20, 3000])
    assert math.isfinite(early.epsilon_pld)
    assert math.isnan(late.epsilon_pld)
    assert not early.warnings
