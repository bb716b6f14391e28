"""An attack of one's own: what it needs and sees in constants, what it finds in rows."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from sklearn.metrics import roc_auc_score

from fedpareto.attacks.interface import Attack
from fedpareto.attacks.results import AttackResult, AttackResults
from fedpareto.components.rules import Rule


@dataclass(frozen=True)
class LossThreshold(Attack):
    """Takes records on which the final model has a small loss for members (Yeom et al. 2018).

    Attributes:
      records: Members and others that are tried, of each.
    """

    NAME: ClassVar = "loss_threshold"
    FAMILY: ClassVar = "membership"
    SECRET: ClassVar = "record"
    SEES: ClassVar = "final_model"

    records: Annotated[int, Rule(minimum=2)] = 200

    def __call__(self, target):
        """One row a run: the area under the ROC curve of members against records that no client holds."""
        data, rows = target.data, []
        for run in target.runs:
            params = target.parameters(run)
            losses = [
                np.asarray(target.static.task.loss(target.model.apply(params, x[: self.records]), y[: self.records]))
                for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
            ]
            members = np.repeat([1, 0], [len(losses[0]), len(losses[1])])
            auc = float(roc_auc_score(members, -np.concatenate(losses)))
            counts = {"positives": len(losses[0]), "negatives": len(losses[1])}
            rows.append(
                AttackResult(run.run_id, self.NAME, "", "outsider", "auc", auc, baseline=0.5, success=True, **counts)
            )
        return AttackResults(rows)
