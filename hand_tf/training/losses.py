"""The losses: pure functions of `keras.ops` and a thin `keras.losses.Loss` about each.

Notation: target `I` and image `I'` [B, H, W, 3], feature maps `f_l`, pose `P` and `P'` [B, 21, 3] in mm, sigma the
standard deviation [21, 3] of the labels.

    PixelL1     |I - I'|, mean over channels                            [B, H, W]   (Eq. 2)
    MaskBCE     -m log m' - (1 - m) log(1 - m'), m from |I - B|         [B, H, W]   (ours)
    FeatureL1   mean_l mean |f_l(I) - f_l(I')|                          [B]         (Eq. 3)
    PoseMSE     |(P - P') / sigma|^2, mean over x, y, z                 [B, 21]     (Eq. 4)
    JointsMSE   |(u - u') / (size / 6)|^2, mean over x, y                [B, 21]     (ours)
    ExpectedErrorNLL   log m + e / m, e the joint's error, m the expected one      [B, 21]     (ours)

Targets are RGB in 0..255 (the bytes of the record, cast here), predicted images are RGB in 0..1. Each function keeps
the axes that `sample_weight` weights, and the weight must have exactly these axes: Keras would silently broadcast [B]
against [B, H, W] along the *width*. Everything is computed in float32, whatever the precision policy.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from hand_tf.core.errors import InputError
from hand_tf.core.skeleton import NUM_JOINTS, ROOT
from hand_tf.nets import metrics

NO_HAND = 150.0  # mm: the error of a joint where there is no hand, larger than that of any guess
Tensor = Any  # a tensor of the Keras backend, or a NumPy array


def pixel_l1(target: Tensor, image: Tensor) -> Tensor:
    """Mean absolute difference over channels: target [batch, H, W, 3] in 0..255, image in 0..1 -> [batch, H, W]."""
    # Paper: Eq. 2
    return ops.mean(ops.abs(_unit_range(target) - ops.cast(image, "float32")), axis=-1)


def feature_l1(target: Tensor, image: Tensor, feature_model: keras.Model) -> Tensor:
    """Mean absolute difference of feature maps; all maps have the same weight, whatever their size.

    target [batch, H, W, 3] in 0..255, image [batch, H, W, 3] in 0..1 -> [batch]. `feature_model` takes RGB in 0..1
    and returns a list of maps (`feature_networks.feature_model`). It runs in inference mode: batch statistics would
    subtract the very errors in colour and contrast that the loss should measure.
    """
    wanted = feature_model(_unit_range(target), training=False)
    found = feature_model(ops.cast(image, "float32"), training=False)
    # Paper: Eq. 3
    # Choice: the mean over {stem after ReLU, layer1, layer2}.
    differences = [
        ops.mean(ops.abs(ops.stop_gradient(ops.cast(a, "float32")) - ops.cast(b, "float32")), axis=(1, 2, 3))
        for a, b in zip(wanted, found, strict=True)
    ]
    return sum(differences) / len(differences)


def mask_bce(target: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of the mask, target and mask [batch, H, W, 1] in 0..1 -> [batch, H, W].

    # Choice: ours. The target is where the picture differs from the empty scene; it needs no annotation. A silhouette
    # says where the hand is in the novel view, whatever its colour and the light, so it teaches geometry first.
    """
    return ops.mean(ops.binary_crossentropy(ops.cast(target, "float32"), ops.cast(mask, "float32")), axis=-1)


def pose_mse(pose_true: Tensor, pose_pred: Tensor, std: Tensor) -> Tensor:
    """Mean squared error of standardised coordinates: poses [batch, 21, 3] in mm, std [21, 3] in mm -> [batch, 21].

    A coordinate that never varies (std 0: the root) contributes 0. The caller weights joints that were not accepted
    with 0; their coordinates must still be finite, because 0 * nan is nan.
    """
    std = ops.cast(std, "float32")
    inverse = ops.where(std > 0, 1.0 / ops.where(std > 0, std, 1.0), 0.0)
    difference = ops.cast(pose_true, "float32") - ops.cast(pose_pred, "float32")
    # Paper: Eq. 4
    # Choice: per standardised coordinate, so that a finger tip counts no more than a knuckle.
    return ops.mean(ops.square(difference * inverse), axis=-1)


def joints_mse(joints_true: Tensor, joints_pred: Tensor, size: int) -> Tensor:
    """Mean squared error of places [batch, 21, 2] in crops of `size` px, in units of size / 6 -> [batch, 21].

    # Choice: ours. The joints of a hand vary by about a sixth of the crop's side, so it compares with `pose_mse`.
    """
    difference = ops.cast(joints_true, "float32") - ops.cast(joints_pred, "float32")
    return ops.mean(ops.square(difference * (6.0 / size)), axis=-1)


def expected_error_nll(judged_true: Tensor, judged_pred: Tensor) -> Tensor:
    """How badly expected errors m fit the errors e of poses: log m + e / m, both in units of 30 mm -> [batch, 21].

    # Choice: ours. It is the negative log likelihood of an exponential distribution, whose mean m is what minimises it.
    An error is that of N-MPJPE: the distance in mm after the best scale of the pose. Where there is no hand, it counts
    as `NO_HAND` mm.

    Args:
        judged_true: [batch, 21, 4]: true pose (mm), and 1 where there is no hand, else 0.
        judged_pred: [batch, 21, 4]: predicted pose (mm), and the expected error of each joint (mm).
    """
    true, empty = ops.cast(judged_true[..., :3], "float32"), ops.cast(judged_true[..., 3], "float32")
    predicted, expected = ops.cast(judged_pred[..., :3], "float32"), ops.cast(judged_pred[..., 3], "float32")
    true, predicted = (ops.stop_gradient(pose - pose[:, ROOT : ROOT + 1]) for pose in (true, predicted))
    scale = metrics.best_scale(true, predicted)[:, None, None]
    error = ops.sqrt(ops.sum(ops.square(true - scale * predicted), axis=-1) + 1e-6)
    error = ops.stop_gradient(ops.where(empty > 0, NO_HAND, error)) / 30.0
    expected = expected / 30.0
    return ops.log(expected) + error / expected


def _unit_range(target):
    return ops.cast(target, "float32") / 255.0


def _check_weight(loss, sample_weight, axes):
    if sample_weight is not None and tuple(sample_weight.shape[1:]) != tuple(axes):
        expected = ", ".join(["batch", *map(str, axes)])
        raise InputError(f"{loss.name}: sample_weight must be [{expected}], got {tuple(sample_weight.shape)}")


@keras.saving.register_keras_serializable("hand_tf")
class PixelL1(keras.losses.Loss):
    """`pixel_l1` as a loss; `sample_weight` [batch, H, W] may emphasise the foreground.

    The sum of the weighted differences is divided by the number of pixels, not by the sum of the weights.
    """

    def __init__(self, name: str = "pixel_l1", reduction: str = "sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        _check_weight(self, sample_weight, y_pred.shape[1:3])
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return pixel_l1(y_true, y_pred)


@keras.saving.register_keras_serializable("hand_tf")
class MaskBCE(keras.losses.Loss):
    """`mask_bce` as a loss; `sample_weight` [batch, H, W]."""

    def __init__(self, name: str = "mask_bce", reduction: str = "sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        _check_weight(self, sample_weight, y_pred.shape[1:3])
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mask_bce(y_true, y_pred)


@keras.saving.register_keras_serializable("hand_tf")
class FeatureL1(keras.losses.Loss):
    """`feature_l1` as a loss; `sample_weight` [batch].

    It owns the feature network, which is therefore not part of the trained model or of its file. Load a model that was
    compiled with this loss with `compile=False` and compile it again.
    """

    def __init__(self, feature_model: keras.Model, name: str = "feature_l1", reduction: str = "sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.feature_model = feature_model
        self.feature_model.trainable = False

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        _check_weight(self, sample_weight, ())
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return feature_l1(y_true, y_pred, self.feature_model)

    @classmethod
    def from_config(cls, config):
        raise InputError(
            f"{config['name']}: the feature network is not in the file; load with compile=False and compile again"
        )


@keras.saving.register_keras_serializable("hand_tf")
class PoseMSE(keras.losses.Loss):
    """`pose_mse` as a loss; `sample_weight` [batch, 21] is 1 for accepted joints and 0 for all others.

    Choice: the sum is divided by the sum of the weights. Keras' default divides by batch * 21, which would halve the
    loss of a batch whose other half is unlabelled: lambda_F would have another meaning in every regime. A batch without
    any label gives 0.
    """

    def __init__(self, std: np.ndarray, name: str = "pose_mse", reduction: str = "mean_with_sample_weight"):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.std = np.asarray(std, "float32")
        if self.std.shape != (NUM_JOINTS, 3):
            raise InputError(f"{name}: std must be [{NUM_JOINTS}, 3], got {self.std.shape}")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        _check_weight(self, sample_weight, (NUM_JOINTS,))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return pose_mse(y_true, y_pred, self.std)

    def get_config(self):
        return {**super().get_config(), "std": self.std.tolist()}


@keras.saving.register_keras_serializable("hand_tf")
class JointsMSE(keras.losses.Loss):
    """`joints_mse` as a loss; `sample_weight` [batch, 21] and its sum as for `PoseMSE`."""

    def __init__(self, size: int, name: str = "joints_mse", reduction: str = "mean_with_sample_weight"):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.size = size

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        _check_weight(self, sample_weight, (NUM_JOINTS,))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return joints_mse(y_true, y_pred, self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("hand_tf")
class ExpectedErrorNLL(keras.losses.Loss):
    """`expected_error_nll` as a loss; `sample_weight` [batch, 21] and its sum as for `PoseMSE`."""

    def __init__(self, name: str = "expected_error_nll", reduction: str = "mean_with_sample_weight"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        _check_weight(self, sample_weight, (NUM_JOINTS,))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return expected_error_nll(y_true, y_pred)
