"""Plain PyTorch: a loop over clients, or `torch.func.vmap` over all of them; a plain SGD step for W3p.

python benchmarks/peer_torch.py W1|W2|W3|W3p|W4 loop|vmap
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import workloads as w
from torch import nn
from torch.nn.functional import cross_entropy

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def timed(work: Callable[[], object], turns: int) -> list[float]:
    """Seconds of each turn but the first quarter; a GPU has finished its work when a turn ends."""
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return times[turns // 4 :]


def two_nn() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(512, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


class Federated:
    """DP-FedAvg with Poisson cohorts; `form` says how the clients of a round are trained."""

    def __init__(self, model: nn.Module, form: str) -> None:
        x, y = w.mnist()
        rows = torch.from_numpy(w.partition())
        self.x = torch.from_numpy(x)[:, None][rows].to(DEVICE)  # [clients, 60, ...]
        self.y, model = torch.from_numpy(y)[rows].to(DEVICE), model.to(DEVICE)
        self.model, self.form, self.rng = model, form, np.random.default_rng(1)
        self.params = {name: p.detach().clone() for name, p in model.named_parameters()}

    def round(self, noise: float, clip: float) -> None:
        cohort = np.flatnonzero(self.rng.random(w.CLIENTS) < w.COHORT / w.CLIENTS)
        total = self._vmap(cohort, clip) if self.form == "vmap" else self._loop(cohort, clip)
        for name, update in total.items():
            self.params[name] += (update + noise * clip * torch.randn_like(update)) / w.COHORT

    def _loop(self, cohort: np.ndarray, clip: float) -> dict[str, torch.Tensor]:
        total = {name: torch.zeros_like(p) for name, p in self.params.items()}
        local = dict(self.model.named_parameters())
        for client in cohort:
            with torch.no_grad():
                for name, p in local.items():
                    p.copy_(self.params[name])
            order = torch.randperm(w.EXAMPLES, device=DEVICE)
            for start in range(0, w.EXAMPLES, w.BATCH):
                chosen = order[start : start + w.BATCH]
                loss = cross_entropy(self.model(self.x[client, chosen]), self.y[client, chosen])
                gradients = torch.autograd.grad(loss, list(local.values()))
                with torch.no_grad():
                    for p, g in zip(local.values(), gradients, strict=True):
                        p.sub_(g, alpha=w.CLIENT_LR)
            with torch.no_grad():
                update = {name: p - self.params[name] for name, p in local.items()}
                norm = torch.sqrt(sum(u.square().sum() for u in update.values()))
                factor = min(1.0, clip / float(norm))
                for name, u in update.items():
                    total[name].add_(u, alpha=factor)
        return total

    def _vmap(self, cohort: np.ndarray, clip: float) -> dict[str, torch.Tensor]:
        def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return cross_entropy(torch.func.functional_call(self.model, params, (x,)), y)

        gradient = torch.func.vmap(torch.func.grad(loss))
        n = len(cohort)
        local = {name: p.expand(n, *p.shape).clone() for name, p in self.params.items()}
        order = torch.rand(n, w.EXAMPLES, device=DEVICE).argsort(1)
        members = torch.from_numpy(cohort).to(DEVICE)[:, None]
        for start in range(0, w.EXAMPLES, w.BATCH):
            chosen = order[:, start : start + w.BATCH]
            grads = gradient(local, self.x[members, chosen], self.y[members, chosen])
            local = {name: p - w.CLIENT_LR * grads[name] for name, p in local.items()}
        update = {name: p - self.params[name] for name, p in local.items()}
        norms = torch.sqrt(sum(u.reshape(n, -1).square().sum(1) for u in update.values()))
        factors = torch.clamp(clip / norms, max=1.0)
        return {name: torch.tensordot(factors, u, 1) for name, u in update.items()}


def records() -> tuple[torch.Tensor, torch.Tensor]:
    """Training images [60000, 1, 28, 28] and labels, on the device."""
    x, y = w.mnist()
    return torch.from_numpy(x)[:, None].to(DEVICE), torch.from_numpy(y).to(DEVICE)


def plain_sgd(steps: int) -> list[float]:
    """Milliseconds of plain SGD steps on batches of 256."""
    (x, y), model = records(), cnn().to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=w.RECORD_LR)

    def step() -> None:
        chosen = torch.randint(len(x), (w.RECORD_BATCH,), device=DEVICE)
        optimizer.zero_grad()
        cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()

    return [1e3 * seconds for seconds in timed(step, steps)]


def dp_sgd(steps: int) -> list[float]:
    """Milliseconds of DP-SGD steps: per-example gradients by `vmap` (Opacus's functorch form), Poisson batches."""
    (x, y), model = records(), cnn().to(DEVICE)
    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(torch.func.functional_call(model, params, (x[None],)), y[None])

    gradient = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))

    def step() -> None:
        chosen = torch.nonzero(torch.rand(len(x), device=DEVICE) < w.RECORD_BATCH / len(x))[:, 0]
        grads = gradient(params, x[chosen], y[chosen])
        norms = torch.sqrt(sum(g.flatten(1).square().sum(1) for g in grads.values()))
        factors = torch.clamp(w.CLIP / norms, max=1.0)
        for name, g in grads.items():
            noise = w.RECORD_NOISE * w.CLIP * torch.randn_like(params[name])
            params[name] -= w.RECORD_LR / w.RECORD_BATCH * (torch.tensordot(factors, g, 1) + noise)

    return [1e3 * seconds for seconds in timed(step, steps)]


def round_times(workload: str, form: str, turns: int) -> list[float]:
    """Seconds of rounds of W1 or W2."""
    training = Federated(two_nn() if workload == "W1" else cnn(), form)
    return timed(lambda: training.round(w.NOISE, w.CLIP), turns)


def main(workload: str, form: str) -> None:
    started = time.perf_counter()
    if workload == "W3p":
        w.report("torch", workload, plain_sgd(120), "ms a step")
    elif workload == "W3":
        w.report("torch vmap", workload, dp_sgd(120), "ms a step")
    elif workload == "W4":
        for noise, clip in w.GRID:
            training = Federated(two_nn(), form)
            for _ in range(w.GRID_ROUNDS):
                training.round(noise, clip)
        w.report(f"torch {form}", workload, [time.perf_counter() - started], "s in all")
    else:
        w.report(f"torch {form}", workload, round_times(workload, form, 12), "s a round")


if __name__ == "__main__":
    main(*sys.argv[1:])
