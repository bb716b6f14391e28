"""A checked configuration: studies, comparisons, data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Any
BASELINES = ("non_private", "centralised", "alone")


@dataclass(frozen=True)
class Study:
    """One study, resolved: every axis a tuple of values, specs as mappings with all their arguments.

    Attributes:
      name: Its key in the configuration.
      axes: Key -> values. Keys that the configuration leaves out are not there, unless they have a default.
      seeds: The seeds of every point.
      baselines: Reference runs besides the grid.
      title: Headline of its figures.
      max_runs: Largest grid that is not taken for a mistake.
      attacks: Attacks on its runs: `name` and all arguments.
      attacked: Key of the study -> values, the points whose runs are attacked.
      policy: Limits that a recommended point keeps, all keys of it; None for no recommendation.
      figures: Figures of the user's own that are drawn of it, beside those that apply anyway.
      well_formed: False where a key of its own is wrong: nothing is checked across its keys then.
    """

    name: str
    axes: Mapping[str, tuple[Json, ...]]
    seeds: Sequence[int]
    baselines: tuple[str, ...]
    title: str
    max_runs: int
    attacks: tuple[Mapping[str, Json], ...] = ()
    attacked: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    policy: Mapping[str, Json] | None = None
    figures: tuple[str, ...] = ()
    well_formed: bool = True


@dataclass(frozen=True)
class Comparison:
    """Studies whose curves share one figure; a policy may recommend one point out of them."""

    title: str
    studies: tuple[str, ...]
    policy: Mapping[str, Json] | None = None


@dataclass(frozen=True)
class Config:
    """A checked configuration.

    Attributes:
      studies: The studies that are asked for.
      datasets: The user's own data sets by name, empty where one has a fault.
      execution: The user's settings of the layout of training on the machine.
      comparisons: Name -> headline and studies that one figure sets side by side.
    """

    studies: tuple[Study, ...]
    datasets: Mapping[str, Mapping[str, Json]]
    execution: Mapping[str, int | str]
    comparisons: Mapping[str, Comparison]


def study_key(study: Study, name: str, index: int | None = None) -> list[str | int]:
    """The place of a key of a study, or of one entry of its list; an axis of one value has none to tell apart."""
    single = len(study.axes.get(name, ())) == 1
    return ["studies", study.name, name] + ([] if index is None or single else [index])
