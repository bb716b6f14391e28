"""From a bundle's configuration, plans and data to the arguments of its program."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.data.arrays import PreparedData
from fedpareto.data.partition import Partition, partition
from fedpareto.federated.client import Examples, LocalWork
from fedpareto.federated.devices import Layout
from fedpareto.federated.round import Data, Hyper, Static
from fedpareto.models import Model
from fedpareto.plan import Run
from fedpareto.privacy.plan import PrivacyPlan


def static_of(runs: Sequence[Run], plans: Mapping[str, PrivacyPlan], model: Model, layout: Layout) -> Static:
    """What the runs of a bundle share. The cohort buffer is the largest that any of their plans asks for."""
    run = runs[0]
    return Static(
        model=model,
        work=LocalWork(run.local_epochs, run.local_steps, run.batch_size),
        clients=run.clients,
        sampling_rate=run.sampling_rate,
        cohort_pad=max(plans[r.run_id].cohort_pad for r in runs),
        expected_cohort=plans[run.run_id].expected_cohort,
        optimizer=run.server_optimizer["name"],
        optimizer_flags=tuple(
            (key, value) for key, value in sorted(run.server_optimizer.items()) if key != "name" and not _traced(value)
        ),
        rounds=run.rounds,
        evaluation_rounds=run.evaluation_rounds,
        unit=run.unit,
        at_once=layout.at_once,
        cohort_devices=layout.cohort_devices,
    )


def partitions_of(runs: Sequence[Run], data: PreparedData) -> dict[int, Partition]:
    """The partition of each seed among the runs."""
    run = runs[0]
    return {
        seed: partition(
            data.y_train,
            data.y_test,
            scheme=run.partition,
            clients=run.clients,
            seed=seed,
            client_train=data.client_train,
            client_test=data.client_test,
        )
        for seed in sorted({r.seed for r in runs})
    }


def data_of(data: PreparedData, partitions: Mapping[int, Partition]) -> Data:
    """Device arrays of a bundle: the examples once, and an index matrix for each partition."""
    pad = max(p.train_index.shape[1] for p in partitions.values())
    index = [np.pad(p.train_index, ((0, 0), (0, pad - p.train_index.shape[1]))) for p in partitions.values()]
    return Data(
        train=Examples(jnp.asarray(data.x_train), jnp.asarray(data.y_train)),
        test=Examples(jnp.asarray(data.x_test), jnp.asarray(data.y_test)),
        train_index=jnp.asarray(np.stack(index)),
        train_count=jnp.asarray(np.stack([p.train_count for p in partitions.values()])),
        test_client=jnp.asarray(
            np.stack([np.unique(p.test_client, return_inverse=True)[1] for p in partitions.values()]), jnp.int32
        ),
    )


def hypers_of(runs: Sequence[Run], plans: Mapping[str, PrivacyPlan], seeds: Sequence[int], multiple: int) -> Hyper:
    """The runs' hyper-parameters stacked along a runs axis, which is padded to a multiple of `multiple` by repetition."""
    padded = [*runs, *[runs[-1]] * (-len(runs) % multiple)]
    position = {seed: i for i, seed in enumerate(seeds)}
    public = np.stack([_key_data(f"public/{run.seed}") for run in padded])
    secret = np.stack([_key_data(f"secret/{run.run_id}") for run in padded])
    names = [key for key, value in sorted(padded[0].server_optimizer.items()) if key != "name" and _traced(value)]
    floats = lambda values: jnp.asarray(np.asarray(list(values), np.float32))  # noqa: E731
    return Hyper(
        partition=jnp.asarray([position[run.seed] for run in padded], jnp.int32),
        public_key=jnp.asarray(public),
        secret_key=jnp.asarray(secret),
        client_learning_rate=floats(run.client_learning_rate or 0.0 for run in padded),
        server={name: floats(run.server_optimizer[name] for run in padded) for name in names},
        clip_norm=floats(math.inf if run.clip_norm is None else run.clip_norm for run in padded),
        noise_stddev=floats(plans[run.run_id].noise_stddev for run in padded),
    )


def model_arrays(params: object) -> dict[str, np.ndarray]:
    """The leaves of one run's parameters by path, e.g. `Dense_0/kernel`, float32."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def _traced(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _key_data(text: str) -> np.ndarray:
    """Key data of a threefry key, uint32 [2], from a text: 64 bits of its SHA-256."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint32).copy()
