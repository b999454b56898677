"""The linear pose head over a frozen encoder, solved instead of trained: ridge regression on augmented labels.

Notation: points L [N, 3] of a crop, its pose P [21, 3] mm, weights w [21] of its joints.

    W_k = argmin  sum_crops w_k |W_k L - P_k|^2 + ridge |W_k|^2        one joint at a time; x, y and z share W_k

`joints_2d` is solved alike, from the points as they are and the places in the crop. The ridge is relative to the mean
eigenvalue of the points' second moments, so one strength serves every encoder and any number of labels.
"""

from collections.abc import Iterable

import keras
import numpy as np

from hand_tf.core.skeleton import NUM_JOINTS, ROOT


class Moments:
    """Sums over crops from which the weights follow."""

    def __init__(self, num_points: int):
        self.inner = np.zeros((NUM_JOINTS, num_points, num_points))
        self.outer = np.zeros((NUM_JOINTS, num_points))

    def add(self, points: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> None:
        """Adds crops: points [batch, N, d], targets [batch, 21, d] and weights [batch, 21] of their joints."""
        points, targets = points.astype(np.float64), targets.astype(np.float64)
        per_crop = points @ points.swapaxes(1, 2)
        self.inner += np.tensordot(weights, per_crop, axes=(0, 0))
        self.outer += np.einsum("bk,bnd,bkd->kn", weights, points, targets, optimize=True)

    def solve(self, strength: float) -> np.ndarray:
        """The weights [21, N]; those of a joint without any label are 0."""
        num_points = self.inner.shape[-1]
        ridge = strength * np.trace(self.inner, axis1=1, axis2=2) / num_points + 1e-12
        regular = self.inner + ridge[:, None, None] * np.eye(num_points)
        return np.linalg.solve(regular, self.outer[..., None])[..., 0]


def solve(encoder: keras.Model, head: keras.Model, batches: Iterable[tuple[dict, dict, dict]], strength: float) -> None:
    """Sets the weights of a linear `head` to the solution over `batches`; see the module's docstring.

    Args:
        encoder: image -> points; is not changed.
        head: from `models.pose_head` of kind `linear`.
        batches: (x, y, sample_weight) of `labelled_crops.training_batches`.
        strength: of the ridge, relative to the mean eigenvalue.
    """
    pose, places = head.get_layer("pose"), head.get_layer("joints_2d")
    shape = keras.Model(head.input, pose.input)
    num_points = head.input.shape[1]
    of_pose, of_places = Moments(num_points), Moments(num_points)
    for x, y, sample_weight in batches:
        points = encoder(x["source"], training=False)["points"]
        weights = np.asarray(sample_weight["pose"])
        of_pose.add(keras.ops.convert_to_numpy(shape(points)), np.asarray(y["pose"]), weights)
        in_crop = (np.asarray(y["joints_2d"]) - (places.size - 1) / 2) * (2 * places.extent / places.size)
        of_places.add(keras.ops.convert_to_numpy(points)[..., :2], in_crop, weights)
    found = of_pose.solve(strength) / pose.UNIT
    found[ROOT] = 0
    pose.weights_of_points.assign(found)
    places.weights_of_points.assign(of_places.solve(strength))
