"""With noise worth an epsilon of about 1, and with nothing but noise, an inversion is no better than a guess.

Seeds are fixed. The share of records that are rebuilt is a count of `VICTIMS` whose chance is at most the baseline; with another seed
a comparison fails with probability 2.5 % at most, the level of each end of its Clopper-Pearson interval.
"""

import jax
import numpy as np
import pytest
from attacked import attack, digits, target
from sklearn.cluster import KMeans

from fedpareto.attacks.auxiliary_data import public_of
from fedpareto.attacks.gradient_inversion import attack as inversion
from fedpareto.attacks.gradient_inversion import scores
from fedpareto.components.threats import PARTICIPANTS, SERVER
from fedpareto.federated.inputs.setup import key_data

VICTIMS = 16
gradient_inversion = attack("gradient_inversion")
SPEC = {"records": 1, "victims": VICTIMS, "restarts": 1, "steps": 200, "total_variation": None}


@pytest.fixture(scope="module")
def local():
    """Clients that add their own noise, enough for an epsilon of about 1 over all rounds."""
    # One round with every client: the noise multiplier of a release whose neighbours may swap a client.
    return target(
        clients=40, sampling_rate=1.0, rounds=1, trust="local", noise_multiplier=4.0, clip_norm=0.3, delta=1e-2
    )


@pytest.mark.parametrize("method", ["analytic", "cosine", "dlg"])
def test_noise_of_epsilon_one_leaves_a_guess(local, method):
    (accounted,) = local.accounted.values()
    assert 0.7 < accounted.final.epsilon_rdp < 1.3
    evidence = gradient_inversion(local, SPEC | {"method": method})
    for adversary in (SERVER, PARTICIPANTS):
        rows = {row.score: row for row in evidence.findings if row.adversary == adversary}
        share = rows["rebuilt"]
        assert share.covered
        assert share.low <= share.baseline <= share.bound < 0.5
        assert share.low <= share.baseline <= share.high
        assert rows["label_accuracy"].low <= rows["label_accuracy"].baseline + 0.15
        assert rows["psnr"].value < rows["psnr"].baseline + 0.5


@pytest.mark.parametrize("method", ["analytic", "cosine", "dlg"])
def test_pure_noise_is_a_guess(local, method, monkeypatch):
    """Where every update is replaced by noise of the same length, without the adversary knowing."""
    real = inversion.first_rounds

    def replaced(*arguments):
        transcripts = real(*arguments)
        rng = np.random.default_rng(key_data(method))
        for transcript in transcripts:
            for adversary in transcript.seen:
                transcript.seen[adversary] = jax.tree.map(
                    lambda leaf: leaf.std() * rng.standard_normal(leaf.shape).astype(np.float32),
                    transcript.seen[adversary],
                )
        return transcripts

    monkeypatch.setattr(inversion, "first_rounds", replaced)
    monkeypatch.setattr(inversion, "noise_of", lambda *_: 0.0)
    evidence = gradient_inversion(local, SPEC | {"method": method})
    rows = {row.score: row for row in evidence.findings if row.adversary == SERVER}
    assert rows["rebuilt"].low <= rows["rebuilt"].baseline <= rows["rebuilt"].high
    assert rows["psnr"].value < rows["psnr"].baseline
    assert rows["label_accuracy"].low <= 0.1 <= rows["label_accuracy"].high


@pytest.mark.parametrize("records", [1, 4])
def test_no_public_guess_beats_what_bounds_are_made_of(records):
    """Guesses that are best on the test set, tried on training records: within the upper end and 3 standard errors (0.1 %)."""
    data = digits()
    public = public_of(data, "digits")
    kappa, most = public.prior_success(records)
    centres = KMeans(8, n_init=1, random_state=0).fit(public.x / public.unit).cluster_centers_ * public.unit
    candidates = np.concatenate([public.mean[None], public.by_class(public.x), centres])
    near = np.stack([scores.errors(np.tile(c, (len(data.x_train), 1)), data.x_train, public) for c in candidates])
    hits = near <= public.threshold
    found = np.zeros(hits.shape[1], bool)
    for _ in range(records):
        found |= hits[np.argmax((hits & ~found).sum(axis=1))]
    assert found.mean() < most + 3 * np.sqrt(most * (1 - most) / len(found))
    assert kappa < most
