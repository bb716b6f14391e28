"""Bounds that a proven guarantee puts on every adversary that it covers.

For a mechanism with the guarantee (epsilon, delta(epsilon)) at every epsilon, a test of "the secret was there" with false positive
rate a has a true positive rate of at most min(e^eps a + delta, 1 - e^-eps (1 - delta - a)) for each of them (Kairouz et al.
2015). The same curve bounds reconstruction: whatever is rebuilt with probability k from the prior alone is rebuilt with
probability at most its value at k (Balle et al. 2022, arXiv:2201.04845; Hayes et al. 2023, arXiv:2302.07225: the blow-up function).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta

from fedpareto.components.threats import OUTSIDER, PARTICIPANTS
from fedpareto.privacy.plan import PrivacyPlan
from fedpareto.sweep.account import AccountedRun
from fedpareto.sweep.run import Run

EPSILONS = np.concatenate([np.linspace(0, 2, 41)[1:], np.geomspace(2.1, 700, 200)])


def covers(run: Run, adversary: str, secret: str) -> bool:
    """Whether the run's guarantee holds against an adversary (`threats.ADVERSARIES`) and for a secret (`client`, `record`).

    With a trusted coordinator it does not hold against the coordinator itself. A guarantee for whole clients covers their
    records; one for records covers no client.
    """
    if run.privacy is None or (run.contribution.unit == "record" and secret == "client"):
        return False
    return adversary in (PARTICIPANTS, OUTSIDER) or run.contribution.trust != "central"


def group_size(plan: PrivacyPlan, secret: str) -> int:
    """Number of neighbour steps between data with and without the secret (`client`, `record`): the group size of `max_tpr`.

    A record that is missing leaves its client with other data. Where neighbours differ by a client being there or not, that is
    one step to take the client away and one to add it as it is then; where they may swap one, it is a single step.
    """
    # Adaptive clipping counts a client that is left out as one with a short update: a step further than an absent client. A record
    # that is left out is not counted.
    if plan.setting.clipping == "adaptive" and plan.setting.unit == "client":
        return 2
    return 2 if plan.setting.unit == "client" and secret == "record" and plan.setting.adjacency != "replace_one" else 1


def max_tpr(fpr: np.ndarray | float, accounted: AccountedRun, group_size: int = 1) -> np.ndarray:
    """Largest true positive rate at each false positive rate that the run's Renyi divergence leaves possible.

    Args:
      fpr: float [n] in [0, 1].
      accounted: The run's guarantee; 1 everywhere where it has none.
      group_size: Neighbour steps from the data without the secret to those with it; the curve is applied to itself as often (group
        privacy: Dong et al. 2022, Theorem 2.14).

    Returns:
      float64 [n].
    """
    at = np.atleast_1d(np.asarray(fpr, np.float64))
    epsilon, delta = profile(accounted)
    if not epsilon.size:
        return np.ones_like(at)
    grown = np.minimum(700.0, epsilon)[:, None]
    for _ in range(group_size):
        up = np.exp(grown) * at + delta[:, None]
        down = 1 - np.exp(-grown) * (1 - delta[:, None] - at)
        at = np.clip(np.minimum(up, down).min(axis=0), at, 1.0)
    return at


def max_success_if_sampled(prior: float, accounted: AccountedRun) -> float:
    """Largest probability of rebuilding a record of a client (or a record) that is known to have taken part in a round.

    A guarantee amplified by sampling is an average over cohorts. A unit that is sampled with probability q has its secret rebuilt
    with probability at most `max_tpr` in all, hence at most `max_tpr` / q given that it was sampled.

    Args:
      prior: Probability of success without seeing anything.
      accounted: The run's guarantee.
    """
    share = accounted.plan.inclusion_probability if accounted.plan.amplified else 1.0
    return min(1.0, float(max_tpr(prior, accounted)[0]) / share)


def max_auc(accounted: AccountedRun, group_size: int = 1) -> float:
    """Upper bound on the area under every ROC curve below `max_tpr`, whose arguments it takes."""
    grid = np.union1d(np.linspace(0, 1, 2001), np.geomspace(1e-8, 1e-3, 500))
    # The curve rises: its value at the right end of an interval is its largest there.
    return float(np.sum(np.diff(grid) * max_tpr(grid, accounted, group_size)[1:]))


def profile(accounted: AccountedRun) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (epsilon, delta) that the run satisfies all at once: float64 [n] each, empty where it has no guarantee."""
    final, plan = accounted.final, accounted.plan
    if not plan.private or plan.delta is None or not math.isfinite(final.epsilon):
        return np.zeros(0), np.zeros(0)
    proven = (final.epsilon_rdp, final.epsilon_pld)
    pairs = [(float(epsilon), plan.delta) for epsilon in proven if math.isfinite(epsilon)]
    orders, rdp = (tuple(map(float, values)) for values in accounted.curve)
    pairs += _by_renyi_divergence(orders, rdp, float(plan.largest_epsilon), float(plan.reserved_delta))
    return np.asarray([e for e, _ in pairs]), np.asarray([d for _, d in pairs])


@lru_cache(maxsize=256)
def _by_renyi_divergence(
    orders: tuple[float, ...], rdp: tuple[float, ...], largest: float, reserved: float
) -> list[tuple[float, float]]:
    """Pairs (epsilon, delta) up to the largest epsilon; beyond it a discrete table's bound proves nothing."""
    if not orders:
        return []
    at, divergence = np.asarray(orders), np.asarray(rdp)
    finite = np.isfinite(divergence)
    return [
        (float(epsilon), min(1.0, float(compute_delta(at[finite], divergence[finite], float(epsilon))[0] + reserved)))
        for epsilon in EPSILONS[largest >= EPSILONS]
    ]
