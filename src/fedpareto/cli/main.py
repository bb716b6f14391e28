"""The command line: one verb a stage, plus `epsilon` and `calibrate` for a question without training.

Imports are lazy, so that `fedpareto --help` and the workflow's small jobs start at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedpareto import __version__
from fedpareto.cli import flags, verbs
from fedpareto.columns.declared import CALIBRATING, HEADLINE
from fedpareto.components import registry
from fedpareto.system import damage, jax_settings, paths


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
        message, status = "interrupted (run it again: what was finished is kept)", 130
    except failures.FlagError as error:
        message, status = str(error), 2
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except _user_errors() as error:
        message, status = str(error), 1
    except OSError as error:
        message, status = failures.of_the_system(error), 1
    except MemoryError as error:
        message, status = f"out of memory (use a machine with more of it; {failures.in_one_line(error)})", 1
    except UnicodeError as error:
        message, status = f"a file is no text in UTF-8 ({failures.in_one_line(error)})", 1
    except Exception as error:
        line = failures.of_own_code(error)
        if line is None:
            raise
        message, status = line, 1
    for line in message.split("\n"):
        print(f"fedpareto {arguments.command}: {line}", file=sys.stderr)
    return status


def _user_errors() -> tuple[type[Exception], ...]:
    from fedpareto.analysis.tables.tradeoff import TableError
    from fedpareto.cli import failures
    from fedpareto.columns.column import ColumnError
    from fedpareto.components.registry import ComponentError
    from fedpareto.data import DataError
    from fedpareto.privacy.plan import PrivacyPlanError

    return (
        *(ColumnError, DataError, PrivacyPlanError, TableError, failures.StageError),
        *(jax_settings.SettingsError, damage.DamagedFile, ComponentError),
    )


def _parser() -> argparse.ArgumentParser:
    parser = flags.Parser(
        prog="fedpareto",
        description="What each epsilon costs in accuracy, for federated learning. `snakemake sweep` runs the whole study.",
    )
    parser.add_argument("--version", action="version", version=f"fedpareto {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="VERB")

    epsilon = _verb(commands, "epsilon", verbs.epsilon, "epsilon of a run, without training it")
    epsilon.add_argument(
        "--noise-multiplier",
        type=flags.rule("noise_multiplier"),
        required=True,
        help="noise std / clip norm; 0 = no noise",
    )
    flags.question(epsilon)

    calibrate = _verb(commands, "calibrate", verbs.calibrate, "smallest noise multiplier that proves an epsilon")
    calibrate.add_argument("--epsilon", type=flags.rule("target_epsilon"), required=True, help="epsilon to prove")
    calibrating = [accountant.name for accountant in CALIBRATING]
    calibrate.add_argument("--accountant", choices=calibrating, default=HEADLINE, help="default: %(default)s")
    flags.question(calibrate)

    plan = _verb(commands, "plan", verbs.plan, "check a configuration and list its studies, runs and bundles")
    plan.add_argument(
        "--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")], help="later ones overlay"
    )
    plan.add_argument("--json", action="store_true", help="the whole plan as JSON")

    conform = _verb(commands, "conform", verbs.conform, "check a component of your own: noise, server, outputs or loss")
    flags.component(conform)

    doctor = _verb(commands, "doctor", verbs.doctor, "versions, devices, data folder, and what is wrong with them")
    doctor.add_argument("--json", action="store_true", help="as JSON")

    components = _verb(commands, "components", verbs.components, "models, attacks and all else that a study can name")
    components.add_argument("kind", nargs="?", choices=sorted(registry.KINDS), help="of one kind alone")
    components.add_argument("name", nargs="*", help="of these names alone, e.g. ./my_model.py:Net")
    components.add_argument("--json", action="store_true", help="as JSON")

    spec = _verb(commands, "spec", verbs.spec, "stage: write one bundle of the plan")
    spec.add_argument("--plan", type=Path, default=Path(paths.PLAN_FILE))
    spec.add_argument("--bundle", required=True)
    spec.add_argument("--output", type=Path, required=True)

    account = _verb(commands, "account", verbs.account, "stage: prove epsilon by round for a bundle")
    account.add_argument("--spec", type=Path, required=True)
    account.add_argument(
        "--data", type=Path, help="prepared data, where epsilon depends on sizes (trust other than central)"
    )
    account.add_argument("--output", type=Path, required=True)

    data = _verb(
        commands,
        "data",
        verbs.data,
        "stage: fetch and prepare a data set; or say what a file of your own holds (--check)",
    )
    what = data.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset")
    what.add_argument("--check", metavar="FILE", help="print what is read of it, and what is wrong, and write nothing")
    data.add_argument("--options", type=flags.mapping, default=None, help="a user's data set, as JSON")
    data.add_argument("--output", type=Path, help="arrays of --dataset")
    data.add_argument("--report", type=Path, help="report of --dataset")
    flags.dataset(data)

    train = _verb(commands, "train", verbs.train, "stage: train a bundle")
    train.add_argument("--spec", type=Path, required=True)
    train.add_argument("--privacy", type=Path, required=True)
    train.add_argument("--data", type=Path, required=True)
    train.add_argument("--output", type=Path, required=True, help="folder of the bundle")
    train.add_argument("--execution", type=flags.mapping, default=None, help="what the engine would choose, as JSON")

    attack = _verb(commands, "attack", verbs.attack, "stage: attack the runs of a bundle that are to be attacked")
    attack.add_argument("--plan", type=Path, default=Path(paths.PLAN_FILE))
    attack.add_argument("--bundle", required=True)
    attack.add_argument("--privacy", type=Path, required=True)
    attack.add_argument("--data", type=Path, required=True)
    attack.add_argument("--output", type=Path, required=True, help="folder of the bundle")

    tables = _verb(commands, "tables", verbs.tables, "stage: collect bundles into tables")
    tables.add_argument("--plan", type=Path, default=Path(paths.PLAN_FILE))
    tables.add_argument("--output", type=Path, required=True, help="folder of the tables")

    figures = _verb(commands, "figures", verbs.figures, "stage: draw one figure of one study")
    figures.add_argument("--tables", type=Path, required=True)
    figures.add_argument("--study", required=True, nargs="+", help="one, or those of a comparison")
    figures.add_argument("--figure", required=True)
    figures.add_argument("--title", help="headline; default: the studies' names")
    figures.add_argument("--output", type=Path, required=True, help="file name without ending")

    compare = _verb(commands, "compare", verbs.compare, "stage: set a paper's numbers beside ours")
    compare.add_argument("--paper", type=Path, required=True)
    compare.add_argument("--output", type=Path, required=True, help="folder of its table and figure")
    compare.add_argument("--check", action="store_true", help="fail if a number that was run differs")

    reproduce = _verb(
        commands, "reproduce", verbs.reproduce, "published results that can be re-run, and what that takes"
    )
    reproduce.add_argument("--list", action="store_true", required=True, help="`snakemake reproduce_<name>` runs one")
    reproduce.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _verb(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=function)
    return parser
