"""What is learned of all records before the first round carries the noise that is accounted for.

Seeds are fixed; with another seed each comparison of a correct implementation fails with probability `ALARM`.
"""

import jax
import numpy as np
from scipy import stats

from fedpareto.federated.preprocessings.learning import build, learned
from fedpareto.privacy.mechanisms.normal import standard_normal

ALARM = 1e-3
RECORDS, NOISE = 100, 8.0


def test_noise_on_the_sums_of_means_and_squares():
    data_norm = build({"name": "data_norm", "mean_norm": 4.0, "square_norm": 30.0})
    # Of a mean square this large no noise makes the variance zero, and the scale gives the noisy mean square back.
    means = (np.zeros(10_000), np.full(10_000, 1e3))
    found = learned(data_norm, means, (NOISE, NOISE), RECORDS, jax.random.key(5))
    mean = found["shift"].astype(float) / 4.0
    square = (found["scale"].astype(float) ** -2 - 1e-5 + found["shift"].astype(float) ** 2) / 30.0 - 1e3
    for noise in (mean, square):
        assert stats.kstest(noise * RECORDS / NOISE, "norm").pvalue > ALARM
    assert abs(stats.pearsonr(mean, square).statistic) < stats.norm.isf(ALARM / 2) / 100


def test_noise_on_the_covariance():
    # With all components kept, directions times their noisy variances give the noisy covariance back; of zeros it is the noise.
    size = 120
    pca = build({"name": "pca", "dimensions": size})
    directions = learned(pca, (np.zeros((size, size)),), (NOISE,), RECORDS, jax.random.key(6))["directions"]
    draw = np.asarray(standard_normal(jax.random.split(jax.random.key(6), 1)[0], (size, size)), float)
    noise = (draw + draw.T) / 2
    diagonal = directions.T @ noise @ directions
    assert np.abs(diagonal - np.diag(np.diag(diagonal))).max() < 1e-3  # they are the eigenvectors of that noise
    assert stats.kstest(draw.ravel(), "norm").pvalue > ALARM
    # A signal of known strength is found where noise of the accounted strength is weaker than it, and lost where it is not:
    # the largest eigenvalue of symmetrised noise is 2 sqrt(size / 2) times its standard deviation (Wigner).
    edge = 2 * np.sqrt(size / 2) * NOISE / RECORDS
    for strength, found in ((4.0, True), (0.1, False)):
        signal = np.zeros((size, size))
        signal[0, 0] = strength * edge
        top = learned(pca, (signal,), (NOISE,), RECORDS, jax.random.key(7))["directions"][0, 0]
        assert (abs(top) > 0.9) == found
