"""`fedpareto conform` on components of one's own, sound and faulty ones, and the words for what their author proved."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from fedpareto.analysis.figures import currency, style
from fedpareto.cli.main import main
from fedpareto.components import registry
from fedpareto.federated.conformance import engine, report
from fedpareto.federated.conformance.rows import check_model, check_task
from fedpareto.federated.conformance.server import check_server
from fedpareto.privacy.conformance import CHECKS
from fedpareto.privacy.soundness import unproved

EXTENDING = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
NETS = """
import flax.linen as nn


class Alone(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.LayerNorm()(x))


class Together(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)((x - x.mean(0)) / (1e-3 + x.std(0)))


class Kept(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.BatchNorm(use_running_average=False)(x))
"""


def documented(name):
    """The example of docs/extending.md that defines a class."""
    return next(b for b in re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL) if f"class {name}(" in b)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file of one's own, a documented one with changes or a text, and returns the name of the component."""
    monkeypatch.chdir(tmp_path)

    def write(name, *changes, text=None):
        text = documented(name) if text is None else text
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "mine.py").write_text(text)
        return f"./mine.py:{name}"

    yield write
    while str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def failed(name, checks, **arguments):
    plan = report.plan_of("mechanism", {"name": name, **arguments}, report.Numbers())
    mechanism = engine.of_plan(plan)
    return [check for check in checks if CHECKS[check](mechanism)]


def test_a_sound_mechanism_of_ones_own_passes_by_its_own_numbers(write):
    name = write("Cautious")
    plan = report.plan_of("mechanism", {"name": name, "times": 2.0}, report.Numbers())
    assert engine.stated_multiplier(plan) == pytest.approx(2.0)
    assert report._skipped(plan, None) == {}
    assert failed(name, ("sensitivity", "noise_scale", "noise_independence"), times=2.0) == []


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("noise_scale", ("noise = gaussian_noise(key, total, ", "noise = gaussian_noise(key, total, 0.5 * ")),
        ("noise_independence", ("gaussian_noise(key,", "gaussian_noise(jax.random.key(0),")),
        ("sensitivity", ("leaf + draw", "3 * leaf + draw")),
    ],
)
def test_a_faulty_mechanism_is_caught_by_name(write, check, change):
    assert failed(write("Cautious", change), (check,)) == [check]


def test_checks_of_gaussian_noise_are_skipped_with_a_reason_for_another_law(write):
    name = write("Cautious", ("orders / (2 *", "1.0 + 0 * orders / (2 *"))
    skipped = report._skipped(report.plan_of("mechanism", {"name": name}, report.Numbers()), None)
    assert sorted(skipped) == sorted(report.NOISE)
    assert "distinguishing" in skipped["epsilon"]
    banded = report.plan_of("mechanism", {"name": "banded", "bands": 1}, report.Numbers())
    assert "correlated" in report._skipped(banded, None)["noise_independence"]


@pytest.mark.parametrize("divisor", ["problem.cohort.size", "(1 + problem.cohort.members[1])"])
def test_a_server_that_uses_who_takes_part_is_caught(write, divisor):
    sound = registry.build("algorithm", {"name": write("HeavyBall")})
    assert check_server(sound) == []
    change = ("friction * v + m", f"friction * v + m / {divisor}")
    (first, *_) = check_server(registry.build("algorithm", {"name": write("HeavyBall", change)}))
    assert "part changes the model's step" in first


def test_scaffold_remembers_clients_and_passes():
    assert check_server(registry.build("algorithm", {"name": "scaffold"})) == []


def test_a_client_whose_past_data_changes_what_others_send_is_caught(write):
    name = write(
        "HeavyBall",
        (
            "local_sgd(problem), None",
            "(u := local_sgd(problem))._replace(delta=jax.tree.map(jnp.add, u.delta, state)), u.delta",
        ),
        ("return speed, speed", "return speed, jax.tree.map(lambda k: k.sum(0), problem.kept)"),
    )
    assert "what a client holds changes what client" in " ".join(
        check_server(registry.build("algorithm", {"name": name}))
    )


@pytest.mark.parametrize(("net", "said"), [("Alone", None), ("Together", "alone:"), ("Kept", "batch_stats")])
def test_a_model_that_looks_at_its_batch_is_caught(write, net, said):
    violations = check_model({"name": write(net, text=NETS)}, (5,))
    assert violations == [] if said is None else said in violations[0]


def test_a_task_whose_loss_mixes_its_batch_is_caught(write):
    assert check_task({"name": write("Hinge")}) == []
    name = write("Hinge", ("return jnp.maximum(0.0,", "return 0.01 * outputs.mean() + jnp.maximum(0.0,"))
    assert "stands alone" in check_task({"name": name})[0]


def test_the_verb_prints_each_check_and_fails_where_one_does(write, capsys):
    assert main(["conform", write("Alone", text=NETS)]) == 0
    assert main(["conform", write("Together", text=NETS), "--json"]) == 1
    printed = capsys.readouterr().out
    assert "rows                 passed" in printed
    assert '"status": "failed"' in printed
    assert main(["conform", write("Cautious"), "--arguments", '{"times": 0.5}']) == 1
    assert "--arguments: times = 0.5 must" in capsys.readouterr().err
    assert main(["conform", "./mine.py:Cautious", "--unit", "client", "--kind", "algorithm"]) == 1
    assert "inherit from" in capsys.readouterr().err


@pytest.mark.parametrize("stated", ["()", "1", "None", '("client", "central")', '((["client"], "central"),)'])
def test_without_a_pair_in_sound_for_it_is_refused(write, stated, capsys):
    name = write("Cautious", ('(("client", "central"), ("record", "central"))', stated))
    assert main(["conform", name]) == 1
    assert "SOUND_FOR" in capsys.readouterr().err


def test_a_pair_that_sound_for_lacks_is_unproved(write):
    name = write("Cautious", ('(("client", "central"), ("record", "central"))', '(("client", "central"),)'))
    assert not unproved("mechanism", name, "client", "central")
    assert unproved("mechanism", name, "record", "central")
    assert not unproved("mechanism", "gaussian", "record", "local")


def test_what_its_author_proved_is_said_where_it_is_drawn():
    points = pd.DataFrame(
        {
            "unit": "client",
            "delta": 1e-5,
            "adjacency": "replace_one",
            "sampling": "poisson",
            "trust": "central",
            "epsilon_by": "pld",
        },
        [0, 1],
    )
    assert style.PROVED not in currency.epsilon_label(points.assign(proved_by="fedpareto"))
    assert f"; {style.PROVED})" in currency.epsilon_label(points.assign(proved_by="its author"))
    mixed = points.assign(proved_by=["fedpareto", "its author"])
    assert f"; in part {style.PROVED})" in currency.epsilon_label(mixed)
    assert len(style.author_entry(mixed)) == 1
    assert not style.author_entry(points.assign(proved_by=None))
