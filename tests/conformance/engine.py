"""fedpareto's engine as a `Mechanism`, in the plans of these tests."""

import functools

from problem import CLIENTS

from fedpareto.federated.conformance import engine
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import PrivacySetting

DELTA, ENGINE_CLIP, RECORDS = 1e-5, 0.5, 6


def plan_of(sampling="poisson", population=CLIENTS, rate=0.5, steps=6, noise=1.0, **changes):
    return PrivacyPlan(
        PrivacySetting(sampling=sampling, sampling_rate=rate),
        population=population,
        rounds=steps,
        clip_norm=ENGINE_CLIP,
        noise_multiplier=noise,
        delta=DELTA,
    ).replace(**changes)


@functools.cache
def engine_of_clients(sampling="poisson", weight_cap=None, noise=1.0, **changes):
    return engine.of_plan(plan_of(sampling, noise=noise, **changes), weight_cap=weight_cap)


@functools.cache
def engine_of_records(noise=1.0, **changes):
    return engine.of_plan(plan_of(population=RECORDS, unit="record", noise=noise, **changes))
