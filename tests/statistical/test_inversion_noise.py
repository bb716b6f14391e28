"""With noise worth an epsilon of about 1, and with nothing but noise, an inversion is no better than a guess.

Seeds are fixed. The share of records that are rebuilt is a count of `VICTIMS` whose chance is at most the baseline; with another seed
a comparison fails with probability 2.5 % at most, the level of each end of its Clopper-Pearson interval.
"""

import jax
import numpy as np
import pytest
from attacked import digits, target

from fedpareto.attacks import inversion, scores
from fedpareto.attacks.evidence import PARTICIPANTS, SERVER
from fedpareto.attacks.inversion import gradient_inversion
from fedpareto.attacks.public import public_of
from fedpareto.federated.setup import key_data

VICTIMS = 16
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


def test_the_baseline_holds_on_records_that_it_was_not_made_of():
    """The best guess of the test set hits about as many training records; 5 standard errors."""
    data = digits()
    public = public_of(data, "digits")
    rows, truth = public.x / public.unit, data.x_train / public.unit
    apart = np.sqrt(np.square(rows[:, None] - rows).mean(axis=2)) + np.diag(np.full(len(rows), np.inf))
    best = public.x[np.argmax((apart <= public.threshold).sum(axis=1))]
    share = (scores.errors(np.tile(best, (len(truth), 1)), data.x_train, public) <= public.threshold).mean()
    kappa = public.prior_success(1)
    assert abs(share - kappa) < 5 * np.sqrt(kappa * (1 - kappa) / len(rows))
