"""The Python front: in a notebook, what the stages of the workflow do.

    import fedpareto as fp

    sweep = fp.plan_sweep(fp.load_config("config/studies/smoke.yaml"))
    tables = fp.train(sweep)
    print(tables.tradeoff[["noise_multiplier", "accuracy_mean", "epsilon"]])
    fp.draw("pareto", tables, "smoke").savefig("front.png")

Runs are kept in a folder of their own, in the form of the workflow's `results/`: what is trained there is not trained again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpareto.columns.declared import HEADLINE
from fedpareto.config.load import checked, load
from fedpareto.config.study import Config
from fedpareto.sweep.run import Bundle
from fedpareto.sweep.sweep import Sweep
from fedpareto.system import damage, jax_settings
from fedpareto.system.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fedpareto.analysis.tables.build import Tables
    from fedpareto.data.arrays import PreparedData
    from fedpareto.privacy.accounting.guarantee import Guarantee
    from fedpareto.privacy.plan import PrivacyPlan
    from fedpareto.sweep.account import AccountedRun

FOLDER = "fedpareto-results"
Source = str | os.PathLike[str] | Mapping[str, Any]


def load_config(source: Source | Sequence[str | os.PathLike[str]], **overrides: Any) -> Config:
    """A checked configuration.

    >>> study = {"dataset": "digits", "model": {"name": "logistic"}, "rounds": 10, "clients": 5, "client_learning_rate": 0.5}
    >>> load_config({"studies": {"small": study}}).studies[0].axes["rounds"]
    (10,)

    Args:
      source: A YAML file, several of which later ones overlay, or the mapping that such a file would hold.
      overrides: Keys of the top level that replace those of the source, e.g. `only="smoke"`.

    Raises:
      ConfigError: All problems, one line each.
    """
    if isinstance(source, Mapping):
        tree = _plain({**source, **overrides})
        return checked(tree, [("configuration", tree)])
    files = [source] if isinstance(source, str | os.PathLike) else source
    return load([os.fspath(file) for file in files], overrides)


def _plain(value: Any) -> Any:
    """A value as YAML would have it: numbers of numpy, tuples and paths are Python's own numbers, lists and text."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(part) for part in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value


def epsilon(plan: PrivacyPlan) -> Guarantee:
    """Epsilon of a whole run under a plan: the headline, and by PLD, RDP and the classic conversion.

    Raises:
      PrivacyPlanError: The plan has no delta.
    """
    from fedpareto.privacy.accounting.epsilon import guarantee

    return guarantee(plan)


def calibrate(plan: PrivacyPlan, epsilon: float, accountant: str = HEADLINE) -> PrivacyPlan:
    """The plan with the smallest noise multiplier that proves an epsilon.

    Args:
      plan: All of the run but the noise, whose multiplier is where the search begins.
      epsilon: The largest epsilon that is wanted.
      accountant: `pld` or `rdp`; where `pld` has no proof, RDP decides.

    Raises:
      PrivacyPlanError: No noise proves it.
    """
    from fedpareto.privacy.accounting import calibration

    return calibration.calibrate(plan, epsilon, accountant)


def train(sweep: Sweep, folder: str | os.PathLike[str] = FOLDER) -> Tables:
    """Accounts for and trains the runs of a sweep that the folder lacks, and collects its tables.

    Raises:
      DataError: A data set cannot be had.
      PrivacyPlanError: An epsilon is out of reach.
    """
    place = Path(folder)
    for _ in _trained(sweep, place):
        pass
    return _tables(sweep, place)


def attack(sweep: Sweep, folder: str | os.PathLike[str] = FOLDER) -> Tables:
    """Trains a sweep, tries the attacks of its studies on the runs that they ask for, and collects its tables."""
    from fedpareto.attacks import stage

    place = Path(folder)
    for bundle, accounted, data in _trained(sweep, place):
        if asked := sweep.attacks_on(bundle):
            frames = stage.attack_stored(
                bundle,
                asked,
                accounted,
                data,
                runs_folder=place / "runs",
                attacks_folder=place / "attacks",
                execution=sweep.execution,
            )
            stage.write(place / "bundles" / bundle.bundle_id, frames)
    return _tables(sweep, place)


def draw(figure: str, tables: Tables, *studies: str, title: str | None = None) -> Figure:
    """A figure of one or more studies, as a matplotlib figure.

    Args:
      figure: Its name (`pareto`), or a file and a class of it (`./my_figure.py:Mine`).
      tables: The result of `train` or `attack`.
      studies: The studies to draw; all of the tables where none is named.
      title: Headline; by default the studies' names.

    Raises:
      TableError: The tables hold no such study, or there is no such figure.
    """
    from fedpareto.analysis.figures import draw as drawing
    from fedpareto.analysis.figures import style

    chosen = studies or tuple(tables.runs["study"].unique())
    style.apply()
    return drawing.build(figure, tables.of_studies(chosen), title or ", ".join(chosen))


def _trained(sweep: Sweep, place: Path) -> Iterator[tuple[Bundle, dict[str, AccountedRun], PreparedData]]:
    """Each bundle once it is trained, with its plans and guarantees and its data."""
    _start()
    from fedpareto.federated.inputs.setup import measure
    from fedpareto.federated.store.results import write_bundle
    from fedpareto.federated.train import train_bundle
    from fedpareto.sweep.account import account

    datasets = {name: _prepared(sweep, name, place) for name in {b.dataset for b in sweep.bundles.values()}}
    for bundle in sweep.bundles.values():
        data = datasets[bundle.dataset]
        accounted = account(bundle, measure(bundle.runs, data) if bundle.needs_data_to_account else None)
        results = train_bundle(
            bundle,
            accounted,
            data,
            runs_folder=place / "runs",
            checkpoints_folder=place / "checkpoints",
            execution=sweep.execution,
        )
        write_bundle(place / "bundles" / bundle.bundle_id, bundle, accounted, results, data)
        yield bundle, accounted, data


def _start() -> None:
    """JAX with one device a core, or as it runs already where the notebook has used it before."""
    jax_settings.settle()
    try:
        jax_settings.start()
    except jax_settings.SettingsError:
        import jax

        try:
            jax.devices()
        except RuntimeError:
            pass
        else:
            return
        raise


def _prepared(sweep: Sweep, dataset: str, place: Path) -> PreparedData:
    from fedpareto.data import arrays
    from fedpareto.data.prepare import prepare

    file = place / "data" / f"{dataset}.npz"
    own = sweep.datasets.get(dataset)
    if own is not None or not file.is_file() or not damage.is_whole(file):
        prepare(dataset, file, file.with_suffix(".json"), own)
    return arrays.read(file)


def _tables(sweep: Sweep, place: Path) -> Tables:
    from fedpareto.analysis.tables.build import write_tables

    write_text(place / "plan.json", sweep.to_json())
    return write_tables(place / "plan.json", place / "bundles", place / "tables")
