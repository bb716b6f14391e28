"""Checks of the figures of the user's own that a study asks for."""

from __future__ import annotations

from fedpareto.components import figures, registry
from fedpareto.config.problems import Problems
from fedpareto.config.study import Study, study_key


def check_figures(study: Study, problems: Problems) -> None:
    """Adds every problem of `figures`: each has files of its own, whose name is letters alone."""
    taken = {figure.name for figure in figures.ordered()}
    for figure in study.figures:
        key = study_key(study, "figures")
        if figure in registry.names("figure"):
            problems.add(key, figure, "be a figure of your own: this one is drawn where it applies", "leave it out")
            continue
        name = figures.file_name(figure)
        if not (name.isascii() and name.isalpha()):
            problems.add(key, figure, f"have a NAME of letters alone, unlike {name}", 'e.g. NAME: ClassVar = "spread"')
        elif name in taken:
            problems.add(key, figure, f"have a NAME that no other figure of the study has, unlike {name}", "rename it")
        taken.add(name)
