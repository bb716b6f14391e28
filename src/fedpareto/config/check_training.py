"""Checks across the keys of a configuration: settings that cannot be trained, and the order of all checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from fedpareto.components import registry
from fedpareto.config.check_attacks import check_attacks, check_policies
from fedpareto.config.check_figures import check_figures
from fedpareto.config.check_privacy import check_mechanism, check_privacy, check_record
from fedpareto.config.check_task import check_task
from fedpareto.config.problems import Problems, nearest
from fedpareto.config.study import Config, Study, study_key
from fedpareto.data import COLOURS, UserFileError, facts
from fedpareto.data.partitions.interface import is_drawn, is_natural

SMALLEST_COHORT = 1.0


def check(config: Config, problems: Problems) -> None:
    """Adds every problem of the configuration as a whole."""
    for name, options in config.datasets.items():
        if name in facts.registered():
            problems.add(["datasets", name], name, "be another name than that of a registered data set", "rename yours")
        key = "loader" if "loader" in options else "path"
        file = options.get("path", options.get("loader", {}).get("name", ""))
        if set("{}") & set(file):
            hint = "Snakemake takes them for wildcards: rename the file or its folder"
            problems.add(["datasets", name, key], file, "hold no braces", hint)
    for study in config.studies:
        known = _facts(study, config.datasets, problems)
        if not study.well_formed:
            continue
        check_task(study, known, problems)
        check_mechanism(study, problems)
        if "record" in study.axes["unit"]:
            check_record(study, known, problems)
        else:
            _check_work(study, problems)
        check_privacy(study, known, problems)
        _check_schedule(study, problems)
        _check_data(study, known, problems)
        _check_size(study, problems)
        check_attacks(study, problems)
        check_figures(study, problems)
    check_policies(config, problems)


def _facts(study: Study, datasets: Mapping[str, Mapping[str, Any]], problems: Problems) -> dict[str, facts.DatasetInfo]:
    """The facts of each data set that the study names and that can be read."""
    found = {}
    for i, name in enumerate(study.axes.get("dataset", ())):
        if name in datasets:
            if not datasets[name]:
                continue  # its own faults have their lines already
            try:
                found[name] = facts.of_options(datasets[name])
            except UserFileError as error:
                key = ["datasets", name, error.key, *(() if error.index is None else (error.index,))]
                problems.add(key, error.value, error.must, error.hint)
        elif name in facts.registered():
            found[name] = facts.of_class(name)
        else:
            known = [*facts.registered(), *datasets]
            key = study_key(study, "dataset", i)
            problems.add(key, name, "be a registered data set or one of datasets", nearest(name, known))
    return found


def _check_work(study: Study, problems: Problems) -> None:
    axes = study.axes
    if None in axes["client_learning_rate"]:
        problems.add(study_key(study, "client_learning_rate"), None, "be a number above 0", "e.g. 0.1")
    if any(axes.get("local_epochs", ())) and any(axes.get("local_steps", ())):
        problems.add(
            study_key(study, "local_steps"),
            list(axes["local_steps"]),
            "not stand beside local_epochs",
            "remove one of the two",
        )


def _check_schedule(study: Study, problems: Problems) -> None:
    keys = ("final_learning_rate", "decay_rounds")
    for spec in study.axes["server_optimizer"]:
        given = [key for key in keys if key in spec]
        if len(given) == 1:
            missing = keys[1 - keys.index(given[0])]
            problems.add(
                [*study_key(study, "server_optimizer"), missing], None, f"be set beside {given[0]}", "or neither"
            )
            return


def _check_data(study: Study, known: Mapping[str, facts.DatasetInfo], problems: Problems) -> None:
    axes = study.axes
    for partition in axes["partition"]:
        for name, fact in known.items():
            if is_natural(partition):
                _check_natural(study, partition["name"], name, fact, problems)
                _check_cohort(study, [fact.clients if _draws_clients(study) else fact.train], problems)
            elif "clients" not in axes:
                problems.add(
                    study_key(study, "clients"), None, f"be set for the {partition['name']} partition", "e.g. 100"
                )
            else:
                _check_counts(study, name, fact, partition, problems)
    for spec, (name, fact) in product(axes["preprocessing"], known.items()):
        if fact.shape is not None:
            _check_shape(study, spec, name, fact.shape, problems)
    _check_models(study, known, problems)
    _check_augmentation(study, known, problems)


def _check_models(study: Study, known: Mapping[str, facts.DatasetInfo], problems: Problems) -> None:
    """Models of images get images of their size."""
    for spec, model in product(study.axes["preprocessing"], study.axes["model"]):
        flat = registry.constant("preprocessing", spec, "FLATTENS", False)
        constants = registry.find("model", model["name"]).constants
        if flat and constants.get("INPUT_SHAPE") and not constants.get("FLATTENS"):
            hint = "use logistic, mlp or 2nn"
            problems.add(
                study_key(study, "model"),
                model["name"],
                f"not look at images after preprocessing: {spec['name']}",
                hint,
            )
        for name, fact in () if flat else known.items():
            if not _fits(model["name"], fact.shape):
                fitting = [key for key in facts.registered() if _fits(model["name"], facts.of_class(key).shape)]
                shape = " x ".join("any" if side is None else str(side) for side in constants["INPUT_SHAPE"])
                others = ", or one of " + ", ".join(fitting) if fitting else ""
                if fact.declared and fact.shape is None:
                    others = ", or give the class of the data set its SHAPE"
                problems.add(
                    study_key(study, "model"),
                    model["name"],
                    f"fit {shape} images, which {name} does not have",
                    f"use logistic or mlp{others}",
                )


def _check_shape(study: Study, spec: Mapping[str, Any], name: str, shape: tuple[int, ...], problems: Problems) -> None:
    """Checks the shape of examples that a preprocessing needs; the shape of tables is known once they are prepared."""
    key, features = study_key(study, "preprocessing"), math.prod(shape)
    largest = registry.constant("preprocessing", spec, "AT_MOST_FEATURES")
    divisor = registry.constant("preprocessing", spec, "DIVIDES_CHANNELS")
    if (spec.get(largest) or 0) > features:
        problems.add([*key, largest], spec[largest], f"be at most {features}, the pixels of {name}")
    if shape[-1] % (spec.get(divisor) or 1):
        problems.add([*key, divisor], spec[divisor], f"divide {shape[-1]}, the channels of {name}")


def _fits(model: str, shape: tuple[int, ...] | None) -> bool:
    """Whether a model takes examples of this shape; None is no image."""
    wanted = registry.find("model", model).constants.get("INPUT_SHAPE")
    if wanted is None:
        return True
    return shape is not None and all(side in (None, has) for side, has in zip(wanted, shape, strict=True))


def _check_augmentation(study: Study, known: Mapping[str, facts.DatasetInfo], problems: Problems) -> None:
    axes = study.axes
    for augmentation in axes["augmentation"]:
        if augmentation["name"] == "none":
            continue
        for name, fact in known.items():
            if fact.shape is None or fact.shape[-1] not in COLOURS:
                hint = "tables have nothing to mirror or to cut; remove the key"
                problems.add(study_key(study, "augmentation"), augmentation["name"], f"see images, unlike {name}", hint)
            elif augmentation["padding"] > min(fact.shape[:2]):
                key, most = [*study_key(study, "augmentation"), "padding"], min(fact.shape[:2])
                problems.add(key, augmentation["padding"], f"be at most {most}, the side of an image of {name}")
        for model in axes["model"]:
            size = registry.find("model", model["name"]).constants.get(
                "CROP"
            )  # it sees less than the whole of an image
            if augmentation["crop"] is not None and augmentation["crop"] != size:
                must = f"be null{'' if size is None else f' or {size}'} with model {model['name']}"
                why = "it is scored on whole images" if size is None else "that is what it sees of an image"
                problems.add([*study_key(study, "augmentation"), "crop"], augmentation["crop"], must, why)


def _check_natural(study: Study, scheme: str, name: str, fact: facts.DatasetInfo, problems: Problems) -> None:
    if fact.clients is None:
        given = "its class CLIENTS" if fact.declared else "the data set a client column"
        hint = f"give {given}, or use iid or dirichlet"
        problems.add(
            study_key(study, "partition"), scheme, f"not be natural: {name} does not say whose an example is", hint
        )
    for i, n in enumerate(study.axes.get("clients", ())):
        if fact.clients is not None and n != fact.clients:
            key = study_key(study, "clients", i)
            problems.add(key, n, f"be {fact.clients}, the natural clients of {name}", "leave the key out")


def _check_counts(
    study: Study, name: str, fact: facts.DatasetInfo, partition: Mapping[str, Any], problems: Problems
) -> None:
    counts, minimum = study.axes["clients"], partition["minimum"]
    if is_drawn(partition):
        _check_shards(study, name, fact, partition, problems)
        _check_cohort(study, counts, problems)
        return
    kept = f", of which every client keeps {minimum}" if minimum > 1 else ""
    for i, n in enumerate(counts):
        key = study_key(study, "clients", i)
        if fact.train is not None and n * minimum > fact.train:
            most = fact.train // minimum
            problems.add(
                key, n, f"be at most {most}: {name} has {fact.train:,} training examples{kept}", f"write at most {most}"
            )
    _check_cohort(study, counts if _draws_clients(study) else [fact.train], problems)


def _check_shards(
    study: Study, name: str, fact: facts.DatasetInfo, partition: Mapping[str, Any], problems: Problems
) -> None:
    """Any number of clients can draw shards, as long as there are enough for one."""
    each, size = partition.get("shards_per_client"), partition.get("shard_size")
    if each is None or size is None:
        return  # another scheme's draws are checked when they are made
    key = [*study_key(study, "partition"), "shard_size"]
    if fact.train is not None and each * size > fact.train:
        must = f"be at most {fact.train // each}: {name} has {fact.train:,} training examples, and a client draws {each} shards"
        problems.add(key, size, must, f"write at most {fact.train // each}")
    if each * size < partition["minimum"]:
        least = -(-partition["minimum"] // each)
        problems.add(key, size, f"give every client its minimum of {partition['minimum']}", f"write at least {least}")


def _check_cohort(study: Study, counts: Sequence[int | None], problems: Problems) -> None:
    """Every expected cohort, of clients or of records, has at least one member."""
    units = "clients" if _draws_clients(study) else "records"
    rates = study.axes["sampling_rate"]
    for i, rate in enumerate(rates):
        for n in counts:
            if n and rate * n < SMALLEST_COHORT:
                problems.add(
                    study_key(study, "sampling_rate", i),
                    rate,
                    f"give an expected cohort of at least one of {n} {units}",
                    f"write at least {1 / n:.4g}",
                )


def _draws_clients(study: Study) -> bool:
    """Whether `sampling_rate` is that of clients: not where the server or secure aggregation protects sums over records."""
    return study.axes["unit"] == ("client",) or study.axes["trust"] == ("local",)


def _check_size(study: Study, problems: Problems) -> None:
    grid = math.prod(len(values) for values in study.axes.values()) * len(study.seeds)
    if grid > study.max_runs:
        problems.add(
            ["studies", study.name],
            f"a grid of {grid:,} runs",
            f"have at most {study.max_runs:,}",
            f"shorten a list, or say max_runs: {grid}",
        )
