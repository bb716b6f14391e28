"""Black-box checks of a differentially private mechanism for federated learning, whatever program it is part of.

Fill a `Mechanism` with a few functions of your program and with the `Claim` it makes, and hand it to the checks. Each
returns a list of faults in plain language, empty for a sound mechanism. A fault of the deterministic checks is a
counterexample. The statistical ones call a sound mechanism faulty with probability at most `ALARM` each, over the seed.

Only numpy, scipy and dp_accounting are used.
"""

from collections.abc import Callable

from fedpareto.privacy.conformance.attacks import check_audit, check_distinguishing
from fedpareto.privacy.conformance.epsilon import check_epsilon, least_epsilon
from fedpareto.privacy.conformance.mechanism import ALARM, Claim, Mechanism, WholeRun
from fedpareto.privacy.conformance.noise import check_noise_independence, check_noise_scale
from fedpareto.privacy.conformance.released import check_released
from fedpareto.privacy.conformance.sampling import check_sampling
from fedpareto.privacy.conformance.sensitivity import check_divisor, check_overflow, check_sensitivity

__all__ = [
    "ALARM", "CHECKS", "Claim", "Mechanism", "WholeRun", "check_audit", "check_distinguishing", "check_divisor", "check_epsilon",
    "check_noise_independence", "check_noise_scale", "check_overflow", "check_released", "check_sampling",
    "check_sensitivity", "least_epsilon",
]  # fmt: skip

# All checks of a mechanism by name; `check_audit` is about auditors.
CHECKS: dict[str, Callable[[Mechanism], list[str]]] = {
    "divisor": check_divisor,
    "sensitivity": check_sensitivity,
    "noise_scale": check_noise_scale,
    "noise_independence": check_noise_independence,
    "sampling": check_sampling,
    "epsilon": check_epsilon,
    "overflow": check_overflow,
    "distinguishing": check_distinguishing,
    "released": check_released,
}
