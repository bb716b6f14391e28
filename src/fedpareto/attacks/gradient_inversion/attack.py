"""Gradient inversion: records rebuilt from an update alone.

What is inverted is what the adversary sees of a run's first round (`adversary_view`): a client's update, or a sum over the cohort,
which is then taken for one client's update, others' being noise of which nothing is known. The adversary is assumed to know the
parameters at the start of the round, all hyper-parameters, how many records the client holds, and data like these (the test set:
ranges, means and deviations of features, predictions by class). Labels are counted first and never given.

| method     | how                                                             |
|------------|-----------------------------------------------------------------|
| `analytic` | quotients of the first layer's gradient: `closed_form`          |
| `dlg`      | least squares between updates: `matching`                       |
| `cosine`   | angle between updates, and total variation: `matching`          |

That an attack fails shows nothing but that this attack failed: a later one, or one that knows more, may succeed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.attacks import guarantee_bounds as bounds
from fedpareto.attacks.adversary_view import Transcript, first_rounds
from fedpareto.attacks.auxiliary_data import AuxiliaryData, public_of
from fedpareto.attacks.gradient_inversion.closed_form import first_layer, records_of
from fedpareto.attacks.gradient_inversion.labels import labels_of
from fedpareto.attacks.gradient_inversion.matching import TOTAL_VARIATION, Item, Recipe, search
from fedpareto.attacks.gradient_inversion.scores import (
    BEST_PSNR,
    errors,
    exact_matches,
    feature_error,
    matched,
    psnr,
    shared_labels,
    ssim,
)
from fedpareto.attacks.gradient_inversion.simulation import noise_of
from fedpareto.attacks.interface import Attack
from fedpareto.attacks.intervals import clopper_pearson, mean_interval
from fedpareto.attacks.results import AttackResult, AttackResults, Picture, not_made
from fedpareto.attacks.target import Target
from fedpareto.components.rules import Rule
from fedpareto.federated.inputs.setup import key_data
from fedpareto.sweep.run import Run

PyTree = Any
MOST_PICTURES = 4  # records of a run


@dataclass(frozen=True)
class ObservedUpdate:
    """One update in the view of an adversary, and its analysis before the inversion.

    Attributes:
      run: Number of the run among the target's.
      adversary: Who sees it.
      victims: Numbers of the victims that it may be of: one, or all in a sum.
      update: A pytree like the parameters.
      noise: Standard deviation of the noise on each coordinate.
      counts: int64 [classes], records of each class that the adversary counts.
    """

    run: int
    adversary: str
    victims: tuple[int, ...]
    update: PyTree
    noise: float
    counts: np.ndarray


@dataclass(frozen=True)
class GradientInversion(Attack):
    """Records rebuilt from each adversary's view of a run's first round.

    Attributes:
      method: `dlg`, `cosine` or `analytic`, see above.
      records: Records behind the update that is inverted.
      victims: Clients whose update is inverted.
      restarts: First guesses; the one whose update fits best counts.
      steps: Steps of the optimisation.
      total_variation: Weight of the total variation of images.
    """

    NAME: ClassVar = "gradient_inversion"
    FAMILY: ClassVar = "reconstruction"
    SECRET: ClassVar = "record"
    SEES: ClassVar = "first_round"
    REFUSES: ClassVar = (
        ({"targets": "numbers"}, "it reads the scores of classes, and the targets of the task are numbers"),
        ({"algorithm": "scaffold"}, "scaffold's clients send two vectors, and no attack here reads both"),
        ({"several_vectors": True}, "its clients send several vectors, and no attack here reads all of them"),
    )
    STUDIES: ClassVar = (
        (
            {"method": "analytic"},
            {"model": {"FIRST_LAYER": "dense"}, "preprocessing": {"name": "none"}},
            {
                "must": "not be analytic where no dense layer sees the records as they are",
                "hint": "use cosine or dlg",
            },
        ),
    )

    method: Literal["dlg", "cosine", "analytic"] = "cosine"
    records: Annotated[int, Rule(minimum=1, maximum=32)] = 1
    victims: Annotated[int, Rule(minimum=1, maximum=1000)] = 16
    restarts: Annotated[int, Rule(minimum=1)] = 2
    steps: Annotated[int, Rule(minimum=1)] = 300
    total_variation: Annotated[float | None, Rule(minimum=0, hint="null for what suits the data")] = None

    def __call__(self, target: Target) -> AttackResults:
        """Tries to rebuild records.

        Returns:
          Scores (the mean over records; intervals over victims, but for the share of records that were rebuilt, which counts
          records), and pictures of the first records. The reason where no client holds so many records, where the method does
          not apply to the model, or where there is nothing in what an adversary sees.
        """
        path = _first_layer(target) if self.method == "analytic" else None
        if self.method == "analytic" and path is None:
            reason = "no layer with a weight for every feature and a bias sees the records as they are"
            return AttackResults([_not_made(self, run, reason) for run in target.runs])
        public = public_of(target.data, target.runs[0].data.dataset)
        transcripts = first_rounds(target.static, target.device_data, target.run_params, self.records, self.victims)
        seen = [
            update
            for run, transcript in enumerate(transcripts)
            for update in _seen(target, run, transcript, public, self.records)
        ]
        findings = _missing(self, target, transcripts, seen)
        if not seen:
            return AttackResults(findings)
        known = (seen, public)
        found = _searched(self, target, transcripts, *known) if path is None else _analytic(self, path, *known)
        pictures: list[Picture] = []
        rebuilt: dict[tuple[int, str], dict[int, tuple[np.ndarray, np.ndarray]]] = {}
        for update, guessed in zip(seen, found, strict=True):
            for victim in update.victims:
                rebuilt.setdefault((update.run, update.adversary), {})[victim] = guessed, update.counts
        for (run, adversary), of_victims in rebuilt.items():
            victims = sorted(of_victims)
            rows, guesses = transcripts[run].rows[victims], [of_victims[victim] for victim in victims]
            findings += score(self, target, run, adversary, public, rows=rows, guesses=guesses)
            pictures += _pictures(self, target, run, adversary, public, victims, rows, guesses)
        truths = [
            picture
            for run, transcript in enumerate(transcripts)
            for picture in _truths(target, run, transcript, public)
        ]
        return AttackResults(findings, (), [*truths, *pictures])


def _not_made(attack: GradientInversion, run: Run, reason: str, adversary: str = "") -> AttackResult:
    return not_made(run.run_id, attack.NAME, reason, method=attack.method, adversary=adversary, records=attack.records)


def _missing(
    attack: GradientInversion, target: Target, transcripts: Sequence[Transcript], seen: Sequence[ObservedUpdate]
) -> list[AttackResult]:
    """Rows of the runs whose first cohort has no victim, and of the adversaries who see nothing there."""
    looked_at = {(one.run, one.adversary) for one in seen}
    rows = []
    for number, (run, transcript) in enumerate(zip(target.runs, transcripts, strict=True)):
        if not transcript.rows.size:
            rows.append(_not_made(attack, run, f"nobody in its first cohort holds {attack.records} records"))
            continue
        reason = "what it sees of the first round is zero or not finite"
        unseen = [adversary for adversary in transcript.seen if (number, adversary) not in looked_at]
        rows += [_not_made(attack, run, reason, adversary) for adversary in unseen]
    return rows


def _seen(
    target: Target, run: int, transcript: Transcript, public: AuxiliaryData, records: int
) -> list[ObservedUpdate]:
    """The finite, non-zero updates that each adversary observes in a run."""
    run_params = jax.tree.map(lambda leaf: leaf[run], target.run_params)
    result = []
    for adversary, updates in transcript.seen.items():
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(updates)]
        victims = len(leaves[0])
        one_sum = victims > 1 and all((leaf == leaf[:1]).all() for leaf in leaves)
        noise = noise_of(target.static, run_params, adversary, records)
        for victim in range(1 if one_sum else victims):
            length = math.sqrt(sum(float(np.square(leaf[victim], dtype=np.float64).sum()) for leaf in leaves))
            if length == 0 or not math.isfinite(length):
                continue
            update = jax.tree.map(lambda leaf, v=victim: np.asarray(leaf)[v], updates)
            counts = labels_of(
                target.static, run_params, transcript.params, update, noise=noise, public=public, records=records
            )
            whose = tuple(range(victims)) if one_sum else (victim,)
            result.append(ObservedUpdate(run, adversary, whose, update, noise, counts))
    return result


def _first_layer(target: Target) -> tuple[str, ...] | None:
    """The path of the layer that sees the records themselves, or None."""
    run_params = jax.tree.map(lambda leaf: leaf[0], target.run_params)
    model = target.static.preprocessed(run_params).model
    return first_layer(model, model.init(jax.random.key(0)), target.data.x_test[:1])


def _analytic(
    attack: GradientInversion, path: tuple[str, ...], seen: Sequence[ObservedUpdate], public: AuxiliaryData
) -> list[np.ndarray]:
    """Records from the first layer, float32 [records, features] an update."""
    found = []
    for one in seen:
        layer = one.update
        for name in path:
            layer = layer[name]
        found.append(records_of(layer["kernel"], layer["bias"], attack.records, one.noise, public))
    return found


def _searched(
    attack: GradientInversion,
    target: Target,
    transcripts: Sequence[Transcript],
    seen: Sequence[ObservedUpdate],
    public: AuxiliaryData,
) -> list[np.ndarray]:
    """Records by optimisation, float32 [records, features] an update."""
    names = [
        f"{attack.NAME}/{target.runs[one.run].run_id}/{one.adversary}/{one.victims[0]}/{attack.method}/{attack.records}"
        for one in seen
    ]
    items = Item(
        run=jnp.asarray([one.run for one in seen], jnp.int32),
        update=jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *[one.update for one in seen]),
        labels=jnp.asarray([np.repeat(np.arange(public.classes), one.counts) for one in seen], jnp.int32),
        noise=jnp.asarray([one.noise for one in seen], jnp.float32),
        key=jnp.asarray(np.stack([key_data(name) for name in names])),
    )
    like = next(transcript.params for transcript in transcripts if transcript.params is not None)
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *[t.params or like for t in transcripts])
    weight = attack.total_variation
    if weight is None:
        weight = TOTAL_VARIATION if attack.method == "cosine" else 0.0
    recipe = Recipe(attack.method, attack.steps, attack.restarts, weight, public.picture, public.example)
    found, _ = search(target.static, target.run_params, params, items, public, recipe=recipe)
    return list(found)


def score(
    attack: GradientInversion,
    target: Target,
    run: int,
    adversary: str,
    public: AuxiliaryData,
    *,
    rows: np.ndarray,
    guesses: Sequence[tuple[np.ndarray, np.ndarray]],
) -> list[AttackResult]:
    """The findings of one adversary of one run.

    Args:
      attack: The attack.
      target: The runs.
      run: Which of them.
      adversary: Who.
      public: Auxiliary data, which give the baselines.
      rows: int32 [victims, records], the training records that were looked for.
      guesses: For each victim the records that were found, float [records, features], and counted labels [classes].
    """
    subject, records = target.runs[run], rows.shape[1]
    covered = bounds.covers(subject, adversary, "record")
    kind = AttackResult(
        subject.run_id,
        attack.NAME,
        attack.method,
        adversary,
        "",
        math.nan,
        covered=covered,
        records=records,
        positives=rows.size,
    )
    truths = target.data.x_train[rows].reshape(*rows.shape, -1)
    labels = target.data.y_train[rows]
    pairs = [(matched(found, truth, public), truth) for (found, _), truth in zip(guesses, truths, strict=True)]
    # Each with the least and the largest value that it can have.
    measures = {"psnr": (psnr, -math.inf, BEST_PSNR), "feature_error": (feature_error, 0.0, math.inf)}
    measures |= {"exact_matches": (exact_matches, 0.0, 1.0)} if public.picture is None else {"ssim": (ssim, -1.0, 1.0)}
    findings = []
    for name, (measure, lowest, highest) in measures.items():
        values = np.asarray([measure(found, truth, public).mean() for found, truth in pairs])
        # What is right most often is each feature's most frequent value; what is nearest is the mean.
        unseen = public.mode if measure is exact_matches else public.mean
        same = np.repeat(unseen[None], records, axis=0)
        baseline = float(np.mean([measure(same, truth, public).mean() for _, truth in pairs]))
        if np.isfinite(values).all():
            low, high = mean_interval(values, lowest, highest)
            findings.append(
                replace(kind, score=name, value=float(values.mean()), low=low, high=high, baseline=baseline)
            )
    shared = sum(shared_labels(counts, own) for (_, counts), own in zip(guesses, labels, strict=True))
    guess = sum(shared_labels(public.label_guess(records), own) for own in labels)
    low, high = clopper_pearson(shared, rows.size, 0.05)
    findings.append(
        replace(kind, score="label_accuracy", value=shared / rows.size, low=low, high=high, baseline=guess / rows.size)
    )
    hits = int(sum((errors(found, truth, public) < public.threshold).sum() for found, truth in pairs))
    low, high = clopper_pearson(hits, rows.size, 0.05)
    kappa, most = public.prior_success(records)
    bound = bounds.max_success_if_sampled(most, target.accounted[subject.run_id]) if covered else math.nan
    share = replace(kind, score="rebuilt", value=hits / rows.size, low=low, high=high, baseline=kappa, bound=bound)
    return [*findings, replace(share, success=True)]


def _pictures(
    attack: GradientInversion,
    target: Target,
    run: int,
    adversary: str,
    public: AuxiliaryData,
    victims: Sequence[int],
    rows: np.ndarray,
    guesses: Sequence[tuple[np.ndarray, np.ndarray]],
) -> list[Picture]:
    """The first records that were rebuilt, as pictures; none of a table."""
    if public.picture is None or not rows.size:
        return []
    truths = target.data.x_train[rows].reshape(*rows.shape, -1)
    ordered = np.concatenate([matched(found, truth, public) for (found, _), truth in zip(guesses, truths, strict=True)])
    flat = truths.reshape(rows.size, -1)
    numbers = [victim * rows.shape[1] + own for victim in victims for own in range(rows.shape[1])]
    return [
        Picture(
            target.runs[run].run_id,
            *(attack.NAME, attack.method, adversary, rows.shape[1], "rebuilt", number),
            float(psnr(ordered[i][None], flat[i][None], public)[0]),
            public.shape,
            ordered[i].astype(np.float32),
        )
        for i, number in enumerate(numbers)
        if number < MOST_PICTURES
    ]


def _truths(target: Target, run: int, transcript: Transcript, public: AuxiliaryData) -> list[Picture]:
    """The first records that are looked for in a run, and the guess at them of somebody who has seen no update."""
    if public.picture is None or not transcript.rows.size:
        return []
    flat = target.data.x_train[transcript.rows].reshape(transcript.rows.size, -1)[:MOST_PICTURES]
    first = (target.runs[run].run_id, GradientInversion.NAME, "", "", transcript.rows.shape[1])
    true = [Picture(*first, "true", number, math.nan, public.shape, x) for number, x in enumerate(flat)]
    ratio = float(psnr(np.repeat(public.mean[None], len(flat), axis=0), flat, public).mean())
    return [*true, Picture(*first, "guess", 0, ratio, public.shape, public.mean)]
