"""One private plan of every kind, for the tests of accounting, calibration and soundness."""

from dataclasses import replace
from functools import cache

from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.parties import LocalSteps, SecureAggregation
from fedpareto.privacy.plan import PrivacyPlan

# A population of 1 never overflows its pad, so that no delta is spent on that.
CENTRAL = PrivacyPlan(population=1, sampling_rate=1.0, rounds=1, clip_norm=1.0, noise_multiplier=2.0, delta=1e-5)
LOCAL_CLIENT = replace(CENTRAL, trust="local", participation="seen")
SECRET_RECORD = replace(
    CENTRAL,
    unit="record",
    trust="local",
    local=LocalSteps(4, (0.1, 0.02, 0.2, 0.05, 0.1)),
    rounds=20,
    sampling_rate=0.3,
)
SEEN_RECORD = replace(SECRET_RECORD, participation="seen")
SCHEDULED = replace(CENTRAL, population=100, sampling_rate=0.1, sampling="cyclic", participation="seen", rounds=25)
BANDED = replace(SCHEDULED, mechanism="banded", strategy=(0.8, 0.48, 0.36))
ADAPTIVE = replace(CENTRAL, population=200, sampling_rate=0.1, rounds=30, adaptive=True)
AFTER_RELEASES = replace(
    CENTRAL, population=500, sampling_rate=0.1, rounds=30, unit="record", preprocessing_noise_multipliers=(7.0, 16.0)
)
DISTRIBUTED = PrivacyPlan(
    population=40,
    sampling_rate=1.0,
    rounds=5,
    clip_norm=0.5,
    noise_multiplier=4.0,
    delta=1e-5,
    sampling="fixed_size",
    trust="distributed",
    mechanism="skellam",
    participation="seen",
    sum=SecureAggregation(dimension=500, participants=40, bits=20, threshold=0.75),
)
DISTRIBUTED_RECORD = replace(DISTRIBUTED, unit="record", sampling="poisson", sampling_rate=0.05, population=4000)
KINDS = {
    "central": replace(CENTRAL, population=50, sampling_rate=0.2, rounds=20),
    "fixed size": replace(CENTRAL, population=50, sampling_rate=0.2, rounds=20, sampling="fixed_size"),
    "after releases": AFTER_RELEASES,
    "swapped after releases": replace(AFTER_RELEASES, sampling="shuffled", participation="seen"),
    "shuffled": replace(SCHEDULED, sampling="shuffled"),
    "client noises": replace(LOCAL_CLIENT, population=50, sampling_rate=0.2, rounds=20),
    "record, secret": SECRET_RECORD,
    "record, seen": SEEN_RECORD,
    "adaptive": ADAPTIVE,
    "banded": BANDED,
    "skellam": DISTRIBUTED,
    "discrete Gaussian": replace(DISTRIBUTED, mechanism="discrete_gaussian"),
    "skellam, records": DISTRIBUTED_RECORD,
}

proven = cache(guarantee)


@cache
def by_rdp(plan):
    return guarantee(plan, with_pld=False).epsilon_rdp
