"""The command line: one verb a stage, plus `epsilon` and `calibrate` for a question without training.

Imports are lazy, so that `fedpareto --help` and the workflow's small jobs start at once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedpareto import __version__, paths


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns its exit status. Errors of the user are one line each on standard error."""
    arguments = _parser().parse_args(argv)
    from fedpareto import failures
    from fedpareto.config import ConfigError

    try:
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
    from fedpareto.analysis.tradeoff import TableError
    from fedpareto.data import DataError
    from fedpareto.failures import StageError
    from fedpareto.privacy.plan import PrivacyPlanError

    return (DataError, PrivacyPlanError, StageError, TableError)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fedpareto",
        description="What each epsilon costs in accuracy, for federated learning. `snakemake sweep` runs the whole study.",
    )
    parser.add_argument("--version", action="version", version=f"fedpareto {__version__}")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="VERB")

    epsilon = _verb(verbs, "epsilon", _epsilon, "epsilon of a run, without training it")
    epsilon.add_argument(
        "--noise-multiplier", type=_rule("noise_multiplier"), required=True, help="noise std / clip norm; 0 = no noise"
    )
    _mechanism(epsilon)

    calibrate = _verb(verbs, "calibrate", _calibrate, "smallest noise multiplier that proves an epsilon")
    calibrate.add_argument("--epsilon", type=_rule("target_epsilon"), required=True, help="epsilon to prove")
    calibrate.add_argument("--accountant", choices=("rdp", "pld"), default="rdp", help="default: %(default)s")
    _mechanism(calibrate)

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

    data = _verb(verbs, "data", _data, "stage: fetch and prepare a data set")
    data.add_argument("--dataset", required=True)
    data.add_argument("--options", type=_mapping, default=None, help="a user's data set, as JSON")
    data.add_argument("--output", type=Path, required=True)
    data.add_argument("--report", type=Path, required=True)

    train = _verb(verbs, "train", _train, "stage: train a bundle")
    train.add_argument("--spec", type=Path, required=True)
    train.add_argument("--privacy", type=Path, required=True)
    train.add_argument("--data", type=Path, required=True)
    train.add_argument("--output", type=Path, required=True, help="folder of the bundle")
    train.add_argument("--execution", type=_mapping, default=None, help="what the engine would choose, as JSON")

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


def _mechanism(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=_rule("rounds"), required=True, help="rounds")
    parser.add_argument("--delta", type=_rule("delta"), required=True, help="in (0, 1), below 1/clients")
    parser.add_argument("--sampling", choices=("poisson", "fixed_size"), default="poisson", help="default: %(default)s")
    parser.add_argument("--sampling-rate", type=_rule("sampling_rate"), help="of a client a round (poisson)")
    parser.add_argument("--population", type=_rule("clients"), help="number of clients (fixed_size)")
    parser.add_argument("--sample-size", type=_rule("clients"), help="clients a round (fixed_size)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _rule(key: str) -> Any:
    """The type of a flag that obeys the rule of a study's key in config.schema.yaml."""

    def number(text: str) -> float:
        from fedpareto import schema

        try:
            return schema.number(key, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return number


def _mapping(text: str) -> Any:
    """The type of a flag that is JSON."""
    from fedpareto.problems import show

    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{show(text)} must be JSON ({error})") from error
    if tree is not None and not isinstance(tree, dict):
        raise argparse.ArgumentTypeError(f"{show(text)} must be a mapping")
    return tree


def _epsilon(arguments: argparse.Namespace) -> None:
    from fedpareto import questions

    questions.epsilon(arguments)


def _calibrate(arguments: argparse.Namespace) -> None:
    from fedpareto import questions

    questions.calibrate(arguments)


def _plan(arguments: argparse.Namespace) -> None:
    from fedpareto.config import load
    from fedpareto.plan import make_plan

    plan = make_plan(load(arguments.configfile))
    if arguments.json:
        print(plan.to_json())
        return
    for study, runs in plan.studies.items():
        print(f"{study}: {len(runs)} runs")
    print(f"{len(plan.runs)} runs in {len(plan.bundles)} bundles (one compiled program each)")


def _doctor(arguments: argparse.Namespace) -> int:
    from fedpareto import doctor

    return doctor.run(arguments.json)


def _spec(arguments: argparse.Namespace) -> None:
    from fedpareto.failures import named, read
    from fedpareto.plan import Plan

    bundle = named(arguments.bundle, read(arguments.plan, Plan.from_json).bundles, "bundle", arguments.plan)
    _write(arguments.output, bundle.to_json())


def _account(arguments: argparse.Namespace) -> None:
    from fedpareto.failures import StageError, opened, read
    from fedpareto.privacy.account import account, to_json
    from fedpareto.run import Bundle

    bundle = read(arguments.spec, Bundle.from_json)
    measured = None
    if any(run.needs_data_to_account for run in bundle.runs):
        from fedpareto.data import arrays
        from fedpareto.federated.setup import measure

        if arguments.data is None:
            raise StageError("epsilon of these runs depends on the data: --data names the prepared file")
        measured = measure(bundle.runs, opened(arguments.data, arrays.read))
    accounted = account(bundle, measured)
    for line in sorted({warning for run in accounted.values() for warning in run.final.warnings}):
        print(f"warning: {line}")
    _write(arguments.output, to_json(accounted))


def _data(arguments: argparse.Namespace) -> None:
    from fedpareto.data.prepare import prepare

    prepare(arguments.dataset, arguments.output, arguments.report, arguments.options)


def _start_devices() -> None:
    """One device a core, or the GPUs; compilation is paid once a bundle, also over processes."""
    import jax

    from fedpareto.federated.devices import use_all_cores

    use_all_cores()
    jax.config.update("jax_compilation_cache_dir", str(Path(paths.COMPILATION_CACHE).absolute()))


def _train(arguments: argparse.Namespace) -> None:
    _start_devices()
    from fedpareto.data import arrays
    from fedpareto.failures import opened, read
    from fedpareto.federated.results import write_bundle
    from fedpareto.federated.train import train_bundle
    from fedpareto.privacy.account import from_json
    from fedpareto.run import Bundle

    bundle = read(arguments.spec, Bundle.from_json)
    accounted = read(arguments.privacy, from_json)
    data = opened(arguments.data, arrays.read)
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
    from fedpareto.data import arrays
    from fedpareto.failures import named, opened, read
    from fedpareto.plan import Plan
    from fedpareto.privacy.account import from_json

    plan = read(arguments.plan, Plan.from_json)
    bundle = named(arguments.bundle, plan.bundles, "bundle", arguments.plan)
    frames = stage.attack_stored(
        bundle,
        plan.attacks_on(bundle),
        read(arguments.privacy, from_json),
        opened(arguments.data, arrays.read),
        runs_folder=Path(paths.RUNS_FOLDER),
        attacks_folder=Path(paths.ATTACKS_FOLDER),
        execution=plan.execution,
    )
    stage.write(arguments.output, frames)


def _tables(arguments: argparse.Namespace) -> None:
    from fedpareto.analysis.tables import write_tables
    from fedpareto.failures import read
    from fedpareto.plan import Plan

    read(arguments.plan, Plan.from_json)  # says in one line what is wrong with it
    write_tables(arguments.plan, Path(paths.RESULTS, "bundles"), arguments.output)


def _figures(arguments: argparse.Namespace) -> None:
    from fedpareto.analysis.figures import draw

    draw(arguments.figure, arguments.tables, arguments.study, arguments.output, arguments.title)


def _compare(arguments: argparse.Namespace) -> int:
    from fedpareto import papers
    from fedpareto.analysis import reproduction_stage

    paper = papers.read(arguments.paper)
    if paper.config is None:
        from fedpareto.privacy.published import recompute

        recomputed = [recompute(claim) for claim in paper.claims]
        reproduction_stage.compare_claims(paper.claims, recomputed, paper.title, arguments.output)
        return 0
    from fedpareto.plan import make_plan

    plan = make_plan(paper.config)
    bundles = [Path(paths.RESULTS, "bundles", name) for name in plan.bundles]
    table = reproduction_stage.compare_numbers(
        paper.numbers, paper.curves, plan.studies, bundles, paper.title, arguments.output
    )
    for row in table.itertuples():
        published = "" if math.isnan(row.published) else f"published {row.published:g}, "
        print(f"{paper.name} {row.name}: {published}ours {row.ours:.4g}, {row.verdict}")
    return int(arguments.check and bool((table["verdict"] == "differs").any()))


def _reproduce(arguments: argparse.Namespace) -> None:
    import os

    from fedpareto import papers
    from fedpareto.plan import make_plan

    rows = []
    for name, paper in papers.read_folder().items():
        runs = len(make_plan(paper.config).runs) if paper.config else 0
        # Training takes all cores there are; that is how far the estimate goes.
        minutes = None if paper.minutes is None else paper.minutes * MEASURED_CORES / max(1, os.cpu_count() or 1)
        entry = {"name": name, "title": paper.title, "runs": runs, "numbers": len(paper.numbers) + len(paper.claims)}
        rows.append(entry | {"device": paper.device, "minutes": minutes, "needs_data": paper.needs_data})
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{'name':<20} {'runs':>5} {'numbers':>8} {'here, about':>12}  title")
    for row in rows:
        cost = (
            "needs a GPU" if row["device"] == "gpu" else "?" if row["minutes"] is None else f"{row['minutes']:.3g} min"
        )
        needs = f" (needs data: {row['needs_data']})" if row["needs_data"] else ""
        print(f"{row['name']:<20} {row['runs']:>5} {row['numbers']:>8} {cost:>12}  {row['title']}{needs}")


# The cores of the machine on which the minutes of config/papers were measured.
MEASURED_CORES = 2


def _write(path: Path, text: str) -> None:
    """Writes a file in one step, so that no reader ever sees half of it."""
    import os

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
