"""Checks of a configuration across its keys: what cannot be trained, and what cannot be proved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fedpareto import facts
from fedpareto.config import Config, Problems, Study

LARGEST_ORDER = 1024  # of the RDP accountant's grid: sets the smallest epsilon that RDP can prove
IMAGE_MODELS = ("2nn", "dp_cnn", "fedavg_cnn")
SMALLEST_COHORT = 1.0


def check(config: Config, problems: Problems) -> None:
    """Adds every problem of the configuration as a whole."""
    for study in config.studies:
        known = _facts(study, config.datasets, problems)
        if not study.well_formed:
            continue
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
            try:
                found[name] = facts.of_user_file(datasets[name])
            except facts.UserFileError as error:
                problems.add(["datasets", name, error.key], error.value, error.must, error.hint)
        elif name in facts.REGISTERED:
            found[name] = facts.REGISTERED[name]
        else:
            from difflib import get_close_matches

            known = [*facts.REGISTERED, *datasets]
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(known)
            key = _key(study, "dataset", i if len(study.axes["dataset"]) > 1 else None)
            problems.add(key, name, "be a registered data set or one of datasets", hint)
    return found


def _check_work(study: Study, problems: Problems) -> None:
    axes = study.axes
    if any(axes.get("local_epochs", ())) and any(axes.get("local_steps", ())):
        problems.add(
            _key(study, "local_steps"),
            list(axes["local_steps"]),
            "not stand beside local_epochs",
            "remove one of the two",
        )


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
    clients = [n for n in axes.get("clients", ()) if n] or [f.clients for f in known.values() if f.clients]
    for i, delta in enumerate(deltas):
        key = _key(study, "delta", i if len(axes["delta"]) > 1 else None)
        for n in clients:
            if delta >= 1 / n:
                problems.add(
                    key,
                    delta,
                    f"be below 1/clients = {1 / n:.4g} for {n} clients",
                    f"a delta of 1/n allows giving one client away whole; write {_round_down(0.1 / n)}",
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
    for i, n in enumerate(counts):
        key = _key(study, "clients", i if len(counts) > 1 else None)
        if fact.train is not None and n * minimum > fact.train:
            most = fact.train // minimum
            problems.add(
                key, n, f"be at most {most}: {name} has {fact.train:,} training examples", f"write at most {most}"
            )
        for rate in study.axes["sampling_rate"]:
            if rate * n < SMALLEST_COHORT:
                problems.add(
                    _key(study, "sampling_rate"),
                    rate,
                    f"give an expected cohort of at least one of {n} clients",
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
