"""The pose probe: how well a ridge regression reads poses out of the points of an encoder.

It fits `pose = [points, 1] W` on some subjects and measures N-MPJPE on others. It trains no network, so it can be
logged while an encoder learns without labels. The regression sees neither pictures nor labels of the subjects it is
measured on, and the subjects of the final test stay untouched. Two references are logged with it: the mean pose of the
fit subjects, and the same probe on the encoder before training.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from hand_tf.core import schema
from hand_tf.nets import metrics

# Ridge strengths tried, relative to the mean eigenvalue of the points' covariance.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def with_images(labels: dict[str, np.ndarray], whole_only: bool = True) -> dict[str, np.ndarray]:
    """Adds `images` [n, size, size, 3] uint8 to the labels; `whole_only` leaves out samples that miss a joint."""
    chosen = np.flatnonzero((labels["pose_weight"] > 0).all(-1) | (not whole_only))
    images = [schema.decode_image(labels["source"][i]).numpy() for i in chosen]
    return {name: value[chosen] for name, value in labels.items()} | {"images": np.stack(images)}


def _solve(points, pose, strength):
    """Weights [d + 1, 63] of a ridge regression with an unpenalised intercept, points [n, d], pose [n, 63]."""
    mean_x, mean_y = points.mean(0), pose.mean(0)
    x, y = points - mean_x, pose - mean_y
    covariance = x.T @ x / len(x)
    ridge = strength * np.trace(covariance) / len(covariance) + 1e-12
    weights = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), x.T @ y / len(x))
    return np.vstack([weights, mean_y - mean_x @ weights])


def _error(weights, points, pose):
    predicted = np.hstack([points, np.ones((len(points), 1))]) @ weights
    shape = (-1, 21, 3)
    found, true = predicted.reshape(shape).astype("float32"), pose.reshape(shape).astype("float32")
    return float(np.mean(keras.ops.convert_to_numpy(metrics.n_mpjpe(true, found, np.ones(true.shape[:2], "float32")))))


def ridge(
    points: np.ndarray, pose: np.ndarray, groups: Sequence, test_points: np.ndarray, test_pose: np.ndarray
) -> float:
    """N-MPJPE (mm) on the test set of a ridge regression.

    The strength is chosen on one subject left out of the fit set, never on the test set.

    Args:
        points: [n, N, 3]; pose: [n, 21, 3] mm; groups: [n] subject of each sample.
        test_points, test_pose: of the test subjects, [m, N, 3] and [m, 21, 3] mm.
    """
    x, y = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (points, pose))
    test_x, test_y = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (test_points, test_pose))
    groups = np.asarray(groups)
    held_out = groups == np.unique(groups)[-1]
    if held_out.all():
        held_out = np.arange(len(x)) % 5 == 0
    trials = [_error(_solve(x[~held_out], y[~held_out], s), x[held_out], y[held_out]) for s in STRENGTHS]
    return _error(_solve(x, y, STRENGTHS[int(np.argmin(trials))]), test_x, test_y)


def mean_pose(pose: np.ndarray, test_pose: np.ndarray) -> float:
    """N-MPJPE (mm) on the test set [m, 21, 3] of always predicting the mean pose of the fit set [n, 21, 3] (mm)."""
    y, test_y = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (pose, test_pose))
    return _error(np.vstack([np.zeros((1, y.shape[1])), y.mean(0)]), np.zeros((len(test_y), 1)), test_y)


def in_batches(function: Callable, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """What `function` makes of `images` [n, size, size, 3] uint8, a batch at a time, as one array [n, ...].

    For models that are called layer by layer: a compiled `predict` would take longer to trace than it saves.
    """
    batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    return np.concatenate([keras.ops.convert_to_numpy(function(batch)) for batch in batches])


def points_of(encoder: keras.Model, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """The encoder's points [n, N, 3] of `images` [n, size, size, 3] uint8."""
    return in_batches(lambda batch: encoder(batch, training=False)["points"], images, batch_size)


def measure(encoder: keras.Model, fit: dict[str, np.ndarray], test: dict[str, np.ndarray]) -> float:
    """The probe's N-MPJPE (mm) of an encoder; `fit` and `test` from `with_images`."""
    points = [points_of(encoder, part["images"]) for part in (fit, test)]
    return ridge(points[0], fit["pose"], fit["subject"], points[1], test["pose"])
