"""The metrics of 3D hand pose: pure functions of `keras.ops`, and a `keras.metrics.Metric` for two of them.

Notation, per sample: true joints `g_k` and predicted joints `p_k` (mm, relative to the wrist), weights `w_k` in {0, 1}
(accepted or not), n = sum_k w_k. The means are over all 21 joints, including the wrist, whose error is 0.

    MPJPE      1/n sum_k w_k |p_k - g_k|
    N-MPJPE    MPJPE of s p,  s = max(0, sum_k w_k <p_k, g_k> / sum_k w_k <p_k, p_k>)
    PA-MPJPE   MPJPE of s R p + t, the similarity with det R = +1 that minimises sum_k w_k |s R p_k + t - g_k|^2
    PCK(d)     share of the accepted joints with |p_k - g_k| <= d
    AUC        area under PCK between two distances, divided by their difference

Poses are [batch, 21, 3] in mm, weights [batch, 21]. Joints of weight 0 may hold any value, including NaN. A sample
without an accepted joint has the error 0 and is left out of the means. Everything is computed in float32, whatever the
precision policy, and with sums of products instead of matrix products: GPUs may round those to TF32, which costs a
tenth of a millimetre here.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from hand_tf.core.errors import InputError
from hand_tf.core.skeleton import ROOT

Tensor = Any  # a tensor of the Keras backend, or a NumPy array


def mpjpe(pose_true: Tensor, pose_pred: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean per-joint position error: poses [batch, 21, 3] in mm, weights [batch, 21] -> [batch] in mm."""
    true, pred, weights = _prepare(pose_true, pose_pred, weights)
    return _mean_distance(true, pred, weights)


def best_scale(pose_true: Tensor, pose_pred: Tensor, weights: Tensor | None = None) -> Tensor:
    """The scale of N-MPJPE, one per sample: poses [batch, 21, 3] in mm, weights [batch, 21] -> [batch].

    Without the max, a pose inverted through its root would score 0 mm. A prediction without extent gets the scale 0.
    """
    true, pred, weights = _prepare(pose_true, pose_pred, weights)
    agreement = ops.sum(weights[..., None] * pred * true, axis=(1, 2))
    extent = ops.sum(weights[..., None] * pred * pred, axis=(1, 2))
    return ops.maximum(ops.divide_no_nan(agreement, extent), 0.0)


def n_mpjpe(pose_true: Tensor, pose_pred: Tensor, weights: Tensor | None = None) -> Tensor:
    """MPJPE after the best scale: poses [batch, 21, 3] in mm, weights [batch, 21] -> [batch] in mm.

    The metric is that of Rhodin, Salzmann, Fua, ECCV 2018.
    """
    scale = best_scale(pose_true, pose_pred, weights)
    true, pred, weights = _prepare(pose_true, pose_pred, weights)
    return _mean_distance(true, scale[:, None, None] * pred, weights)


def pa_mpjpe(pose_true: Tensor, pose_pred: Tensor, weights: Tensor | None = None) -> Tensor:
    """MPJPE after Procrustes alignment: poses [batch, 21, 3] in mm, weights [batch, 21] -> [batch] in mm."""
    true, pred, weights = _prepare(pose_true, pose_pred, weights)
    return _mean_distance(true, procrustes(true, pred, weights), weights)


def procrustes(pose_true: Tensor, pose_pred: Tensor, weights: Tensor) -> Tensor:
    """`pose_pred` after the similarity transform, without reflection, that fits it best to `pose_true`.

    Poses [batch, 21, 3], finite, weights [batch, 21] -> [batch, 21, 3]. Method: Umeyama, PAMI 1991.
    """
    true_mean, true = _centre(pose_true, weights)
    _, pred = _centre(pose_pred, weights)
    covariance = ops.sum((weights[..., None] * pred)[..., :, None] * true[..., None, :], axis=1)
    u, s, vt = ops.svd(covariance)
    # Where the best orthogonal matrix is a reflection, flip the axis of the smallest singular value instead.
    handedness = ops.where(ops.det(u) * ops.det(vt) < 0, -1.0, 1.0)
    signs = ops.stack([ops.ones_like(handedness), ops.ones_like(handedness), handedness], axis=-1)
    rotation = ops.sum(u[:, :, None, :] * signs[:, None, None, :] * ops.swapaxes(vt, 1, 2)[:, None, :, :], axis=-1)
    extent = ops.sum(weights[..., None] * pred * pred, axis=(1, 2))
    scale = ops.divide_no_nan(ops.sum(s * signs, axis=-1), extent)
    rotated = ops.sum(pred[..., :, None] * rotation[:, None, :, :], axis=-2)
    return scale[:, None, None] * rotated + true_mean


def pck(pose_true: Tensor, pose_pred: Tensor, weights: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Share of the accepted joints of all samples that lie within each distance.

    Poses [batch, 21, 3] in mm, weights [batch, 21], thresholds [T] in mm -> [T]; 0 if no joint is accepted.
    """
    true, pred, weights = _prepare(pose_true, pose_pred, weights)
    distances = _distances(true, pred)
    # One threshold at a time: [batch, 21, T] would not fit for a whole test set.
    within = [ops.sum(weights * ops.cast(distances <= float(d), "float32")) for d in thresholds]
    return ops.divide_no_nan(ops.stack(within), ops.sum(weights))


def auc(thresholds: Sequence[float], curve: Sequence[float], low: float, high: float) -> float:
    """Normalised area under a PCK curve, by the trapezoidal rule: 1 if every joint lies within `low` mm.

    Args:
        thresholds: [T] in mm, increasing.
        curve: [T], the PCK at the thresholds, interpolated linearly between them.
        low, high: the range in mm.

    Raises:
        ValueError: the range is empty or goes beyond the thresholds.
    """
    thresholds, curve = np.asarray(thresholds, "float64"), np.asarray(curve, "float64")
    if not thresholds[0] <= low < high <= thresholds[-1]:
        raise InputError(f"auc: expected {thresholds[0]} <= low < high <= {thresholds[-1]}, got {low} and {high}")
    inside = thresholds[(thresholds > low) & (thresholds < high)]
    distances = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(np.interp(distances, thresholds, curve), distances) / (high - low))


def _prepare(pose_true, pose_pred, weights):
    """Both poses in float32, relative to their roots and finite wherever the weight is 0; the weights [batch, 21]."""
    true, pred = ops.cast(pose_true, "float32"), ops.cast(pose_pred, "float32")
    weights = ops.ones_like(true[..., 0]) if weights is None else ops.cast(weights, "float32")
    accepted = weights[..., None] > 0
    # `where`, not a product: 0 * nan is nan.
    true, pred = (ops.where(accepted, pose, 0.0) for pose in (true, pred))
    return true - true[:, ROOT : ROOT + 1], pred - pred[:, ROOT : ROOT + 1], weights


def _distances(true, pred):
    return ops.sqrt(ops.sum(ops.square(pred - true), axis=-1))


def _mean_distance(true, pred, weights):
    return ops.divide_no_nan(ops.sum(weights * _distances(true, pred), axis=-1), ops.sum(weights, axis=-1))


def _centre(pose, weights):
    total = ops.sum(weights[..., None] * pose, axis=1, keepdims=True)
    mean = ops.divide_no_nan(total, ops.sum(weights, axis=1)[:, None, None])
    return mean, pose - mean


def _is_labelled(weights):
    """1 for a sample that has an accepted joint, else 0: weights [batch, 21] -> [batch], None -> None."""
    return None if weights is None else ops.cast(ops.any(ops.cast(weights, "float32") > 0, axis=-1), "float32")


@keras.saving.register_keras_serializable("hand_tf")
class MPJPE(keras.metrics.Mean):
    """Mean of `mpjpe` over the samples that have an accepted joint; poses in mm, sample_weight [batch, 21].

    Samples of weight 0, such as padding of the last batch, do not change it.
    """

    def __init__(self, name: str = "mpjpe", dtype: str = "float32"):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        super().update_state(mpjpe(y_true, y_pred, sample_weight), _is_labelled(sample_weight))


@keras.saving.register_keras_serializable("hand_tf")
class NMPJPE(keras.metrics.Mean):
    """Mean of `n_mpjpe` over the samples that have an accepted joint; poses in mm, sample_weight [batch, 21]."""

    def __init__(self, name: str = "n_mpjpe", dtype: str = "float32"):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        super().update_state(n_mpjpe(y_true, y_pred, sample_weight), _is_labelled(sample_weight))
