"""Undefended updates give their records away; what is not there is not found, and the truth has no say in it."""

from dataclasses import replace

import numpy as np
import pytest
from attacked import attack, target

from fedpareto.components.threats import PARTICIPANTS, SERVER
from fedpareto.data.arrays import PreparedData
from fedpareto.data.loaders.mnist import MNIST
from fedpareto.data.loaders.scikit_learn import BreastCancer

gradient_inversion = attack("gradient_inversion")
SPEC = {
    "name": "gradient_inversion",
    "method": "cosine",
    "records": 1,
    "victims": 4,
    "restarts": 2,
    "steps": 300,
    "total_variation": None,
}


@pytest.fixture(scope="module")
def clients():
    """Digits, two steps a client; without clipping, and with clipping and noise of a trusted server."""
    return target(baselines=["non_private"], noise_multiplier=2.0)


def found(evidence, score, run=None, adversary=SERVER):
    (row,) = [
        row
        for row in evidence.findings
        if row.score == score and row.adversary == adversary and (run is None or row.run_id == run.run_id)
    ]
    return row


def runs_of(it):
    """The run without privacy, and the private one."""
    return sorted(it.runs, key=lambda run: run.privacy is not None)


@pytest.mark.parametrize("method", ["cosine", "dlg", "analytic"])
def test_single_digits_are_rebuilt(clients, method):
    evidence = gradient_inversion(clients, SPEC | {"method": method})
    for run in clients.runs:  # A trusted server sees no noise; that an update was clipped does not hide its direction.
        row = found(evidence, "psnr", run)
        assert row.low > 25
        assert row.baseline < 15
        assert found(evidence, "label_accuracy", run).value == 1
        assert found(evidence, "ssim", run).value > 0.95
        share = found(evidence, "rebuilt", run)
        assert share.success
        assert share.value == 1
        assert (share.positives, share.records, share.covered) == (4, 1, False)
        assert 0 < share.baseline < 0.1 < share.low
        if method == "analytic":
            assert row.value == 60, "exact"
    plain, private = runs_of(clients)
    outside = found(evidence, "rebuilt", private, PARTICIPANTS)
    assert outside.covered
    assert outside.baseline < outside.bound < 1
    assert found(evidence, "rebuilt", private).bound != found(evidence, "rebuilt", private).bound, (
        "no bound for a server"
    )
    assert not found(evidence, "rebuilt", plain, PARTICIPANTS).covered
    kinds = [(picture.kind, picture.adversary) for picture in evidence.pictures if picture.run_id == private.run_id]
    assert kinds.count(("true", "")) == kinds.count(("rebuilt", SERVER)) == kinds.count(("rebuilt", PARTICIPANTS)) == 4
    assert kinds.count(("guess", "")) == 1
    assert {picture.shape for picture in evidence.pictures} == {"8x8x1"}


def test_batches_of_digits_are_rebuilt(clients):
    evidence = gradient_inversion(clients, SPEC | {"method": "dlg", "records": 4})
    row = found(evidence, "rebuilt", runs_of(clients)[0])
    assert (row.positives, row.records) == (16, 4)
    assert row.low > row.baseline
    assert found(evidence, "label_accuracy", runs_of(clients)[0]).value > 0.9


def test_the_truth_has_no_say(clients):
    """With other records in the place of the true ones, the same is rebuilt, and scores badly."""
    others = np.random.default_rng(0).permutation(clients.data.x_train)
    swapped = replace(clients, data=replace(clients.data, x_train=others))
    swapped.__dict__.update(static=clients.static, device_data=clients.device_data)
    spec = SPEC | {"method": "analytic"}
    one, other = gradient_inversion(clients, spec), gradient_inversion(swapped, spec)
    for a, b in zip(one.pictures, other.pictures, strict=True):
        if a.kind == "rebuilt":
            np.testing.assert_array_equal(a.pixels, b.pixels)
    assert found(other, "psnr", runs_of(clients)[0]).value < 15
    assert found(other, "rebuilt", runs_of(clients)[0]).value < 0.5


def test_labels_of_one_step_are_counted_exactly():
    it = target(noise_multiplier=0, delta=None, local_epochs=1, batch_size=32, sampling_rate=1.0)
    for records in (2, 8, 32):
        evidence = gradient_inversion(it, SPEC | {"method": "analytic", "records": records, "victims": 8})
        row = found(evidence, "label_accuracy")
        assert row.value == 1
        assert row.baseline < 0.9


def test_what_cannot_be_attacked_gives_a_row_that_says_why(clients):
    for it, changes, why in (
        (clients, {"records": 80}, "nobody in its first cohort holds 80 records"),
        (target(clients=85), {"records": 32}, "nobody in its first cohort holds 32 records"),  # each holds 16 or 17
        (target(algorithm="scaffold", noise_multiplier=0, delta=None), {}, "two vectors"),
        (target(preprocessing={"name": "rescale", "mean": 0.5, "deviation": 0.5}), {"method": "analytic"}, "no layer"),
        (target(model={"name": "mlp", "hidden": "4", "bias": False}), {"method": "analytic"}, "no layer"),
    ):
        spec = SPEC | changes
        evidence = gradient_inversion(it, spec)
        assert [row.run_id for row in evidence.findings] == [run.run_id for run in it.runs]
        for row in evidence.findings:
            assert why in row.reason
            assert (row.score, row.success, row.method, row.records) == ("", False, spec["method"], spec["records"])
            assert np.isnan([row.value, row.low, row.high, row.bound]).all()
        assert not evidence.pictures


def test_an_adversary_who_sees_nothing_in_an_update_says_so(clients):
    still = replace(clients)
    rates = 0 * clients.run_params.client_learning_rate
    still.__dict__["run_params"] = clients.run_params._replace(client_learning_rate=rates)  # a cached property
    rows = [row for row in gradient_inversion(still, SPEC | {"method": "analytic"}).findings if row.reason]
    assert {row.reason for row in rows} == {"what it sees of the first round is zero or not finite"}
    noisy = {run.run_id for run in clients.runs if run.privacy}
    assert sorted((row.run_id in noisy, row.adversary) for row in rows) == [
        *((False, "participants"), (False, "server")),
        (True, "server"),
    ]


def test_a_table_is_rebuilt_exactly():
    data = BreastCancer().load({})[0]
    it = target(data, dataset="breast_cancer", noise_multiplier=0, delta=None, model={"name": "mlp", "hidden": "16"})
    evidence = gradient_inversion(it, SPEC | {"method": "analytic"})
    assert found(evidence, "exact_matches").value == pytest.approx(1, abs=0.02)
    assert found(evidence, "feature_error").value < 1e-3
    assert not evidence.pictures
    assert {row.score for row in evidence.findings} == {
        "psnr",
        "feature_error",
        "exact_matches",
        "label_accuracy",
        "rebuilt",
    }


def test_a_single_mnist_image_is_rebuilt(data_folder):
    files = {name: data_folder / "mnist" / name for name in MNIST.FILES}
    if not all(file.is_file() for file in files.values()):
        pytest.skip("there is no MNIST in FEDPARETO_DATA")
    whole = MNIST().load(files)[0]
    few = PreparedData(
        whole.x_train[:400], whole.y_train[:400], whole.x_test[:500], whole.y_test[:500], whole.class_names
    )
    it = target(few, dataset="mnist", noise_multiplier=0, delta=None, model={"name": "mlp", "hidden": "32"})
    evidence = gradient_inversion(it, SPEC | {"victims": 2, "restarts": 1, "steps": 200})
    assert found(evidence, "psnr").value > 25
    assert found(evidence, "psnr").baseline < 15
    assert {picture.shape for picture in evidence.pictures} == {"28x28x1"}


def test_a_run_without_a_victim_costs_no_other_run_its_rows():
    """An empty first cohort is no crash: 1,400 clients of one picture, of which one is expected to join."""
    one = {"clients": 1400, "sampling_rate": 1 / 1400, "rounds": 1, "seeds": 8, "baselines": []}
    evidence = gradient_inversion(target(**one), SPEC | {"method": "analytic", "records": 1, "victims": 2})
    runs = {finding.run_id for finding in evidence.findings if not finding.reason}
    assert 0 < len(runs) < 8
    missing = [finding.run_id for finding in evidence.findings if finding.reason]
    assert len(missing) == 8 - len(runs)
    assert not runs & set(missing)
    assert {picture.run_id for picture in evidence.pictures} == runs
