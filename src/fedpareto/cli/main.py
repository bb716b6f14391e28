"""The command line: one verb a stage, plus `epsilon` and `calibrate` for a question without training.

Imports are lazy, so that `fedpareto --help` and the workflow's small jobs start at once.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedpareto import __version__
from fedpareto.cli import flags
from fedpareto.columns.declared import CALIBRATING
from fedpareto.system import damage, jax_settings, paths
from fedpareto.system.files import whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns its exit status. Errors of the user are one line each on standard error."""
    arguments = _parser().parse_args(argv)
    from fedpareto.cli import failures
    from fedpareto.config.load import ConfigError

    try:
        jax_settings.settle()
        return int(arguments.verb(arguments) or 0)
    except BrokenPipeError:  # `fedpareto ... | head`
        return 0
    except KeyboardInterrupt:
        said, status = "interrupted (run it again: what was finished is kept)", 130
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except _user_errors() as error:
        said, status = str(error), 1
    except OSError as error:
        said, status = failures.of_the_system(error), 1
    except MemoryError as error:
        said, status = f"out of memory (use a machine with more of it; {failures.in_one_line(error)})", 1
    except UnicodeError as error:
        said, status = f"a file is no text in UTF-8 ({failures.in_one_line(error)})", 1
    print(f"fedpareto {arguments.command}: {said}", file=sys.stderr)
    return status


def _user_errors() -> tuple[type[Exception], ...]:
    from fedpareto.analysis.tables.tradeoff import TableError
    from fedpareto.cli import failures
    from fedpareto.columns.column import ColumnError
    from fedpareto.data import DataError
    from fedpareto.privacy.plan import PrivacyPlanError

    return (
        *(ColumnError, DataError, PrivacyPlanError, TableError, failures.StageError),
        *(jax_settings.SettingsError, damage.DamagedFile),
    )


def _parser() -> argparse.ArgumentParser:
    parser = flags.Parser(
        prog="fedpareto",
        description="What each epsilon costs in accuracy, for federated learning. `snakemake sweep` runs the whole study.",
    )
    parser.add_argument("--version", action="version", version=f"fedpareto {__version__}")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="VERB")

    epsilon = _verb(verbs, "epsilon", _epsilon, "epsilon of a run, without training it")
    epsilon.add_argument(
        "--noise-multiplier",
        type=flags.rule("noise_multiplier"),
        required=True,
        help="noise std / clip norm; 0 = no noise",
    )
    flags.mechanism(epsilon)

    calibrate = _verb(verbs, "calibrate", _calibrate, "smallest noise multiplier that proves an epsilon")
    calibrate.add_argument("--epsilon", type=flags.rule("target_epsilon"), required=True, help="epsilon to prove")
    calibrating = [accountant.name for accountant in CALIBRATING]
    calibrate.add_argument("--accountant", choices=calibrating, default=calibrating[0], help="default: %(default)s")
    flags.mechanism(calibrate)

    plan = _verb(verbs, "plan", _plan, "check a configuration and list its studies, runs and bundles")
    plan.add_argument(
        "--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")], help="later ones overlay"
    )
    plan.add_argument("--json", action="store_true", help="the whole plan as JSON")

    doctor = _verb(verbs, "doctor", _doctor, "versions, devices, data folder, and what is wrong with them")
    doctor.add_argument("--json", action="store_true", help="as JSON")

    spec = _verb(verbs, "spec", _spec, "stage: write one bundle of the plan")
    spec.add_argument("--plan", type=Path, default=Path(paths.PLAN_FILE))
    spec.add_argument("--bundle", required=True)
    spec.add_argument("--output", type=Path, required=True)

    account = _verb(verbs, "account", _account, "stage: prove epsilon by round for a bundle")
    account.add_argument("--spec", type=Path, required=True)
    account.add_argument(
        "--data", type=Path, help="prepared data, where epsilon depends on sizes (trust other than central)"
    )
    account.add_argument("--output", type=Path, required=True)

    data = _verb(
        verbs, "data", _data, "stage: fetch and prepare a data set; or say what a file of your own holds (--check)"
    )
    what = data.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset")
    what.add_argument("--check", metavar="FILE", help="print what is read of it, and what is wrong, and write nothing")
    data.add_argument("--options", type=flags.mapping, default=None, help="a user's data set, as JSON")
    data.add_argument("--output", type=Path, help="arrays of --dataset")
    data.add_argument("--report", type=Path, help="report of --dataset")
    flags.dataset(data)

    train = _verb(verbs, "train", _train, "stage: train a bundle")
    train.add_argument("--spec", type=Path, required=True)
    train.add_argument("--privacy", type=Path, required=True)
    train.add_argument("--data", type=Path, required=True)
    train.add_argument("--output", type=Path, required=True, help="folder of the bundle")
    train.add_argument("--execution", type=flags.mapping, default=None, help="what the engine would choose, as JSON")

    attack = _verb(verbs, "attack", _attack, "stage: attack the runs of a bundle that are to be attacked")
    attack.add_argument("--plan", type=Path, default=Path(paths.PLAN_FILE))
    attack.add_argument("--bundle", required=True)
    attack.add_argument("--privacy", type=Path, required=True)
    attack.add_argument("--data", type=Path, required=True)
    attack.add_argument("--output", type=Path, required=True, help="folder of the bundle")

    tables = _verb(verbs, "tables", _tables, "stage: collect bundles into tables")
    tables.add_argument("--plan", type=Path, default=Path(paths.PLAN_FILE))
    tables.add_argument("--output", type=Path, required=True, help="folder of the tables")

    figures = _verb(verbs, "figures", _figures, "stage: draw one figure of one study")
    figures.add_argument("--tables", type=Path, required=True)
    figures.add_argument("--study", required=True, nargs="+", help="one, or those of a comparison")
    figures.add_argument("--figure", required=True)
    figures.add_argument("--title", help="headline; default: the studies' names")
    figures.add_argument("--output", type=Path, required=True, help="file name without ending")

    compare = _verb(verbs, "compare", _compare, "stage: set a paper's numbers beside ours")
    compare.add_argument("--paper", type=Path, required=True)
    compare.add_argument("--output", type=Path, required=True, help="folder of its table and figure")
    compare.add_argument("--check", action="store_true", help="fail if a number that was run differs")

    reproduce = _verb(verbs, "reproduce", _reproduce, "published results that can be re-run, and what that takes")
    reproduce.add_argument("--list", action="store_true", required=True, help="`snakemake reproduce_<name>` runs one")
    reproduce.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _verb(verbs: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=function)
    return parser


def _epsilon(arguments: argparse.Namespace) -> None:
    from fedpareto.cli import epsilon as questions

    questions.epsilon(arguments)


def _calibrate(arguments: argparse.Namespace) -> None:
    from fedpareto.cli import epsilon as questions

    questions.calibrate(arguments)


def _plan(arguments: argparse.Namespace) -> None:
    from fedpareto.config.load import load
    from fedpareto.sweep.sweep import plan_sweep

    plan = plan_sweep(load(arguments.configfile))
    if arguments.json:
        print(plan.to_json())
        return
    if plan.datasets:
        from fedpareto.data.own import summary, user

        for name, options in plan.datasets.items():
            summary.show(name, user.describe(options).report)
    for study, runs in plan.studies.items():
        print(f"{study}: {len(runs)} runs")
    print(f"{len(plan.runs)} runs in {len(plan.bundles)} bundles (one compiled program each)")


def _doctor(arguments: argparse.Namespace) -> int:
    from fedpareto.cli import doctor

    return doctor.run(arguments.json)


def _spec(arguments: argparse.Namespace) -> None:
    from fedpareto.cli.failures import named
    from fedpareto.sweep.sweep import Sweep

    bundle = named(arguments.bundle, _read(arguments.plan, Sweep.from_json).bundles, "bundle", arguments.plan)
    _write(arguments.output, bundle.to_json())


def _account(arguments: argparse.Namespace) -> None:
    from fedpareto.cli.failures import StageError
    from fedpareto.sweep.account import account, to_json
    from fedpareto.sweep.run import Bundle

    bundle = _read(arguments.spec, Bundle.from_json)
    measured = None
    if any(run.needs_data_to_account for run in bundle.runs):
        _start_devices()
        from fedpareto.data import arrays
        from fedpareto.federated.inputs.setup import measure

        if arguments.data is None:
            raise StageError("epsilon of these runs depends on the data: --data names the prepared file")
        measured = measure(bundle.runs, arrays.read(arguments.data))
    accounted = account(bundle, measured)
    for line in sorted({warning for run in accounted.values() for warning in run.final.warnings}):
        print(f"warning: {line}")
    _write(arguments.output, to_json(accounted))


def _data(arguments: argparse.Namespace) -> None:
    if arguments.check is not None:
        _check_data(arguments)
        return
    if arguments.output is None or arguments.report is None:
        from fedpareto.data import DataError

        raise DataError("--dataset needs --output and --report")
    from fedpareto.data.prepare import prepare

    prepare(arguments.dataset, arguments.output, arguments.report, arguments.options)


def _check_data(arguments: argparse.Namespace) -> None:
    """Prints what is read of a file, as the data job would read it."""
    from fedpareto.config.load import data_options
    from fedpareto.data.own import checked, summary, user

    options = data_options({"path": arguments.check} | flags.dataset_options(arguments))
    data, report = user.load_user_file(options)
    checked.check(arguments.check, data)
    summary.show(Path(arguments.check).name, report)


def _start_devices() -> None:
    """One device a core, or the GPUs; compilation is paid once a bundle, also over processes."""
    jax_settings.start()
    import jax

    jax.config.update("jax_compilation_cache_dir", str(Path(paths.COMPILATION_CACHE).absolute()))


def _train(arguments: argparse.Namespace) -> None:
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


def _attack(arguments: argparse.Namespace) -> None:
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


def _tables(arguments: argparse.Namespace) -> None:
    from fedpareto.analysis.tables.build import write_tables
    from fedpareto.sweep.sweep import Sweep

    _read(arguments.plan, Sweep.from_json)  # says in one line what is wrong with it
    write_tables(arguments.plan, Path(paths.BUNDLES_FOLDER), arguments.output)


def _figures(arguments: argparse.Namespace) -> None:
    from fedpareto.analysis.figures.draw import draw

    draw(arguments.figure, arguments.tables, arguments.study, arguments.output, arguments.title)


def _compare(arguments: argparse.Namespace) -> int:
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
        paper.numbers, paper.curves, plan.studies, bundles, paper.title, arguments.output
    )
    for row in table.itertuples():
        published = "" if math.isnan(row.published) else f"published {row.published:g}, "
        print(f"{paper.name} {row.name}: {published}ours {row.ours:.4g}, {row.verdict}")
    return int(arguments.check and bool((table["verdict"] == "differs").any()))


def _reproduce(arguments: argparse.Namespace) -> None:
    from fedpareto.cli import catalogue

    catalogue.show(arguments.json)


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Reads a file that an earlier stage wrote."""
    with damage.reading(path):
        return parse(path.read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
