"""What a task is: the loss that is trained on, and the metrics by which a model is judged.

A task is one frozen dataclass in one file. It inherits from `Task`, names its metrics in literal class constants, which are read
without importing the file, and defines `outputs`, `loss` and `example_scores`; the rest has defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import numpy as np

CLASSES, NUMBERS = "classes", "numbers"
STRATA = 10  # of targets that are numbers, equally filled
WORST, MEDIAN, MEAN = (f"{of}_client_{{}}" for of in ("worst", "median", "mean"))


@dataclass(frozen=True)
class Metric:
    """A score of a model on the test set.

    Attributes:
      name: Its column in the tables.
      label: Its name in figures.
      better: Whether the `higher` or the `lower` value is the better one.
      limits: The smallest and the largest possible value; None where there is none.
      percent: Whether figures show it in percent.
      every_evaluation: Whether it is the mean of a score of each example, taken at every evaluation (`Task.example_scores`); else
        it is computed of the final model's predictions (`Task.final_metrics`).
    """

    name: str
    label: str
    better: Literal["higher", "lower"] = "higher"
    limits: tuple[float | None, float | None] = (None, None)
    percent: bool = False
    every_evaluation: bool = True

    def improves(self, value: float, bound: float, margin: float = 0.0) -> bool:
        """Whether a value is better than `bound` by more than `margin`."""
        return value > bound + margin if self.better == "higher" else value < bound - margin


LOSS = Metric("loss", "test loss", better="lower")


def metrics_of(constants: Mapping[str, Mapping[str, Any]]) -> tuple[Metric, ...]:
    """The metrics that a task's `METRICS` declares, and the loss, which every task has."""
    declared = tuple(Metric(name, **body) for name, body in constants.items())
    return declared if LOSS.name in constants else (*declared, LOSS)


def client_scores(metric: Metric) -> tuple[str, str, str]:
    """The names of the worst, the median and the mean over clients of a metric on each client's own test examples."""
    return WORST.format(metric.name), MEDIAN.format(metric.name), MEAN.format(metric.name)


class Task(ABC):
    """What is learned.

    Outputs are what a model returns, float32 [batch, outputs]; targets are int32 [batch], class numbers, where `TARGETS` is
    `classes`, and float32 [batch] or [batch, ...] where it is `numbers`.

    Attributes:
      TARGETS: The kind of targets, `classes` or `numbers`.
      METRICS: Name -> the other fields of a `Metric`; the first metric is the one that figures draw.
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
        return tuple(metric for metric in self.metrics if metric.every_evaluation)

    @property
    def final(self) -> tuple[Metric, ...]:
        """The metrics of the final model alone."""
        return tuple(metric for metric in self.metrics if not metric.every_evaluation)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of all scores of an evaluation, in the order of the tables."""
        return *(metric.name for metric in self.by_evaluation), *client_scores(self.by_evaluation[0])

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
        """What `final_metrics` needs of the outputs, [batch] or [batch, ...]; by default the outputs."""
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
