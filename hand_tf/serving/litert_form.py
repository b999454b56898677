"""Rewrites a pose estimator so that it converts to operators that phones know, for batches of any size.

The rewritten model has the same weights and computes the same. Only how some layers are written changes:

    Flatten, Reshape            reshape to (-1, ...). Keras computes the batch size from the input, which converts to
                                SHAPE and PACK; GPU delegates refuse tensors whose shapes are computed
    UpSampling2D (nearest)      one RESIZE_NEAREST_NEIGHBOR, instead of tiling a tensor of five dimensions
    LinearPose, JointsInCrop    (L^T W^T)^T instead of W L, which is FULLY_CONNECTED. W L would be BATCH_MATMUL with a
                                constant first factor; the GPU delegate wants the second one to be constant
    HeatmapPoints               its product as one of two matrices: with three dimensions, shapes are computed again
"""

import math

import keras
from keras import layers as kl
from keras import ops

from hand_tf.nets import point_layers, pose_layers


def rewrite(model: keras.Model) -> keras.Model:
    """The model that computes the same as `model` (source -> its outputs), with the layers above rewritten."""
    clone = keras.models.clone_model(model, clone_function=_rebuild, recursive=True)
    clone.set_weights(model.get_weights())
    return clone


def _rebuild(layer):
    return _FORMS.get(type(layer), type(layer)).from_config(layer.get_config())


def _times(rows, matrix):
    """[batch, n, k] times [k, m], as one product of two matrices."""
    count, size = rows.shape[1:]
    return ops.reshape(ops.matmul(ops.reshape(rows, (-1, size)), matrix), (-1, count, matrix.shape[1]))


def _combine(weights, points):
    """W L [batch, m, 3] of weights [m, N] and points [batch, N, 3]."""
    return ops.swapaxes(_times(ops.swapaxes(points, 1, 2), ops.transpose(weights)), 1, 2)


class _Flatten(kl.Flatten):
    def call(self, inputs):
        return ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))


class _Reshape(kl.Reshape):
    def call(self, inputs):
        return ops.reshape(inputs, (-1, *self.target_shape))


class _UpSampling2D(kl.UpSampling2D):
    def call(self, inputs):
        if self.interpolation != "nearest":
            return super().call(inputs)
        height, width = (length * factor for length, factor in zip(inputs.shape[1:3], self.size, strict=True))
        return ops.image.resize(inputs, (height, width), interpolation="nearest")


class _LinearPose(pose_layers.LinearPose):
    def call(self, points):
        return _combine(self.relative_weights(), points)


class _JointsInCrop(pose_layers.JointsInCrop):
    def call(self, points):
        return self.to_pixels(_combine(ops.convert_to_tensor(self.weights_of_points), points[..., :2]))


class _HeatmapPoints(point_layers.HeatmapPoints):
    def mean_places(self, heat, places):
        return _times(heat, places)


_FORMS = {
    kl.Flatten: _Flatten,
    kl.Reshape: _Reshape,
    kl.UpSampling2D: _UpSampling2D,
    pose_layers.LinearPose: _LinearPose,
    pose_layers.JointsInCrop: _JointsInCrop,
    point_layers.HeatmapPoints: _HeatmapPoints,
}
