"""Opacus: a DP-SGD step of W3 in one of its modes.

python benchmarks/peer_opacus.py W3 hooks|ghost|functorch
"""

from __future__ import annotations

import sys
import time
import warnings

import torch
import workloads as w
from opacus import PrivacyEngine
from peer_torch import cnn
from torch.utils.data import DataLoader, TensorDataset


def main(workload: str, mode: str, steps: int = 60) -> None:
    warnings.filterwarnings("ignore")
    x, y = w.mnist()
    data = TensorDataset(torch.from_numpy(x)[:, None], torch.from_numpy(y))
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=w.RECORD_LR)
    options = {"noise_multiplier": w.RECORD_NOISE, "max_grad_norm": w.CLIP, "poisson_sampling": True}
    loader, criterion = DataLoader(data, batch_size=w.RECORD_BATCH), torch.nn.CrossEntropyLoss()
    engine = PrivacyEngine(secure_mode=False)
    made = engine.make_private(
        module=model,
        optimizer=optimizer,
        data_loader=loader,
        criterion=criterion,
        grad_sample_mode=mode,
        **options,
    )
    if mode == "ghost":
        model, optimizer, criterion, loader = made
    else:
        model, optimizer, loader = made
    times = []
    batches = iter(loader)
    for _ in range(steps):
        # Opacus collates a batch example by example in Python; that is its loader's time, and not counted.
        images, labels = next(batches)
        started = time.perf_counter()
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - started))
    w.report(f"opacus {mode}", workload, times[steps // 4 :], "ms a step")


if __name__ == "__main__":
    main(*sys.argv[1:])
