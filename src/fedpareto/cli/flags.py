"""The flags of the command line: their values, and the line that refuses others."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fedpareto.data.own import words

NUMBERS = ("test_fraction", "most_levels", "largest_gb")
ONE = ("label", "client", "split", "separator", "decimal", "client_case", *NUMBERS)
CHECKED = ("mechanism", "algorithm", "model", "task")  # kinds of components that `conform` checks
SEVERAL = ("drop", "categories", "missing")


class Parser(argparse.ArgumentParser):
    """Prints the error in one line, without the usage before it."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def mechanism(parser: argparse.ArgumentParser) -> None:
    """The flags that describe a mechanism without a study."""
    parser.add_argument("--steps", type=rule("rounds"), required=True, help="rounds")
    parser.add_argument("--delta", type=rule("delta"), required=True, help="in (0, 1), below 1/clients")
    parser.add_argument("--sampling", choices=("poisson", "fixed_size"), default="poisson", help="default: %(default)s")
    parser.add_argument("--sampling-rate", type=rule("sampling_rate"), help="of a client a round (poisson)")
    parser.add_argument("--population", type=rule("clients"), help="number of clients (fixed_size)")
    parser.add_argument("--sample-size", type=rule("clients"), help="clients a round (fixed_size)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def component(parser: argparse.ArgumentParser) -> None:
    """The flags that name a component, and the run in which it is checked."""
    parser.add_argument("name", metavar="COMPONENT", help="./my_file.py:Mine, or a name")
    parser.add_argument("--kind", choices=CHECKED, help="default: by its base class")
    parser.add_argument("--arguments", type=mapping, default=None, help="as JSON")
    parser.add_argument("--shape", type=shape, help="of a model's examples, e.g. 28x28x1")
    parser.add_argument("--unit", choices=("client", "record"), help="default: the first that it says to be sound for")
    numbers = {"noise_multiplier": 1.0, "sampling_rate": 0.5, "clip_norm": 0.5, "delta": 1e-5}
    for name, value in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=rule(name), default=value, help="default: %(default)s")
    parser.add_argument("--steps", type=rule("rounds"), default=4, help="rounds; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="as JSON")


def shape(text: str) -> tuple[int, ...]:
    """The type of a flag that is a shape: `28x28x1`, or `10`."""
    sides = text.split("x")
    if not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text} must be numbers above 0 with x between them, e.g. 28x28x1")
    return tuple(map(int, sides))


def rule(key: str) -> Any:
    """The type of a flag that obeys the rule of a study's key in config.schema.yaml."""

    def number(text: str) -> float:
        from fedpareto.config import schema

        try:
            return schema.number(key, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return number


def mapping(text: str) -> Any:
    """The type of a flag that is JSON."""
    from fedpareto.config.problems import show

    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{show(text)} must be JSON ({error})") from error
    if tree is not None and not isinstance(tree, dict):
        raise argparse.ArgumentTypeError(f"{show(text)} must be a mapping")
    return tree


def dataset(parser: argparse.ArgumentParser) -> None:
    """The keys of a user's own data set, but its path."""
    for name in ONE:
        parser.add_argument(f"--{name.replace('_', '-')}", help="as in the configuration, with --check")
    for name in SEVERAL:
        parser.add_argument(f"--{name}", nargs="+", metavar="NAME", help="as in the configuration, with --check")


def dataset_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The values of the flags of `dataset`, numbers as numbers."""
    given = {key: getattr(arguments, key) for key in (*ONE, *SEVERAL)}
    numbers = {key: float(value) for key, value in given.items() if key in NUMBERS and value and words.is_number(value)}
    return {key: value for key, value in given.items() if value is not None} | numbers
