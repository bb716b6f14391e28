"""Black-box checks of a differentially private mechanism for federated learning, whatever program it is part of.

Fill a `Mechanism` with a few functions of your program and with the `Claim` it makes, and hand it to the checks. Each
returns a list of faults in plain language, empty for a sound mechanism. A fault of the deterministic checks is a
counterexample. The statistical ones call a sound mechanism faulty with probability at most `ALARM` each, over the seed.

Only numpy, scipy and dp_accounting are used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dp_accounting import pld
from scipy import stats

ALARM = 1e-4  # probability that a sound mechanism fails a statistical check, for each check

Cohort = np.ndarray  # int [size], the numbers of the units that take part in one release


@dataclass(frozen=True)
class Claim:
    """What a program says of its own mechanism.

    Attributes:
      unit: What neighbouring data sets differ in, for messages: `client` or `record`.
      adjacency: `add_or_remove_one` or `replace_one`.
      sampling: `poisson` (every unit joins each release by a coin of its own), `fixed_size` (a uniform set of fixed
        size, drawn afresh for each release) or `shuffled` (batches of a random order, which uses every unit once a pass).
      rate: Probability that a given unit joins a given release.
      steps: Noisy releases of one run.
      noise_multiplier: Standard deviation of the noise on the sum over `clip_norm`: never over twice that.
      clip_norm: L2 bound on what one unit adds to the sum.
      divisor: Public number that the noisy sum is divided by.
      delta: Total delta.
      epsilon: Epsilon claimed at `delta`.
      cohort_limit: Largest cohort that the program can hold, or None where there is no such limit.
      accounted_delta: The delta that was handed to the accountant, or None for all of it.
    """

    unit: str
    adjacency: str
    sampling: str
    rate: float
    steps: int
    noise_multiplier: float
    clip_norm: float
    divisor: float
    delta: float
    epsilon: float
    cohort_limit: int | None = None
    accounted_delta: float | None = None

    @property
    def swapped(self) -> bool:
        """Whether neighbours differ by an exchange, which moves a sum by up to twice the clip norm."""
        return self.adjacency == "replace_one"

    @property
    def sensitivity(self) -> float:
        """L2 distance between the noiseless releases of neighbours."""
        return (2 if self.swapped else 1) * self.clip_norm / self.divisor

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on each coordinate of a release."""
        return self.noise_multiplier * self.clip_norm / self.divisor


@dataclass(frozen=True)
class Mechanism:
    """A mechanism seen from outside.

    Attributes:
      claim: What the program says of it.
      data: The units: clients with all they hold, or records.
      extremes: Units that a malicious or broken participant could hand in: long, empty, not finite.
      sample: (generator, number of units) -> the cohorts of one run, one for each release.
      query: (units, cohort) -> float [d], one release without its noise: clipped, summed, divided.
      noise: (generator, cohorts) -> the noise of one run as it stands in the releases: for each of the cohorts, a list of
        arrays, one for each leaf of the model. It may read how large the cohorts are, which a sound mechanism does not.
        Where clients add shares, hand over the shares instead of leaves to test their independence.
      run: (units, generator) -> float [released, d], all that one whole run gives away: every model that it shows, with its
        noise, by the loop that really trains and with all that may end it early. None for a program without such a loop: its
        runs are put together from the three functions above.
    """

    claim: Claim
    data: Sequence[Any]
    extremes: Sequence[Any]
    sample: Callable[[np.random.Generator, int], Sequence[Cohort]]
    query: Callable[[Sequence[Any], Cohort], np.ndarray]
    noise: Callable[[np.random.Generator, Sequence[Cohort]], Sequence[Sequence[np.ndarray]]]
    run: Callable[[Sequence[Any], np.random.Generator], np.ndarray] | None = None

    def release(self, data: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
        """All that one run gives away, float [releases, d]."""
        cohorts = self.sample(rng, len(data))
        noise = self.noise(rng, cohorts)
        return np.array([self.query(data, c) + _flat(z) for c, z in zip(cohorts, noise, strict=True)])


def check_divisor(mechanism: Mechanism, tolerance: float = 1e-3) -> list[str]:
    """The sum is divided by a public number: k equal units release k times what one does, and nobody releases zero.

    Deterministic. A mean over those who came has no such bound as clip norm / divisor (McMahan et al. 2018, Lemma 1:
    the estimator divides by the expected weight).

    Args:
      mechanism: The mechanism.
      tolerance: Relative error of the arithmetic that is forgiven.
    """
    most = min(len(mechanism.data), mechanism.claim.cohort_limit or len(mechanism.data), 4)
    data = [mechanism.data[0]] * len(mechanism.data)
    one = mechanism.query(data, np.arange(1))
    size = np.linalg.norm(one)
    if not size > 0:
        return ["divisor: the first unit adds nothing, so there is nothing to compare: give another one"]
    violations = []
    for k in (0, *range(2, most + 1)):
        got = mechanism.query(data, np.arange(k))
        if not np.linalg.norm(got - k * one) <= tolerance * max(k, 1) * size:
            times = np.linalg.norm(got) / size
            violations.append(
                f"divisor: {k} equal units release {times:.3g} times what one does: the divisor follows the realised cohort"
            )
    return violations


def check_sensitivity(mechanism: Mechanism, tolerance: float = 1e-4, units: int = 6) -> list[str]:
    """No unit moves the noiseless release by more than is claimed, whatever it hands in (brute force).

    Deterministic. Every extreme is put in the place of a unit, in cohorts with nobody else, half of the others and (as far
    as the program can hold them) all others; then it is left out (add or remove), or swapped for every other extreme.

    Args:
      mechanism: The mechanism.
      tolerance: Relative error of the arithmetic that is forgiven.
      units: How many of the units are tried, spread evenly.
    """
    claim, n = mechanism.claim, len(mechanism.data)
    most = n if claim.cohort_limit is None else min(n, claim.cohort_limit)
    worst, found = 0.0, ""
    for unit in np.unique(np.linspace(0, n - 1, units).astype(int)):
        others = np.delete(np.arange(n), unit)
        for size in sorted({0, (most - 1) // 2, most - 1}):
            base = others[:size]
            tried = [mechanism.data[unit], *mechanism.extremes]
            releases = []
            for value in tried:
                data = list(mechanism.data)
                data[unit] = value
                releases.append(mechanism.query(data, np.append(base, unit)))
            if claim.swapped:
                pairs = list(itertools.combinations(range(len(tried)), 2))
                moves = [(releases[i] - releases[j], f"{_name(tried[i])} for {_name(tried[j])}") for i, j in pairs]
            else:
                without = mechanism.query(mechanism.data, base)
                moves = [(release - without, _name(value)) for release, value in zip(releases, tried, strict=True)]
            for move, name in moves:
                distance = float(np.linalg.norm(move))
                distance = distance if math.isfinite(distance) else math.inf
                if distance > worst:
                    worst, found = distance, f"{name} beside {size} others"
    if worst <= claim.sensitivity * (1 + tolerance):
        return []
    return [
        f"sensitivity: one {claim.unit} ({found}) moves the release by {worst:.4g}, "
        f"more than the claimed {claim.sensitivity:.4g}"
    ]


def check_noise_scale(mechanism: Mechanism, seed: int = 0, draws: int = 20_000) -> list[str]:
    """Noise is normal with the claimed standard deviation, in every leaf and jointly, whoever takes part.

    Kolmogorov-Smirnov for each leaf and all together, and the chi-square law of the sum of squares, each for an empty
    cohort, half of all units and all that the program can hold. False alarm: `ALARM` for all tests together (Bonferroni).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      draws: About how many coordinates are looked at for each cohort.
    """
    sd, n = mechanism.claim.noise_stddev, len(mechanism.data)
    most = n if mechanism.claim.cohort_limit is None else min(n, mechanism.claim.cohort_limit)
    rng = np.random.default_rng(seed)
    violations = []
    for size in (0, most // 2, most):
        leaves = _leaves(mechanism, rng, np.arange(size), draws)
        level = ALARM / 3 / (len(leaves) + 2)
        joint = np.concatenate([np.ravel(leaf) for leaf in leaves])
        if not np.isfinite(joint).all():
            violations.append(f"noise scale: not finite with {size} units")
            continue
        squares = stats.chi2(joint.size)
        at = float(np.sum(np.square(joint / sd)))
        found = float(np.std(joint))
        if 2 * min(squares.cdf(at), squares.sf(at)) < level:
            violations.append(
                f"noise scale: standard deviation {found:.4g} with {size} units, not the claimed {sd:.4g}"
            )
        for name, values in [*((f"leaf {i}", leaf) for i, leaf in enumerate(leaves)), ("all leaves", joint)]:
            if stats.kstest(np.ravel(values), stats.norm(0, sd).cdf).pvalue < level:
                violations.append(f"noise scale: {name} with {size} units is not N(0, {sd:.4g}^2)")
    return violations


def check_noise_independence(mechanism: Mechanism, seed: int = 0, draws: int = 20_000) -> list[str]:
    """Noise is drawn afresh for every leaf (or client's share), coordinate, release and run.

    Sample correlations against their normal law. False alarm: `ALARM` for all together (Bonferroni). Shared draws have a
    correlation of 1. Noise that is correlated by design (matrix mechanisms) is not what this check is for.

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      draws: About how many coordinates are looked at.
    """
    cohort = np.arange(min(len(mechanism.data), mechanism.claim.cohort_limit or len(mechanism.data)))
    rng = np.random.default_rng(seed)
    leaves = _leaves(mechanism, rng, cohort, draws)  # each [releases, size]
    again = _leaves(mechanism, rng, cohort, draws)
    releases = leaves[0].shape[0]
    run, other = np.concatenate(leaves, axis=1), np.concatenate(again, axis=1)
    pairs = []
    for i, j in itertools.combinations(range(len(leaves)), 2):
        both = min(leaves[i].shape[1], leaves[j].shape[1])
        pairs.append((f"leaves {i} and {j}", leaves[i][:, :both], leaves[j][:, :both]))
    pairs += [(f"releases that are {k} apart", run[k:], run[:-k]) for k in range(1, min(5, releases - 1) + 1)]
    if run.shape[1] > 1:
        pairs.append(("neighbouring coordinates", run[:, 1:], run[:, :-1]))
    pairs.append(("two runs", run, other))
    violations = []
    for name, a, b in pairs:
        a, b = np.ravel(a), np.ravel(b)
        correlation = float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))
        if not abs(correlation) < stats.norm.isf(ALARM / 2 / len(pairs)) / math.sqrt(a.size):
            violations.append(f"noise independence: the noise of {name} has correlation {correlation:.3g}")
    return violations


def check_sampling(mechanism: Mechanism, seed: int = 0, runs: int = 1000, releases: int = 6) -> list[str]:
    """Cohorts have the claimed law: who joins, how many, together with whom, and in which of a run's releases.

    | claim      | inclusion | size           | two units in a release | one unit in two releases of a run |
    |------------|-----------|----------------|------------------------|-----------------------------------|
    | poisson    | rate      | binomial       | rate^2                 | independent                       |
    | fixed_size | m / n     | m              | m (m-1) / (n (n-1))    | independent                       |
    | shuffled   | m / n     | m              | m (m-1) / (n (n-1))    | never, within a pass              |

    Amplification by sampling is proved for the law that is claimed. Batches of a shuffled order under a Poisson claim can
    spend far more (Chua et al. 2024), and so can a client that is drawn once and then used in several releases.
    False alarm: `ALARM` for all tests together (Bonferroni).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      runs: Runs to look at.
      releases: Releases of each run to look at, from its first.
    """
    claim, n = mechanism.claim, len(mechanism.data)
    rng = np.random.default_rng(seed)
    size = round(claim.rate * n)
    shuffled, poisson = claim.sampling == "shuffled", claim.sampling == "poisson"
    joined = []
    for _ in range(runs):
        cohorts = mechanism.sample(rng, n)
        chosen = np.zeros((min(n // size if shuffled else releases, len(cohorts)), n), bool)
        for release, cohort in enumerate(cohorts[: len(chosen)]):
            chosen[release, cohort] = True
            if chosen[release].sum() != len(cohort):
                return ["sampling: a cohort holds a unit twice"]
            if claim.cohort_limit is not None and len(cohort) > claim.cohort_limit:
                return [f"sampling: a cohort of {len(cohort)} is larger than the claimed limit {claim.cohort_limit}"]
        joined.append(chosen)
    took = np.array(joined)  # [runs, releases, units]
    violations, level, rate = [], ALARM / 4, claim.rate if poisson else size / n
    many = took.shape[0] * took.shape[1]
    flat = took.reshape(many, n).astype(np.float32)
    sizes = took.sum(axis=2)

    # Everybody joins at the claimed rate. In shuffled batches, releases of one run depend on each other: test them apart.
    apart = took.sum(axis=0) if shuffled else took.sum(axis=(0, 1))[None]
    p = _binomial_p(apart, took.shape[0] if shuffled else many, rate)
    if p.min() * p.size < level:
        odd = np.unravel_index(p.argmin(), p.shape)
        share = apart[odd] / (took.shape[0] if shuffled else many)
        violations.append(f"sampling: {claim.unit} {odd[-1]} joins at {share:.4g}, not at the claimed {rate:.4g}")

    if poisson:
        bins = stats.binom.ppf([*np.linspace(0.05, 0.95, 10), 1], n, rate)
        bins = np.unique(bins)
        expected = np.diff(stats.binom.cdf(bins, n, rate), prepend=0) * many
        observed = np.diff(np.searchsorted(np.sort(sizes.ravel()), bins, side="right"), prepend=0)
        if len(bins) > 1 and stats.chisquare(observed, expected).pvalue < level:
            sd = math.sqrt(n * rate * (1 - rate))
            violations.append(f"sampling: cohort sizes have spread {sizes.std():.3g}, a Poisson sample's have {sd:.3g}")
    elif (sizes != size).any():
        violations.append(f"sampling: cohorts of {sizes.min()} to {sizes.max()} where {size} are claimed")

    # Two units in one release: runs are independent, so one release of each for shuffled batches.
    within = took[:, 0].astype(np.float32) if shuffled else flat
    together = (within.T @ within)[np.triu_indices(n, 1)]
    p = _binomial_p(together, len(within), rate**2 if poisson else rate * (size - 1) / max(n - 1, 1))
    if p.size and p.min() * p.size < level:
        violations.append("sampling: units do not join a release independently of each other")

    # One unit in two releases.
    for s, t in itertools.combinations(range(took.shape[1]), 2):
        overlap = float((took[:, s] & took[:, t]).sum())
        if shuffled:
            if overlap:
                violations.append(f"sampling: releases {s} and {t} of one pass share units")
            continue
        mean, variance = n * rate**2, n * rate**2 * (1 - rate**2)
        if not poisson:  # Two independent sets of m of n: hypergeometric.
            variance = n * rate**2 * (1 - rate) ** 2 * n / max(n - 1, 1)
        deviation = abs(overlap - runs * mean)
        wide = stats.norm.isf(level / took.shape[1] ** 2) * math.sqrt(runs * variance)
        if deviation > wide + 1e-6:
            violations.append(
                f"sampling: releases {s} and {t} of a run share {overlap / runs:.3g} units on average, "
                f"independent ones {mean:.3g}"
            )
    return violations


def check_epsilon(mechanism: Mechanism, seed: int = 0, draws: int = 20_000, slack: float = 5e-3) -> list[str]:
    """The claimed epsilon is not below what the releases that are really made spend, at the noise that is really added.

    The number of releases is counted and the noise measured; adjacency, sampling scheme and clip norm are as claimed (the
    other checks are about them). The comparison is with `least_epsilon`, so that a tighter accountant than any known today
    is never called wrong. False alarm: `ALARM`, from the upper confidence limit of the measured noise.

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      draws: About how many coordinates of noise are measured.
      slack: Relative shortfall of epsilon that is forgiven, for rounding.
    """
    claim = mechanism.claim
    rng = np.random.default_rng(seed)
    cohorts = mechanism.sample(rng, len(mechanism.data))
    cohort = np.arange(min(len(mechanism.data), max(1, round(claim.rate * len(mechanism.data)))))
    noise = np.concatenate([np.ravel(leaf) for leaf in _leaves(mechanism, rng, cohort, draws)])
    stddev = math.sqrt(float(np.sum(np.square(noise))) / stats.chi2.ppf(ALARM, noise.size))
    multiplier = stddev * claim.divisor / claim.clip_norm
    if multiplier == 0:
        return [] if math.isinf(claim.epsilon) else ["epsilon: there is no noise"]
    # The measured noise says no more than the claimed one, where they agree.
    if claim.noise_multiplier <= multiplier <= claim.noise_multiplier * (1 + 8 / math.sqrt(noise.size)):
        multiplier = claim.noise_multiplier
    really = replace(claim, steps=len(cohorts), noise_multiplier=multiplier)
    least = least_epsilon(really)
    if claim.epsilon >= least * (1 - slack):
        return []
    return [
        f"epsilon: {len(cohorts)} releases ({claim.steps} claimed) with noise {multiplier:.4g} times the clip norm "
        f"({claim.noise_multiplier:.4g} claimed) under {claim.adjacency} spend at least {least:.4g}, "
        f"not the claimed {claim.epsilon:.4g}"
    ]


def least_epsilon(claim: Claim) -> float:
    """A lower bound on the epsilon of a claim's mechanism at its accounted delta, from one pair of neighbours.

    All other units add nothing, and one adds clip norm times a unit vector. Without it each release is N(0, z^2) along
    that vector (in clip norms), with it the mixture (1 - q) N(0, z^2) + q N(1, z^2) (Mironov, Talwar and Zhang 2019, Section 3);
    swapped for its opposite, with N(-1, z^2). Outcomes are put in bins, which is post-processing, and privacy losses rounded
    down: the result is below the true epsilon, and within a hundredth of it. Shuffled batches have no amplification that
    is proved for the claim to use: one release a pass, of all.
    """
    rate, steps = claim.rate, claim.steps
    if claim.sampling == "shuffled":
        rate, steps = 1.0, math.ceil(claim.steps * claim.rate)
    if steps == 0:
        return 0.0
    sd = claim.noise_multiplier
    if rate == 1:
        sd, steps = sd / math.sqrt(steps), 1
    edges = np.arange(-1 - 9 * sd, 1 + 9 * sd, sd / 100)
    absent, record_mask, opposite = (_masses(edges, centre, sd) for centre in (0.0, 1.0, -1.0))
    upper = (1 - rate) * absent + rate * record_mask
    lower = (1 - rate) * absent + rate * opposite if claim.swapped else absent
    interval = float(np.clip(0.01 * claim.epsilon / steps, 2e-5, 1e-3))
    loss = pld.privacy_loss_distribution.from_two_probability_mass_functions(
        dict(enumerate(np.log(lower))),
        dict(enumerate(np.log(upper))),
        pessimistic_estimate=False,
        value_discretization_interval=interval,
    )
    delta = claim.delta if claim.accounted_delta is None else claim.accounted_delta
    return max(0.0, float(loss.self_compose(steps).get_epsilon_for_delta(delta)))


def check_overflow(mechanism: Mechanism) -> list[str]:
    """A Poisson cohort that may not fit in the program's buffer is paid for: accounted delta + P[overflow] <= delta.

    Deterministic: a union bound over the releases of a run, which are counted. Whoever is left out of a full buffer depends
    on who else came, so nothing is proved for a run in which that happens.
    """
    claim = mechanism.claim
    if claim.cohort_limit is None or claim.sampling != "poisson":
        return []
    steps = len(mechanism.sample(np.random.default_rng(0), len(mechanism.data)))
    overflow = steps * float(stats.binom.sf(claim.cohort_limit, len(mechanism.data), claim.rate))
    accounted = claim.delta if claim.accounted_delta is None else claim.accounted_delta
    if accounted + overflow <= claim.delta * (1 + 1e-9):
        return []
    return [
        f"overflow: a cohort outgrows its limit of {claim.cohort_limit} with probability {overflow:.3g}, which with the "
        f"accounted delta {accounted:.3g} is more than the claimed {claim.delta:.3g}"
    ]


def check_distinguishing(mechanism: Mechanism, seed: int = 0, runs: int = 600) -> list[str]:
    """Nobody who sees a run's releases tells neighbours apart better than the claim allows (an attack, hence one-sided).

    The last unit takes part or does not (is swapped for the first extreme under `replace_one`). The attacker looks at how
    far the releases spread and at where they point. Its threshold is chosen on half of the runs; on the other half,
    P[true alarm] <= e^epsilon P[false alarm] + delta must hold, with Clopper-Pearson limits (Jagielski et al. 2020).
    False alarm: `ALARM` (Bonferroni over two scores, both neighbours and both directions).

    Args:
      mechanism: The mechanism. The more coordinates it has, the more the spread of the noise tells.
      seed: Of the generator.
      runs: Runs with each of the neighbours.
    """
    claim, data = mechanism.claim, list(mechanism.data)
    neighbour = [*data[:-1], mechanism.extremes[0]] if claim.swapped else data[:-1]
    alone = mechanism.query(data, np.array([len(data) - 1]))
    rng = np.random.default_rng(seed)

    def scores(of: Sequence[Any]) -> np.ndarray:
        releases = (mechanism.release(of, rng) for _ in range(runs))
        return np.array([(np.sum(np.square(r)), np.sum(r @ alone)) for r in releases])

    here, there = scores(data), scores(neighbour)
    found = [_least_told(here[:, number], there[:, number], claim.delta, ALARM / 2) for number in (0, 1)]
    best, how = max(zip(found, ("spread", "direction"), strict=True))
    if best <= claim.epsilon:
        return []
    return [
        f"distinguishing: the {how} of the releases tells whether one {claim.unit} takes part: epsilon is at least "
        f"{best:.3g}, not the claimed {claim.epsilon:.3g}"
    ]


def check_released(mechanism: Mechanism, seed: int = 0, runs: int = 200) -> list[str]:
    """What a run releases, and how often, follows from its units through the noisy releases alone.

    Every extreme takes the place of the last unit, and whole runs (`Mechanism.run`) are made with it and without it (with the
    unit as it is under `replace_one`). Counted are the releases that move (differ from the one before) and those that are
    finite. A run may end early because of what it has released, which is post-processing; one that ends, skips or freezes
    because of what a unit handed in, or what it lost, tells of it with no noise at all. Both counts are outcomes of a run:
    P[more than a threshold] <= e^epsilon P[the same with the neighbour] + delta must hold, with the thresholds and limits of
    `check_distinguishing`. False alarm: `ALARM` (Bonferroni over extremes, counts and directions).

    What ends a run does not ask how large the noise is, and the smaller the claimed epsilon the more a count says: hand in a
    mechanism with much noise. With n runs no count disproves an epsilon above log(n / 30).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      runs: Runs with each of the units.
    """
    claim, rng = mechanism.claim, np.random.default_rng(seed)
    run = mechanism.release if mechanism.run is None else mechanism.run

    def counts(units: Sequence[Any]) -> np.ndarray:
        released = [np.asarray(run(units, rng)) for _ in range(runs)]
        return np.array([(_moves(rows), np.isfinite(rows).all(axis=1).sum()) for rows in released])

    others = list(mechanism.data[:-1])
    neighbour, violations = counts(list(mechanism.data) if claim.swapped else others), []
    for extreme in mechanism.extremes:
        with_it = counts([*others, extreme])
        for number, name in enumerate(("move", "are finite")):
            here, there = with_it[:, number], neighbour[:, number]
            least = _least_told(here, there, claim.delta, ALARM / 2 / len(mechanism.extremes))
            if least > claim.epsilon:
                violations.append(
                    f"released: {here.mean():.3g} releases of a run {name} with a {claim.unit} that hands in {_name(extreme)}, "
                    f"{there.mean():.3g} with its neighbour: epsilon is at least {least:.3g}, not the claimed {claim.epsilon:.3g}"
                )
    return violations


def check_audit(
    auditor: Callable[[np.ndarray, np.ndarray], float],
    share: float,
    seed: int = 0,
    runs: int = 200,
    canaries: int = 200,
) -> list[str]:
    """An auditor's lower bound on epsilon is 0 in all but the stated share of null audits, and above 0 for open secrets.

    Null: the scores of canaries inside and outside are draws of one N(0, 1). Open: those inside are higher by 10.
    False alarm: `ALARM` (binomial test of the number of bounds above 0 at `share`).

    Args:
      auditor: (scores of canaries inside, scores of those outside) -> lower bound on epsilon.
      share: Share of audits whose bound may be wrong: 1 - confidence.
      seed: Of the scores.
      runs: Null audits.
      canaries: Canaries inside, and as many outside.
    """
    rng = np.random.default_rng(seed)
    bounds = [auditor(rng.normal(size=canaries), rng.normal(size=canaries)) for _ in range(runs)]
    wrong = sum(bound > 0 for bound in bounds)
    violations = []
    if stats.binom.sf(wrong - 1, runs, share) < ALARM:
        violations.append(
            f"audit: {wrong} of {runs} null audits find a positive epsilon (the largest {max(bounds):.3g}), "
            f"where {share:.3g} of them may"
        )
    if not auditor(rng.normal(size=canaries) + 10, rng.normal(size=canaries)) > 0:
        violations.append("audit: the auditor finds nothing where there is no privacy at all")
    return violations


# All checks of a mechanism by name; `check_audit` is about auditors.
CHECKS: dict[str, Callable[[Mechanism], list[str]]] = {
    "divisor": check_divisor,
    "sensitivity": check_sensitivity,
    "noise_scale": check_noise_scale,
    "noise_independence": check_noise_independence,
    "sampling": check_sampling,
    "epsilon": check_epsilon,
    "overflow": check_overflow,
    "distinguishing": check_distinguishing,
    "released": check_released,
}


def _flat(leaves: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def _leaves(mechanism: Mechanism, rng: np.random.Generator, cohort: Cohort, draws: int) -> list[np.ndarray]:
    """The noise of one long run with the same cohort throughout: for each leaf, [releases, coordinates]."""
    size = _flat(mechanism.noise(rng, [cohort])[0]).size
    run = mechanism.noise(rng, [cohort] * max(3, math.ceil(draws / size)))
    return [np.array([np.ravel(release[i]) for release in run]) for i in range(len(run[0]))]


def _binomial_p(counts: np.ndarray, trials: int, rate: float) -> np.ndarray:
    """Two-sided p-values of binomial counts."""
    law = stats.binom(trials, rate)
    return np.minimum(1.0, 2 * np.minimum(law.cdf(counts), law.sf(counts - 1)))


def _masses(edges: np.ndarray, centre: float, sd: float) -> np.ndarray:
    """Probabilities of the bins between `edges` under N(centre, sd^2), the two open ones at the ends included."""
    z = (edges - centre) / sd
    below, above = stats.norm.cdf(z), stats.norm.sf(z)
    inner = np.where(z[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    return np.concatenate([below[:1], inner, above[-1:]])


def _least_told(here: np.ndarray, there: np.ndarray, delta: float, level: float) -> float:
    """A lower bound on epsilon from a score of runs on two sides, 0 where it tells nothing; wrong with probability `level`.

    A threshold is chosen on half of the runs of each side, in both directions, and counted on the other half.
    """
    best, half = 0.0, len(here) // 2
    tried = len(here) - half
    for a, b in ((here, there), (there, here)):
        for sign in (1, -1):
            with_, without = sign * a, sign * b
            cut = _best_threshold(with_[:half], without[:half])
            hits, false = int((with_[half:] > cut).sum()), int((without[half:] > cut).sum())
            least = stats.beta.ppf(level / 8, hits, tried - hits + 1) if hits else 0.0
            most = stats.beta.isf(level / 8, false + 1, tried - false) if false < tried else 1.0
            best = max(best, math.log((least - delta) / most) if least > delta else 0.0)
    return best


def _moves(rows: np.ndarray) -> int:
    """How many releases of a run, [released, d], differ from the one before; the first is one that does."""
    same = ((rows[1:] == rows[:-1]) | (np.isnan(rows[1:]) & np.isnan(rows[:-1]))).all(axis=1)
    return len(rows) - int(same.sum())


def _best_threshold(with_: np.ndarray, without: np.ndarray) -> float:
    """The threshold with the largest ratio of hits to false alarms, counting half a false alarm more than were seen."""
    cuts = np.unique(np.concatenate([with_, without]))
    hits = len(with_) - np.searchsorted(np.sort(with_), cuts, side="right")
    false = len(without) - np.searchsorted(np.sort(without), cuts, side="right")
    target_accuracy = np.where(hits >= max(5, len(with_) // 20), hits / (false + 3.0), 0)
    return float(cuts[int(np.argmax(target_accuracy))])


def _name(value: Any) -> str:
    """A unit in a few words."""
    parts = value if isinstance(value, tuple) else (value,)
    flat = np.concatenate([np.ravel(np.asarray(part, float)) for part in parts])
    if not np.isfinite(flat).all():
        return "one that is not finite"
    largest = float(np.abs(flat).max()) if flat.size else 0.0
    return f"one of size {largest:.3g}"
