"""Scores for classes of unequal size, of a finished model on the test set: F1 and the areas under two curves."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

FINAL = ("f1", "auroc", "auprc")


def answers(logits: jax.Array) -> jax.Array:
    """What a model says of each example, [batch]: all that the scores need, and little to keep.

    Args:
      logits: float32 [batch, classes].

    Returns:
      For two classes the logit of class 1 less that of class 0, float32; for more the predicted class, a whole number.
    """
    classes = logits.shape[1]
    if classes == 2:
        return logits[:, 1] - logits[:, 0]
    return jnp.argmax(logits, axis=1).astype(jnp.uint8 if classes <= 256 else jnp.int32)


def final_scores(said: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, float]:
    """The scores `FINAL` by name, shares of 1; they cover the evaluation of a model, and no epsilon covers them.

    Args:
      said: [n], `answers` for the test set.
      labels: int [n].
      classes: Number of classes.

    Returns:
      Of two classes, the class numbered 1 is the positive one: its F1 where the larger logit decides, the area under the
      ROC curve, and the average precision (the area under the precision-recall curve, without interpolation); the areas are
      NaN where the test set holds one class alone. Of more classes, the mean F1 of all, and NaN.
    """
    if classes > 2:
        return {
            "f1": float(f1_score(labels, said, average="macro", zero_division=0)),
            "auroc": math.nan,
            "auprc": math.nan,
        }
    scores = {"f1": float(f1_score(labels, said > 0, zero_division=0)), "auroc": math.nan, "auprc": math.nan}
    if len(np.unique(labels)) == 2:
        scores |= {
            "auroc": float(roc_auc_score(labels, said)),
            "auprc": float(average_precision_score(labels, said)),
        }
    return scores
