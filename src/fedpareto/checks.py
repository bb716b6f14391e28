"""What a configuration must be across its keys: what cannot be trained, and the order in which all is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedpareto import facts
from fedpareto.privacy_checks import check_mechanism, check_privacy, check_record
from fedpareto.problems import Problems, nearest, study_key

if TYPE_CHECKING:
    from fedpareto.config import Config, Study

IMAGE_MODELS = ("2nn", "dp_cnn", "fedavg_cnn")
SMALLEST_COHORT = 1.0


def check(config: Config, problems: Problems) -> None:
    """Adds every problem of the configuration as a whole."""
    for study in config.studies:
        known = _facts(study, config.datasets, problems)
        if not study.well_formed:
            continue
        check_mechanism(study, problems)
        if "record" in study.axes["unit"]:
            check_record(study, known, problems)
        else:
            _check_work(study, problems)
        check_privacy(study, known, problems)
        _check_schedule(study, problems)
        _check_data(study, known, problems)
        _check_size(study, problems)


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
            key = study_key(study, "dataset", i if len(study.axes["dataset"]) > 1 else None)
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


def _check_data(study: Study, known: Mapping[str, facts.Facts], problems: Problems) -> None:
    axes = study.axes
    for partition in axes["partition"]:
        for name, fact in known.items():
            if partition["name"] == "natural":
                _check_natural(study, name, fact, problems)
                _check_cohort(study, [fact.clients if _draws_clients(study) else fact.train], problems)
            elif "clients" not in axes:
                problems.add(
                    study_key(study, "clients"), None, f"be set for the {partition['name']} partition", "e.g. 100"
                )
            else:
                _check_counts(study, name, fact, partition, problems)
    projected = all(spec["name"] == "pca" for spec in axes["preprocessing"])
    for model in axes["model"]:
        if (
            model["name"] in IMAGE_MODELS
            and model["name"] != "2nn"
            and any(s["name"] == "pca" for s in axes["preprocessing"])
        ):
            hint = "use logistic, mlp or 2nn"
            problems.add(study_key(study, "model"), model["name"], "not look at images after preprocessing: pca", hint)
        if projected:
            continue
        for name, fact in known.items():
            if model["name"] in IMAGE_MODELS and not fact.image:
                images = ", ".join(key for key, value in facts.REGISTERED.items() if value.image)
                problems.add(
                    study_key(study, "model"),
                    model["name"],
                    f"fit 28 x 28 images, which {name} does not have",
                    f"use logistic or mlp, or one of {images}",
                )


def _check_natural(study: Study, name: str, fact: facts.Facts, problems: Problems) -> None:
    if fact.clients is None and fact.train is not None:
        hint = "give the data set a client column, or use iid or dirichlet"
        problems.add(
            study_key(study, "partition"), "natural", f"not be natural: {name} does not say whose an example is", hint
        )
    for i, n in enumerate(study.axes.get("clients", ())):
        if fact.clients is not None and n != fact.clients:
            key = study_key(study, "clients", i if len(study.axes["clients"]) > 1 else None)
            problems.add(key, n, f"be {fact.clients}, the natural clients of {name}", "leave the key out")


def _check_counts(study: Study, name: str, fact: facts.Facts, partition: Mapping[str, Any], problems: Problems) -> None:
    counts, minimum = study.axes["clients"], partition["minimum"]
    if "shard_size" in partition:
        _check_shards(study, name, fact, partition, problems)
        _check_cohort(study, counts, problems)
        return
    kept = f", of which every client keeps {minimum}" if minimum > 1 else ""
    for i, n in enumerate(counts):
        key = study_key(study, "clients", i if len(counts) > 1 else None)
        if fact.train is not None and n * minimum > fact.train:
            most = fact.train // minimum
            problems.add(
                key, n, f"be at most {most}: {name} has {fact.train:,} training examples{kept}", f"write at most {most}"
            )
    _check_cohort(study, counts if _draws_clients(study) else [fact.train], problems)


def _check_shards(study: Study, name: str, fact: facts.Facts, partition: Mapping[str, Any], problems: Problems) -> None:
    """Any number of clients can draw shards, as long as there are enough for one."""
    each, size = partition["shards_per_client"], partition["shard_size"]
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
                    study_key(study, "sampling_rate", i if len(rates) > 1 else None),
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
