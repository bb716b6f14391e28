"""Our epsilons beside those of other programs: dp_accounting's own accountant, jax_privacy, and Opacus where it is installed.

The first two share code with ours, so they say that we hand over the right events. Opacus shares none.
"""

import dp_accounting
import jax_privacy.accounting as jax_privacy
import pytest
from dp_accounting import pld
from events import whole_event
from plans import ADAPTIVE, AFTER_RELEASES, BANDED, CENTRAL, KINDS, LOCAL_CLIENT, SEEN_RECORD, by_rdp, proven

from fedpareto.privacy.accounting.calibration import calibrate

# Sampling rate, noise multiplier, rounds: from one release to 14,040, from weak noise to strong.
POISSON = [
    (1.0, 1.0, 1),
    (1.0, 10.0, 100),
    (0.5, 4.0, 50),
    (0.1, 2.0, 300),
    (0.01, 1.0, 1000),
    (256 / 60_000, 1.1, 14_040),
    (0.001, 0.6, 2000),
]
FIXED_SIZE = [(0.01, 1.0, 1000), (0.1, 4.0, 100), (1.0, 4.0, 10)]  # of 1,000
TARGETS = [(0.01, 1000, 1.0), (0.1, 300, 4.0)]  # rate, rounds, epsilon
GRID = 1e-3  # how far apart two accountants are whose Rényi orders, or whose grids of losses, differ
JAX_ACCOUNTANTS = {"rdp": jax_privacy.RdpAccountantConfig(), "pld": jax_privacy.PldAccountantConfig()}


def run_of(rate, noise, rounds):
    return CENTRAL.replace(sampling_rate=rate, noise_multiplier=noise, rounds=rounds)


def by_dp_accounting(plan):
    # The noise in a plan's event is relative to the sensitivity, which is as if one unit were added.
    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(whole_event(plan))
    return accountant.get_epsilon(plan.accounted_delta)


@pytest.mark.parametrize(("rate", "noise", "rounds"), POISSON)
def test_pld_is_that_of_dp_accounting_on_the_event_of_the_plan(rate, noise, rounds):
    plan = run_of(rate, noise, rounds)
    assert proven(plan).epsilon_pld == pytest.approx(by_dp_accounting(plan), rel=GRID)


@pytest.mark.parametrize(
    "plan",
    [
        *(KINDS["central"], KINDS["shuffled"], AFTER_RELEASES, KINDS["swapped after releases"], ADAPTIVE, BANDED),
        *(LOCAL_CLIENT, SEEN_RECORD.replace(sampling_rate=1.0)),
    ],
    ids=["central", "shuffled", "after", "swapped after", "adaptive", "banded", "client noises", "record, everybody"],
)
def test_pld_of_every_kind_is_that_of_its_event(plan):
    assert proven(plan).epsilon_pld == pytest.approx(by_dp_accounting(plan), rel=GRID)


def test_replace_one_of_gaussians_is_what_dp_accounting_makes_of_it():
    plan = LOCAL_CLIENT.replace(rounds=7, noise_multiplier=5.0)
    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_ONE)
    # Unlike its RDP, its PLD doubles the sensitivity itself: the noise multiplier is relative to the clip norm.
    event = dp_accounting.GaussianDpEvent(plan.noise_multiplier)
    accountant.compose(dp_accounting.SelfComposedDpEvent(event, plan.rounds))
    assert proven(plan).epsilon_pld == pytest.approx(accountant.get_epsilon(plan.accounted_delta), rel=GRID)


def by_jax_privacy(plan, accountant, population, sampling=jax_privacy.SamplingMethod.POISSON):
    params = jax_privacy.DpParams(
        noise_multipliers=plan.noise_multiplier,
        num_samples=population,
        delta=plan.accounted_delta,
        batch_size=round(plan.inclusion_probability * population),
        sampling_method=sampling,
    )
    training = jax_privacy.DpsgdTrainingAccountant(JAX_ACCOUNTANTS[accountant])
    return training.compute_epsilon(plan.rounds, params)


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
@pytest.mark.parametrize(("rate", "noise", "rounds"), POISSON)
def test_poisson_runs_cost_what_jax_privacy_says(rate, noise, rounds, accountant):
    plan = run_of(rate, noise, rounds)
    theirs = by_jax_privacy(plan, accountant, 60_000)
    assert getattr(proven(plan), f"epsilon_{accountant}") == pytest.approx(theirs, rel=GRID)


@pytest.mark.parametrize(("rate", "noise", "rounds"), FIXED_SIZE)
def test_cohorts_of_a_fixed_size_never_cost_less_than_jax_privacy_says(rate, noise, rounds):
    plan = run_of(rate, noise, rounds).replace(population=1000, sampling="fixed_size")
    theirs = by_jax_privacy(plan, "rdp", 1000, jax_privacy.SamplingMethod.FIXED_BATCH_SIZE)
    # Theirs reduces to Poisson at half the noise, which nobody has proved for several rounds; what is proved is somewhat more.
    assert theirs * (1 - GRID) <= by_rdp(plan) <= 1.25 * theirs
    if rate == 1:
        assert by_rdp(plan) == pytest.approx(theirs, rel=GRID)


@pytest.mark.parametrize(
    ("rate", "rounds", "target", "accountant"), [(*TARGETS[0], "rdp"), (*TARGETS[1], "rdp"), (*TARGETS[1], "pld")]
)
def test_calibrated_noise_is_that_of_jax_privacy(rate, rounds, target, accountant):
    theirs = jax_privacy.calibrate_noise_multiplier(
        target_epsilon=target,
        accountant=jax_privacy.DpsgdTrainingAccountant(JAX_ACCOUNTANTS[accountant]),
        batch_sizes=round(1000 * rate),
        num_updates=rounds,
        num_samples=1000,
        target_delta=CENTRAL.delta,
        tol=1e-3,
    )
    ours = calibrate(run_of(rate, 1.0, rounds), target, accountant).noise_multiplier
    assert ours == pytest.approx(theirs, rel=2e-3)


def by_opacus(name, plan):
    accountant = getattr(pytest.importorskip("opacus.accountants"), name)()
    for _ in range(plan.rounds):
        accountant.step(noise_multiplier=plan.noise_multiplier, sample_rate=plan.setting.sampling_rate)
    return accountant.get_epsilon(plan.accounted_delta)


@pytest.mark.parametrize(("rate", "noise", "rounds"), POISSON)
def test_rdp_is_that_of_opacus(rate, noise, rounds):
    plan = run_of(rate, noise, rounds)
    assert proven(plan).epsilon_rdp == pytest.approx(by_opacus("RDPAccountant", plan), rel=GRID)


# Weak noise, large epsilon: the best order lies between whole numbers. By the RDP accountant of Opacus 1.6.0.
RECORDED = [
    (0.2, 0.5, 60, 1e-4, 42.47),
    (0.3, 0.5, 30, 1e-4, 39.98),
    (0.1, 0.4, 100, 1e-5, 59.81),
    (0.0122, 0.6144, 28_170, 1e-4, 51.82),
    (0.064, 0.44, 1572, 1e-10, 207.3),
]


@pytest.mark.parametrize(("rate", "noise", "rounds", "delta", "theirs"), RECORDED)
def test_rdp_of_weak_noise_is_that_of_opacus_on_finer_orders(rate, noise, rounds, delta, theirs):
    assert 0.99 * theirs <= by_rdp(run_of(rate, noise, rounds).replace(delta=delta)) <= theirs * (1 + GRID)


@pytest.mark.parametrize(("rate", "noise", "rounds"), POISSON)
def test_pld_is_within_the_error_that_opacus_prv_states(rate, noise, rounds):
    plan = run_of(rate, noise, rounds)
    upper = by_opacus("PRVAccountant", plan)
    # It returns the upper end of an interval of 0.01 on either side of its estimate.
    assert upper - 0.02 <= proven(plan).epsilon_pld <= upper


@pytest.mark.parametrize(("rate", "rounds", "target"), TARGETS)
def test_calibrated_noise_is_that_of_opacus(rate, rounds, target):
    utils = pytest.importorskip("opacus.accountants.utils")
    theirs = utils.get_noise_multiplier(
        target_epsilon=target,
        target_delta=CENTRAL.delta,
        sample_rate=rate,
        steps=rounds,
        accountant="rdp",
        epsilon_tolerance=1e-3,
    )
    assert calibrate(run_of(rate, 1.0, rounds), target, "rdp").noise_multiplier == pytest.approx(theirs, rel=2e-3)
