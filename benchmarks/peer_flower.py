"""Flower: DP-FedAvg (server-side fixed clipping) in its simulation engine, on PyTorch.

python benchmarks/peer_flower.py W1|W2
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time

import torch
import workloads as w
from flwr.client import ClientApp, NumPyClient
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from flwr.simulation import run_simulation
from peer_torch import cnn, two_nn
from torch.nn.functional import cross_entropy

ROUNDS = 6
TIMES: list[float] = []
CACHE: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}


class Timed(FedAvg):
    """FedAvg that notes when each round begins."""

    def configure_fit(self, server_round, parameters, client_manager):
        TIMES.append(time.perf_counter())
        return super().configure_fit(server_round, parameters, client_manager)

    def aggregate_fit(self, server_round, results, failures):
        if failures or len(results) != w.COHORT:
            # The server runs in a thread, where an exception ends nothing.
            print(
                f"{len(results)} clients answered, {len(failures)} failed: {failures[:1]}", file=sys.stderr, flush=True
            )
            os._exit(1)
        return super().aggregate_fit(server_round, results, failures)


class Client(NumPyClient):
    """One epoch of SGD on the client's own rows."""

    def __init__(self, workload: str, number: int) -> None:
        if not CACHE:  # once a worker process
            torch.set_num_threads(1)
            x, y = w.mnist()
            rows = torch.from_numpy(w.partition())
            CACHE["data"] = (torch.from_numpy(x)[:, None][rows], torch.from_numpy(y)[rows])
        x, y = CACHE["data"]
        self.model, self.x, self.y = two_nn() if workload == "W1" else cnn(), x[number], y[number]

    def fit(self, parameters, config):
        with torch.no_grad():
            for p, value in zip(self.model.parameters(), parameters, strict=True):
                p.copy_(torch.from_numpy(value))
        order = torch.randperm(w.EXAMPLES)
        for start in range(0, w.EXAMPLES, w.BATCH):
            chosen = order[start : start + w.BATCH]
            loss = cross_entropy(self.model(self.x[chosen]), self.y[chosen])
            gradients = torch.autograd.grad(loss, list(self.model.parameters()))
            with torch.no_grad():
                for p, g in zip(self.model.parameters(), gradients, strict=True):
                    p.sub_(g, alpha=w.CLIENT_LR)
        return [p.detach().numpy() for p in self.model.parameters()], w.EXAMPLES, {}


def client(context: Context):
    return Client(os.environ["WORKLOAD"], int(context.node_config["partition-id"])).to_client()


def server(context: Context) -> ServerAppComponents:
    initial = [p.detach().numpy() for p in (two_nn() if os.environ["WORKLOAD"] == "W1" else cnn()).parameters()]
    strategy = Timed(
        fraction_fit=w.COHORT / w.CLIENTS,
        fraction_evaluate=0.0,
        min_fit_clients=w.COHORT,
        min_available_clients=w.CLIENTS,
        initial_parameters=ndarrays_to_parameters(initial),
    )
    private = DifferentialPrivacyServerSideFixedClipping(strategy, w.NOISE, w.CLIP, w.COHORT)
    return ServerAppComponents(strategy=private, config=ServerConfig(num_rounds=ROUNDS))


def main(workload: str) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    os.environ["WORKLOAD"] = workload
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(ServerApp(server_fn=server), ClientApp(client_fn=client), w.CLIENTS, backend_config=resources)
    times = [after - before for before, after in itertools.pairwise(TIMES[1:])]
    w.report("flower", workload, times, "s a round")


if __name__ == "__main__":
    # As an imported module: what stands in `__main__` is sent to the workers anew, data and all, for every client.
    import peer_flower

    peer_flower.main(*sys.argv[1:])
