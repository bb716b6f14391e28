"""The verbs of the command line. Imports are lazy, so that small jobs start at once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedpareto.cli import flags
from fedpareto.components import registry
from fedpareto.system import damage, jax_settings, paths
from fedpareto.system.files import write_text


def epsilon(arguments: argparse.Namespace) -> None:
    """Prints epsilon of a run that is not trained."""
    from fedpareto.cli import epsilon as questions

    questions.epsilon(arguments)


def calibrate(arguments: argparse.Namespace) -> None:
    """Prints the smallest noise multiplier that proves an epsilon."""
    from fedpareto.cli import epsilon as questions

    questions.calibrate(arguments)


def plan(arguments: argparse.Namespace) -> None:
    """Checks a configuration, and lists its studies."""
    from fedpareto.columns.declared import ITS_AUTHOR
    from fedpareto.config.load import load
    from fedpareto.sweep.components import own_proofs
    from fedpareto.sweep.run import describe
    from fedpareto.sweep.sweep import plan_sweep

    sweep = plan_sweep(load(arguments.configfile))
    if arguments.json:
        print(sweep.to_json())
        return
    if sweep.datasets:
        from fedpareto.data.own import summary, user

        for name, options in sweep.datasets.items():
            if "loader" in options:
                print(f"{name}: loaded by {describe(options['loader'])}")
            else:
                summary.show(name, user.describe(options).report)
    for study, runs in sweep.studies.items():
        print(f"{study}: {len(runs)} runs")
    proofs = {(own.kind, own.name) for run in sweep.runs.values() for own in own_proofs(run)}
    for kind, name in sorted(proofs):
        print(f"{kind} {name}: proved by {ITS_AUTHOR}")
    print(f"{len(sweep.runs)} runs in {len(sweep.bundles)} bundles (one compiled program each)")


def conform(arguments: argparse.Namespace) -> int:
    """Checks a component, and returns 1 where a check fails."""
    jax_settings.start()
    from fedpareto.cli import conform

    return conform.run(arguments)


def doctor(arguments: argparse.Namespace) -> int:
    """Prints versions and devices, and returns 1 where something is wrong."""
    from fedpareto.cli import doctor

    return doctor.run(arguments.json)


def components(arguments: argparse.Namespace) -> None:
    """Lists components."""
    from fedpareto.cli import components as listing

    kinds = [arguments.kind] if arguments.kind else list(registry.KINDS)
    listing.show(kinds, arguments.name, arguments.json)


def spec(arguments: argparse.Namespace) -> None:
    """Writes the runs of one bundle."""
    from fedpareto.cli.failures import named
    from fedpareto.sweep.sweep import Sweep

    bundle = named(arguments.bundle, _read(arguments.plan, Sweep.from_json).bundles, "bundle", arguments.plan)
    write_text(arguments.output, bundle.to_json())


def account(arguments: argparse.Namespace) -> None:
    """Proves epsilon by round for a bundle."""
    from fedpareto.cli.failures import StageError
    from fedpareto.sweep.account import account, to_json
    from fedpareto.sweep.run import Bundle

    bundle = _read(arguments.spec, Bundle.from_json)
    measured = None
    if bundle.needs_data_to_account:
        _start_devices()
        from fedpareto.data import arrays
        from fedpareto.federated.inputs.setup import measure

        if arguments.data is None:
            raise StageError("epsilon of these runs depends on the data: --data names the prepared file")
        measured = measure(bundle.runs, arrays.read(arguments.data))
    accounted = account(bundle, measured)
    for line in sorted({warning for run in accounted.values() for warning in run.final.warnings}):
        print(f"warning: {line}")
    write_text(arguments.output, to_json(accounted))


def data(arguments: argparse.Namespace) -> None:
    """Fetches and prepares a data set, or prints the summary of a file."""
    if arguments.check is not None:
        _check_data(arguments)
        return
    if arguments.output is None or arguments.report is None:
        from fedpareto.data import DataError

        raise DataError("--dataset needs --output and --report")
    from fedpareto.data.prepare import prepare

    prepare(arguments.dataset, arguments.output, arguments.report, arguments.options)


def _check_data(arguments: argparse.Namespace) -> None:
    """Prints the summary of a file, as the data job would read it."""
    from fedpareto.config.load import data_options
    from fedpareto.data import checked
    from fedpareto.data.own import summary, user

    options = data_options({"path": arguments.check} | flags.dataset_options(arguments))
    data, report = user.load_user_file(options)
    checked.check(arguments.check, data)
    summary.show(Path(arguments.check).name, report)


def _start_devices() -> None:
    """One device a core, or the GPUs; compilation is paid once a bundle, also over processes."""
    jax_settings.start()
    import jax

    jax.config.update("jax_compilation_cache_dir", str(Path(paths.COMPILATION_CACHE).absolute()))


def train(arguments: argparse.Namespace) -> None:
    """Trains a bundle."""
    _start_devices()
    from fedpareto.data import arrays
    from fedpareto.federated.store.results import write_bundle
    from fedpareto.federated.train import train_bundle
    from fedpareto.sweep.account import from_json
    from fedpareto.sweep.run import Bundle

    bundle = _read(arguments.spec, Bundle.from_json)
    accounted = _read(arguments.privacy, from_json)
    data = arrays.read(arguments.data)
    results = train_bundle(
        bundle,
        accounted,
        data,
        runs_folder=Path(paths.RUNS_FOLDER),
        checkpoints_folder=Path(paths.CHECKPOINTS_FOLDER),
        execution=arguments.execution,
    )
    write_bundle(arguments.output, bundle, accounted, results, data)


def attack(arguments: argparse.Namespace) -> None:
    """Attacks the runs of a bundle."""
    _start_devices()
    from fedpareto.attacks import stage
    from fedpareto.cli.failures import named
    from fedpareto.data import arrays
    from fedpareto.sweep.account import from_json
    from fedpareto.sweep.sweep import Sweep

    plan = _read(arguments.plan, Sweep.from_json)
    bundle = named(arguments.bundle, plan.bundles, "bundle", arguments.plan)
    frames = stage.attack_stored(
        bundle,
        plan.attacks_on(bundle),
        _read(arguments.privacy, from_json),
        arrays.read(arguments.data),
        runs_folder=Path(paths.RUNS_FOLDER),
        attacks_folder=Path(paths.ATTACKS_FOLDER),
        execution=plan.execution,
    )
    stage.write(arguments.output, frames)


def tables(arguments: argparse.Namespace) -> None:
    """Collects bundles into tables."""
    from fedpareto.analysis.tables.build import write_tables
    from fedpareto.sweep.sweep import Sweep

    _read(arguments.plan, Sweep.from_json)  # says in one line what is wrong with it
    write_tables(arguments.plan, Path(paths.BUNDLES_FOLDER), arguments.output)


def figures(arguments: argparse.Namespace) -> None:
    """Draws one figure."""
    from fedpareto.analysis.figures.draw import draw

    draw(arguments.figure, arguments.tables, arguments.study, arguments.output, arguments.title)


def compare(arguments: argparse.Namespace) -> int:
    """Compares a paper's numbers with ours, and returns 1 where one differs and `--check` asks."""
    from fedpareto.analysis import reproduce as reproduction_stage
    from fedpareto.config import papers

    paper = papers.read(arguments.paper)
    if paper.config is None:
        from fedpareto.privacy.accounting.published import recompute

        recomputed = [recompute(claim) for claim in paper.claims]
        reproduction_stage.compare_claims(paper.claims, recomputed, paper.title, arguments.output)
        return 0
    from fedpareto.sweep.sweep import plan_sweep

    plan = plan_sweep(paper.config)
    bundles = [Path(paths.BUNDLES_FOLDER, name) for name in plan.bundles]
    table = reproduction_stage.compare_numbers(
        paper.numbers, paper.curves, studies=plan.studies, bundles=bundles, title=paper.title, folder=arguments.output
    )
    for row in table.itertuples():
        published = "" if math.isnan(row.published) else f"published {row.published:g}, "
        print(f"{paper.name} {row.name}: {published}ours {row.ours:.4g}, {row.verdict}")
    return int(arguments.check and bool((table["verdict"] == "differs").any()))


def reproduce(arguments: argparse.Namespace) -> None:
    """Lists the published results that can be run again."""
    from fedpareto.cli import catalogue

    catalogue.show(arguments.json)


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Reads a file that an earlier stage wrote."""
    with damage.reading(path):
        return parse(path.read_text(encoding="utf-8"))
