"""What a configuration must be: each value by itself, and across keys what cannot be trained or cannot be proved.

Nothing here raises at the first fault: problems are collected, and raised as one error with a line for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

from fedpareto import facts

if TYPE_CHECKING:
    from fedpareto.config import Config, Study

COMMAND_LINE = "--config"
LARGEST_INTEGER = 2**31 - 1  # counts and seeds are int32 on the device

LARGEST_ORDER = 1024  # of the RDP accountant's grid: sets the smallest epsilon that RDP can prove
IMAGE_MODELS = ("2nn", "dp_cnn", "fedavg_cnn")
SMALLEST_COHORT = 1.0


class ConfigError(ValueError):
    """One or more problems of a configuration, one line each: `<file>: <key> = <value> must <what> (<hint>)`."""


def show(value: Any) -> str:
    """A value as one would write it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)


@dataclass
class Problems:
    """Collects problems and finds the file that each key stands in."""

    sources: Sequence[tuple[str, Any]]
    lines: list[str] = field(default_factory=list)

    def add(self, key: Sequence[str | int], value: Any, must: str, hint: str = "") -> None:
        """One problem: the value at `key` must be something else."""
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        line = f"{self._file(key)}: {place} = {show(value)} must {must}" + (f" ({hint})" if hint else "")
        if line not in self.lines:
            self.lines.append(line)

    def raise_if_any(self) -> None:
        """Raises all problems as one error."""
        if self.lines:
            raise ConfigError("\n".join(self.lines))

    def _file(self, key: Sequence[str | int]) -> str:
        keys = [part for part in key if isinstance(part, str)]
        for depth in range(len(keys), 0, -1):
            for name, tree in reversed(self.sources):
                if _holds(tree, keys[:depth]) or (len(keys) > 2 and _holds(tree, keys[2:depth])):
                    return name
        return self.sources[0][0] if self.sources else COMMAND_LINE


def valid(key: Sequence[str | int], value: Any, rule: Mapping[str, Any], problems: Problems) -> bool:
    """Whether a value is what its rule in `config.schema.yaml` says; adds a problem where it is not."""
    kinds = rule.get("type", ())
    number = isinstance(value, int | float) and not isinstance(value, bool)
    finite = not isinstance(value, float) or math.isfinite(value)
    too_large = number and finite and "integer" in kinds and abs(value) > LARGEST_INTEGER
    if finite and not too_large and Draft202012Validator(rule).is_valid(value):
        return True
    must, hint = rule["must"], rule.get("hint", "")
    if number and not finite and {"integer", "number"} & {*([kinds] if isinstance(kinds, str) else kinds)}:
        must += ", and finite"
    elif too_large:
        must += f", and at most {LARGEST_INTEGER}"
    elif isinstance(value, str) and _is_number(value) and ("number" in kinds or "integer" in kinds):
        unquoted = isinstance(yaml.safe_load(value), int | float)
        hint = (
            f"write {value} without quotes" if unquoted else f"YAML reads {value} as text; write {_with_point(value)}"
        )
    problems.add(key, value, must, str(hint))
    return False


def unknown_key(key: Sequence[str | int], value: Any, known: Sequence[str], problems: Problems) -> None:
    """One problem: the last part of `key` is none of the keys that exist."""
    problems.add(key, value, "be a key that exists", _nearest(key[-1], known))


def unknown_name(key: Sequence[str | int], name: Any, known: Sequence[str], problems: Problems) -> None:
    """One problem: the value at `key` is none of the names that exist."""
    problems.add(key, name, "be a name that exists", _nearest(name, known))


def _nearest(word: Any, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.6) if isinstance(word, str) else []
    return f"did you mean {near[0]}?" if near else "one of " + ", ".join(known)


def check(config: Config, problems: Problems) -> None:
    """Adds every problem of the configuration as a whole."""
    for study in config.studies:
        known = _facts(study, config.datasets, problems)
        if not study.well_formed:
            continue
        if "record" in study.axes["unit"]:
            _check_record(study, known, problems)
        else:
            _check_work(study, problems)
        _check_privacy(study, known, problems)
        _check_data(study, known, problems)
        _check_size(study, problems)


def smallest_epsilon(delta: float) -> float:
    """What RDP's conversion adds at `delta` at its largest order, however small the divergence (Canonne et al. 2020)."""
    order = LARGEST_ORDER
    return max(0.0, math.log1p(-1 / order) - math.log(delta * order) / (order - 1))


def _facts(study: Study, datasets: Mapping[str, Mapping[str, Any]], problems: Problems) -> dict[str, facts.Facts]:
    """The facts of each data set that the study names and that can be read."""
    found = {}
    for i, name in enumerate(study.axes.get("dataset", ())):
        if name in datasets:
            if not datasets[name]:
                continue  # its own faults have their lines already
            try:
                found[name] = facts.of_user_file(datasets[name])
            except facts.UserFileError as error:
                key = ["datasets", name, error.key, *(() if error.index is None else (error.index,))]
                problems.add(key, error.value, error.must, error.hint)
        elif name in facts.REGISTERED:
            found[name] = facts.REGISTERED[name]
        else:
            known = [*facts.REGISTERED, *datasets]
            key = _key(study, "dataset", i if len(study.axes["dataset"]) > 1 else None)
            problems.add(key, name, "be a registered data set or one of datasets", _nearest(name, known))
    return found


def _check_work(study: Study, problems: Problems) -> None:
    axes = study.axes
    if None in axes["client_learning_rate"]:
        problems.add(_key(study, "client_learning_rate"), None, "be a number above 0", "e.g. 0.1")
    if any(axes.get("local_epochs", ())) and any(axes.get("local_steps", ())):
        problems.add(
            _key(study, "local_steps"),
            list(axes["local_steps"]),
            "not stand beside local_epochs",
            "remove one of the two",
        )


def _check_record(study: Study, known: Mapping[str, facts.Facts], problems: Problems) -> None:
    """What the unit `record` asks for: one clipped gradient of every sampled record, and nothing done on the client."""
    axes = study.axes
    if len(axes["unit"]) > 1:
        hint = "its sampling rate, clip norm and noise mean other things: make two studies"
        problems.add(_key(study, "unit"), list(axes["unit"]), "not sweep over record and client", hint)
    several = "several steps on a client's records need noise at every step, on the client; the server adds it once"
    for name in ("local_epochs", "local_steps", "batch_size", "client_learning_rate"):
        values = [value for value in axes.get(name, ()) if value is not None]
        if not values or (name == "local_steps" and values == [1]):
            continue
        hint = {"batch_size": "sampling_rate says how many records a round expects"}.get(name, several)
        if name == "client_learning_rate":
            hint = "the learning rate is that of server_optimizer"
        problems.add(_key(study, name), values[0], "not stand beside unit: record", f"{hint}; remove it")
    for i, baseline in enumerate(study.baselines):
        if baseline != "non_private":
            hint = "they train by local steps: put them into a study with unit: client"
            problems.add(_key(study, "baselines", i), baseline, "be non_private with unit: record", hint)
    for name, fact in known.items():
        if fact.train is None:
            hint = "the number of training records is not known before the file is read: give it a split"
            problems.add(_key(study, "dataset"), name, "have a known number of records with unit: record", hint)


def _check_privacy(study: Study, known: Mapping[str, facts.Facts], problems: Problems) -> None:
    axes = study.axes
    noises, targets = axes.get("noise_multiplier", ()), axes.get("target_epsilon", ())
    if noises and targets:
        problems.add(
            _key(study, "target_epsilon"),
            list(targets),
            "not stand beside noise_multiplier",
            "the target sets the noise: remove one of the two",
        )
        return
    private = [value for value in (*noises, *targets) if value]
    if not private:
        return
    for i, clip in enumerate(axes["clip_norm"]):
        if clip is None:
            problems.add(
                _key(study, "clip_norm", i if len(axes["clip_norm"]) > 1 else None),
                None,
                "be a number above 0 where there is noise",
                "without a bound on one client's update no noise hides it; the non-private run is always added",
            )
    deltas = [d for d in axes.get("delta", ()) if d is not None]
    if not deltas:
        problems.add(_key(study, "delta"), None, "be set where there is noise", "well below 1/clients, e.g. 1.0e-5")
    elif None in axes["delta"]:
        hint = "remove it: runs without noise need no delta, and get none"
        problems.add(_key(study, "delta", axes["delta"].index(None)), None, "be set where there is noise", hint)
    units = f"{axes['unit'][0]}s"
    if units == "records":
        population = [f.train for f in known.values() if f.train]
    else:
        population = [n for n in axes.get("clients", ()) if n] or [f.clients for f in known.values() if f.clients]
    for i, delta in enumerate(deltas):
        key = _key(study, "delta", i if len(axes["delta"]) > 1 else None)
        for n in population:
            if delta >= 1 / n:
                problems.add(
                    key,
                    delta,
                    f"be below 1/{units} = {1 / n:.4g} for {n} {units}",
                    f"a delta of 1/n allows giving one {units[:-1]} away whole; write {_round_down(0.1 / n)}",
                )
        for j, target in enumerate(targets):
            if target is not None and "rdp" in axes["accountant"] and target < smallest_epsilon(delta):
                problems.add(
                    _key(study, "target_epsilon", j if len(targets) > 1 else None),
                    target,
                    f"be at least {smallest_epsilon(delta):.4f}, below which RDP needs boundless noise at delta {delta:g}",
                    "raise it, or use accountant: pld",
                )


def _check_data(study: Study, known: Mapping[str, facts.Facts], problems: Problems) -> None:
    axes = study.axes
    for partition in axes["partition"]:
        for name, fact in known.items():
            if partition["name"] == "natural":
                _check_natural(study, name, fact, problems)
                _check_cohort(study, [fact.clients if axes["unit"] == ("client",) else fact.train], problems)
            elif "clients" not in axes:
                problems.add(_key(study, "clients"), None, f"be set for the {partition['name']} partition", "e.g. 100")
            else:
                _check_counts(study, name, fact, partition["minimum"], problems)
    for model in axes["model"]:
        for name, fact in known.items():
            if model["name"] in IMAGE_MODELS and not fact.image:
                images = ", ".join(key for key, value in facts.REGISTERED.items() if value.image)
                problems.add(
                    _key(study, "model"),
                    model["name"],
                    f"fit 28 x 28 images, which {name} does not have",
                    f"use logistic or mlp, or one of {images}",
                )


def _check_natural(study: Study, name: str, fact: facts.Facts, problems: Problems) -> None:
    if fact.clients is None and fact.train is not None:
        hint = "give the data set a client column, or use iid or dirichlet"
        problems.add(
            _key(study, "partition"), "natural", f"not be natural: {name} does not say whose an example is", hint
        )
    for i, n in enumerate(study.axes.get("clients", ())):
        if fact.clients is not None and n != fact.clients:
            key = _key(study, "clients", i if len(study.axes["clients"]) > 1 else None)
            problems.add(key, n, f"be {fact.clients}, the natural clients of {name}", "leave the key out")


def _check_counts(study: Study, name: str, fact: facts.Facts, minimum: int, problems: Problems) -> None:
    counts = study.axes["clients"]
    kept = f", of which every client keeps {minimum}" if minimum > 1 else ""
    for i, n in enumerate(counts):
        key = _key(study, "clients", i if len(counts) > 1 else None)
        if fact.train is not None and n * minimum > fact.train:
            most = fact.train // minimum
            problems.add(
                key, n, f"be at most {most}: {name} has {fact.train:,} training examples{kept}", f"write at most {most}"
            )
    _check_cohort(study, counts if study.axes["unit"] == ("client",) else [fact.train], problems)


def _check_cohort(study: Study, counts: Sequence[int | None], problems: Problems) -> None:
    """Every expected cohort, of clients or of records, has at least one member."""
    units = f"{study.axes['unit'][0]}s"
    rates = study.axes["sampling_rate"]
    for i, rate in enumerate(rates):
        for n in counts:
            if n and rate * n < SMALLEST_COHORT:
                problems.add(
                    _key(study, "sampling_rate", i if len(rates) > 1 else None),
                    rate,
                    f"give an expected cohort of at least one of {n} {units}",
                    f"write at least {1 / n:.4g}",
                )


def _check_size(study: Study, problems: Problems) -> None:
    grid = math.prod(len(values) for values in study.axes.values()) * len(study.seeds)
    if grid > study.max_runs:
        problems.add(
            ["studies", study.name],
            f"a grid of {grid:,} runs",
            f"have at most {study.max_runs:,}",
            f"shorten a list, or say max_runs: {grid}",
        )


def _key(study: Study, name: str, index: int | None = None) -> list[str | int]:
    return ["studies", study.name, name] + ([] if index is None else [index])


def _round_down(value: float) -> str:
    """One digit and an exponent with a point, as YAML wants it: 0.00023 -> 2.0e-4."""
    exponent = math.floor(math.log10(value))
    return f"{math.floor(value / 10**exponent + 1e-9)}.0e{exponent}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _with_point(text: str) -> str:
    """`1e-5` as YAML reads it for a number: `1.0e-5`."""
    mantissa, mark, exponent = text.lower().partition("e")
    mantissa = mantissa if "." in mantissa else mantissa + ".0"
    sign = "" if exponent.startswith(("-", "+")) or not mark else "+"
    return mantissa + mark + sign + exponent


def _holds(tree: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return False
        tree = tree[key]
    return bool(keys)
