"""The form of a figure: a class without arguments that draws one study, or one comparison of several, from the tables."""

from __future__ import annotations

from typing import ClassVar, Protocol

from matplotlib.figure import Figure as MatplotlibFigure

from fedpareto.analysis.tables.build import Tables


class Figure(Protocol):
    """A figure, built in or a user's own; `components.figures` has the literals that say where it applies.

    Attributes:
      NAME: Its name, letters alone: that of its files.
      CATEGORY: Heading in the report.
      CAPTION: Text in the report.
    """

    NAME: ClassVar[str]
    CATEGORY: ClassVar[str]
    CAPTION: ClassVar[str]

    def build(self, tables: Tables, title: str) -> MatplotlibFigure:
        """The figure of the studies that are in the tables; `style.nothing_to_draw` where they have nothing that it shows."""
        ...
