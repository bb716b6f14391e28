"""Small runs to attack, made as the stages make them."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fedpareto.attacks.target import Target
from fedpareto.config.load import checked
from fedpareto.data import arrays
from fedpareto.data.prepare import prepare
from fedpareto.federated.inputs.setup import measure
from fedpareto.sweep.account import account
from fedpareto.sweep.sweep import plan_sweep

SMALL = {
    "dataset": "breast_cancer",
    "clients": 6,
    "sampling_rate": 1.0,
    "rounds": 4,
    "model": "logistic",
    "local_epochs": 1,
    "batch_size": 8,
    "client_learning_rate": 0.1,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "delta": 1e-3,
    "seeds": 1,
    "baselines": [],
}
OF_RECORDS = {
    "unit": "record",
    "sampling_rate": 0.5,
    "local_epochs": None,
    "batch_size": None,
    "client_learning_rate": None,
}


@cache
def prepared(dataset):
    folder = Path(mkdtemp())
    prepare(dataset, folder / "data.npz", folder / "data.json")
    return arrays.read(folder / "data.npz")


def target(baseline=None, **changes):
    """The runs of a study, `SMALL` but for `changes`, that are no baseline or the one that is asked for.

    A change to None leaves a key out; `null` is what the configuration means by it.
    """
    study = {key: value for key, value in (SMALL | changes).items() if value is not None}
    study = {key: None if value == "null" else value for key, value in study.items()}
    bundles = plan_sweep(checked({"studies": {"s": study}}, [("s", {})])).bundles.values()
    (bundle,) = [bundle for bundle in bundles if any(run.baseline == baseline for run in bundle.runs)]
    data = prepared(study["dataset"])
    measured = measure(bundle.runs, data) if bundle.needs_data_to_account else None
    return Target(tuple(run for run in bundle.runs if run.baseline == baseline), account(bundle, measured), data, {})
