"""Layers on the points: the change of view, what keeps it exact, and how points and pictures become each other.

Notation (rows are points): points `L` [B, N, 3], rotation `R^{i->j} = R_j R_i^T` [B, 3, 3].

    RotatePoints          L_j = L_i (R^{i->j})^T                               (Eq. 1)
    NormalizePoints       L / sqrt(mean_n |L_n|^2)
    CentrePoints          L - mean_n L_n
    PlacePoints           L' = s (L - c)
    DropPoints            L_n = 0 for a random share of the n
    HeatmapPoints         (x, y)_n = sum_uv softmax(H_n)(u, v) (u, v),   z_n = sum_uv softmax(H_n)(u, v) D_n(u, v)
    SplatPoints           M_n(u, v) = exp(-|(u, v) - (x_n, y_n)|^2 / 2 sigma^2), and z_n M_n
    SwapPartners          x_2m, x_2m+1 -> x_2m+1, x_2m
"""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("hand_tf")
class RotatePoints(keras.layers.Layer):
    """Change of view as one matrix product.

    `call([points, rotation])`: points [batch, N, 3], rotation [batch, 3, 3] -> [batch, N, 3].
    Computed in float32 under every precision policy: rounded to half precision, a matrix is no longer a rotation.
    """

    def __init__(self, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, inputs):
        points, rotation = inputs
        # Paper: Eq. 1
        return ops.matmul(points, ops.swapaxes(rotation, 1, 2))


@keras.saving.register_keras_serializable("hand_tf")
class NormalizePoints(keras.layers.Layer):
    """Points of unit root-mean-square distance from the origin, [batch, N, 3] -> [batch, N, 3].

    It commutes with every rotation, so Eq. 1 still holds. It removes the one freedom that a change of view leaves
    open, the overall scale, which would otherwise differ between samples and have to be undone by the decoder.
    """

    def __init__(self, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, points):
        mean_square = ops.mean(ops.sum(ops.square(points), axis=-1, keepdims=True), axis=1, keepdims=True)
        return points * ops.rsqrt(mean_square + 1e-6)


@keras.saving.register_keras_serializable("hand_tf")
class CentrePoints(keras.layers.Layer):
    """Points minus their mean, [batch, N, 3] -> [batch, N, 3]. It commutes with every rotation."""

    def call(self, points):
        return points - ops.mean(points, axis=1, keepdims=True)


@keras.saving.register_keras_serializable("hand_tf")
class PlacePoints(keras.layers.Layer):
    """Points from the crop that was encoded to the crop that was meant, whose centre is the hand's.

    `call([points, placement])`: points [batch, N, 3], placement [batch, 3] -> [batch, N, 3]. A placement is (x, y, s):
    where the hand's centre lies in the encoded crop, in shares of its side from its centre, and the side of the
    encoded crop over that of the meant one. L' = s (L - c): the rotation of Eq. 1 is about the hand's centre, and all
    views of an instant show one metric scale, whatever box the source was cut by.
    """

    def __init__(self, extent: float = 2.0, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.extent = extent

    def call(self, inputs):
        points, placement = inputs
        placement = ops.expand_dims(placement, 1)
        centre = ops.concatenate([placement[..., :2] * (2 * self.extent), ops.zeros_like(placement[..., :1])], axis=-1)
        return (points - centre) * placement[..., 2:]

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "extent": self.extent}


@keras.saving.register_keras_serializable("hand_tf")
class DropPoints(keras.layers.Layer):
    """Moves a random share `rate` of the points, whole, to the origin while it trains; [batch, N, 3] -> [batch, N, 3].

    The others stay where they are: plain dropout would scale them by 1 / (1 - rate), and a point is a place.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, points, training=False):
        if not training:
            return points
        drawn = keras.random.uniform((ops.shape(points)[0], points.shape[1], 1), seed=self.seed_generator)
        return points * ops.cast(drawn >= self.rate, points.dtype)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable("hand_tf")
class HeatmapPoints(keras.layers.Layer):
    """Points as the mean places of heat maps, and their depths as the mean of depth maps under the same heat.

    `call(maps)`: [batch, h, w, 2 N], N logits of heat and N depths -> points [batch, N, 3]. x and y lie where the heat
    lies in the crop, in the units of `SplatPoints`: -`extent`..`extent` is the whole crop (integral regression, Sun et
    al., ECCV 2018).
    """

    def __init__(self, extent: float = 2.0, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.extent = extent

    def call(self, maps):
        height, width, channels = maps.shape[1:]
        flat = ops.swapaxes(ops.reshape(maps, (-1, height * width, channels)), 1, 2)
        heat, depth = flat[:, : channels // 2], flat[:, channels // 2 :]
        heat = ops.softmax(heat, axis=-1)  # [batch, N, h w]
        y, x = np.mgrid[:height, :width]
        places = [(cells - (size - 1) / 2) * (2 * self.extent / size) for cells, size in ((x, width), (y, height))]
        places = ops.convert_to_tensor(np.stack(places, -1).reshape(-1, 2).astype("float32"))
        z = ops.sum(heat * depth, axis=-1, keepdims=True)
        return ops.concatenate([self.mean_places(heat, places), z], axis=-1)

    def mean_places(self, heat, places):
        """The means [batch, N, 2] of the places [h w, 2] of the cells under the heat [batch, N, h w]."""
        return ops.matmul(heat, places)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1] // 2, 3)

    def get_config(self):
        return {**super().get_config(), "extent": self.extent}


@keras.saving.register_keras_serializable("hand_tf")
class SplatPoints(keras.layers.Layer):
    """Draws each point as a soft dot at its place in the picture, and a second time multiplied by its depth.

    `call(points)`: [batch, N, 3] -> maps [batch, size, size, 2 N]. The square of -`extent`..`extent` in x and y fills
    the map; x is to the right and y down, as in the virtual camera, whose crops show all views at one metric scale.
    The dots are Gaussians of `sigma` cells.
    """

    def __init__(self, size: int, extent: float = 2.0, sigma: float = 1.0, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.size, self.extent, self.sigma = size, extent, sigma

    def call(self, points):
        cells = ops.arange(self.size, dtype="float32")
        x, y, z = (ops.swapaxes(points, 1, 2)[:, axis, None] for axis in range(3))  # [batch, 1, N]

        def near(place):
            away = place * (self.size / (2 * self.extent)) + (self.size - 1) / 2 - cells[:, None]
            return ops.exp((-0.5 / self.sigma**2) * ops.square(away))  # [batch, size, N]

        # The points come last, as in the maps: the product of two Gaussians by broadcasting needs no transposition.
        across, down = ops.expand_dims(near(x), 1), near(y)
        weights = ops.expand_dims(ops.concatenate([down, down * z], axis=-1), 2)  # [batch, size, 1, 2 N]
        return weights * ops.concatenate([across, across], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.size, self.size, 2 * input_shape[1])

    def get_config(self):
        return {**super().get_config(), "size": self.size, "extent": self.extent, "sigma": self.sigma}


@keras.saving.register_keras_serializable("hand_tf")
class SwapPartners(keras.layers.Layer):
    """Exchanges neighbours of a batch, samples 2 m and 2 m + 1: [batch, size] -> [batch, size], batch even."""

    def call(self, values):
        pairs = ops.reshape(values, (-1, 2, values.shape[-1]))
        return ops.reshape(ops.flip(pairs, axis=1), (-1, values.shape[-1]))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
