"""The interface of a task: the loss that is trained on, and the metrics by which a model is judged.

A task is one frozen dataclass in one file. It inherits from `Task`, names its metrics in literal class constants, which are read
without importing the file, and defines `outputs`, `loss` and `example_scores`; the rest has defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from fedpareto.columns.column import Metric
from fedpareto.columns.metrics import metrics_of, scores_of

CLASSES, NUMBERS = "classes", "numbers"
STRATA = 10  # of targets that are numbers, equally filled


class Task(ABC):
    """A task: a loss, scores and metrics.

    Outputs are what a model returns, float32 [batch, outputs]; targets are int32 [batch], class numbers, where `TARGETS` is
    `classes`, and float32 [batch] or [batch, ...] where it is `numbers`.

    Attributes:
      TARGETS: The kind of targets, `classes` or `numbers`.
      METRICS: Name -> fields of a `columns.column.Metric`: `label`, and perhaps `help`, `unit`, `better`, `limits`, `percent` and
        `by_round`, which is false for a metric that `final_metrics` computes. The first metric is the one that figures draw.
    """

    TARGETS: ClassVar[str]
    METRICS: ClassVar[Mapping[str, Mapping[str, Any]]]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics, the one that figures draw first."""
        return metrics_of(self.METRICS)

    @property
    def by_evaluation(self) -> tuple[Metric, ...]:
        """The metrics that are taken at every evaluation; the first one also client by client."""
        return tuple(metric for metric in self.metrics if metric.by_round)

    @property
    def final(self) -> tuple[Metric, ...]:
        """The metrics of the final model alone."""
        return tuple(metric for metric in self.metrics if not metric.by_round)

    @property
    def scores_of_runs(self) -> tuple[Metric, ...]:
        """All scores of a run, in the order of the tables."""
        return scores_of(self.metrics)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of all scores of an evaluation, in the order of the tables."""
        return tuple(metric.name for metric in self.scores_of_runs if metric.by_round)

    @abstractmethod
    def outputs(self, targets: np.ndarray, classes: int) -> int:
        """The number of a model's outputs.

        Args:
          targets: [n] or [n, ...], those of the training set.
          classes: Number of classes; 0 where targets are numbers.
        """

    @abstractmethod
    def loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of each example, float32 [batch].

        It depends on the example's own output and target alone: per-example clipping bounds a record's share for no other reason.
        """

    @abstractmethod
    def example_scores(self, outputs: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
        """Scores of each example, float32 [batch] by name, of which `scores` takes the means; the loss is added by the engine."""

    def scores(self, means: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The metrics of an evaluation from the means of `example_scores` and of the loss; by default the means themselves.

        A root mean squared error, say, is the root of a mean. The means are float32 scalars, or [clients] for every client's.
        """
        return dict(means)

    def predictions(self, outputs: jax.Array) -> jax.Array:
        """Compact predictions, [batch] or [batch, ...], from which every final metric is computed; by default the outputs."""
        return outputs

    def final_metrics(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The metrics of a final model on the test set, computed on the host; by default none.

        Args:
          predictions: [n] or [n, ...], `predictions` of all test examples.
          targets: Those of the test set.
        """
        del predictions, targets
        return {}

    def constant_scores(self, targets: np.ndarray) -> dict[str, float]:
        """The best value of metrics that a prediction can have which looks at no example.

        A run that is never better than these and than its first model has learned nothing. Metrics that are not named are
        compared with the first model alone; by default all of them.

        Args:
          targets: Those of the test set.
        """
        del targets
        return {}

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """The stratum of each example, int [n], by which partitions deal: classes, or tenths of the numbers by size.

        Args:
          targets: Those of the training and of the test set together.
        """
        if self.TARGETS == CLASSES:
            return targets
        values = targets.reshape(len(targets), -1)[:, 0]
        edges = np.quantile(values, np.linspace(0, 1, STRATA + 1)[1:-1])
        return np.searchsorted(edges, values, side="right").astype(np.int32)
