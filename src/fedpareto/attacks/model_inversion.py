"""Model inversion: features of classes from the final model (Fredrikson et al. 2015, CCS).

For every class an outsider who holds the final model climbs the logarithm of its probability of that class, from the mean public
record, within the public range. Held back it is by a normal prior with public means and deviations and, for pictures, by total
variation. What comes out is a *representative* of the class, at best its mean; it is no record of anybody. Such means are facts
of the population: any useful model shows them, and differential privacy does not promise to hide them. So there is no bound, and
a high score is no breach of a guarantee.

A representative is *recognised* if a logistic regression that is fitted on the test set, and that the attack never sees, takes it
for its class. Its correlation is with the class's training mean, both less the mean public record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.linear_model import LogisticRegression

from fedpareto.attacks import guarantee_bounds as bounds
from fedpareto.attacks.auxiliary_data import AuxiliaryData, public_of
from fedpareto.attacks.gradient_inversion.matching import total_variation
from fedpareto.attacks.gradient_inversion.scores import psnr
from fedpareto.attacks.interface import Attack
from fedpareto.attacks.intervals import clopper_pearson, mean_interval
from fedpareto.attacks.results import AttackResult, AttackResults, Picture, not_made
from fedpareto.attacks.target import Target
from fedpareto.components.rules import Rule
from fedpareto.components.threats import OUTSIDER
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams

PyTree = Any
METHOD = "gradient_ascent"
LEARNING_RATE = 0.03  # in a feature's unit, decaying to 0 along a cosine
PRIOR = 0.1  # weight of the mean squared distance from the mean record, in deviations
TOTAL_VARIATION = 0.3  # weight of the mean absolute difference of neighbouring pixels, in the pixels' range
MOST_ROWS = 2000  # test records that the evaluating classifier is fitted on


@dataclass(frozen=True)
class ModelInversion(Attack):
    """Representatives of all classes from each run's final model.

    Attributes:
      steps: Steps of gradient ascent.
    """

    NAME: ClassVar = "model_inversion"
    FAMILY: ClassVar = "reconstruction"
    SECRET: ClassVar = "class"
    SEES: ClassVar = "final_model"
    REFUSES: ClassVar = (
        ({"targets": "numbers"}, "it reads the scores of classes, and the targets of the task are numbers"),
    )

    steps: Annotated[int, Rule(minimum=1)] = 200

    def __call__(self, target: Target) -> AttackResults:
        """Climbs from the mean record to every class of each run's model; says so of runs without one finite model."""
        chosen = [
            i
            for i, run in enumerate(target.runs)
            if self.not_applicable(run) is None and run.run_id in target.models and _is_finite(target.parameters(run))
        ]
        missing = [
            not_made(
                run.run_id,
                self.NAME,
                "it has no common model whose parameters are finite",
                method=METHOD,
                adversary=OUTSIDER,
            )
            for i, run in enumerate(target.runs)
            if i not in chosen
        ]
        if not chosen:
            return AttackResults(missing)
        public = public_of(target.data, target.runs[0].data.dataset)
        found = _representatives(target, chosen, public, self.steps)
        evaluator = LogisticRegression(C=0.1, tol=1e-2, max_iter=500)
        evaluator.fit(((public.x - public.mean) / public.unit)[:MOST_ROWS], public.y[:MOST_ROWS])
        x_train = target.data.x_train.reshape(len(target.data.x_train), -1)
        classes = np.flatnonzero(np.bincount(target.data.y_train, minlength=public.classes))
        means = np.stack([x_train[target.data.y_train == c].mean(axis=0) for c in classes])
        findings: list[AttackResult] = missing
        pictures: list[Picture] = []
        for i, representatives in zip(chosen, found[:, classes], strict=True):
            findings += _scores(target, i, representatives, means, classes, evaluator, public)
            pictures += _pictures(target, i, representatives, means, classes, public)
        return AttackResults(findings, (), pictures)


def _is_finite(params: PyTree) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def _representatives(target: Target, chosen: list[int], public: AuxiliaryData, steps: int) -> np.ndarray:
    """Representatives of the classes in the final models of the chosen runs, float32 [runs, classes, features]."""
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[target.parameters(target.runs[i]) for i in chosen])
    run_params = jax.tree.map(lambda leaf: leaf[np.asarray(chosen)], target.run_params)
    known = tuple(map(jnp.asarray, (public.mean, public.deviation, public.unit, *public.box)))
    shape = (public.classes, public.picture, public.example, steps)
    return np.asarray(_ascend(target.static, shape, run_params, params, known))


@partial(jax.jit, static_argnums=(0, 1))
def _ascend(
    static: ProgramConfig,
    shape: tuple[int, tuple[int, int, int] | None, tuple[int, ...], int],
    run_params: RunParams,
    params: PyTree,
    known: tuple[jax.Array, ...],
) -> jax.Array:
    """Representatives float32 [runs, classes, features], of runs one after another and all their classes at once."""
    classes, picture, example, steps = shape
    mean, deviation, unit, least, most = known
    low, high = (least - mean) / unit, (most - mean) / unit
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def one(item: tuple[RunParams, PyTree]) -> jax.Array:
        row, own = item
        model = static.preprocessed(row).model

        def loss(z: jax.Array) -> jax.Array:
            logits = model.apply(own, (mean + unit * z).reshape(classes, *example))
            value = -jnp.sum(jnp.diagonal(jax.nn.log_softmax(logits)))
            value += PRIOR * jnp.sum(jnp.mean(jnp.square(z * unit / deviation), axis=1))
            if picture is not None:
                value += TOTAL_VARIATION * classes * total_variation(z.reshape(classes, *picture))
            return value

        def step(_: int, carry: tuple[jax.Array, PyTree]) -> tuple[jax.Array, PyTree]:
            z, state = carry
            change, state = optimizer.update(jax.grad(loss)(z), state)
            return jnp.clip(z + change, low, high), state

        first = jnp.zeros((classes, len(mean)), jnp.float32)
        z, _ = jax.lax.fori_loop(0, steps, step, (first, optimizer.init(first)))
        return mean + unit * z

    return jax.lax.map(one, (run_params, params))


def _scores(
    target: Target,
    run: int,
    found: np.ndarray,
    means: np.ndarray,
    classes: np.ndarray,
    evaluator: LogisticRegression,
    public: AuxiliaryData,
) -> list[AttackResult]:
    subject = target.runs[run]
    covered = bounds.covers(subject, OUTSIDER, "record")
    hits, count = int((evaluator.predict((found - public.mean) / public.unit) == classes).sum()), len(classes)
    correlations = np.asarray(
        [_correlation(a, b) for a, b in zip(found - public.mean, means - public.mean, strict=True)]
    )

    def finding(
        score: str, value: float, interval: tuple[float, float], baseline: float, success: bool
    ) -> AttackResult:
        return AttackResult(
            *(
                subject.run_id,
                ModelInversion.NAME,
                METHOD,
                OUTSIDER,
                score,
                value,
                *interval,
                baseline,
                math.nan,
                covered,
                success,
            ),
            positives=count,
        )

    return [
        finding("recognised", hits / count, clopper_pearson(hits, count, 0.05), 1 / public.classes, True),
        finding("correlation", float(correlations.mean()), mean_interval(correlations, -1.0, 1.0), 0.0, False),
    ]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 0 else 0.0


def _pictures(
    target: Target, run: int, found: np.ndarray, means: np.ndarray, classes: np.ndarray, public: AuxiliaryData
) -> list[Picture]:
    if public.picture is None:
        return []
    name, ratios = target.runs[run].run_id, psnr(found, means, public)
    true = [
        Picture(name, ModelInversion.NAME, "", "", None, "true", int(c), math.nan, public.shape, x)
        for c, x in zip(classes, means, strict=True)
    ]
    rebuilt = [
        Picture(name, ModelInversion.NAME, METHOD, OUTSIDER, None, "rebuilt", int(c), float(ratio), public.shape, x)
        for c, ratio, x in zip(classes, ratios, found, strict=True)
    ]
    return [*true, *rebuilt]
