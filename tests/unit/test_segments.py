"""How long a bundle took and how long it will take, on a clock of our own."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from fedpareto.federated import train


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(train.time, "perf_counter", lambda: now.seconds)
    monkeypatch.setattr(train, "_report", lambda program, state, block, left, *shown: now.left.append(left))
    now.left = []
    return now


def run(clock, rounds_after, first=5.0, a_round=2.0, block=0):
    """Seconds that are reported of blocks whose rounds take `a_round` each, and where segments ended; `first` is compilation."""
    done, stops = (0, *rounds_after), []

    def advance(data, run_params, state, stop):
        start = stops[-1] if stops else block
        clock.seconds += a_round * (done[stop] - done[start]) + (0.0 if stops else first)
        stops.append(stop)
        return state

    program = SimpleNamespace(blocks=len(rounds_after), rounds_after=rounds_after, advance=advance)
    kept = SimpleNamespace(save=lambda block, state: None)
    _, seconds = train._run_segments(program, None, None, (), block, checkpoints=kept, epsilon=1.0, metric="accuracy")
    return seconds, stops


@pytest.mark.parametrize("rounds_after", [(0, 10), (0, 10, 20, 30), (0, 60, 120, 121), (1, 2, 3)])
def test_seconds_are_those_of_the_rounds_whatever_the_evaluations(clock, rounds_after):
    seconds, stops = run(clock, rounds_after)
    assert seconds == pytest.approx(2.0 * rounds_after[-1])
    assert stops[-1] == len(rounds_after)
    assert clock.left[-1] == 0


def test_rounds_before_a_resumption_count(clock):
    seconds, _ = run(clock, (0, 10, 20, 30, 40), block=2)
    assert seconds == pytest.approx(80.0)


def test_segments_take_about_ten_seconds_and_time_left_is_told(clock):
    _, stops = run(clock, tuple(range(0, 101)), a_round=1.0)
    assert stops[:2] == [1, 2]
    assert {after - before for before, after in pairwise(stops[1:-1])} == {10}
    assert clock.left[1] == pytest.approx(99.0)
