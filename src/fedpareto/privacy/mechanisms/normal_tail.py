"""The charge to delta for normal noise that ends: the probability of a release that is impossible for the neighbour.

Noise comes in pairs of coordinates whose norm is at most m (`normal`). A unit moves its n pairs by t_1, ..., t_n standard
deviations, of L2 norm s in all. A release with a pair farther than m from where the neighbour's would be is impossible for the
neighbour; for every other the ratio of the densities is the Gaussians' own.

**One release.** Let g(t^2) = P[|Z + t e| > m] with Z ~ N(0, I_2): the survival function at m^2 of the noncentral chi-square law
with 2 degrees of freedom and noncentrality t^2. An impossible release has at most the probability sum_i g(t_i^2). The
derivative of g is the density at m^2 of that law with 4 degrees of freedom. It grows with t to beyond t = m - 1; there g is
convex, and the sum, under a bound on the sum of the t_i^2, is largest with all on one pair: g(s^2) + (n - 1) g(0). All possible
densities are the Gaussians' times (1 - g(0))^-n. Hence at every alpha the hockey-stick divergence of two releases exceeds the
Gaussians' by at most g(s^2) + 2 n g(0).

**A run.** Where who takes part is drawn, releases are mixtures of such pairs that are no farther apart, and joint convexity keeps
the bound on the excess. It adds up over releases, also where a later one depends on earlier ones: H_alpha(P x P' | Q x Q') is the
mean over P' of H_(alpha Q'/P')(P | Q), and no excess in the mean is above the largest.

**Correlated noise** (`banded`) ends where it is still white, and C x moves it, with x the sums. One participation moves the white
noise j rounds later by c_j s, and the c_j^2 add up to 1: by convexity all its rounds together cost no more than one release at s.
No two participations of a unit move the same round, hence a run costs no more than one release a round.
"""

from __future__ import annotations

import math

LARGEST_RADIUS = math.sqrt(2 * 97 * math.log(2))  # of a pair of `normal`, whose uniform is at least 2^-97: 11.6
MOST_PAIRS = 2**30  # in one release


def impossible_release(shift: float, radius: float = LARGEST_RADIUS, pairs: int = MOST_PAIRS) -> float:
    """Bound on the probability of a release that is impossible for the neighbour.

    >>> f"{impossible_release(shift=2.0):.1g} {impossible_release(shift=8.0):.1g}"
    '1e-20 0.0002'

    Args:
      shift: L2 norm s of the change of a release by one unit, in standard deviations of the noise.
      radius: The largest norm m of a pair of noise.
      pairs: Number n of pairs in a release, at least 1.
    """
    if shift > radius - 1:  # no claim of convexity; g is above 1/7 there
        return 1.0
    from scipy.stats import ncx2  # takes longer to import than a configuration takes to be read

    moved = float(ncx2.sf(radius**2, 2, shift**2))
    return min(1.0, moved + 2 * pairs * math.exp(-(radius**2) / 2))
