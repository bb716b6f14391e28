"""All checks that apply to a component, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fedpareto.components import registry
from fedpareto.components.registry import ComponentError
from fedpareto.federated.conformance import engine, rows, world
from fedpareto.federated.conformance.server import check_server
from fedpareto.privacy import soundness
from fedpareto.privacy.conformance import CHECKS, Mechanism
from fedpareto.privacy.mechanisms.interface import Mechanism as Interface
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.privacy.setting import Participation, PrivacySetting

CLIENTS, RECORDS = 12, 6
# Runs disprove small epsilons alone: attacks look at a mechanism with as much noise as that takes.
LARGEST_EPSILON, MOST_NOISE, ATTACKS = 1.0, 1e4, ("distinguishing", "released")
OTHER_LAW = "its rdp is not that of Gaussian noise, so that only the attack `distinguishing` looks at its noise"
CORRELATED = "its noise is correlated over rounds, as it says"
NOISE = ("noise_scale", "noise_independence", "epsilon")


@dataclass(frozen=True)
class Numbers:
    """The run in which a mechanism or an algorithm is checked.

    Attributes:
      unit: Unit of privacy; None for the first that the component says to be sound for.
      noise_multiplier: Noise standard deviation / clip norm.
      sampling_rate: Of a client (or record) a round.
      steps: Rounds.
      delta: Delta.
      clip_norm: Clip norm.
    """

    unit: str | None = None
    noise_multiplier: float = 1.0
    sampling_rate: float = 0.5
    steps: int = 4
    delta: float = 1e-5
    clip_norm: float = 0.5


@dataclass(frozen=True)
class Result:
    """Outcome of a check.

    Attributes:
      check: Its name.
      violations: What fails, a line each.
      skipped: Why it was not made; empty where it was.
    """

    check: str
    violations: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def status(self) -> str:
        """`passed`, `failed` or `skipped`."""
        return "skipped" if self.skipped else "failed" if self.violations else "passed"


def results(
    kind: str, spec: Mapping[str, Any], numbers: Numbers, example_shape: tuple[int, ...] = (world.FEATURES,)
) -> Iterator[Result]:
    """The outcome of each check of a component, as soon as it is known.

    Args:
      kind: `mechanism`, `algorithm`, `model` or `task`.
      spec: `name` and arguments.
      numbers: The run of a mechanism or an algorithm.
      example_shape: Shape of a model's examples.

    Raises:
      ComponentError: It cannot be loaded.
      PrivacyPlanError: It is not said to be sound for the unit and the trust model.
    """
    if kind == "model":
        yield Result("rows", rows.check_model(spec, example_shape))
    elif kind == "task":
        yield Result("rows", rows.check_task(spec))
    elif kind == "mechanism":
        yield from _results(plan_of(kind, spec, numbers), None)
    else:
        yield from _of_algorithm(spec, numbers)


def plan_of(kind: str, spec: Mapping[str, Any], numbers: Numbers) -> PrivacyPlan:
    """The plan in which a mechanism or an algorithm is checked.

    Raises:
      PrivacyPlanError: It is not said to be sound there.
    """
    constants = registry.find(kind, spec["name"]).constants
    units = ("client", "record")
    sound = (unit for unit in units if not soundness.unproved(kind, spec["name"], unit, "central"))
    unit = numbers.unit or next(sound, units[0])
    mechanism = registry.build(kind, spec) if kind == "mechanism" else None
    setting: dict[str, Any] = {"unit": unit, "trust": "central", kind: spec["name"]}
    participation: Participation | None = "seen" if constants.get("REMEMBERS_CLIENTS") else None
    plan = PrivacyPlan(
        PrivacySetting(sampling_rate=numbers.sampling_rate, participation=participation, **setting),
        population=RECORDS if unit == "record" else CLIENTS,
        rounds=numbers.steps,
        clip_norm=numbers.clip_norm,
        noise_multiplier=0.0,
        delta=numbers.delta,
        mechanism_arguments=() if mechanism is None else tuple(sorted((k, v) for k, v in spec.items() if k != "name")),
        strategy=(1.0,) if mechanism is None else tuple(mechanism.strategy(numbers.steps)),
    )
    # Noise that is correlated over rounds is proved for units that return after a known number of rounds.
    scheduled = {"sampling": "cyclic"} if mechanism is not None and correlated(plan) else {}
    return plan.replace(noise_multiplier=numbers.noise_multiplier, **scheduled)


def correlated(plan: PrivacyPlan) -> bool:
    """Whether the mechanism says that its rounds are not independent releases."""
    return len(plan.strategy) > 1 or type(plan.noise).compositions is not Interface.compositions


def _of_algorithm(spec: Mapping[str, Any], numbers: Numbers) -> Iterator[Result]:
    component = registry.find("algorithm", spec["name"])
    algorithm = registry.build("algorithm", spec)
    if not algorithm.VECTORS:
        raise ComponentError(component.name, "have rounds", "its clients send nothing that could be checked")
    plan = plan_of("algorithm", spec, numbers)
    yield Result("server", check_server(algorithm))
    yield from _results(plan, algorithm)


def _results(plan: PrivacyPlan, algorithm: Any) -> Iterator[Result]:
    @cache
    def mechanism(noise_multiplier: float) -> Mechanism:
        return engine.of_plan(plan.replace(noise_multiplier=noise_multiplier), algorithm)

    skipped = _skipped(plan, algorithm)
    for name, check in CHECKS.items():
        if name in skipped:
            yield Result(name, skipped=skipped[name])
            continue
        noise = _attacked_noise(plan) if name in ATTACKS else plan.noise_multiplier
        yield Result(name, check(mechanism(noise)))


def _attacked_noise(plan: PrivacyPlan) -> float:
    """The plan's noise multiplier, doubled until its epsilon is one that an attack could disprove."""
    noise = plan.noise_multiplier
    while noise < MOST_NOISE and engine.claim_of(plan.replace(noise_multiplier=noise)).epsilon > LARGEST_EPSILON:
        noise *= 2
    return noise


def _skipped(plan: PrivacyPlan, algorithm: Any) -> dict[str, str]:
    """Why checks are not made, by name."""
    skipped = {}
    if engine.stated_multiplier(plan) is None:
        skipped = dict.fromkeys(NOISE, OTHER_LAW)
    if correlated(plan):
        skipped = dict.fromkeys(NOISE, CORRELATED) | {"sampling": "a schedule says who takes part"}
    if algorithm is not None and algorithm.VECTORS > 1:
        skipped["distinguishing"] = "the model's step is one of the vectors that clients send"
    return skipped
