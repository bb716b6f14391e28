"""A sound mechanism in numpy, whose parts the faulty ones of `test_faults.py` replace."""

from dataclasses import replace

import numpy as np
from dp_accounting import pld

from fedpareto.privacy.conformance import Claim, Mechanism, WholeRun

UNITS, RATE, STEPS, CLIP, NOISE, DELTA = 40, 0.25, 20, 1.0, 2.0, 1e-5
LEAVES = (12, 12, 6)
DIMENSION = sum(LEAVES)
ADD, SWAP = "add_or_remove_one", "replace_one"


def proven(noise, rate, steps, delta=DELTA):
    """Epsilon by PLD under add or remove one."""
    one = pld.privacy_loss_distribution.from_gaussian_mechanism(noise, sampling_prob=rate)
    return one.self_compose(steps).get_epsilon_for_delta(delta)


def poisson(rate=RATE, steps=STEPS):
    return lambda rng, n: [np.flatnonzero(rng.random(n) < rate) for _ in range(steps)]


def fixed_size(size, steps=STEPS):
    return lambda rng, n: [rng.permutation(n)[:size] for _ in range(steps)]


def shuffled(size, steps=STEPS):
    def sample(rng, n):
        batches = n // size
        orders = [rng.permutation(n) for _ in range(-(-steps // batches))]
        return [orders[t // batches][t % batches * size :][:size] for t in range(steps)]

    return sample


def clip(update, bound=CLIP):
    """Joint L2 clipping; one that is not finite is zero."""
    norm = np.linalg.norm(update)
    return update * min(1.0, bound / max(norm, 1e-30)) if np.isfinite(norm) else np.zeros_like(update)


def clipped_sum(clip, divisor):
    def query(data, cohort):
        with np.errstate(all="ignore"):
            return sum((clip(data[i]) for i in cohort), np.zeros(DIMENSION)) / divisor

    return query


def white(stddev, leaves=LEAVES):
    return lambda rng, cohorts: [[rng.normal(0, stddev, n) for n in leaves] for _ in cohorts]


def finite(model, data, cohort):
    return np.isfinite(model).all()


def whole_runs(query, noise, goes_on=finite, outcomes=lambda models, data, cohorts: {}):
    """Whole runs: the model after every release, which it adds to. A run that does not go on shows its last model until its end.

    A query is a sum over the cohort, to which each unit adds the same in every round.
    """

    known = {}

    def run(data, rng):
        units = tuple(map(id, data))
        if units not in known:
            known[units] = np.array([query(data, [unit]) for unit in range(len(data))])
        parts, shown, model, ended, cohorts = known[units], [], np.zeros(DIMENSION), False, poisson()(rng, len(data))
        for cohort in cohorts:
            if not ended:
                model = model + parts[cohort].sum(axis=0) + np.concatenate(noise(rng, [cohort])[0])
                ended = not goes_on(model, data, cohort)
            shown.append(model)
        return WholeRun(np.array(shown), outcomes(np.array(shown), data, cohorts))

    return run


CLAIM = Claim("client", ADD, "poisson", RATE, STEPS, NOISE, CLIP, UNITS * RATE, DELTA, proven(NOISE, RATE, STEPS))


def vectors(n=UNITS, dimension=DIMENSION):
    return list(np.random.default_rng(3).normal(size=(n, dimension)) * 0.1)


def extremes(dimension=DIMENSION):
    def one(value):
        vector = np.zeros(dimension)
        vector[0] = value
        return vector

    everywhere = [np.full(dimension, value) for value in (0.0, 1e-9, 1.0, -1.0, 1e30, 1e200, np.inf, -np.inf, np.nan)]
    return everywhere + [one(value) for value in (1e3, -1e3, np.nan)]


SOUND = Mechanism(
    claim=CLAIM,
    data=vectors(),
    extremes=extremes(),
    sample=poisson(),
    query=clipped_sum(clip, CLAIM.divisor),
    noise=white(CLAIM.noise_stddev),
    run=whole_runs(clipped_sum(clip, CLAIM.divisor), white(CLAIM.noise_stddev)),
)


def claiming(mechanism, **changes):
    return replace(mechanism, claim=replace(mechanism.claim, **changes))
