"""The law of one round as every accountant reads it from a plan: Gaussians on a sample, or a divergence that is stated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import dp_accounting

from fedpareto.privacy.plan import PrivacyPlan

Sample = Literal["everybody", "poisson", "without_replacement"]


@dataclass(frozen=True)
class GaussianRound:
    """One round whose noise is Gaussian: `steps` releases, made with probability `participation`, each of a secret sample.

    Attributes:
      noise: Noise standard deviation over the sensitivity of a release.
      sample: Who is in a release: everybody, a secret Poisson sample with neighbours by adding or removing, or a secret sample
        (of a fixed size, or Poisson) with neighbours by replacing.
      rate: Probability that the unit is in a release's sample.
      steps: Releases of a round that uses the unit.
      participation: Probability that a round uses the unit, where nobody needs to be kept from knowing which do.
    """

    noise: float
    sample: Sample
    rate: float = 1.0
    steps: int = 1
    participation: float = 1.0


def gaussian_round(plan: PrivacyPlan) -> GaussianRound | None:
    """One round of a plan; None where its mechanism states a divergence that is not a Gaussian's.

    Under `replace_one` the sensitivity is twice the clip norm, and the noise relative to it half as much.
    """
    event = plan.noise.event(plan)
    if not isinstance(event, dp_accounting.GaussianDpEvent):
        return None
    noise, drawn = float(event.noise_multiplier), plan.participation_probability
    if plan.local is not None:
        rate = plan.local.worst
        sample: Sample = "poisson" if rate < 1 else "everybody"
        return GaussianRound(noise, sample, rate, plan.local.steps, drawn)
    if not plan.amplified:
        return GaussianRound(noise, "everybody", participation=drawn)
    hidden: Sample = "without_replacement" if plan.setting.adjacency == "replace_one" else "poisson"
    return GaussianRound(noise, hidden, plan.inclusion_probability)
