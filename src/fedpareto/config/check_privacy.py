"""Checks of the privacy keys of a configuration, with the reason for each refusal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from fedpareto.components import registry
from fedpareto.config.privacy_setting import privacy_setting
from fedpareto.config.problems import Problems
from fedpareto.config.study import Study, study_key
from fedpareto.data import facts
from fedpareto.privacy.setting import DISCRETE, PrivacySetting
from fedpareto.privacy.soundness import violations

# Steps do not stand here: `check_record` has a line for every key that asks for some.
DECIDING = (
    "unit",
    "trust",
    "sampling",
    "participation",
    "mechanism",
    "clipping",
    "algorithm",
    "weighting",
    "preprocessing",
    "partition",
    "augmentation",
    "sampling_rate",
    "dropout",
    "stragglers",
)
LARGEST_ORDER = 1024  # of the RDP accountant's grid: sets the smallest epsilon that RDP can prove


def check_mechanism(study: Study, problems: Problems) -> None:
    """Refuses settings without a sound guarantee or a meaning, for any combination of the values that decide it."""
    axes = study.axes
    private = any(axes.get("noise_multiplier", ())) or any(axes.get("target_epsilon", ()))
    for keys, setting in _points(axes):
        for fault in violations(setting):
            if fault.key in ("participation", "preprocessing") and not private:
                continue  # nothing is claimed that it could weaken
            value = keys[fault.key]
            key = study_key(study, fault.key, axes[fault.key].index(value))
            problems.add(key, value["name"] if isinstance(value, dict) else value, fault.must, fault.why)
    if not private and any(trust != "central" for trust in axes["trust"]):
        hint = "without noise nobody is protected from anybody: set noise_multiplier or target_epsilon, or remove trust"
        problems.add(study_key(study, "trust"), axes["trust"][0], "come with noise", hint)
    reached = [stop for stop in axes.get("stop_at_accuracy", ()) if stop is not None]
    if reached and private:
        hint = "when a run ends would tell of its data, and no epsilon covers that: remove it, or use stop_at_epsilon"
        problems.add(study_key(study, "stop_at_accuracy"), reached[0], "not stand where there is noise", hint)
    stops = [stop for stop in axes.get("stop_at_epsilon", ()) if stop is not None]
    if stops and not private:
        problems.add(study_key(study, "stop_at_epsilon"), stops[0], "come with noise", "set noise_multiplier")


def _points(axes: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], PrivacySetting]]:
    """Every combination of values that decides whether a mechanism is sound, and its setting.

    Where the data says how many clients there are, the plan of each run looks again.
    """
    deciding = {key: axes[key] for key in DECIDING} | {"clients": axes.get("clients", (None,))}
    for values in product(*deciding.values()):
        keys = dict(zip(deciding, values, strict=True))
        yield keys, privacy_setting(keys)


def check_record(study: Study, known: Mapping[str, facts.DatasetInfo], problems: Problems) -> None:
    """Checks the keys of studies whose unit is `record`.

    Where the server or secure aggregation protects the sum: one clipped gradient of every sampled record, and nothing else
    done on the client. Under local trust: steps of DP-SGD on the client, each on a batch of an expected size.
    """
    axes = study.axes
    if len(axes["unit"]) > 1 or len(axes["trust"]) > 1:
        name = "unit" if len(axes["unit"]) > 1 else "trust"
        hint = "its sampling rate, clip norm and noise mean other things: make a study of each"
        problems.add(study_key(study, name), list(axes[name]), "hold one value with unit: record", hint)
        return
    for i, baseline in enumerate(study.baselines):
        if baseline != "non_private" and axes["trust"] != ("local",):
            hint = "they train by local steps: put them into a study with unit: client"
            problems.add(study_key(study, "baselines", i), baseline, "be non_private with unit: record", hint)
    for name, fact in known.items():
        if fact.train is None:
            hint = "the number of training records is not known before the data are loaded: give its class TRAIN"
            problems.add(study_key(study, "dataset"), name, "have a known number of records with unit: record", hint)
    if axes["trust"] == ("local",):
        for name, example in (("local_steps", 5), ("batch_size", 16), ("client_learning_rate", 0.1)):
            if None in axes.get(name, (None,)):
                why = f"every client runs that many noisy steps on batches of that expected size; e.g. {example}"
                problems.add(study_key(study, name), None, "be set with unit: record and trust: local", why)
        if any(axes.get("local_epochs", ())):
            hint = "batches are drawn afresh for every step: use local_steps"
            problems.add(study_key(study, "local_epochs"), axes["local_epochs"][0], "not stand here", hint)
        return
    for i, decay in enumerate(axes["client_learning_rate_decay"]):
        if decay != 1:
            key = study_key(study, "client_learning_rate_decay", i)
            hint = "clients make no steps of their own; server_optimizer has final_learning_rate"
            problems.add(key, decay, "not stand beside unit: record", hint)
    several = "several steps on a client's records need noise at every step, on the client (trust: local)"
    for name in ("local_epochs", "local_steps", "batch_size", "client_learning_rate"):
        values = [value for value in axes.get(name, ()) if value is not None]
        if not values or (name == "local_steps" and values == [1]):
            continue
        hint = {"batch_size": "sampling_rate says how many records a round expects"}.get(name, several)
        if name == "client_learning_rate":
            hint = "the learning rate is that of server_optimizer"
        problems.add(study_key(study, name), values[0], "not stand beside unit: record", f"{hint}; remove it")


def check_privacy(study: Study, known: Mapping[str, facts.DatasetInfo], problems: Problems) -> None:
    """Checks the keys of noise: a clip norm, a delta below one over the population, an epsilon that can be proved."""
    axes = study.axes
    noises, targets = axes.get("noise_multiplier", ()), axes.get("target_epsilon", ())
    if noises and targets:
        problems.add(
            study_key(study, "target_epsilon"),
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
                study_key(study, "clip_norm", i),
                None,
                "be a number above 0 where there is noise",
                "without a bound on one client's update no noise hides it; the non-private run is always added",
            )
    for i, spec in enumerate(axes["preprocessing"]):
        if registry.constant("preprocessing", spec, "RELEASES") and spec.get("noise_multiplier") is None:
            key = study_key(study, "preprocessing", i)
            hint = f"{spec['name']} gives away of all records what it learns: charge it, e.g. noise_multiplier: 8"
            problems.add([*key, "noise_multiplier"], None, "be set where there is noise", hint)
    deltas = [d for d in axes.get("delta", ()) if d is not None]
    if not deltas:
        problems.add(
            study_key(study, "delta"), None, "be set where there is noise", "well below 1/clients, e.g. 1.0e-5"
        )
    elif None in axes["delta"]:
        hint = "remove it: runs without noise need no delta, and get none"
        problems.add(study_key(study, "delta", axes["delta"].index(None)), None, "be set where there is noise", hint)
    units = f"{axes['unit'][0]}s"
    if units == "records":
        population = [f.train for f in known.values() if f.train]
    else:
        population = [n for n in axes.get("clients", ()) if n] or [f.clients for f in known.values() if f.clients]
    for i, delta in enumerate(deltas):
        key = study_key(study, "delta", i)
        for n in population:
            if delta >= 1 / n:
                problems.add(
                    key,
                    delta,
                    f"be below 1/{units} = {1 / n:.4g} for {n} {units}",
                    f"a delta of 1/n allows giving one {units[:-1]} away whole; write {_yaml(suggested_delta(n))}",
                )
        for j, target in enumerate(targets):
            if target is not None and target < smallest_epsilon(delta) and (way_out := _if_rdp_decides(study)):
                problems.add(
                    study_key(study, "target_epsilon", j),
                    target,
                    f"be at least {smallest_epsilon(delta):.4f}, below which RDP needs boundless noise at delta {delta:g}",
                    way_out,
                )


def _if_rdp_decides(study: Study) -> str:
    """The way out where RDP decides how much noise proves an epsilon, empty where PLD does.

    It decides where it was asked to, and for discrete noise, of which no PLD is known, whatever was asked.
    """
    discrete = [spec["name"] for spec in study.axes["mechanism"] if spec["name"] in DISCRETE]
    if discrete:
        return f"raise it: no PLD of {discrete[0]} is known"
    return "raise it, or use accountant: pld" if "rdp" in study.axes["accountant"] else ""


def smallest_epsilon(delta: float) -> float:
    """The epsilon that RDP's conversion adds at `delta` at its largest order, for any divergence (Canonne et al. 2020)."""
    order = LARGEST_ORDER
    return max(0.0, math.log1p(-1 / order) - math.log(delta * order) / (order - 1))


def suggested_delta(units: int) -> float:
    """The largest power of ten that is at most a tenth of 1/units.

    >>> suggested_delta(100), suggested_delta(101)
    (0.001, 0.0001)

    Args:
      units: Units of privacy in the data, at least 1.
    """
    return float(f"1e-{len(str(10 * units - 1))}")


def _yaml(power: float) -> str:
    """A power of ten with a point, as YAML wants it: 0.0001 -> 1.0e-4."""
    return f"1.0e{math.floor(math.log10(power) + 0.5)}"
