"""Runs to attack, on real data, without files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

from fedpareto.attacks import stage
from fedpareto.attacks.target import Target
from fedpareto.components import registry
from fedpareto.config.load import checked
from fedpareto.federated.inputs.setup import measure
from fedpareto.sweep.account import account
from fedpareto.sweep.sweep import plan_sweep

STUDY = {
    "dataset": "digits",
    "clients": 20,
    "sampling_rate": 0.5,
    "rounds": 3,
    "model": "logistic",
    "local_epochs": 2,
    "batch_size": 8,
    "client_learning_rate": 0.5,
    "clip_norm": 0.3,
    "noise_multiplier": 1.0,
    "delta": 1.0e-4,
    "seeds": 1,
    "baselines": [],
}


@cache
def digits():
    return registry.build("dataset", {"name": "digits"}).load({})[0]


def target(data=None, **changes):
    """The one bundle of a study, as an attack gets it; `None` takes an entry out."""
    study = {key: value for key, value in (STUDY | changes).items() if value is not None or key == "clip_norm"}
    (bundle,) = plan_sweep(checked({"studies": {"s": study}}, [("study", {})])).bundles.values()
    data = data or digits()
    measured = measure(bundle.runs, data) if bundle.needs_data_to_account else None
    return Target(bundle.runs, account(bundle, measured), data, {})


def attack(name):
    """An attack as the stage makes it: target and arguments -> its rows."""
    return lambda target, spec: stage.make({**spec, "name": name}, target)


@dataclass(frozen=True)
class StandIn:
    """An attack that is applicable to every run and does what a test wants."""

    call: Callable[[Target], Any]
    SEES: ClassVar = "final_model"

    def not_applicable(self, run):
        return None

    def __call__(self, target):
        return self.call(target)


def stand_in(monkeypatch, call):
    """The stage makes `call(target, spec)` of every attack."""
    monkeypatch.setattr(stage.registry, "build", lambda kind, spec: StandIn(partial(call, spec=spec)))
