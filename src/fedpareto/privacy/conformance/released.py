"""The check that a run's outputs, whatever they are, depend on its units through the mechanism alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedpareto.privacy.conformance.events import Event, best_event
from fedpareto.privacy.conformance.mechanism import ALARM, Mechanism, WholeRun, in_words


def check_released(mechanism: Mechanism, seed: int = 0, runs: int = 200) -> list[str]:
    """Checks that what a run releases, how often, and what it shows besides, depend on its units through the mechanism alone.

    Every extreme takes the place of the last unit, and whole runs (`Mechanism.run`) are made with it and without it (with the
    unit as it is under `replace_one`). Of each run are looked at: the number of releases that move (differ from the one before),
    the number of those that are finite, and every outcome that the program shows beside its models. A run may end early because of
    what it has released, which is post-processing; one that ends, skips, freezes, is named a failure or writes a file because of
    what a unit handed in, or what it lost, tells of it with no noise at all.

    For every outcome, P[it is above a threshold] <= e^epsilon P[the same with the neighbour] + delta must hold, in both directions
    (`best_event`); words are looked at one by one, arrays number by number. False alarm: `ALARM` (Bonferroni over extremes and
    outcomes).

    What ends a run does not ask how large the noise is, and the smaller the claimed epsilon the more an outcome says: hand in a
    mechanism with much noise. With n runs none disproves an epsilon above about log(n / 30).

    Args:
      mechanism: The mechanism.
      seed: Of the generator.
      runs: Runs with each of the units.
    """
    claim, rng = mechanism.claim, np.random.default_rng(seed)

    def shown(units: Sequence[Any]) -> list[Mapping[str, Any]]:
        return [_outcomes(_run(mechanism, units, rng)) for _ in range(runs)]

    others = list(mechanism.data[:-1])
    neighbour, violations = shown(list(mechanism.data) if claim.swapped else others), []
    for extreme in mechanism.extremes:
        with_it = shown([*others, extreme])
        names = list(dict.fromkeys(name for run in (*with_it, *neighbour) for name in run))
        for name in names:
            here, there = ([run.get(name) for run in side] for side in (with_it, neighbour))
            labels, scores = _scores(name, [*here, *there])
            event = best_event(scores[:runs], scores[runs:], claim.delta, ALARM / len(mechanism.extremes) / len(names))
            if event.least_epsilon > claim.epsilon:
                violations.append(
                    f"released: {labels[event.score].of(event)} in {event.here:.0%} of runs with a {claim.unit} that hands in "
                    f"{in_words(extreme)}, in {event.there:.0%} with its neighbour: epsilon is at least "
                    f"{event.least_epsilon:.3g}, not the claimed {claim.epsilon:.3g}"
                )
    return violations


class _Label(NamedTuple):
    """A score in words: of a number above (or below) some threshold, or of what is the case (or is not)."""

    above: str
    below: str
    numeric: bool = False

    def of(self, event: Event) -> str:
        """The event about this score."""
        words = self.above if event.above else self.below
        return f"{words} is {'above' if event.above else 'below'} {event.threshold:.4g}" if self.numeric else words


def _run(mechanism: Mechanism, units: Sequence[Any], rng: np.random.Generator) -> WholeRun:
    return WholeRun(mechanism.release(units, rng)) if mechanism.run is None else mechanism.run(units, rng)


def _outcomes(run: WholeRun) -> dict[str, Any]:
    """The outcomes of a run, two counts of its models among them."""
    models = np.asarray(run.models)
    return {
        "releases that move": _moves(models),
        "releases that are finite": int(np.isfinite(models).all(axis=1).sum()),
        **run.outcomes,
    }


def _moves(rows: np.ndarray) -> int:
    """How many releases of a run, [released, d], differ from the one before; the first is one that does."""
    same = ((rows[1:] == rows[:-1]) | (np.isnan(rows[1:]) & np.isnan(rows[:-1]))).all(axis=1)
    return len(rows) - int(same.sum())


def _scores(name: str, values: Sequence[Any]) -> tuple[list[_Label], np.ndarray]:
    """An outcome of many runs as numbers: a label for each score, and the scores, float [runs, scores], none of them NaN."""
    columns = dict(_of_words(name, values) if any(map(_is_words, values)) else _of_numbers(name, values))
    return list(columns), np.array(list(columns.values())).T


def _is_words(value: Any) -> bool:
    return isinstance(value, str | set | frozenset)


def _of_words(name: str, values: Sequence[Any]) -> Iterator[tuple[_Label, list[float]]]:
    """For each word whether it is among those of a run; a run without the outcome has none."""
    sets = [frozenset(() if value is None else (value,) if isinstance(value, str) else value) for value in values]
    for word in sorted(frozenset().union(*sets)):
        yield _Label(f"{name} has {word}", f"{name} lacks {word}"), [float(word in own) for own in sets]


def _of_numbers(name: str, values: Sequence[Any]) -> Iterator[tuple[_Label, list[float]]]:
    """For each number of a run its value, and whether it is there and finite; one that is not there counts as the lowest."""
    rows = [np.atleast_1d(np.array(value, dtype=float)) for value in values]
    longest = max(map(len, rows))
    for i in range(longest):
        numbers = [float(row[i]) if i < len(row) else np.nan for row in rows]
        one = name if longest == 1 else f"{name} [{i}]"
        yield _Label(f"{one} is finite", f"{one} is not finite"), [float(np.isfinite(number)) for number in numbers]
        yield _Label(one, one, numeric=True), [-np.inf if np.isnan(number) else number for number in numbers]
