"""Layers that turn points into joints.

Notation (rows are points): points `L` [B, N, 3], pose `P` [B, 21, 3] in mm, relative to the wrist.

    LinearPose            P = (W - W_wrist) L
    JointsInCrop          (u, v)_k = centre + size / (2 extent) (V L)_k
    UnstandardizePose     P = z * std + mean
    ExpectedError         e = 30 mm exp(z)
"""

import keras
import numpy as np
from keras import ops

from hand_tf.core.errors import InputError
from hand_tf.core.skeleton import NUM_JOINTS, ROOT


@keras.saving.register_keras_serializable("hand_tf")
class LinearPose(keras.layers.Layer):
    """The equivariant linear map P = W L in mm, relative to the wrist; [batch, N, 3] -> [batch, 21, 3].

    W [21, N] is the same for x, y and z and has no offset, so the pose turns with the points (Eq. 1): few labels fix
    it. A weight of 1 is worth `UNIT` mm per unit of the points. `mean` [21, 3] mm is only kept, see `set_statistics`.
    """

    UNIT = 100.0

    def __init__(self, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def build(self, input_shape):
        initializer = keras.initializers.RandomNormal(stddev=input_shape[1] ** -0.5)
        self.weights_of_points = self.add_weight(
            shape=(NUM_JOINTS, input_shape[1]), initializer=initializer, name="weights_of_points"
        )
        self.mean = self.add_weight(shape=(NUM_JOINTS, 3), initializer="zeros", trainable=False, name="mean")

    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Keeps the mean pose [21, 3] mm of the labels, a reference for reports; predictions need neither."""
        self.mean.assign(mean)

    def relative_weights(self):
        """W - W_wrist in mm per unit of the points, [21, N]."""
        weights = ops.convert_to_tensor(self.weights_of_points)
        return (weights - weights[ROOT : ROOT + 1]) * self.UNIT

    def call(self, points):
        return ops.matmul(self.relative_weights(), points)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], NUM_JOINTS, 3)


@keras.saving.register_keras_serializable("hand_tf")
class JointsInCrop(keras.layers.Layer):
    """Places of the joints in the crop, px: `joints_2d` = c + size / (2 extent) (V L) without z; 21 joints.

    `call(points)`: [batch, N, 3] -> [batch, 21, 2]. V [21, N] has no offset: a point at the origin is the centre of the
    crop of `size` px.
    """

    def __init__(self, size: int, extent: float = 2.0, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.size, self.extent = size, extent

    def build(self, input_shape):
        initializer = keras.initializers.RandomNormal(mean=1 / input_shape[1], stddev=input_shape[1] ** -1.0)
        self.weights_of_points = self.add_weight(
            shape=(NUM_JOINTS, input_shape[1]), initializer=initializer, name="weights_of_points"
        )

    def call(self, points):
        return self.to_pixels(ops.matmul(self.weights_of_points, points)[..., :2])

    def to_pixels(self, places):
        """Places [batch, 21, 2] in units of the points as px of the crop."""
        return places * (self.size / (2 * self.extent)) + (self.size - 1) / 2

    def compute_output_shape(self, input_shape):
        return (input_shape[0], NUM_JOINTS, 2)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "extent": self.extent}


@keras.saving.register_keras_serializable("hand_tf")
class ExpectedError(keras.layers.Layer):
    """Expected errors e = UNIT exp(z) in mm, of numbers z that are kept within `RANGE`; any shape, float32."""

    UNIT, RANGE = 30.0, (-3.5, 2.0)  # from 0.9 mm to 222 mm

    def __init__(self, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, values):
        return self.UNIT * ops.exp(ops.clip(values, *self.RANGE))

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("hand_tf")
class UnstandardizePose(keras.layers.Layer):
    """Standardised coordinates -> millimetres, with statistics that are saved with the model.

    `call(standardised)`: [batch, 63] -> pose [batch, 21, 3] in mm. `mean` and `std` [21, 3] in mm are weights that are
    not trained; they start as 0 and 1 and are set by `set_statistics`. A std of zero (the root, which is its own
    origin) fixes the coordinate to its mean. Computed in float32: bfloat16 resolves 1 mm at 200 mm.
    """

    def __init__(self, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def build(self, input_shape):
        shape = (NUM_JOINTS, 3)
        if input_shape[-1] != NUM_JOINTS * 3:
            raise InputError(f"{self.name}: expected [batch, {NUM_JOINTS * 3}], got {tuple(input_shape)}")
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.std = self.add_weight(shape=shape, initializer="ones", trainable=False, name="std")

    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Sets the mean and standard deviation [21, 3] (mm) of the labels.

        Raises:
            ValueError: a shape other than [21, 3], a value that is not finite, or a negative std.
        """
        mean, std = np.asarray(mean, "float32"), np.asarray(std, "float32")
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != (NUM_JOINTS, 3) or not np.isfinite(value).all():
                raise InputError(f"{name}: expected finite [{NUM_JOINTS}, 3], got {value.shape} {value.ravel()[:3]}")
        if (std < 0).any():
            raise InputError(f"std: expected values >= 0, got {std.min()}")
        if not self.built:
            self.build((None, NUM_JOINTS * 3))
        self.mean.assign(mean)
        self.std.assign(std)

    def call(self, standardised):
        pose = ops.reshape(standardised, (-1, NUM_JOINTS, 3))
        return pose * self.std + self.mean

    def compute_output_shape(self, input_shape):
        return (input_shape[0], NUM_JOINTS, 3)
