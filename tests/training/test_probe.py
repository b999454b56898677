"""The pose probe against a ridge regression and an N-MPJPE written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hand_tf.training import probe

POINTS = 4  # 12 coordinates


def generator(seed=0):
    return np.random.default_rng(seed)


def n_mpjpe(true, found):
    """Mean over samples of the mean joint distance after the best scale that is not negative."""
    errors = []
    for g, p in zip(true.reshape(-1, 21, 3), found.reshape(-1, 21, 3), strict=True):
        g, p = g - g[0], p - p[0]
        scale = max(0.0, (g * p).sum() / (p * p).sum())
        errors.append(np.linalg.norm(scale * p - g, axis=1).mean())
    return np.mean(errors)


def ridge_predictions(points, pose, strength, test_points):
    """Ridge regression as least squares with d more equations sqrt(n k) w = 0; the intercept by centring."""
    x, y, test_x = (np.asarray(a, float).reshape(len(a), -1) for a in (points, pose, test_points))
    centre, offset = x.mean(0), y.mean(0)
    x = x - centre
    penalty = strength * np.mean(np.linalg.eigvalsh(x.T @ x / len(x))) * len(x)
    rows = np.vstack([x, np.sqrt(penalty) * np.eye(x.shape[1])])
    weights = np.linalg.lstsq(rows, np.vstack([y - offset, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)[0]
    return (test_x - centre) @ weights + offset


def linear_data(seed, count, noise=0.0, groups=3):
    """Points [count, 4, 3], poses [count, 21, 3] mm that are an affine function of them, and subjects."""
    matrix, offset = generator(99).normal(size=(POINTS * 3, 63)), 20 * generator(98).normal(size=63)
    points = generator(seed).normal(size=(count, POINTS, 3))
    pose = 15 * points.reshape(count, -1) @ matrix + offset
    pose += noise * generator(seed + 1).normal(size=pose.shape)
    pose = pose.reshape(count, 21, 3)
    names = np.array([f"S{n % groups}".encode() for n in range(count)])
    return points.astype("float32"), (pose - pose[:, :1]).astype("float32"), names


def test_a_linear_map_is_recovered():
    points, pose, groups = linear_data(0, 300)
    test_points, test_pose, _ = linear_data(5, 50)
    mean = probe.mean_pose(pose, test_pose)
    assert probe.ridge(points, pose, groups, test_points, test_pose) < 0.002 * mean
    assert mean > 10


def test_points_without_pose_are_no_better_than_the_mean_pose():
    _, pose, groups = linear_data(0, 300)
    _, test_pose, _ = linear_data(5, 100)
    noise = generator(7).normal(size=(400, POINTS, 3))
    found = probe.ridge(noise[:300], pose, groups, noise[300:], test_pose)
    assert found == pytest.approx(probe.mean_pose(pose, test_pose), rel=0.1)


def test_mean_pose_is_the_error_of_the_mean_pose():
    _, pose, _ = linear_data(1, 40)
    _, test_pose, _ = linear_data(2, 30)
    expected = n_mpjpe(test_pose, np.repeat(pose.mean(0, keepdims=True), 30, 0))
    assert probe.mean_pose(pose, test_pose) == pytest.approx(expected, rel=1e-5)
    assert probe.mean_pose(pose, 3 * np.repeat(pose.mean(0, keepdims=True), 5, 0)) == pytest.approx(0, abs=1e-3)


def overfitting_data():
    """Few noisy samples; the subject that is left out wants another strength than the test set."""
    points, pose, _ = linear_data(0, 60, noise=200.0)
    groups = np.array(["S0"] * 20 + ["S1"] * 20 + ["S2"] * 20)
    test_points, test_pose, _ = linear_data(5, 40)
    # Most variance lies in coordinates that say nothing, so that every strength matters.
    points[..., 2] *= 30
    test_points[..., 2] *= 30
    pose[groups == "S2"] = linear_data(0, 60)[1][groups == "S2"]
    return points, pose, groups, test_points, test_pose


def errors_of_all_strengths(points, pose, test_points, test_pose):
    return [n_mpjpe(test_pose, ridge_predictions(points, pose, s, test_points)) for s in probe.STRENGTHS]


def strengths():
    """(left-out errors, test errors) of all strengths on `overfitting_data`, independently."""
    points, pose, groups, test_points, test_pose = overfitting_data()
    out = groups == "S2"
    left_out = errors_of_all_strengths(points[~out], pose[~out], points[out], pose[out])
    return left_out, errors_of_all_strengths(points, pose, test_points, test_pose)


def test_the_strength_is_chosen_on_a_subject_left_out():
    left_out, on_test = strengths()
    found = probe.ridge(*overfitting_data())
    assert found == pytest.approx(on_test[np.argmin(left_out)], rel=1e-4)
    # The check above means something only where the strengths differ.
    assert np.diff(np.sort(on_test)).min() > 0.01 * min(on_test)


def test_the_strength_is_never_chosen_on_the_test_set():
    points, pose, groups, test_points, _ = overfitting_data()
    left_out, _ = strengths()
    best = int(np.argmin(left_out))
    # Test poses that each strength predicts perfectly: the probe must miss all but its own.
    for n, strength in enumerate(probe.STRENGTHS):
        test_pose = ridge_predictions(points, pose, strength, test_points)
        found = probe.ridge(points, pose, groups, test_points, test_pose)
        expected = n_mpjpe(test_pose, ridge_predictions(points, pose, probe.STRENGTHS[best], test_points))
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert (found < 0.01) == (n == best)


def test_one_subject_is_enough():
    points, pose, _ = linear_data(0, 100)
    test_points, test_pose, _ = linear_data(5, 20)
    mean = probe.mean_pose(pose, test_pose)
    assert probe.ridge(points, pose, ["S0"] * 100, test_points, test_pose) < 0.01 * mean


def test_dead_coordinates_do_no_harm():
    points, pose, groups = linear_data(0, 100)
    test_points, test_pose, _ = linear_data(5, 20)
    dead, test_dead = (np.concatenate([p, np.ones_like(p)], 1) for p in (points, test_points))
    expected = probe.ridge(points, pose, groups, test_points, test_pose)
    assert probe.ridge(dead, pose, groups, test_dead, test_pose) == pytest.approx(expected, rel=0.5, abs=0.05)
    assert np.isfinite(probe.ridge(0 * points, pose, groups, 0 * test_points, test_pose))


def test_decode_drops_samples_that_miss_a_joint():
    images = generator(3).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    weight = np.ones((4, 21), "float32")
    weight[1, 20] = weight[3, 0] = 0
    labels = {
        "source": np.array([tf.io.encode_jpeg(image, quality=100).numpy() for image in images], object),
        "pose": np.arange(4.0)[:, None, None] * np.ones((1, 21, 3)),
        "pose_weight": weight,
        "subject": np.array([b"S0", b"S1", b"S2", b"S3"]),
    }
    found = probe.with_images(labels)
    assert found["subject"].tolist() == [b"S0", b"S2"] and found["pose"][:, 0, 0].tolist() == [0, 2]
    assert found["images"].shape == (2, 16, 16, 3) and found["images"].dtype == np.uint8
    means = images[[0, 2]].mean((1, 2, 3))
    np.testing.assert_allclose(found["images"].mean((1, 2, 3)), means, atol=3)
    assert len(labels["pose"]) == 4  # the caller's labels stay


def test_measure_reads_the_points_of_the_encoder():
    points, pose, groups = linear_data(0, 90)
    test_points, test_pose, _ = linear_data(5, 30)
    # An "encoder" whose images are its points; its appearance says nothing.
    images = keras.Input((POINTS, 3))
    encoder = keras.Model(images, {"points": keras.layers.Identity()(images), "appearance": 0.0 * images})
    fit = {"images": points, "pose": pose, "subject": groups}
    test = {"images": test_points, "pose": test_pose, "subject": groups[:30]}
    expected = probe.ridge(points, pose, groups, test_points, test_pose)
    assert probe.measure(encoder, fit, test) == pytest.approx(expected)
    np.testing.assert_array_equal(probe.points_of(encoder, test_points, batch_size=7), test_points)
