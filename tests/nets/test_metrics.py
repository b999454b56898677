"""Metrics against SciPy, brute force and the symmetries that they must have."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from hand_tf.core.skeleton import MIRROR, NUM_JOINTS
from hand_tf.nets import metrics

ALL = (metrics.mpjpe, metrics.n_mpjpe, metrics.pa_mpjpe)


def poses(batch=4, seed=0, extent=60.0):
    pose = np.random.default_rng(seed).normal(size=(batch, NUM_JOINTS, 3)) * extent
    return (pose - pose[:, :1]).astype("float32")


def masks(batch=4, seed=1):
    weights = (np.random.default_rng(seed).random((batch, NUM_JOINTS)) < 0.7).astype("float32")
    weights[:, 0] = 1
    return weights


def masked_mean(distances, weights):
    return (distances * weights).sum(-1) / weights.sum(-1)


def numpy_of(tensor):
    return ops.convert_to_numpy(tensor)


def test_mpjpe_is_the_mean_distance_of_all_joints():
    true, pred = poses(), poses(seed=9)
    np.testing.assert_allclose(metrics.mpjpe(true, pred), np.linalg.norm(true - pred, axis=-1).mean(-1), rtol=1e-5)
    # One joint off by 21 mm, the root among the others: 1 mm.
    pred = true.copy()
    pred[:, 7, 2] += 21
    np.testing.assert_allclose(metrics.mpjpe(true, pred), np.ones(4), rtol=1e-4)


@pytest.mark.parametrize("metric", ALL)
def test_perfect_poses_score_zero_wherever_their_root_is(metric):
    true = poses()
    np.testing.assert_allclose(metric(true, true + np.array([100, 200, 300])), np.zeros(4), atol=1e-3)


def test_n_mpjpe_against_a_search_for_the_least_squares_scale():
    true, pred, weights = poses(), poses() * 1.7 + poses(seed=4, extent=20), masks()
    scales = np.linspace(0, 2, 200001)
    for sample, (g, p, w) in enumerate(zip(true, pred, weights, strict=True)):
        # |s p - g|^2 expanded, one number a scale
        energy = scales**2 * (w * (p * p).sum(-1)).sum() - 2 * scales * (w * (p * g).sum(-1)).sum()
        best = scales[energy.argmin()] * p
        expected = masked_mean(np.linalg.norm(best - g, axis=-1), w)
        found = numpy_of(metrics.n_mpjpe(true, pred, weights))[sample]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        found = numpy_of(metrics.best_scale(true, pred, weights))[sample]
        np.testing.assert_allclose(found, scales[energy.argmin()], rtol=1e-4)


def test_n_mpjpe_forgives_scale_but_not_inversion():
    true = poses()
    shifted = 4 * true + np.array([100, 200, 300])
    np.testing.assert_allclose(metrics.best_scale(true, shifted), np.full(4, 0.25), rtol=1e-5)
    for useless in (-true, 0 * true):
        np.testing.assert_array_equal(metrics.best_scale(true, useless), np.zeros(4))
    np.testing.assert_allclose(metrics.n_mpjpe(true, 3.3 * true), np.zeros(4), atol=1e-3)
    np.testing.assert_allclose(metrics.mpjpe(true, 2 * true), np.linalg.norm(true, axis=-1).mean(-1), rtol=1e-4)
    size = np.linalg.norm(true, axis=-1).mean(-1)
    np.testing.assert_allclose(metrics.n_mpjpe(true, -true), size, rtol=1e-4)
    np.testing.assert_allclose(metrics.n_mpjpe(true, 0 * true), size, rtol=1e-4)


def test_pa_mpjpe_against_scipy():
    true, pred, weights = poses(), poses(seed=6) + poses(), masks()
    expected = []
    for g, p, w in zip(true.astype("float64"), pred.astype("float64"), weights, strict=True):
        g_mean, p_mean = np.average(g, 0, w), np.average(p, 0, w)
        g, p = g - g_mean, p - p_mean
        turned = Rotation.align_vectors(g, p, weights=w)[0].apply(p)
        scale = (w[:, None] * turned * g).sum() / (w[:, None] * p * p).sum()
        expected.append(masked_mean(np.linalg.norm(scale * turned - g, axis=-1), w))
    np.testing.assert_allclose(metrics.pa_mpjpe(true, pred, weights), expected, rtol=1e-4)


def test_pa_mpjpe_forgives_similarities_only():
    true = poses()
    turn = Rotation.random(rng=2)
    similar = (2.5 * turn.apply(true.reshape(-1, 3)) + [10, 20, 30]).reshape(true.shape)
    np.testing.assert_allclose(metrics.pa_mpjpe(true, similar), np.zeros(4), atol=1e-2)
    mirrored = numpy_of(metrics.pa_mpjpe(true, true @ MIRROR))
    assert (mirrored > 0.2 * np.linalg.norm(true, axis=-1).mean(-1)).all()


def test_no_alignment_is_worse_than_less_alignment_in_the_least_squares_sense():
    true, weights = poses(), np.ones((4, NUM_JOINTS), "float32")
    pred = true + poses(seed=3, extent=15)
    aligned = numpy_of(metrics.procrustes(true, pred, weights))
    squares = [((pose - true) ** 2).sum((1, 2)) for pose in (aligned, pred)]
    assert (squares[0] < squares[1]).all()


@pytest.mark.parametrize("metric", ALL)
def test_joints_of_weight_zero_may_hold_anything(metric):
    true, pred, weights = poses(), poses(seed=2), masks()
    expected = numpy_of(metric(true, pred, weights))
    hidden = weights[..., None] == 0
    for junk in (np.nan, np.inf, 1e6):
        found = metric(np.where(hidden, junk, true), np.where(hidden, -junk, pred), weights)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(expected, metric(true, pred))


@pytest.mark.parametrize("metric", ALL)
def test_degenerate_samples_stay_finite(metric):
    true = poses()
    nothing = np.zeros_like(true)
    none_accepted = np.zeros((4, NUM_JOINTS), "float32")
    one_accepted = none_accepted.copy()
    one_accepted[:, 0] = 1
    assert np.isfinite(numpy_of(metric(true, nothing))).all()
    assert np.isfinite(numpy_of(metric(nothing, true))).all()
    np.testing.assert_array_equal(metric(true, nothing, none_accepted), np.zeros(4))
    np.testing.assert_allclose(metric(true, nothing, one_accepted), np.zeros(4), atol=1e-4)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(metric, dtype):
    true, pred = (ops.cast(pose, dtype) for pose in (poses(), poses(seed=5)))
    result = metric(true, pred, ops.cast(masks(), dtype))
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    single = [numpy_of(ops.cast(pose, "float32")) for pose in (true, pred)]
    np.testing.assert_allclose(result, metric(*single, masks()), rtol=1e-5)


def test_pck_counts_accepted_joints():
    true, weights = poses(), masks()
    pred = true + poses(seed=8, extent=15)
    distances = np.linalg.norm(pred - true, axis=-1)[weights > 0]
    thresholds = np.arange(0, 51, 5)
    expected = [(distances <= d).mean() for d in thresholds]
    curve = numpy_of(metrics.pck(true, pred, weights, thresholds))
    np.testing.assert_allclose(curve, expected, atol=1e-6)
    assert (np.diff(curve) >= 0).all()
    np.testing.assert_array_equal(metrics.pck(true, pred, 0 * weights, thresholds), np.zeros(len(thresholds)))


def test_auc_of_known_curves():
    thresholds = np.arange(51.0)
    assert metrics.auc(thresholds, np.ones(51), 0, 50) == pytest.approx(1)
    assert metrics.auc(thresholds, np.zeros(51), 20, 50) == 0
    assert metrics.auc(thresholds, thresholds / 50, 0, 50) == pytest.approx(0.5)
    assert metrics.auc(thresholds, thresholds / 50, 20, 50) == pytest.approx(0.7)
    # Ends between two thresholds, and a coarser grid for the same straight line.
    assert metrics.auc([0, 50], [0, 1], 12.5, 37.5) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"expected 0\.0 <= low < high <= 50\.0, got 20 and 60"):
        metrics.auc(thresholds, np.ones(51), 20, 60)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (metrics.MPJPE, metrics.mpjpe),
        (metrics.NMPJPE, metrics.n_mpjpe),
    ],
)
def test_metric_objects_average_over_labelled_samples(metric, function):
    true, pred, weights = poses(8), poses(8, seed=2), masks(8)
    weights[5:] = 0  # padding
    errors = np.concatenate([numpy_of(function(*(x[i : i + 4] for x in (true, pred, weights)))) for i in (0, 4)])
    state = metric()
    # Four samples and one: the mean is over samples, not over batches or joints.
    for i in (0, 4):
        state.update_state(true[i : i + 4], pred[i : i + 4], weights[i : i + 4])
    np.testing.assert_allclose(state.result(), errors[:5].mean(), rtol=1e-5)
    true, pred, weights = true[:4], pred[:4], weights[:4]
    state.reset_state()
    state.update_state(true, pred)
    np.testing.assert_allclose(state.result(), numpy_of(function(true, pred)).mean(), rtol=1e-5)
    state.reset_state()
    state.update_state(true, pred, 0 * weights)
    assert float(state.result()) == 0
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(state))
    assert type(again) is metric and again.name == function.__name__


def test_metric_objects_inside_fit():
    image = keras.Input((4,))
    pose = keras.layers.Reshape((NUM_JOINTS, 3), name="pose")(keras.layers.Dense(63)(image))
    model = keras.Model(image, {"pose": pose})
    weighted = [metrics.MPJPE(), metrics.NMPJPE()]
    model.compile("sgd", loss={"pose": "mse"}, weighted_metrics={"pose": weighted})
    x, true, weights = np.ones((4, 4), "float32"), poses(), masks()
    logs = model.evaluate(x, {"pose": true}, 2, sample_weight={"pose": weights}, return_dict=True, verbose=0)
    pred = model.predict(x, verbose=0)["pose"]
    for state in weighted:
        expected = numpy_of(getattr(metrics, state.name)(true, pred, weights)).mean()
        np.testing.assert_allclose(logs[state.name], expected, rtol=1e-4)
