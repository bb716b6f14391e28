"""One private plan of every kind, for the tests of accounting, calibration and soundness."""

from functools import cache

from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import LocalSteps, PrivacySetting, SecureAggregation

# A population of 1 never overflows its pad, so that no delta is spent on that.
CENTRAL = PrivacyPlan(PrivacySetting(), population=1, rounds=1, clip_norm=1.0, noise_multiplier=2.0, delta=1e-5)
LOCAL_CLIENT = CENTRAL.replace(trust="local", participation="seen")
SECRET_RECORD = CENTRAL.replace(
    unit="record",
    trust="local",
    participation="secret",
    local=LocalSteps(4, (0.1, 0.02, 0.2, 0.05, 0.1)),
    rounds=20,
    sampling_rate=0.3,
)
SEEN_RECORD = SECRET_RECORD.replace(participation="seen")
SCHEDULED = CENTRAL.replace(population=100, sampling_rate=0.1, sampling="cyclic", participation="seen", rounds=25)
BANDED = SCHEDULED.replace(mechanism="banded", strategy=(0.8, 0.48, 0.36))
ADAPTIVE = CENTRAL.replace(population=200, sampling_rate=0.1, rounds=30, clipping="adaptive")
AFTER_RELEASES = CENTRAL.replace(
    population=500, sampling_rate=0.1, rounds=30, unit="record", preprocessing_noise_multipliers=(7.0, 16.0)
)
DISTRIBUTED = PrivacyPlan(
    PrivacySetting(trust="distributed", mechanism="skellam", sampling="fixed_size", participation="seen"),
    population=40,
    rounds=5,
    clip_norm=0.5,
    noise_multiplier=4.0,
    delta=1e-5,
    sum=SecureAggregation(dimension=500, participants=40, bits=20, threshold=0.75),
)
DISTRIBUTED_RECORD = DISTRIBUTED.replace(unit="record", sampling="poisson", sampling_rate=0.05, population=4000)
KINDS = {
    "central": CENTRAL.replace(population=50, sampling_rate=0.2, rounds=20),
    "fixed size": CENTRAL.replace(population=50, sampling_rate=0.2, rounds=20, sampling="fixed_size"),
    "after releases": AFTER_RELEASES,
    "swapped after releases": AFTER_RELEASES.replace(sampling="shuffled", participation="seen"),
    "shuffled": SCHEDULED.replace(sampling="shuffled"),
    "client noises": LOCAL_CLIENT.replace(population=50, sampling_rate=0.2, rounds=20),
    "record, secret": SECRET_RECORD,
    "record, seen": SEEN_RECORD,
    "adaptive": ADAPTIVE,
    "banded": BANDED,
    "skellam": DISTRIBUTED,
    "discrete Gaussian": DISTRIBUTED.replace(mechanism="discrete_gaussian"),
    "skellam, records": DISTRIBUTED_RECORD,
}

proven = cache(guarantee)


@cache
def by_rdp(plan):
    return guarantee(plan, only=("rdp",)).epsilon_rdp
