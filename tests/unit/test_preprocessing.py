"""What is done to examples before the model sees them, and what is learned of all records for that."""

import jax
import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from fedpareto.data import DataError
from fedpareto.data.arrays import PreparedData
from fedpareto.federated.engine.server import server_optimizer
from fedpareto.federated.inputs.setup import learned_of
from fedpareto.federated.preprocessings.learning import build as built
from fedpareto.federated.preprocessings.learning import learned, output_shape, prepend, statistics
from fedpareto.federated.train import train_bundle
from fedpareto.models.model import build
from fedpareto.sweep.account import account, privacy_plan
from fedpareto.sweep.run import KEYS, Bundle, Run

RNG = np.random.default_rng(0)
IMAGES = (RNG.normal(size=(500, 4, 3, 6)) * np.arange(1, 7) + 2).astype(np.float32)
KEY = jax.random.key(0)
PCA_SPEC = {"name": "pca", "dimensions": 3}
NORM_SPEC = {"name": "data_norm", "mean_norm": 4.0, "square_norm": 30.0}
PCA, NORM = built(PCA_SPEC), built(NORM_SPEC)


def test_pca_without_noise_is_that_of_the_records_at_unit_norm():
    rows = IMAGES.reshape(500, -1)
    found = learned(PCA, statistics(PCA, IMAGES, False), (), 500, KEY)["directions"]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    _, _, components = np.linalg.svd(unit, full_matrices=False)
    assert np.abs(found.T @ components[:3].T) == pytest.approx(np.eye(3), abs=1e-4)
    projected = PCA.transformed({"directions": found}, IMAGES)
    assert projected.shape == (500, 3)
    assert np.asarray(projected) == pytest.approx(rows @ found, abs=1e-3)


@pytest.mark.parametrize(("preprocessing", "size"), [(PCA, 1.0), (NORM, 4.0), (NORM, 1e3)])
def test_a_record_in_the_place_of_another_moves_each_sum_as_far_as_the_class_says(preprocessing, size):
    one, other = size * np.eye(6, dtype=np.float32)[:2].reshape(2, 1, 1, 6)
    pairs = [(one, other), (one, -one), *RNG.normal(scale=size, size=(50, 2, 1, 1, 6)).astype(np.float32)]
    moved = [
        [np.linalg.norm(a - b) for a, b in zip(*(preprocessing.sums(x[None], True) for x in pair), strict=True)]
        for pair in pairs
    ]
    stated = np.array(type(preprocessing).REPLACE_SENSITIVITIES)
    assert (np.array(moved) <= stated + 1e-9).all()
    if size >= 1e3 or preprocessing is PCA:  # records that reach the bounds
        assert np.max(moved, axis=0) == pytest.approx(stated)


def test_channels_are_standardised_by_what_was_learned_of_them():
    arrays = learned(NORM, statistics(NORM, IMAGES, False), (), 500, KEY)
    out = np.asarray(NORM.transformed(arrays, IMAGES))
    assert out.mean(axis=(0, 1, 2)) == pytest.approx(np.zeros(6), abs=1e-4)
    assert out.std(axis=(0, 1, 2)) == pytest.approx(np.ones(6), abs=1e-3)


def test_a_channel_whose_variance_is_lost_in_the_noise_is_left_out():
    scale = learned(NORM, (np.array([0.5, 0.1]), np.array([0.1, 0.1])), (), 500, KEY)["scale"]
    assert scale[0] == 0 < scale[1]  # a mean square below the square of the mean: no variance has that


def test_groups_of_channels_are_standardised_within_each_example():
    group_norm = built({"name": "group_norm", "groups": 3})
    out = np.asarray(group_norm.transformed({}, IMAGES)).reshape(500, 12, 3, 2)
    assert out.mean(axis=(1, 3)) == pytest.approx(np.zeros((500, 3)), abs=1e-5)
    assert out.std(axis=(1, 3)) == pytest.approx(np.ones((500, 3)), abs=1e-3)
    alone = np.asarray(group_norm.transformed({}, IMAGES[:7]))
    assert alone == pytest.approx(
        np.asarray(group_norm.transformed({}, IMAGES))[:7], abs=1e-5
    )  # whoever else is in the batch


@pytest.mark.parametrize("preprocessing", [PCA, NORM], ids=lambda preprocessing: preprocessing.NAME)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, 1e30, np.inf, np.nan])
def test_one_record_moves_a_sum_by_at_most_the_bound_whatever_it_holds(preprocessing, value):
    other = np.concatenate([IMAGES, np.full((1, 4, 3, 6), value, np.float32)])
    for one, more in zip(statistics(preprocessing, IMAGES, True), statistics(preprocessing, other, True), strict=True):
        assert np.linalg.norm(more * len(other) - one * len(IMAGES)) <= 1 + 1e-6


def test_the_bounds_bind():
    big = np.concatenate([IMAGES, np.full((1, 4, 3, 6), 1e4, np.float32)])
    for preprocessing in (PCA, NORM):
        for one, more in zip(
            statistics(preprocessing, IMAGES, True), statistics(preprocessing, big, True), strict=True
        ):
            assert np.linalg.norm(more * len(big) - one * len(IMAGES)) == pytest.approx(1, rel=1e-6)


def test_a_run_learns_with_the_noise_of_its_plan_and_never_with_that_of_another():
    fields = dict.fromkeys(KEYS) | {
        "sampling": "poisson",
        "trust": "central",
        "unit": "record",
        "seed": 0,
    }
    fields |= {"clients": 1, "records": 500, "rounds": 3, "sampling_rate": 0.1, "clip_norm": 1.0}
    private = {"noise_multiplier": 2.0, "delta": 1e-4, "preprocessing": PCA_SPEC | {"noise_multiplier": 5.0}}
    run = Run.from_dict(fields | private)
    runs = [run, run.replace(seed=1), run.replace(noise_multiplier=0.0, delta=None, preprocessing=PCA_SPEC)]
    plans = {one.run_id: privacy_plan(one) for one in runs}
    assert [plans[one.run_id].preprocessing_noise_multipliers for one in runs] == [(5.0,), (5.0,), ()]
    data = type("Data", (), {"x_train": IMAGES})
    first, second, exact = (learned_of(runs, plans, data)[one.run_id]["directions"] for one in runs)
    assert not np.allclose(np.abs(first.T @ second), np.eye(3), atol=1e-3)
    (mean,) = statistics(PCA, IMAGES, False)
    assert np.array_equal(exact, learned(PCA, (mean,), (), 500, KEY)["directions"])


def test_a_model_in_front_of_which_examples_are_projected():
    arrays = learned(PCA, statistics(PCA, IMAGES, False), (), 500, KEY)
    inner = build({"name": "logistic"}, output_shape(PCA, IMAGES.shape[1:]), 2)
    model, params = prepend(inner, PCA, arrays), inner.init(KEY)
    expected = inner.apply(params, IMAGES.reshape(500, -1) @ arrays["directions"])
    assert np.asarray(model.apply(params, IMAGES)) == pytest.approx(np.asarray(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [({"name": "pca", "dimensions": 73}, "at most 72"), ({"name": "group_norm", "groups": 4}, "must divide 6")],
)
def test_what_does_not_fit_the_examples_is_refused(spec, said):
    with pytest.raises(DataError, match=said):
        output_shape(built(spec), IMAGES.shape[1:])


def test_a_learning_rate_that_falls_and_stays():
    optimizer = server_optimizer("sgd", {"learning_rate": 0.1, "final_learning_rate": 0.02, "decay_rounds": 4.0})
    state, steps = optimizer.init(np.float32(0)), []
    for _ in range(6):
        step, state = optimizer.update(np.float32(-1), state)
        steps.append(float(step))
    assert steps == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 0.02])


@pytest.mark.parametrize(
    "preprocessing",
    [
        PCA_SPEC,
        PCA_SPEC | {"noise_multiplier": 5.0},
        NORM_SPEC | {"noise_multiplier": 5.0},
        {"name": "group_norm", "groups": 3},
        {"name": "rescale", "mean": 2.0, "deviation": 4.0},
    ],
    ids=lambda spec: " ".join(map(str, spec.values())),
)
def test_the_final_scores_are_those_of_the_model_behind_its_preprocessing(preprocessing, tmp_path):
    labels = (IMAGES[:, 0, 0, 5] > 2).astype(np.int32)
    data = PreparedData(IMAGES[:400], labels[:400], IMAGES[400:], labels[400:], np.array(["no", "yes"]))
    noisy = "noise_multiplier" in preprocessing
    private = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-4} if noisy else {"noise_multiplier": 0.0}
    run = Run.from_dict(
        dict.fromkeys(KEYS)
        | {"dataset": "made up", "partition": {"name": "iid"}, "clients": 1, "model": {"name": "logistic"}}
        | {"algorithm": "fedavg", "sampling": "poisson", "sampling_rate": 0.2, "rounds": 30, "local_steps": 1}
        | {"server_optimizer": {"name": "sgd", "learning_rate": 0.1}, "unit": "record", "records": 400, "seed": 0}
        | {"trust": "central", "accountant": "rdp", "evaluate_every": 30, "preprocessing": preprocessing}
        | private
    )
    bundle = Bundle((run,))
    folders = {"runs_folder": tmp_path / "runs", "checkpoints_folder": tmp_path / "checkpoints"}
    (result,) = train_bundle(bundle, account(bundle), data, **folders)
    stored = dict(np.load(next((tmp_path / "runs").rglob("*.npz"))))
    kept = {name.split("/")[1]: array for name, array in stored.items() if name.startswith("preprocessing/")}
    x = np.asarray(built(preprocessing).transformed(kept, IMAGES[400:])).reshape(100, -1)
    logits = x @ stored["Dense_0/kernel"] + stored["Dense_0/bias"]
    said, truth = logits[:, 1] - logits[:, 0], labels[400:]
    assert result.metrics["accuracy"][-1] == pytest.approx(np.mean((said > 0) == truth))
    assert result.final["f1"] == pytest.approx(f1_score(truth, said > 0), abs=1e-6)
    assert result.final["auroc"] == pytest.approx(roc_auc_score(truth, said), abs=1e-3)
