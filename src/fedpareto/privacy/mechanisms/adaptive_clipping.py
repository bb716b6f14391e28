"""A clip norm that follows a quantile of the norms of what units contribute (Andrew et al. 2021), its noise and its price.

Each round releases a noisy count of the units within the clip norm beside the sum: of clients by their updates, of records by their
gradients. The two together cost what the sum alone would at the plan's noise multiplier: 1/z^2 = 1/z_update^2 +
1/(2 count_stddev)^2 (Theorem 1; a centred bit has sensitivity 1/2). The proof asks of a unit only that sum and count are taken over
one sample of units, so that it holds for records as for clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import jax

COUNT_NOISE_OF_COHORT = 1 / 20  # Andrew et al. (2021)
COUNT_NOISE_OF_MULTIPLIER = 2.0  # at which the noise on updates is 3 % more than without adaptive clipping
# Of the clip norm of a private run, and of its noise multiplier: their product and its square are numbers of float32.
LIMITS = (1e-18, 1e18)


class AdaptiveClip(NamedTuple):
    """How the clip norm follows a quantile of norms; float32 scalars of a run.

    Attributes:
      quantile: Share of the contributions (updates of clients, gradients of records) that should not be shortened.
      learning_rate: Step of the clip norm's logarithm.
      count_stddev: Standard deviation of the noise on the centred count of those that were not, in units.
    """

    quantile: jax.Array
    learning_rate: jax.Array
    count_stddev: jax.Array


def default_count_stddev(expected_cohort: float, noise_multiplier: float) -> float:
    """Standard deviation of the noise on the centred count where the user gives none, in units."""
    return max(COUNT_NOISE_OF_COHORT * expected_cohort, COUNT_NOISE_OF_MULTIPLIER * noise_multiplier)


def update_noise_multiplier(noise_multiplier: float, count_stddev: float) -> float:
    """Noise multiplier of the sum, at which sum and count jointly cost as much as `noise_multiplier`."""
    left: float = noise_multiplier**-2 - (2 * count_stddev) ** -2
    return left**-0.5


def noisy_count(key: jax.Array, rule: AdaptiveClip, within: jax.Array) -> jax.Array:
    """The centred count of units within the clip norm, as it is released."""
    # A plan, which needs the functions above, is made without JAX.
    from fedpareto.privacy.mechanisms.normal import standard_normal

    return within + rule.count_stddev * standard_normal(key)


def next_clip(rule: AdaptiveClip, clip_norm: jax.Array, centred: jax.Array) -> jax.Array:
    """The geometric step on a noisy share of updates within the norm, less 1/2."""
    import jax.numpy as jnp

    stepped = clip_norm * jnp.exp(-rule.learning_rate * (centred + 0.5 - rule.quantile))
    # An infinite clip norm hides nothing, and at one that float32 has no room for noise and sums are not what was proved.
    return jnp.clip(stepped, *LIMITS)
