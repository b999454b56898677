"""The pose head that is solved: against a stacked least-squares problem, and through the real models."""

import default_networks
import keras
import numpy as np

from hand_tf.training import closed_form

POINTS, CROPS, SIZE = 6, 40, 32


def ridge(points, targets, weights, strength):
    """One joint's weights by NumPy's least squares, all coordinates as rows and the ridge as further rows."""
    rows = (points * np.sqrt(weights)[:, None, None]).transpose(0, 2, 1).reshape(-1, points.shape[1])
    values = (targets * np.sqrt(weights)[:, None]).ravel()
    scale = np.sqrt(strength * np.trace(rows.T @ rows) / rows.shape[1])
    rows = np.concatenate([rows, scale * np.eye(rows.shape[1])])
    return np.linalg.lstsq(rows, np.concatenate([values, np.zeros(points.shape[1])]), rcond=None)[0]


def test_moments_give_ridge_regression_joint_by_joint():
    random = np.random.default_rng(0)
    points, targets = random.normal(size=(CROPS, POINTS, 3)), random.normal(size=(CROPS, 21, 3))
    weights = (random.uniform(size=(CROPS, 21)) > 0.3).astype(float)
    weights[:, 7] = 0
    moments = closed_form.Moments(POINTS)
    for rows in np.split(np.arange(CROPS), 4):
        moments.add(points[rows], targets[rows], weights[rows])
    for strength in (1e-6, 0.3, 10.0):
        found = moments.solve(strength)
        for joint in (0, 3, 20):
            expected = ridge(points, targets[:, joint], weights[:, joint], strength)
            np.testing.assert_allclose(found[joint], expected, atol=1e-6)
        assert not found[7].any()


def test_weights_stay_near_others_in_the_directions_of_a_penalty():
    random = np.random.default_rng(2)
    points, targets = random.normal(size=(CROPS, POINTS, 3)), random.normal(size=(CROPS, 21, 3))
    weights, near = random.uniform(size=(CROPS, 21)), random.normal(size=(21, POINTS))
    root = random.normal(size=(2, POINTS)) * 30
    moments = closed_form.Moments(POINTS)
    moments.add(points, targets, weights)
    found = moments.solve_near(near, root.T @ root)
    for joint in (0, 11):
        scale = np.sqrt(weights[:, joint])[:, None, None]
        rows = np.concatenate([(points * scale).transpose(0, 2, 1).reshape(-1, POINTS), root])
        values = np.concatenate([(targets[:, joint, :, None] * scale).ravel(), root @ near[joint]])
        np.testing.assert_allclose(found[joint], np.linalg.lstsq(rows, values, rcond=None)[0], atol=1e-6)
    np.testing.assert_allclose(closed_form.Moments(POINTS).solve_near(near, np.eye(POINTS)), near)


def _solved(points_kind, strength=1e-4):
    """An encoder, a head solved on poses that are a linear map of the encoder's points, and the batches."""
    keras.utils.set_random_seed(0)
    encoder = default_networks.encoder(
        SIZE, width=4, stem="small", num_points=POINTS, appearance_size=4, points=points_kind, normalize_points=False
    )
    head = default_networks.pose_head(POINTS, SIZE, kind="linear")
    random, batches = np.random.default_rng(1), []
    truth, places = random.normal(0, 50, (21, POINTS)), random.normal(0, 1, (21, POINTS))
    for _ in range(4):
        images = random.integers(0, 256, (12, SIZE, SIZE, 3)).astype("uint8")
        points = np.asarray(encoder(images, training=False)["points"])
        pose, in_crop = truth @ points, (places @ points)[..., :2] * (SIZE / 4) + (SIZE - 1) / 2
        y = {"pose": pose - pose[:, :1], "joints_2d": in_crop}
        batches.append(({"source": images}, y, {"pose": np.ones((12, 21)), "joints_2d": np.ones((12, 21))}))
    closed_form.solve(encoder, head, batches, strength)
    return encoder, head, batches


def test_a_pose_that_is_linear_in_the_points_is_found():
    encoder, head, batches = _solved("dense", strength=1e-9)
    for x, y, _ in batches:
        found = head(encoder(x["source"], training=False)["points"])
        np.testing.assert_allclose(found["pose"], y["pose"], atol=0.02 * np.abs(y["pose"]).max())
        np.testing.assert_allclose(found["joints_2d"], y["joints_2d"], atol=0.5)
        np.testing.assert_allclose(found["pose"][:, 0], 0, atol=1e-4)


def test_the_solution_turns_with_the_points():
    _, head, _ = _solved("dense")
    points = np.random.default_rng(3).normal(size=(5, POINTS, 3)).astype("float32")
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0].astype("float32")
    np.testing.assert_allclose(head(points @ turn.T)["pose"], np.asarray(head(points)["pose"]) @ turn.T, atol=1e-2)
