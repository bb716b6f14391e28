"""fedpareto passes the checks, or refuses what does not; numbers in names are those of the faults in `test_faults.py`.

Faults without a test of their own here (2, 6, 7, 8, 11) are what the checks of clients and of records look for.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from engine import ENGINE_CLIP, engine_of_clients, engine_of_records, plan_of
from problem import FEATURES, PAD, first_run, make_hypers, make_static
from sound import CLAIM, SOUND, SWAP, UNITS, claiming, fixed_size, poisson, white

from fedpareto.config.load import ConfigError, load
from fedpareto.federated.conformance.engine import claim_of, noise_of_rounds
from fedpareto.federated.conformance.world import clients_data
from fedpareto.federated.inputs.state import NOISELESS
from fedpareto.privacy import soundness
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.conformance import (
    CHECKS,
    check_divisor,
    check_epsilon,
    check_noise_independence,
    check_noise_scale,
    check_overflow,
    check_released,
    check_sampling,
    check_sensitivity,
)
from fedpareto.privacy.plan import PrivacyPlanError
from fedpareto.privacy.sampling import last_to_join
from fedpareto.privacy.setting import PrivacySetting, SecureAggregation

ELSEWHERE = ("distinguishing", "released")


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in ELSEWHERE])
def test_fedpareto_passes_for_clients(name):
    assert CHECKS[name](engine_of_clients()) == []


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in ELSEWHERE])
def test_fedpareto_passes_for_records(name):
    assert CHECKS[name](engine_of_records()) == []


@pytest.mark.parametrize("engine", [engine_of_clients, engine_of_records])
@pytest.mark.parametrize(
    ("check", "false_claim"),
    [
        (check_sensitivity, {"clip_norm": 0.95 * ENGINE_CLIP}),
        (check_noise_scale, {"noise_multiplier": 1.05}),
        (check_sampling, {"rate": 0.45}),
        (check_sampling, {"sampling": "fixed_size"}),
    ],
)
def test_false_claims_about_fedpareto_are_caught(engine, check, false_claim):
    assert check(claiming(engine(), **false_claim))


@pytest.mark.parametrize("engine", [engine_of_clients, engine_of_records])
def test_an_epsilon_below_what_fedpareto_spends_is_caught(engine):
    assert check_epsilon(claiming(engine(), epsilon=0.98 * engine().claim.epsilon))


def test_01_fedpareto_bounds_the_weight_of_a_client():
    weighted = engine_of_clients(weight_cap=PAD - 2)
    assert check_sensitivity(weighted) == []
    assert check_divisor(weighted) == []
    refused = [fault.key for fault in soundness.violations(PrivacySetting(weight_cap=0))]
    assert refused == ["weighting"]


def test_03_fedpareto_passes_with_cohorts_of_a_fixed_size():
    engine = engine_of_clients("fixed_size")
    assert engine.claim.adjacency == SWAP
    for check in (check_sampling, check_sensitivity, check_epsilon, check_noise_scale):
        assert check(engine) == []


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_03_fedpareto_doubles_the_sensitivity_of_one_release(rate):
    plan = plan_of("fixed_size", UNITS, rate, steps=1)
    claim = claim_of(plan)
    mechanism = replace(
        SOUND, claim=claim, sample=fixed_size(round(rate * UNITS), steps=1), noise=white(claim.noise_stddev)
    )
    assert check_epsilon(mechanism) == []
    assert check_epsilon(claiming(mechanism, epsilon=claim_of(plan_of(steps=1, rate=rate)).epsilon))


def test_04_fedpareto_counts_the_rounds_that_it_runs():
    engine = engine_of_clients()
    assert check_epsilon(engine) == []
    half = guarantee(plan_of(steps=engine.claim.steps // 2)).epsilon_pld
    assert "6 releases (3 claimed)" in check_epsilon(claiming(engine, epsilon=half, steps=engine.claim.steps // 2))[0]


def test_05_fedpareto_draws_noise_of_its_own_for_every_client():
    """Hospitals that noise their own steps: everybody else is empty, so that one client's noise is seen, with one key."""
    rng = np.random.default_rng(4)
    units = [(rng.normal(size=(PAD, FEATURES)).astype(np.float32), rng.integers(0, 3, PAD)) for _ in range(3)]
    static = make_static(
        clients=3,
        unit="record",
        trust="local",
        sampling_rate=1.0,
        max_cohort_size=3,
        expected_cohort=1.0,
        max_batch_size=PAD,
    )
    hyper = first_run(make_hypers(clip=1e-12, noise=2.0))
    hyper = hyper._replace(
        client_learning_rate=jnp.float32(PAD), record_draws=jnp.full(3, last_to_join(1.0), jnp.uint32)
    )
    data = clients_data(units, [PAD] * 3)
    alone = [noise_of_rounds(static, data, hyper, lambda cohort, i=i: PAD * np.eye(3, dtype=int)[i]) for i in range(3)]

    def noise(rng, cohorts):
        seed = rng.integers(2**63)
        each = [one(np.random.default_rng(seed), cohorts) for one in alone]
        return [[np.concatenate([np.ravel(leaf) for leaf in one[t]]) for one in each] for t in range(len(cohorts))]

    claim = replace(CLAIM, noise_multiplier=2.0, clip_norm=1.0, divisor=1.0)
    mechanism = replace(SOUND, claim=claim, noise=noise)
    assert check_noise_independence(mechanism) == []
    assert check_noise_scale(mechanism) == []


def test_09_fedpareto_shuffles_and_claims_no_amplification():
    engine = engine_of_clients("shuffled")
    assert check_sampling(engine) == []
    assert check_epsilon(engine) == []
    assert check_sampling(claiming(engine, sampling="poisson"))
    # A schedule whose batches are claimed to hide who took part is refused.
    with pytest.raises(PrivacyPlanError, match="amplification by sampling may not be claimed"):
        plan_of("shuffled", participation="secret")


@pytest.mark.parametrize(("population", "rate", "steps"), [(1000, 0.1, 100), (200, 0.02, 1000), (50, 0.5, 10)])
def test_12_fedpareto_pays_for_its_pad(population, rate, steps):
    plan = plan_of(population=population, rate=rate, steps=steps)
    mechanism = replace(SOUND, claim=claim_of(plan, epsilon=1.0), data=[None] * population, sample=poisson(rate, steps))
    assert mechanism.claim.cohort_limit is not None
    assert check_overflow(mechanism) == []
    assert check_overflow(claiming(mechanism, accounted_delta=None))


def test_13_fedpareto_refuses_noise_shares_of_a_poisson_cohort():
    plan = plan_of(
        "fixed_size",
        trust="distributed",
        mechanism="skellam",
        participation="seen",
        sum=SecureAggregation(50, 6, 16, 0.8),
    )
    with pytest.raises(PrivacyPlanError, match="the size of the cohort must be public"):
        plan.replace(sampling="poisson")


def test_14_fedpareto_takes_nothing_from_an_update_that_is_not_finite():
    for engine in (engine_of_clients(), engine_of_records()):
        for extreme in engine.extremes[-2:]:
            assert not np.isfinite(extreme[0]).all()
            np.testing.assert_array_equal(engine.query([extreme] * len(engine.data), np.array([0])), 0)


def test_15_fedpareto_refuses_several_steps_under_one_noise(tmp_path):
    study = """
studies:
  s:
    dataset: digits
    clients: 50
    sampling_rate: 0.2
    rounds: 10
    model: logistic
    unit: record
    trust: central
    {steps}
    clip_norm: 0.5
    noise_multiplier: 1
    delta: 1.0e-5
    seeds: 1
"""
    path = tmp_path / "config.yaml"
    path.write_text(study.replace("{steps}", "local_steps: 5"))
    with pytest.raises(ConfigError, match="need noise at every step"):
        load([path])
    path.write_text(study.replace("    {steps}\n", ""))
    load([path])


@pytest.mark.parametrize("engine", [engine_of_clients, engine_of_records])
def test_16_what_fedpareto_releases_does_not_depend_on_what_a_unit_hands_in_or_loses(engine):
    assert check_released(engine(noise=8.0)) == []


@pytest.mark.parametrize("engine", [engine_of_clients, engine_of_records])
def test_19_clip_norms_of_fedpareto_follow_a_noisy_count(engine):
    adaptive = engine(noise=8.0, clipping="adaptive")
    shown = adaptive.run(adaptive.data, np.random.default_rng(1)).outcomes
    assert {"status", "diverged_round", "refused_rounds", "overflow_rounds", "clip_norm", "loss", "accuracy"} <= set(
        shown
    )
    assert not set(shown) & set(NOISELESS)
    assert len(set(shown["clip_norm"][1:])) == adaptive.claim.steps
    assert check_released(adaptive) == []
