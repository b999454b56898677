"""The linear pose head over a frozen encoder, solved instead of trained: ridge regression on augmented labels.

Notation: points L [N, 3] of a crop, its pose P [21, 3] mm, weights w [21] of its joints.

    W_k = argmin  sum_crops w_k |W_k L - P_k|^2 + ridge |W_k|^2        one joint at a time; x, y and z share W_k

`joints_2d` is solved alike, from the points as they are and the places in the crop. The ridge weighs as much as so many
labels: its strength is relative to the mean eigenvalue of the points' second moments, times the number of labels. So
one strength serves every encoder, and a few labels as well as many.

Points that are fused over the views of an instant have less noise than those of one view, and deserve another head. It
stays near the single view's head W0 in the directions in which the views of an instant differ, C [N, N]:

    W_k = argmin  sum_instants w_k |W_k L - P_k|^2 + strength (W_k - W0_k) C (W_k - W0_k)^T
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
        """The weights [21, N] with a ridge of `strength` times the mean eigenvalue; 0 for a joint without any label."""
        num_points = self.inner.shape[-1]
        ridge = strength * np.trace(self.inner, axis1=1, axis2=2) / num_points + 1e-12
        regular = self.inner + ridge[:, None, None] * np.eye(num_points)
        return np.linalg.solve(regular, self.outer[..., None])[..., 0]

    def solve_near(self, weights: np.ndarray, penalty: np.ndarray) -> np.ndarray:
        """The weights [21, N] that stay near `weights` [21, N]; `penalty` [N, N] says in which directions."""
        return np.linalg.solve(self.inner + penalty, (self.outer + weights @ penalty)[..., None])[..., 0]


def is_linear(head: keras.Model) -> bool:
    """Whether a pose head is the linear one, which can be solved."""
    return hasattr(head.get_layer("pose"), "weights_of_points")


def shape_points(head: keras.Model) -> keras.Model:
    """Points [batch, N, 3] -> the points that a linear `head` maps to a pose: in some heads, of one size."""
    return keras.Model(head.input, head.get_layer("pose").input, name="shape_points")


def weights_of(head: keras.Model) -> np.ndarray:
    """The weights [21, N] of a linear head, mm per unit of `shape_points`; those of the wrist are 0."""
    pose = head.get_layer("pose")
    weights = keras.ops.convert_to_numpy(pose.weights_of_points).astype(np.float64) * pose.UNIT
    return weights - weights[ROOT]


def solve(encoder: keras.Model, head: keras.Model, batches: Iterable[tuple[dict, dict, dict]], strength: float) -> None:
    """Sets the weights of a linear `head` to the solution over `batches`; see the module's docstring.

    Args:
        encoder: image -> points; is not changed.
        head: from `models.pose_head` of kind `linear`.
        batches: (x, y, sample_weight) of `labelled_crops.training_batches`.
        strength: of the ridge, relative to the mean eigenvalue of the sums over all batches.
    """
    pose, places = head.get_layer("pose"), head.get_layer("joints_2d")
    shape = shape_points(head)
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
