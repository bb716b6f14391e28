"""Published results as files: the configuration to run, the numbers in print, and their tolerances.

A paper is a configuration in the study language with four keys more: `paper` (title, citation, what is unknown), `numbers`
(published numbers that runs are compared with), `curves` (of which only the shape is) and `claims` (published epsilons, which
are computed anew without a run).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from fedpareto.config.load import checked
from fedpareto.config.problems import Problems, fault, nearest, valid
from fedpareto.config.schema import schema, single
from fedpareto.config.study import Config
from fedpareto.config.yaml_files import read_all

Json = Any
FOLDER = Path("config/papers")
VERDICTS = ("reproduced", "loose", "wrong", "what-if")


@dataclass(frozen=True)
class Number:
    """One published number.

    Attributes:
      name: Unique in its paper.
      table: Where it stands in print.
      what: Its subject, in a few words.
      metric: A score of the `runs` table, a share of 1; or `rounds_to_accuracy`.
      published: The number; None where nothing is in print, and ours stands alone.
      tolerance: How far ours may be from it: in the number's own unit, or as a share of it for `rounds_to_accuracy`.
      why: Why so far.
      at_least: Whether a better number is no difference.
      study: The study whose runs are compared.
      where: Columns of the `runs` table -> the values that pick the runs.
      minus: The study whose metric is taken from that of `study`, seed by seed; None for no difference.
      level: The accuracy to reach, for `rounds_to_accuracy`.
      epsilon: Epsilon in print beside the number, or None.
      accountant: The accountant behind it: `classic`, `rdp` or `pld`.
      verified: False where the number was never read in a public source: nothing is concluded from it.
    """

    name: str
    table: str
    what: str
    metric: str
    published: float | None
    tolerance: float | None
    why: str | None
    study: str
    where: Mapping[str, Json]
    minus: str | None = None
    at_least: bool = False
    level: float | None = None
    epsilon: float | None = None
    accountant: str | None = None
    verified: bool = True


@dataclass(frozen=True)
class Curve:
    """A published curve, compared by its shape alone: accuracy along one column of the `runs` table.

    Attributes:
      name: Unique in its paper.
      table: Where it stands in print.
      what: What it runs along, in a few words.
      study: The study whose runs make it.
      along: The column.
    """

    name: str
    table: str
    what: str
    study: str
    along: str


@dataclass(frozen=True)
class Claim:
    """One published epsilon and its inputs.

    Attributes:
      name: Unique in its paper.
      source: Paper and place.
      rate: Poisson sampling rate.
      noise: Noise multiplier.
      steps: Noisy steps of a record.
      delta: Delta.
      published: The epsilon in print, or None.
      accountant: Its accountant: `classic`, `rdp`, `pld` or words for something else.
      verdict: One of `VERDICTS`.
      why: The reason, where it is not `reproduced`.
      rounds: Rounds, where clients take the steps on their own records.
      also: Noise multipliers of further releases of all records.
      layers: Layers that are clipped one by one, each with this noise.
      recorded: What another program computed for it: by the classic conversion, RDP and PLD; None where it did not.
    """

    name: str
    source: str
    rate: float
    noise: float
    steps: int
    delta: float
    published: float | None
    accountant: str
    verdict: str
    why: str = ""
    rounds: int | None = None
    also: tuple[float, ...] = ()
    layers: int = 1
    recorded: tuple[float | None, ...] = (None, None, None)


@dataclass(frozen=True)
class Paper:
    """A paper as a file has it.

    Attributes:
      name: The file's name without its ending.
      title: Headline.
      citation: Authors, title, year, where.
      notes: How its protocol is run here, and where that differs from the original.
      unknown: Settings that the original does not give, and those used here instead.
      device: `cpu`, or `gpu` where a CPU would take days.
      minutes: Minutes for all of it on two CPU cores; None where nobody has measured them.
      needs_data: The file that not everybody can fetch, or None.
      numbers: Published numbers.
      curves: Curves in print.
      claims: Published epsilons.
      config: The configuration to run; None for none.
    """

    name: str
    title: str
    citation: str
    notes: tuple[str, ...]
    unknown: tuple[str, ...]
    device: str
    minutes: float | None
    needs_data: str | None
    numbers: tuple[Number, ...]
    curves: tuple[Curve, ...]
    claims: tuple[Claim, ...]
    config: Config | None


def read(file: Path | str) -> Paper:
    """Reads and checks the file of one paper.

    Raises:
      ConfigError: All problems, one line each.
    """
    file = Path(file)
    trees = read_all([str(file)])
    tree = trees[0][1]
    problems, known = Problems(trees), schema()
    about = _single(["paper"], tree.get("paper"), known["paper"], problems)
    config = checked(tree, trees) if "studies" in tree else None
    studies = [study.name for study in config.studies] if config else []
    numbers = [
        _number(["numbers", i], body, studies, problems) for i, body in enumerate(_list(tree, "numbers", problems))
    ]
    curves = [_curve(["curves", i], body, studies, problems) for i, body in enumerate(_list(tree, "curves", problems))]
    claims = [_claim(["claims", i], body, problems) for i, body in enumerate(_list(tree, "claims", problems))]
    for kind, entries in (("numbers", numbers), ("curves", curves), ("claims", claims)):
        names = [entry.name for entry in entries if entry]
        for i, name in enumerate(names):
            if name in names[:i]:
                problems.add([kind, i, "name"], name, "be unique in its paper")
    if not numbers and not claims:
        problems.add(["numbers"], None, "hold a published number", "or give claims")
    problems.raise_if_any()
    return Paper(
        name=file.stem,
        title=about["title"],
        citation=about["citation"],
        notes=tuple(about["notes"]),
        unknown=tuple(about["unknown"]),
        device=about["device"],
        minutes=about["minutes"],
        needs_data=about["needs_data"],
        numbers=tuple(filter(None, numbers)),
        curves=tuple(filter(None, curves)),
        claims=tuple(filter(None, claims)),
        config=config,
    )


def read_folder(folder: Path | str = FOLDER) -> dict[str, Paper]:
    """All papers of a folder by name."""
    return {file.stem: read(file) for file in sorted(Path(folder).glob("*.yaml"))}


def _number(key: Sequence[str | int], body: Json, studies: Sequence[str], problems: Problems) -> Number | None:
    values = _single(key, body, schema()["number"], problems)
    if not values:
        return None
    _check_study(key, values["study"], studies, problems)
    in_print = values["published"] is not None
    for name in ("tolerance", "why"):
        if (values[name] is not None) != in_print:
            problems.add([*key, name], values[name], "be set where published is a number, and nowhere else")
    for name in ("at_least", "epsilon"):
        if values[name] and not in_print:
            problems.add([*key, name], values[name], "not stand where nothing is in print", "published is null")
    if values["minus"] is not None:
        others = [study for study in studies if study != values["study"]]
        if values["minus"] not in others:
            problems.add(
                [*key, "minus"], values["minus"], "be another study of this file", nearest(values["minus"], others)
            )
        if values["metric"] == "rounds_to_accuracy":
            problems.add([*key, "minus"], values["minus"], "not stand with rounds_to_accuracy")
    if (values["metric"] == "rounds_to_accuracy") != (values["level"] is not None):
        problems.add([*key, "level"], values["level"], "be set for rounds_to_accuracy, and for nothing else")
    if (values["epsilon"] is None) != (values["accountant"] is None):
        problems.add([*key, "accountant"], values["accountant"], "be set where epsilon is, and nowhere else")
    return Number(**values)


def _curve(key: Sequence[str | int], body: Json, studies: Sequence[str], problems: Problems) -> Curve | None:
    values = _single(key, body, schema()["curve"], problems)
    if not values:
        return None
    _check_study(key, values["study"], studies, problems)
    return Curve(**values)


def _check_study(key: Sequence[str | int], study: str, studies: Sequence[str], problems: Problems) -> None:
    if study not in studies:
        problems.add([*key, "study"], study, "be a study of this file", nearest(study, studies))


def _claim(key: Sequence[str | int], body: Json, problems: Problems) -> Claim | None:
    known = schema()["claim"]
    values = _single(key, body, known, problems)
    if not values:
        return None
    try:
        rate = float(Fraction(str(values["rate"])))
    except (ValueError, ArithmeticError):
        problems.add([*key, "rate"], values["rate"], "be a number or a fraction", "e.g. 256/60000")
        return None
    must = fault(rate, schema()["study"]["sampling_rate"])
    if must is not None:
        problems.add([*key, "rate"], values["rate"], must)
        return None
    values["rate"] = rate
    already = len(problems.lines)
    for name, rule in (("also", known["noise"]), ("recorded", known["published"])):
        for i, value in enumerate(values[name]):
            if not (name == "recorded" and value is None):
                valid([*key, name, i], value, rule, problems)
    if len(problems.lines) > already:
        return None
    if values["verdict"] != "reproduced" and not values["why"]:
        problems.add([*key, "why"], None, f"say why the verdict is {values['verdict']}")
    return Claim(**values | {name: tuple(values[name]) for name in ("also", "recorded")})


def _single(key: Sequence[str | int], body: Json, table: Json, problems: Problems) -> dict[str, Json]:
    """The values of a mapping; empty where it is none or one of them is invalid."""
    if isinstance(body, dict):
        return single(key, body, table, problems)
    problems.add(key, body, "be a mapping", "with " + ", ".join(table))
    return {}


def _list(tree: Mapping[str, Json], key: str, problems: Problems) -> list[Json]:
    entries = tree.get(key, [])
    if isinstance(entries, list):
        return entries
    problems.add([key], entries, "be a list")
    return []
