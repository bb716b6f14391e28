"""The flags of the command line: their values, and the line that refuses others."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fedpareto.data.own import words
from fedpareto.privacy.setting import VALUES

NUMBERS = ("test_fraction", "most_levels", "largest_gb")
ONE = ("label", "client", "split", "separator", "decimal", "client_case", *NUMBERS)
CHECKED = ("mechanism", "algorithm", "model", "task")  # kinds of components that `conform` checks
SEVERAL = ("drop", "categories", "missing")
# Keys of a study that are a name or a mapping -> an example.
SPECS = {
    "mechanism": "{name: skellam, bits: 18}",
    "clipping": "{name: adaptive, count_noise: 10}",
    "algorithm": "scaffold",
    "weighting": "{name: examples, cap: 100}",
    "preprocessing": "{name: pca, dimensions: 60, noise_multiplier: 16}",
}


class Parser(argparse.ArgumentParser):
    """Prints the error in one line, without the usage before it."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def question(parser: argparse.ArgumentParser) -> None:
    """The flags that describe a run without a study: keys of a study, and the sizes that its data would tell."""
    for name in ("unit", "trust", "sampling", "participation"):
        values = [value for value in VALUES[name] if value]
        usual = "by trust and sampling" if name == "participation" else values[0]
        parser.add_argument(f"--{name}", choices=values, help=f"as in a study; default: {usual}")
    for name, example in SPECS.items():
        parser.add_argument(f"--{name}", type=spec, metavar="NAME", help=f"a name or a mapping, e.g. '{example}'")
    parser.add_argument("--rounds", "--steps", type=rule("rounds"), required=True, help="rounds")
    parser.add_argument("--sampling-rate", type=rule("sampling_rate"), help="of a unit a round; default: 1")
    parser.add_argument("--sample-size", type=rule("clients"), help="units a round, instead of --sampling-rate")
    parser.add_argument(
        "--population", type=rule("clients"), help="units that are drawn from: clients; records where they are summed"
    )
    parser.add_argument("--clients", type=rule("clients"), help="where --population counts records (trust distributed)")
    parser.add_argument("--parameters", type=rule("clients"), help="numbers in the model (trust distributed)")
    parser.add_argument(
        "--records", type=counts, metavar="N[,N...]", help="of each client, or one number for all (record, local)"
    )
    parser.add_argument("--local-steps", type=rule("local_steps"), help="of a client a round (record, local)")
    parser.add_argument(
        "--batch-size", type=rule("batch_size"), help="records a step is expected to use (record, local)"
    )
    parser.add_argument("--delta", type=rule("delta"), help="in (0, 1), below 1/units; default: one is suggested")
    parser.add_argument("--explain", action="store_true", help="whom it protects from whom, and what it rests on")
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


def spec(text: str) -> Any:
    """The type of a flag that is a name, or a mapping in YAML, as the key of a study is."""
    from fedpareto.config.problems import ConfigError
    from fedpareto.config.yaml_files import parse_value

    try:
        value = parse_value(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if value is None:  # to the parser it is a flag that was not given
        raise argparse.ArgumentTypeError("null must be a name or a mapping (leave the flag out for its default)")
    return value


def counts(text: str) -> tuple[int, ...]:
    """The type of a flag that is one whole number above 0, or several with commas between them."""
    return tuple(int(rule("clients")(part)) for part in text.split(","))


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
