"""Labels counted from an update.

The gradient of the last layer's bias is the mean of (prediction - label) over records (Zhao et al. 2020, arXiv:2001.02610;
Yin et al. 2021, arXiv:2104.07586; Geng et al. 2021, arXiv:2110.09074). Predictions are estimated on public records. Several
steps move them: of the likeliest counts that one is then taken with which a client of mean public records would send most nearly
what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from fedpareto.attacks.auxiliary_data import AuxiliaryData, whole_counts
from fedpareto.attacks.gradient_inversion.simulation import update_of
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams

PyTree = Any
Path = tuple[str, ...]
SCALES = np.geomspace(0.5, 50, 200)  # lengths of an update of one step, over that of the bias's part
ROUNDS = 3  # in which counts and the mean prediction follow each other
HYPOTHESES = 12  # counts that are told apart by what a client would send
PUBLIC_ROWS = 500  # public records that predictions are averaged over
UNCLIPPED = 0.999  # of the clip norm, below which an update's length tells that it was not clipped


def labels_of(
    static: ProgramConfig,
    run_params: RunParams,
    params: PyTree,
    update: PyTree,
    *,
    noise: float,
    public: AuxiliaryData,
    records: int,
) -> np.ndarray:
    """Records of each class that made an update: int64 [classes], summing to `records`.

    Args:
      static: The run's program.
      run_params: Its hyper-parameters.
      params: Parameters at the start of the round.
      update: The observed update, a pytree like the parameters.
      noise: Standard deviation of the noise on each coordinate.
      public: Auxiliary data.
      records: Records behind the update.
    """
    path = last_layer(params, public.classes)
    if path is None:
        return public.label_guess(records)
    bias = _bias_part(update, path)
    apply = static.preprocessed(run_params).model.apply
    chances = np.asarray(jax.nn.softmax(apply(params, jnp.asarray(public.records[:PUBLIC_ROWS]))), np.float64)
    predicted = public.by_class(chances)
    steps = contribution_of(static).local_steps(static, records)
    scale = None
    length = math.sqrt(sum(float(np.square(leaf, dtype=np.float64).sum()) for leaf in jax.tree.leaves(update)))
    of_clients = not contribution_of(static).OF_RECORDS
    if of_clients and steps == 1 and noise == 0 and length < UNCLIPPED * float(run_params.clip_norm):
        cap = static.weight_cap
        scale = float(run_params.client_learning_rate) * (1.0 if cap is None else min(records, cap) / cap)
    likeliest = count_labels(bias, predicted, records, scale)
    ordered = of_clients and static.work.batch_size is not None and records > static.work.batch_size
    if steps == 1 or ordered or len(likeliest) == 1:
        return likeliest[0]
    like = public.by_class(public.x[:PUBLIC_ROWS]).reshape(-1, *public.example).astype(np.float32)
    tried = likeliest[np.minimum(np.arange(HYPOTHESES), len(likeliest) - 1)]
    labels = np.stack([np.repeat(np.arange(public.classes), counts) for counts in tried]).astype(np.int32)
    sent = np.asarray(_simulated_bias(static, path, run_params, params, like, labels))
    apart = np.linalg.norm(sent - bias, axis=1)
    return tried[int(np.argmin(np.where(np.isfinite(apart), apart, np.inf)))]


def count_labels(bias: np.ndarray, predicted: np.ndarray, records: int, scale: float | None = None) -> np.ndarray:
    """Candidate counts of records by class that made an update, the likeliest first.

    The bias's part is s (counts / records - mean prediction) for some s, the learning rate after one step without clipping. Whole
    counts are tried for many s, and ordered by how well they explain it; the mean prediction then follows the best counts.

    Args:
      bias: float [classes], the last layer's bias's part of the update.
      predicted: float [classes, classes], the mean predicted probabilities of public records by class.
      records: Records behind it.
      scale: s where it is known.

    Returns:
      int64 [hypotheses, classes], each summing to `records`, no two alike.
    """
    length = float(np.linalg.norm(bias))
    mean = predicted.mean(axis=0)
    if length == 0 or not math.isfinite(length):
        return whole_counts(mean, records)[None]
    found: dict[bytes, tuple[float, np.ndarray]] = {}
    for _ in range(ROUNDS):
        found = {}
        for s in (scale,) if scale is not None else length * SCALES:
            whole = whole_counts(mean + bias / s, records)
            apart = float(np.linalg.norm(bias - s * (whole / records - mean)))
            found[whole.tobytes()] = min(
                found.get(whole.tobytes(), (math.inf, whole)), (apart, whole), key=lambda pair: pair[0]
            )
        mean = min(found.values(), key=lambda pair: pair[0])[1] @ predicted / records
    return np.stack([whole for _, whole in sorted(found.values(), key=lambda pair: pair[0])])


def last_layer(params: PyTree, classes: int) -> Path | None:
    """The path of the layer that gives the logits: the last affine one with so many outputs."""
    flat: Mapping[Path, Any] = traverse_util.flatten_dict(params)
    paths = [p[:-1] for p, leaf in flat.items() if p[-1] == "kernel" and leaf.ndim == 2 and leaf.shape[1] == classes]
    return max(paths, key=_number, default=None)


def _number(path: Path) -> tuple[int, ...]:
    return tuple(int(name.rpartition("_")[2]) for name in path)


def _bias_part(update: PyTree, path: Path) -> np.ndarray:
    """The bias's part of a layer's update, float64 [classes]; sums over its weights where it has no bias.

    What comes into a last layer is mostly positive, so that these have the sign that a bias's part would have (Yin et al. 2021).
    """
    for name in path:
        update = update[name]
    return np.asarray(update["bias"] if "bias" in update else np.sum(update["kernel"], axis=0), np.float64)


@partial(jax.jit, static_argnums=(0, 1))
def _simulated_bias(
    static: ProgramConfig, path: Path, run_params: RunParams, params: PyTree, like: jax.Array, labels: jax.Array
) -> jax.Array:
    """The bias's part of updates of clients with records like `like` [classes, ...], by labels int32 [clients, records]."""

    def one(own: jax.Array) -> jax.Array:
        update = update_of(static.preprocessed(run_params), run_params, params, like[own], own)
        for name in path:
            update = update[name]
        return update["bias"] if "bias" in update else jnp.sum(update["kernel"], axis=0)

    return jax.lax.map(one, labels)
