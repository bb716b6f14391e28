"""Shadow runs: the procedure of an attacked run on random halves of its records, or of its clients.

Each shadow run is the attacked run's own program with its own algorithm, hyper-parameters and noise; cohorts and noise are
drawn afresh. What attacks read of one is its final model.

What shadows share with the attacked run, because everybody knows it: initial weights and, with them, the public key that also
shuffles local batches (an adversary that is granted the order of batches is stronger than a real one, and a guarantee covers
it as well). The divisor of a sum, sampling rates, and who is asked stay those of the whole population: a record or client that
is left out sends nothing and is drawn all the same, as in the neighbouring data set of a proof. Only local training, which
no guarantee for records depends on, makes its steps on the records that are there. A preprocessing that learns of all records
learns of the shadow's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.attacks.membership.scores import InOut
from fedpareto.attacks.target import Target, train
from fedpareto.federated.contributions.contribution import contribution_of
from fedpareto.federated.execution.chunks import by_chunk
from fedpareto.federated.inputs.device_data import DeviceData
from fedpareto.federated.inputs.program_inputs import ProgramConfig, RunParams
from fedpareto.federated.inputs.setup import key_data
from fedpareto.federated.preprocessings import learning
from fedpareto.sweep.account import releases_of

PyTree = Any


class Signals(NamedTuple):
    """phi = log(p / (1 - p)) of the true label under the shadows' final models, float32; not finite where one diverged.

    Attributes:
      train: [runs, shadows, training records].
      test: [runs, shadows, test records].
    """

    train: np.ndarray
    test: np.ndarray


def balanced_halves(units: int, shadows: int, rng: np.random.Generator) -> InOut:
    """Deals every unit to half of the shadows at random, and pairs these at random with the others.

    Returns:
      The numbers of the shadows of each pair, int32 [shadows / 2, units]; every shadow stands once in each column.

    Raises:
      ValueError: `shadows` is odd or below 4.
    """
    if shadows < 4 or shadows % 2:
        raise ValueError(f"shadows = {shadows} must be an even number, at least 4: half of them have a record")
    order = np.argsort(rng.random((shadows, units), np.float32), axis=0).astype(np.int32)
    return InOut(order[: shadows // 2], order[shadows // 2 :])


def membership_of(in_out_split: InOut) -> np.ndarray:
    """Which units each shadow has, bool [shadows, units]."""
    pairs, units = in_out_split.inside.shape
    membership_mask = np.zeros((2 * pairs, units), bool)
    np.put_along_axis(membership_mask, in_out_split.inside, True, axis=0)
    return membership_mask


def paired(values: np.ndarray, in_out_split: InOut) -> InOut:
    """Values of the shadows, [shadows, units], in the order of their pairs."""
    return InOut(*(np.take_along_axis(values, numbers, axis=0) for numbers in in_out_split))


def places_of(data: DeviceData, partition: int, membership_mask: np.ndarray, whole_clients: bool) -> np.ndarray:
    """Which places of a partition's index each shadow fills, bool [shadows, clients, pad].

    Args:
      data: The data of the attacked runs.
      partition: Number of the partition.
      membership_mask: bool [shadows, units], units being clients or training records.
      whole_clients: Whether they are clients.
    """
    index, count = np.asarray(data.train_index[partition]), np.asarray(data.train_count[partition])
    held = np.arange(index.shape[1]) < count[:, None]
    return held & (membership_mask[:, :, None] if whole_clients else membership_mask[:, index])


def leave_out(static: ProgramConfig, data: DeviceData, places: np.ndarray, record_mask: np.ndarray) -> DeviceData:
    """The data with one partition a shadow, without the records that it lacks.

    Where clients train on their records, those that are left out are gone from the index and the count. Where records are drawn
    one by one, index and count are public and stay, and `DeviceData.record_mask` says who is there.

    Args:
      static: The program configuration.
      data: The data of the attacked runs.
      places: bool [partitions, shadows, clients, pad], the places that are filled.
      record_mask: bool [partitions, shadows, training records], the records that are there.
    """
    shadows = places.shape[1]
    index, count = (np.repeat(part, shadows, axis=0) for part in (data.train_index, data.train_count))
    data = data._replace(test_client=jnp.repeat(data.test_client, shadows, axis=0))
    if contribution_of(static).OF_RECORDS:
        record_mask = record_mask.reshape(-1, record_mask.shape[-1])
        return data._replace(
            train_index=jnp.asarray(index), train_count=jnp.asarray(count), record_mask=jnp.asarray(record_mask)
        )
    filled = places.reshape(-1, *places.shape[2:])
    prepend = np.argsort(~filled, axis=-1, kind="stable")
    return data._replace(
        train_index=jnp.asarray(np.take_along_axis(index, prepend, axis=-1)),
        train_count=jnp.asarray(filled.sum(axis=-1, dtype=np.int32)),
    )


def shadow_signals(target: Target, attack: str, membership_mask: np.ndarray, whole_clients: bool) -> Signals:
    """Trains the shadows of all runs of a target in one program, and reads phi of every record off their models.

    Args:
      target: The attacked runs.
      attack: Name of the attack: what random keys are made from.
      membership_mask: bool [partitions, shadows, units], what each shadow has; the partitions are those of the target.
      whole_clients: Whether units are clients, or records.
    """
    shadows = membership_mask.shape[1]
    places = np.stack([places_of(target.device_data, i, own, whole_clients) for i, own in enumerate(membership_mask)])
    record_mask = _present(target, places) if whole_clients else membership_mask
    data = leave_out(target.static, target.device_data, places, record_mask)
    run_params = run_params_of_shadows(target, attack, shadows, record_mask)
    models = train(target.static, data, run_params)
    train_phi, test_phi = _phi(target.static, data, run_params, models)
    return Signals(*(phi.reshape(len(target.runs), shadows, -1) for phi in (train_phi, test_phi)))


def _present(target: Target, places: np.ndarray) -> np.ndarray:
    """The records that are there, bool [partitions, shadows, training records], from the places that are filled."""
    partitions, shadows = places.shape[:2]
    record_mask = np.zeros((partitions, shadows, len(target.data.y_train)), bool)
    for partition, index in enumerate(np.asarray(target.device_data.train_index)):
        for shadow in range(shadows):
            record_mask[partition, shadow, index[places[partition, shadow]]] = True
    return record_mask


def run_params_of_shadows(target: Target, attack: str, shadows: int, record_mask: np.ndarray) -> RunParams:
    """Hyper-parameters of all shadows, those of a run one after another.

    Args:
      target: The attacked runs.
      attack: Name of the attack.
      shadows: Shadows of each run.
      record_mask: bool [partitions, shadows, training records], what a preprocessing may learn from.
    """
    run_params = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), shadows, axis=0), target.run_params)
    names = [f"{attack}/{run.run_id}/{shadow}" for run in target.runs for shadow in range(shadows)]
    run_params = run_params._replace(
        partition=run_params.partition * shadows + np.tile(np.arange(shadows, dtype=np.int32), len(target.runs)),
        secret_key=np.stack([key_data(name) for name in names]),
    )
    if releases_of(target.runs[0].training.preprocessing):
        rows = [row for half in record_mask for row in half]
        run_params = run_params._replace(preprocessing=_relearned(target, names, run_params.partition, rows))
    return jax.tree.map(jnp.asarray, run_params)


def _relearned(
    target: Target, names: list[str], partitions: np.ndarray, rows: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Learns each shadow's preprocessing from the shadow's records, with fresh noise."""
    preprocessing = learning.build(target.runs[0].training.preprocessing)  # of a bundle's runs only its noise differs
    everyone = len(target.data.y_train)
    expected = everyone // 2  # public, unlike how many a shadow really has
    found = []
    means: dict[tuple[int, bool], list[np.ndarray]] = {}
    for number, (name, partition) in enumerate(zip(names, partitions, strict=True)):
        run = target.runs[number * len(target.runs) // len(names)]
        noise = target.plans[run.run_id].preprocessing_noise_multipliers
        key = int(partition), bool(noise)
        if key not in means:
            there = rows[key[0]]
            parts = learning.statistics(preprocessing, target.data.x_train[there], key[1])
            means[key] = [part * (there.sum() / expected) for part in parts]
        own = jax.random.wrap_key_data(jnp.asarray(key_data(f"preprocessing/{name}")))
        found.append(learning.learned(preprocessing, means[key], noise, expected, own))
    return {name: np.stack([arrays[name] for arrays in found]) for name in found[0]}


def _phi(
    static: ProgramConfig, data: DeviceData, run_params: RunParams, models: PyTree
) -> tuple[np.ndarray, np.ndarray]:
    """The phi of training and test records under each model, float32 [models, records]."""

    def one(data: DeviceData, row: RunParams, params: PyTree) -> tuple[jax.Array, ...]:
        apply = static.preprocessed(row).model.apply
        return tuple(by_chunk(apply, params, part.x, part.y, confidence) for part in (data.train, data.test))

    def all_models(data: DeviceData, run_params: RunParams, models: PyTree) -> tuple[jax.Array, ...]:
        return jax.lax.map(lambda pair: one(data, *pair), (run_params, models))

    train_phi, test_phi = jax.device_get(jax.jit(all_models)(data, run_params, models))
    return train_phi, test_phi


def confidence(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """log(p / (1 - p)) of the true label, float32 [batch], from logits [batch, classes] and labels int32 [batch]."""
    is_label = labels[:, None] == jnp.arange(logits.shape[1])
    own = jnp.where(is_label, logits, 0.0).sum(axis=1)
    return own - jax.nn.logsumexp(jnp.where(is_label, -jnp.inf, logits), axis=1)
