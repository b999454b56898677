"""Layers that turn points into joints."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from hand_tf.core.skeleton import NUM_JOINTS
from hand_tf.nets import pose_layers


def test_unstandardize_pose_inverts_standardisation(generator):
    labels = generator.normal(size=(50, NUM_JOINTS, 3)).astype("float32") * 40
    labels[:, 0] = 0
    mean, std = labels.mean(0), labels.std(0)
    layer = pose_layers.UnstandardizePose()
    layer.set_statistics(mean, std)
    standardised = np.divide(labels - mean, std, out=np.zeros_like(labels), where=std > 0)
    np.testing.assert_allclose(layer(standardised.reshape(50, -1)), labels, atol=1e-3)
    # Whatever the head says, the root stays where it is.
    np.testing.assert_array_equal(layer(np.full((1, 63), 7.0))[:, 0], np.zeros((1, 3)))
    assert layer.trainable_weights == []


def test_unstandardize_pose_refuses_bad_statistics():
    layer = pose_layers.UnstandardizePose()
    good = np.ones((NUM_JOINTS, 3))
    for mean, std, message in (
        (np.zeros(63), good, "mean: expected finite"),
        (good, np.full((NUM_JOINTS, 3), np.nan), "std: expected finite"),
        (good, -good, "std: expected values >= 0"),
    ):
        with pytest.raises(ValueError, match=message):
            layer.set_statistics(mean, std)
    with pytest.raises(ValueError, match=r"expected \[batch, 63\]"):
        pose_layers.UnstandardizePose()(np.zeros((1, 60)))


def test_the_linear_pose_turns_with_the_points_and_starts_at_the_wrist(generator):
    layer = pose_layers.LinearPose()
    points = generator.normal(size=(5, 9, 3)).astype("float32")
    turn = Rotation.random(rng=generator).as_matrix().astype("float32")
    pose = ops.convert_to_numpy(layer(points))
    np.testing.assert_allclose(layer(points @ turn.T), pose @ turn.T, atol=1e-3)
    np.testing.assert_array_equal(pose[:, 0], 0)
    # Every joint is a weighted sum of the points, in units of 100 mm.
    weights = ops.convert_to_numpy(layer.weights_of_points)
    expected = 100 * np.einsum("kn,bnd->bkd", weights - weights[:1], points)
    np.testing.assert_allclose(pose, expected, atol=1e-3)


def test_joints_in_the_crop_move_with_the_points(generator):
    layer = pose_layers.JointsInCrop(64, extent=2.0)
    origin = np.zeros((1, 9, 3), "float32")
    np.testing.assert_allclose(layer(origin), np.full((1, NUM_JOINTS, 2), 31.5))
    weights = generator.dirichlet(np.ones(9), NUM_JOINTS).astype("float32")
    layer.weights_of_points.assign(weights)
    points = generator.uniform(-1, 1, (3, 9, 3)).astype("float32")
    # Means of points move with them: one unit is a quarter of the crop.
    moved = ops.convert_to_numpy(layer(points + np.float32([0.5, -0.25, 7]))) - ops.convert_to_numpy(layer(points))
    np.testing.assert_allclose(moved, np.broadcast_to([8.0, -4.0], moved.shape), atol=1e-4)
