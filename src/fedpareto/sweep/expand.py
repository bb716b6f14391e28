"""From a study to its runs: a grid and its reference runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

from fedpareto.columns.metrics import USUAL_TASK
from fedpareto.config.schema import schema
from fedpareto.config.study import Study
from fedpareto.data import facts
from fedpareto.privacy.setting import default_participation
from fedpareto.sweep.groups import (
    Cohort,
    Contribution,
    Data,
    Evaluation,
    Multiplier,
    Noise,
    Privacy,
    TargetEpsilon,
    Training,
)
from fedpareto.sweep.run import NAMED, Run

EVALUATIONS = 20
FactsOf = Callable[[str], facts.DatasetInfo]


def expand(study: Study, facts_of: FactsOf) -> Iterator[Run]:
    """The runs of one study: its grid, then its baselines.

    Args:
      study: A checked study.
      facts_of: The facts of each data set that it names; only `clients` and `train` are read.
    """
    axes = dict(study.axes)
    targets, multipliers = axes.pop("target_epsilon", ()), axes.pop("noise_multiplier", (0.0,))
    noises: list[Noise | None] = [None if e is None else TargetEpsilon(float(e)) for e in targets] or [
        Multiplier(float(z)) if z else None for z in multipliers
    ]
    clips, deltas, accountants = axes.pop("clip_norm"), axes.pop("delta", (None,)), axes.pop("accountant")
    stops = axes.pop("stop_at_epsilon")
    wanted = dict.fromkeys((*study.baselines, *(("non_private",) if any(noises) and study.baselines else ())))
    axes.setdefault("clients", (None,))
    for values in product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        cell = _cell(point, facts_of)
        reference = _without_privacy(cell)
        mechanism, participation = _unless_named(point["mechanism"], "gaussian"), _participation(point)
        for clip, noise, delta, accountant, stop, seed in product(
            clips, noises, deltas, accountants, stops, study.seeds
        ):
            run = reference
            if noise is not None:
                privacy = Privacy(noise, float(delta), accountant, _float(stop), mechanism, participation)
                run = replace(cell, privacy=privacy)
            yield replace(run, contribution=replace(run.contribution, clip_norm=_float(clip)), seed=seed)
        for baseline, seed in product(wanted, study.seeds):
            yield _baseline(baseline, replace(reference, seed=seed), facts_of)


def dataset_info(dataset: str, datasets: Mapping[str, Mapping[str, Any]]) -> facts.DatasetInfo:
    """Facts of a registered data set or of one of the user's own."""
    return facts.of_options(datasets[dataset]) if dataset in datasets else facts.of_class(dataset)


def _cell(axes: dict[str, Any], facts_of: FactsOf) -> Run:
    """The run of one point of all axes but those of the noise, which it does without."""
    clients = axes["clients"]
    if clients is None:
        clients = facts_of(axes["dataset"]).clients
    epochs, steps, unit, trust = axes.get("local_epochs"), axes.get("local_steps"), axes["unit"], axes["trust"]
    protects_sum = unit == "record" and trust != "local"
    if protects_sum:
        epochs, steps = None, 1
    algorithm, decay = axes["algorithm"], axes["client_learning_rate_decay"]
    return Run(
        data=Data(
            dataset=axes["dataset"],
            partition=axes["partition"],
            clients=clients,
            records=facts_of(axes["dataset"]).train if protects_sum else None,
        ),
        model=axes["model"],
        training=Training(
            algorithm=algorithm["name"],
            rounds=axes["rounds"],
            server_optimizer=axes["server_optimizer"],
            local_epochs=1 if epochs is None and steps is None else epochs,
            local_steps=steps,
            batch_size=axes["batch_size"],
            client_learning_rate=_float(axes["client_learning_rate"]),
            client_learning_rate_decay=None if decay == 1 else float(decay),
            proximal=algorithm.get("proximal"),
            algorithm_arguments={k: v for k, v in algorithm.items() if k not in ("name", "proximal")} or None,
            preprocessing=_unless_named(axes["preprocessing"], "none"),
            augmentation=_unless_named(axes["augmentation"], "none"),
            averaging=_unless_named(axes["averaging"], "none"),
            **_further(Training, axes),
        ),
        cohort=Cohort(
            sampling=axes["sampling"],
            sampling_rate=float(axes["sampling_rate"]),
            dropout=float(axes["dropout"]) or None,
            stragglers=float(axes["stragglers"]) or None,
            **_further(Cohort, axes),
        ),
        contribution=Contribution(
            unit=unit,
            trust=trust,
            clipping=_unless_named(axes["clipping"], "fixed"),
            weighting=_unless_named(axes["weighting"], "uniform"),
            **_further(Contribution, axes),
        ),
        privacy=None,
        evaluation=Evaluation(
            every=axes["evaluate_every"] or math.ceil(axes["rounds"] / EVALUATIONS),
            stop_at_accuracy=_float(axes["stop_at_accuracy"]),
        ),
        seed=0,
        task=_unless_named(axes["task"], USUAL_TASK),
    )


def _further(group: type[Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a group that need no rule of their own: the value, or None where it is the default, which renames no run."""
    language = schema()["study"]
    return {
        field.name: None if axes[field.name] == language[field.name].get("default") else axes[field.name]
        for field in fields(group)
        if field.name in axes and field.name not in NAMED
    }


def _participation(axes: Mapping[str, Any]) -> str | None:
    """Who is seen to take part, or None where that is the default: a run's name then does without it."""
    default = default_participation(axes["trust"], axes["sampling"], axes["unit"])
    return None if axes["participation"] == default else axes["participation"]


def _unless_named(spec: dict[str, Any], default: str) -> dict[str, Any] | None:
    """The spec, or None where it is the default: a run's name then does without it."""
    return None if spec["name"] == default else spec


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _without_privacy(cell: Run) -> Run:
    """The cell as it trains without noise: whom the noise would protect from whom makes no difference then."""
    unit = "client" if cell.setting.trains_records_locally else cell.contribution.unit
    spec = cell.training.preprocessing
    # It learns the same, exactly: the noise is no part of what such a run means.
    exact = spec and {k: v for k, v in spec.items() if k != "noise_multiplier"}
    return replace(
        cell,
        training=replace(cell.training, preprocessing=exact),
        contribution=replace(cell.contribution, unit=unit, trust="central", clipping=None),
    )


def _baseline(name: str, cell: Run, facts_of: FactsOf) -> Run:
    """A reference run for a cell.

    `centralised` is the federated program with one client that holds everything, and makes in each round as many
    steps as the cohort would together in expectation: the same work, and nothing lost to averaging.
    """
    if name == "non_private":
        return replace(cell, baseline=name)
    data, training, cohort = cell.data, cell.training, cell.cohort
    plain = {"name": "sgd", "learning_rate": 1.0}
    everybody = replace(
        cell,
        baseline=name,
        cohort=replace(cohort, dropout=None, stragglers=None),
        contribution=replace(cell.contribution, weighting=None),
    )
    if name == "alone":
        return replace(
            everybody,
            training=replace(
                training,
                algorithm="alone",
                averaging=None,
                client_learning_rate_decay=None,
                server_optimizer=plain,
                proximal=None,
                algorithm_arguments=None,
            ),
        )
    examples = facts_of(data.dataset).train or data.clients
    drawn = data.partition.get("shard_size", 0) * data.partition.get("shards_per_client", 0)
    held = drawn or examples / data.clients
    steps = training.local_steps or (training.local_epochs or 1) * math.ceil(held / (training.batch_size or held))
    return replace(
        everybody,
        data=replace(data, clients=1, partition={"name": "iid", "minimum": 1}),
        cohort=Cohort(sampling="poisson", sampling_rate=1.0),
        training=replace(
            training,
            algorithm="fedavg",
            proximal=None,
            algorithm_arguments=None,
            local_epochs=None,
            local_steps=max(1, round(cohort.sampling_rate * data.clients * steps)),
            batch_size=training.batch_size or max(1, round(held)),
            server_optimizer=plain,
        ),
    )
