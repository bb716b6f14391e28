"""A differentially private mechanism seen from outside: its claim, and a few functions of its program."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

ALARM = 1e-4  # probability that a sound mechanism fails a statistical check, for each check

Cohort = np.ndarray  # int [size], the numbers of the units that take part in one release


@dataclass(frozen=True)
class Claim:
    """The claims of a program about its mechanism.

    Attributes:
      unit: The unit in which neighbouring data sets differ, for messages: `client` or `record`.
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


class WholeRun(NamedTuple):
    """All that one whole run gives away.

    Attributes:
      models: float [released, d], every model that it shows, with its noise.
      outcomes: All that it shows besides, by name: clip norms by round, rounds done, status, files that it leaves. A value is a
        number, an array of numbers (of a length that may differ from run to run, None for one that is missing), a word, or a set
        of words.
    """

    models: np.ndarray
    outcomes: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Mechanism:
    """A mechanism seen from outside.

    Attributes:
      claim: The program's claim about it.
      data: The units: clients with all they hold, or records.
      extremes: Units that a malicious or broken participant could hand in: long, empty, not finite.
      sample: (generator, number of units) -> the cohorts of one run, one for each release.
      query: (units, cohort) -> float [d], one release without its noise: clipped, summed, divided.
      noise: (generator, cohorts) -> the noise of one run as it stands in the releases: for each of the cohorts, a list of
        arrays, one for each leaf of the model. It may read how large the cohorts are, which a sound mechanism does not.
        Where clients add shares, hand over the shares instead of leaves to test their independence.
      run: (units, generator) -> all that one whole run gives away, by the loop that really trains and with all that may end it
        early. None for a program without such a loop: its runs are put together from the three functions above.
    """

    claim: Claim
    data: Sequence[Any]
    extremes: Sequence[Any]
    sample: Callable[[np.random.Generator, int], Sequence[Cohort]]
    query: Callable[[Sequence[Any], Cohort], np.ndarray]
    noise: Callable[[np.random.Generator, Sequence[Cohort]], Sequence[Sequence[np.ndarray]]]
    run: Callable[[Sequence[Any], np.random.Generator], WholeRun] | None = None

    def release(self, data: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
        """All that one run gives away, float [releases, d]."""
        cohorts = self.sample(rng, len(data))
        noise = self.noise(rng, cohorts)
        return np.array([self.query(data, c) + flat(z) for c, z in zip(cohorts, noise, strict=True)])


def flat(leaves: Sequence[np.ndarray]) -> np.ndarray:
    """The leaves of a model as one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def noise_of_leaves(mechanism: Mechanism, rng: np.random.Generator, cohort: Cohort, draws: int) -> list[np.ndarray]:
    """The noise of one long run with the same cohort throughout: for each leaf, [releases, coordinates]."""
    size = flat(mechanism.noise(rng, [cohort])[0]).size
    run = mechanism.noise(rng, [cohort] * max(3, math.ceil(draws / size)))
    return [np.array([np.ravel(release[i]) for release in run]) for i in range(len(run[0]))]


def in_words(value: Any) -> str:
    """A unit in a few words."""
    parts = value if isinstance(value, tuple) else (value,)
    values = flat([np.asarray(part, float) for part in parts])
    if not np.isfinite(values).all():
        return "one that is not finite"
    largest = float(np.abs(values).max()) if values.size else 0.0
    return f"one of size {largest:.3g}"
