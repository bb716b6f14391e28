"""Apple's pfl-research: DP-FedAvg in its simulator, on PyTorch.

python benchmarks/peer_pfl.py W1|W2|W4
"""

from __future__ import annotations

import logging
import sys
import time

import numpy as np
import torch
import workloads as w
from peer_torch import cnn, two_nn
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from pfl.privacy.gaussian_mechanism import GaussianMechanism
from pfl.privacy.privacy_mechanism import CentrallyAppliedPrivacyMechanism
from torch import nn
from torch.nn.functional import cross_entropy


class Classifier(nn.Module):
    """pfl wants `loss` and `metrics` beside `forward`."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.train()
        return cross_entropy(self(x), y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict:
        return {}


class Clock(TrainingProcessCallback):
    """Seconds of each round."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.last = time.perf_counter()

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        now = time.perf_counter()
        self.times.append(now - self.last)
        self.last = now
        return False, Metrics()


def train(layers: nn.Module, users: FederatedDataset, noise: float, clip: float, rounds: int) -> list[float]:
    """Seconds of each of `rounds` rounds."""
    network = Classifier(layers)
    model = PyTorchModel(
        network,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
    )
    mechanism = CentrallyAppliedPrivacyMechanism(GaussianMechanism(clip, noise))
    backend = SimulatedBackend(training_data=users, val_data=users, postprocessors=[mechanism])
    parameters = NNAlgorithmParams(
        central_num_iterations=rounds,
        evaluation_frequency=10**6,
        train_cohort_size=w.COHORT,
        val_cohort_size=0,
    )
    local = NNTrainHyperParams(local_learning_rate=w.CLIENT_LR, local_num_epochs=1, local_batch_size=w.BATCH)
    clock = Clock()
    FederatedAveraging().run(
        algorithm_params=parameters, backend=backend, model=model, model_train_params=local, callbacks=[clock]
    )
    return clock.times


def population() -> FederatedDataset:
    """The clients of the workloads; pfl draws cohorts of fixed size."""
    x, y = w.mnist()
    rows = w.partition()
    x, y = torch.from_numpy(x)[:, None], torch.from_numpy(y)
    clients = {str(i): Dataset((x[own], y[own]), user_id=str(i)) for i, own in enumerate(map(torch.from_numpy, rows))}
    return FederatedDataset(clients.__getitem__, get_user_sampler("random", list(clients)))


def main(workload: str) -> None:
    logging.disable(logging.WARNING)
    np.random.seed(0)
    torch.manual_seed(0)
    started = time.perf_counter()
    users = population()
    if workload == "W4":
        for noise, clip in w.GRID:
            train(two_nn(), users, noise, clip, w.GRID_ROUNDS)
        w.report("pfl", workload, [time.perf_counter() - started], "s in all")
    else:
        times = train(two_nn() if workload == "W1" else cnn(), users, w.NOISE, w.CLIP, 12)
        w.report("pfl", workload, times[2:], "s a round")


if __name__ == "__main__":
    main(*sys.argv[1:])
