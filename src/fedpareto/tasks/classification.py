"""Classification: softmax cross-entropy, accuracy, and scores of the final model for classes of unequal size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from fedpareto.tasks.interface import Task


@dataclass(frozen=True)
class Classification(Task):
    """Each example is of one class; outputs are logits, one a class."""

    NAME: ClassVar = "classification"
    TARGETS: ClassVar = "classes"
    METRICS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "accuracy": {
            "label": "test accuracy",
            "help": "Accuracy on the test set.",
            "unit": "share",
            "limits": (0, 1),
            "percent": True,
        },
        "loss": {"help": "Mean cross-entropy on the test set.", "unit": "nats", "better": "lower", "limits": (0, None)},
        "f1": {
            "label": "F1",
            "help": "F1 of the final model; of more than two classes their mean.",
            "unit": "share",
            "limits": (0, 1),
            "by_round": False,
        },
        "auroc": {
            "label": "area under the ROC curve",
            "help": "Area under the ROC curve of the final model; two classes only.",
            "unit": "share",
            "limits": (0, 1),
            "by_round": False,
        },
        "auprc": {
            "label": "average precision",
            "help": "Average precision of the final model; two classes only.",
            "unit": "share",
            "limits": (0, 1),
            "by_round": False,
        },
    }

    def outputs(self, targets: np.ndarray, classes: int) -> int:
        """One logit a class."""
        del targets
        return classes

    def loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Softmax cross-entropy in nats, float32 [batch], from logits [batch, classes] and labels int32 [batch]."""
        # A comparison with the class numbers: picking the label's entry by index would scatter in the gradient.
        chosen = jnp.where(targets[:, None] == jnp.arange(outputs.shape[1]), outputs, 0.0).sum(axis=1)
        return jax.nn.logsumexp(outputs, axis=1) - chosen

    def example_scores(self, outputs: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
        """Whether the largest logit is that of the label: 1.0 or 0.0."""
        return {"accuracy": (jnp.argmax(outputs, axis=1) == targets).astype(jnp.float32)}

    def predictions(self, outputs: jax.Array) -> jax.Array:
        """Compact predictions, [batch], from which every final metric is computed.

        Returns:
          For up to two classes the last logit less the first, float32; for more the predicted class, a whole number.
        """
        classes = outputs.shape[1]
        if classes <= 2:
            return outputs[:, -1] - outputs[:, 0]
        return jnp.argmax(outputs, axis=1).astype(jnp.uint8 if classes <= 256 else jnp.int32)

    def final_metrics(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """F1 and the areas under two curves, shares of 1; they cover the evaluation of a model, and no epsilon covers them.

        Returns:
          Of two classes, the class numbered 1 is the positive one: its F1 where the larger logit decides, the area under the
          ROC curve, and the average precision (the area under the precision-recall curve, without interpolation); the areas are
          NaN where the test set holds one class alone. Of more classes, the mean F1 of all, and NaN.
        """
        unknown = {"auroc": math.nan, "auprc": math.nan}
        if not np.issubdtype(predictions.dtype, np.floating):
            return {"f1": float(f1_score(targets, predictions, average="macro", zero_division=0))} | unknown
        scores = {"f1": float(f1_score(targets, predictions > 0, zero_division=0))} | unknown
        if len(np.unique(targets)) == 2:
            scores |= {
                "auroc": float(roc_auc_score(targets, predictions)),
                "auprc": float(average_precision_score(targets, predictions)),
            }
        return scores

    def constant_scores(self, targets: np.ndarray) -> dict[str, float]:
        """The share of the commonest class; in loss that of every class's frequency, which is their entropy in nats."""
        share = np.unique(targets, return_counts=True)[1] / len(targets)
        return {"accuracy": float(share.max()), "loss": float(-(share * np.log(share)).sum())}
