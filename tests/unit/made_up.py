"""Bundles as training and attacks write them, with made-up numbers that only tests see."""

import itertools
import json

import numpy as np
import pandas as pd

from fedpareto.attacks.results import AttackResult, Picture, RocPoint, frame
from fedpareto.columns.declared import table

ORDERS = [1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0, 64.0]
# How much each adversary gets of what there is to get.
KEENNESS = {"server": 1.0, "participants": 0.8, "outsider": 0.5}


NOTHING = {"text": None, "count": None, "integer": 0, "number": np.nan, "flag": True}
RUN = {
    "bundle_id": "b" * 16, "dataset": "digits", "model": "logistic", "partition": "iid", "sampling": "poisson", "algorithm": "fedavg",
    "server_optimizer": "sgd", "unit": "client", "trust": "central", "adjacency": "add_or_remove_one", "accountant": "rdp", "device": "cpu",
    "status": "ok", "versions": "{}", "fingerprint": "f", "execution": "{}", "accounting_warnings": "", "proved_by": "fedpareto", "numerics": "float32", "participation": "secret",
    "mechanism": "gaussian", "parameters": 650, "examples": 1438, "rounds": 10, "rounds_done": 10, "local_epochs": 1, "batch_size": 8,
    "overflow_rounds": 0, "refused_rounds": 0, "bits_per_parameter": 32, "releases": 10.0, "wrapped_fraction": 0.0, "rdp_order": 5.0,
    "loss": 0.3, "worst_client_accuracy": 0.5, "median_client_accuracy": 0.8, "mean_client_accuracy": 0.7, "bytes_up": 1e6,
    "bytes_down": 1e6, "wall_s": 0.4, "sampling_rate": 0.2, "client_learning_rate": 0.1, "overflow_probability": 1e-8,
}  # fmt: skip


def row(name, **values):
    """A row of a declared table as a bundle has it; a cell that is not given is empty, or what an unset key says."""
    declared = table(name).of_bundle
    declared.check(set(declared.names) | set(values), name)
    empty = {c.name: NOTHING[c.type] if c.unset is None else c.unset for c in declared.columns}
    return empty | values


def bundle(folder, diverged=(), useless=()):
    """A bundle as training writes one, with made-up numbers that only these tests see."""
    rng = np.random.default_rng(0)
    runs, metrics, curves = [], [], []
    cells = [*itertools.product([50, 100], [0.3, 1.0], [1.0, 2.0, 4.0]), *((n, np.nan, 0.0) for n in (50, 100))]
    for number, ((n, clip, z), seed) in enumerate(itertools.product(cells, range(4))):
        epsilon = np.inf if z == 0 else 8 / z
        accuracy = 0.95 - 0.02 * z - 0.1 / n * 10 + rng.normal(0, 0.005)
        run = RUN | {"run_id": f"{number:016x}", "clients": n, "seed": seed, "clip_norm": clip, "noise_multiplier": z}
        run |= {"delta": np.nan if z == 0 else 1e-4, "baseline": "non_private" if z == 0 else None}
        run |= {"epsilon_rdp": epsilon, "epsilon_pld": 0.9 * epsilon, "epsilon_rdp_classic": 1.1 * epsilon}
        run |= {"accuracy": accuracy, "f1": 0.8 + 0.01 * seed}
        if z:
            at = {"run_id": run["run_id"], "delta": 1e-4, "delta_aside": 1e-7, "largest_epsilon": np.inf}
            curves += [row("curves", order=a, rdp=a / (2 * z**2), **at) for a in ORDERS]
        if (n, clip, z, seed) in diverged:
            run |= {"status": "diverged", "accuracy": np.nan, "loss": np.nan, "diverged_round": 3}
        if (n, clip, z, seed) in useless:
            run |= {"status": "learned_nothing", "accuracy": 0.1, "loss": 2.3}
        runs.append(row("runs", **run))
        for r in (0, 5, 10):
            spent = epsilon * r / 10 if r else 0.0
            at = {"run_id": run["run_id"], "round": r, "accuracy": accuracy * (0.1 + r / 12), "loss": 1.0}
            metrics.append(row("rounds", epsilon_rdp=spent, epsilon_pld=0.9 * spent, **at))
    parts = [
        row("partitions", dataset="digits", partition="iid", clients=50, client=c, label=str(k), count=3)
        for c in range(50)
        for k in range(10)
    ]
    own = [row("clients", run_id=run["run_id"], client=0, records=7, epsilon_rdp=1.0) for run in runs[:2]]
    home = folder / "bundles" / ("b" * 16)
    home.mkdir(parents=True)
    written = {"runs": runs, "rounds": metrics, "partitions": parts, "clients": own, "curves": curves}
    for name, rows in written.items():
        pd.DataFrame(rows).to_parquet(home / f"{table(name).file}.parquet")
    members = [run["run_id"] for run in runs]
    studies = {"one": {"runs": members, "title": "One"}, "two": {"runs": members[:8], "title": "Two"}}
    (folder / "plan.json").write_text(json.dumps({"studies": studies, "bundles": {"b" * 16: members}}))
    return folder


def attack(folder, runs, trials=1000, hospitals=0, shape="8x8x1", policies=None):
    """What attacks would write for some of a bundle's runs (rows of its `runs` table), and the plan that asks for it.

    Success falls with epsilon as the bound of one Gaussian release does: nothing here is measured.
    """
    findings, roc, pictures = [], [], []
    rng = np.random.default_rng(1)
    for run in runs.itertuples():
        private = np.isfinite(run.epsilon_rdp)
        for name, keen in KEENNESS.items():
            covered = private and (name != "server" or run.trust != "central")
            leaks = keen * (run.epsilon_rdp / (4 + run.epsilon_rdp) if private else 1.0)
            leaks = keen if private and not covered else leaks
            allowed = 1 - 0.5 * np.exp(-0.5 * run.epsilon_rdp) if covered else np.nan
            for kind in ("membership", "client_membership"):
                for client in (None, *range(hospitals if kind == "client_membership" else 0)):
                    own = leaks * (1 if client is None else 1 - 0.2 * client)
                    findings += _told_apart(run.run_id, kind, name, client, own, allowed, covered, trials, rng)
                roc += _curve(run.run_id, kind, name, leaks, run.epsilon_rdp if covered else np.inf, trials)
            if name != "outsider":
                findings += _rebuilt(run.run_id, name, leaks, allowed, covered)
        seen = {"value": 0.1 + 0.8 * KEENNESS["outsider"], "baseline": 0.1, "covered": private, "success": True}
        findings.append(
            AttackResult(run.run_id, "model_inversion", "gradient_ascent", "outsider", "recognised", **seen)
        )
        findings += _audited(run.run_id, run.epsilon_rdp) if private else []
        if shape:
            pictures += _pictures(run.run_id, run.epsilon_rdp, shape, rng)
    home = folder / "bundles" / runs["bundle_id"].iloc[0]
    for name, rows in (("attacks", findings), ("roc", roc), ("pictures", pictures)):
        frame(name, rows).to_parquet(home / f"{name}.parquet")
    plan = json.loads((folder / "plan.json").read_text())
    asked = plan.get("attacks", {}) | {run: [{"name": "membership"}] for run in runs["run_id"]}
    plan |= {"attacks": asked, "policies": plan.get("policies", {}) | (policies or {})}
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


def _told_apart(run, kind, name, client, leaks, allowed, covered, trials, rng):
    """As attacks write it: the scores of single clients stand for nothing but them."""
    half = 1.0 / np.sqrt(trials)
    at = {"run_id": run, "attack": kind, "adversary": name, "covered": covered, "client": client}
    at |= {"positives": trials // 2, "negatives": trials // 2}
    for method, value in (
        ("lira_online", 0.5 + 0.45 * leaks + rng.normal(0, 0.01)),
        ("loss_threshold", 0.5 + 0.3 * leaks),
    ):
        stands = {"success": client is None and method == "lira_online", "baseline": 0.5, "bound": allowed}
        yield AttackResult(method=method, score="auc", value=value, low=value - half, high=value + half, **stands, **at)
        yield AttackResult(method=method, score="tpr_at_fpr_0.01", value=0.01 + 0.5 * leaks, realised_fpr=0.0098, **at)


def _curve(run, kind, name, leaks, epsilon, trials):
    fpr = np.unique(np.concatenate([[0.0], np.geomspace(2 / trials, 1, 40)]))
    tpr = np.clip(fpr ** (1 - 0.75 * leaks), 0, 1)
    allowed = np.minimum(np.minimum(np.exp(min(epsilon, 700)) * fpr + 1e-4, 1), 1 - np.exp(-epsilon) * (1 - 1e-4 - fpr))
    allowed = np.maximum(allowed, fpr) if np.isfinite(epsilon) else np.ones_like(fpr)
    tpr = np.minimum(tpr, allowed)
    return [
        RocPoint(run, kind, "lira_online", name, None, *map(float, at)) for at in zip(fpr, tpr, allowed, strict=True)
    ]


def _rebuilt(run, name, leaks, allowed, covered):
    same = {"run_id": run, "attack": "gradient_inversion", "adversary": name, "covered": covered}
    for records, (method, better) in itertools.product((1, 8), (("cosine", 0.05), ("dlg", 0.0))):
        share = max(0.02, leaks - 0.05 * records + better)
        low, high = share - min(0.1, share), min(1.0, share + 0.1)
        at = same | {"method": method, "records": records, "positives": 32}
        stands = {"success": True, "baseline": 0.02, "bound": allowed}
        yield AttackResult(score="rebuilt", value=share, low=low, high=high, **stands, **at)
        yield AttackResult(
            score="psnr", value=10 + 20 * share, low=10 + 20 * low, high=10 + 20 * high, baseline=10.0, **at
        )


def _audited(run, epsilon):
    for (method, found), name in itertools.product(
        (("one_run", 0.5), ("many_runs", 0.8)), ("participants", "outsider")
    ):
        keen = found * KEENNESS[name]
        same = {"run_id": run, "attack": "audit", "adversary": name, "bound": epsilon, "method": method}
        lower = max(0.0, 0.8 * keen * epsilon - 0.3)
        yield AttackResult(score="epsilon_lower", value=lower, low=lower, baseline=0.0, **same)
        yield AttackResult(score="epsilon_estimate", value=keen * epsilon, baseline=0.0, **same)
        yield AttackResult(score="auc", value=0.6, baseline=0.5, **same)


def _pictures(run, epsilon, shape, rng):
    rows, columns, channels = map(int, shape.split("x"))
    y, x = np.mgrid[0:rows, 0:columns] / rows
    found = []
    for attack_name, sizes in (("gradient_inversion", (1, 8)), ("model_inversion", (None,))):
        for records, number in itertools.product(sizes, range(3)):
            ring = np.exp(-(((np.hypot(x - 0.5, y - 0.45) - 0.15 - 0.08 * number) / 0.07) ** 2))
            true = np.repeat(ring.ravel()[:, None], channels, axis=1).ravel()
            same = {"run_id": run, "attack": attack_name, "records": records, "number": number, "shape": shape}
            found.append(Picture(method="", adversary="", kind="true", psnr=np.nan, pixels=true, **same))
            if number == 0:  # one guess for all
                guess = np.full_like(true, 0.3)
                at = same | {"kind": "guess", "psnr": _psnr(true, guess), "pixels": guess}
                found.append(Picture(method="", adversary="", **at))
            for name in KEENNESS if attack_name == "model_inversion" else ("server", "participants"):
                spread = 0.05 * (records or 1) + (0 if np.isinf(epsilon) or name == "server" else 1.0 / epsilon)
                seen = np.clip(true + rng.normal(0, spread, true.shape), 0, 1)
                at = same | {"method": "cosine", "adversary": name}
                found.append(Picture(kind="rebuilt", psnr=_psnr(true, seen), pixels=seen, **at))
    return found


def _psnr(true, seen):
    return float(-10 * np.log10(np.mean((true - seen) ** 2)))
