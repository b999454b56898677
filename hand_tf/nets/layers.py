"""The layers that Keras does not have.

Notation (rows are points): points `L` [B, N, 3], rotation `R^{i->j} = R_j R_i^T` [B, 3, 3], pose `P` [B, 21, 3] in mm.

    RotatePoints          L_j = L_i (R^{i->j})^T                               (Eq. 1)
    NormalizePoints       L / sqrt(mean_n |L_n|^2)
    HeatmapPoints         (x, y)_n = sum_uv softmax(H_n)(u, v) (u, v),   z_n = sum_uv softmax(H_n)(u, v) D_n(u, v)
    PlacePoints           L' = s (L - c)
    CentrePoints          L - mean_n L_n
    LinearPose            P = (W - W_wrist) L
    JointsInCrop          (u, v)_k = centre + size / (2 extent) (V L)_k
    DropPoints            L_n = 0 for a random share of the n
    SwapPartners          x_2m, x_2m+1 -> x_2m+1, x_2m
    SplatPoints           M_n(u, v) = exp(-|(u, v) - (x_n, y_n)|^2 / 2 sigma^2), and z_n M_n
    CompositeBackground   I = alpha * foreground + (1 - alpha) * background
    NormalizeImage        x = (rgb / 255 - mean) / std
    UnstandardizePose     P = z * std + mean
    BatchNorm             batch normalisation whose statistics agree across replicas

Everything is written in `keras.ops`, so it runs on TensorFlow and on JAX; `kernels` holds the one shortcut.
"""

import keras
import numpy as np
from keras import ops

from hand_tf.core.skeleton import NUM_JOINTS, ROOT
from hand_tf.nets import kernels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        return ops.concatenate([ops.matmul(heat, places), z], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1] // 2, 3)

    def get_config(self):
        return {**super().get_config(), "extent": self.extent}


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
class CentrePoints(keras.layers.Layer):
    """Points minus their mean, [batch, N, 3] -> [batch, N, 3]. It commutes with every rotation."""

    def call(self, points):
        return points - ops.mean(points, axis=1, keepdims=True)


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

    def call(self, points):
        joints = ops.matmul(self.weights_of_points, points) * self.UNIT
        return joints - joints[:, ROOT : ROOT + 1]

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
        places = ops.matmul(self.weights_of_points, points)[..., :2]
        return places * (self.size / (2 * self.extent)) + (self.size - 1) / 2

    def compute_output_shape(self, input_shape):
        return (input_shape[0], NUM_JOINTS, 2)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "extent": self.extent}


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
class SwapPartners(keras.layers.Layer):
    """Exchanges neighbours of a batch, samples 2 m and 2 m + 1: [batch, size] -> [batch, size], batch even."""

    def call(self, values):
        pairs = ops.reshape(values, (-1, 2, values.shape[-1]))
        return ops.reshape(ops.flip(pairs, axis=1), (-1, values.shape[-1]))


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
class CompositeBackground(keras.layers.Layer):
    """Composites a decoded foreground over the empty scene.

    `call([foreground, alpha, background])`: RGB [batch, H, W, 3] in 0..1, alpha [batch, H, W, 1] in 0..1, RGB
    [batch, H, W, 3] in 0..1 -> RGB [batch, H, W, 3] in 0..1. `alpha` learns to be a mask of the hand. Computed in
    float32, like everything that a loss compares.
    """

    def __init__(self, dtype: str = "float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, inputs):
        foreground, alpha, background = inputs
        return background + alpha * (foreground - background)


@keras.saving.register_keras_serializable("hand_tf")
class NormalizeImage(keras.layers.Layer):
    """RGB in 0..255, uint8 or float -> standardised by ImageNet's statistics, in the compute dtype.

    `call(image)`: [batch, H, W, 3] -> [batch, H, W, 3]; with `scale_only=True` only scaled to 0..1. Images enter every
    model as 0..255, so that they reach the accelerator as bytes.
    """

    def __init__(self, scale_only: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.scale_only = scale_only

    def call(self, image):
        # In float32 until the last step: in bfloat16 the subtraction would round away the darkest bits.
        image = ops.cast(image, "float32")
        if self.scale_only:
            return ops.cast(image / 255.0, self.compute_dtype)
        # (image / 255 - mean) / std in two passes instead of three.
        mean, std = np.float32(IMAGENET_MEAN), np.float32(IMAGENET_STD)
        return ops.cast(image * (1 / (255 * std)) - mean / std, self.compute_dtype)

    def compute_output_spec(self, image: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(image.shape, dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "scale_only": self.scale_only}


@keras.saving.register_keras_serializable("hand_tf")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation with ResNet's constants, synchronised over the replicas of TensorFlow.

    Without synchronisation the moving statistics of the replicas drift apart under `tf.distribute`. Keras raises on
    other backends if asked for it; JAX computes over the global batch anyway. So the switch follows the backend and
    is not part of the configuration: a file written by one backend loads on the other. On one device,
    `kernels.batch_norm` computes the same in less time.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs):
        synchronized = keras.backend.backend() == "tensorflow"
        super().__init__(momentum=momentum, epsilon=epsilon, synchronized=synchronized, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if mask is not None or not kernels.has_batch_norm(inputs):
            return super().call(inputs, training=training, mask=mask)
        # One kernel instead of twenty passes over the map.
        inputs = ops.cast(inputs, self.compute_dtype)
        gamma, beta = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
        moving = [ops.convert_to_tensor(variable) for variable in (self.moving_mean, self.moving_variance)]
        if not (training and self.trainable):
            return kernels.batch_norm(inputs, gamma, beta, self.epsilon, moving)[0]
        outputs, *statistics = kernels.batch_norm(inputs, gamma, beta, self.epsilon)
        for variable, before, now in zip((self.moving_mean, self.moving_variance), moving, statistics, strict=True):
            variable.assign(before * self.momentum + ops.stop_gradient(now) * (1.0 - self.momentum))
        return outputs

    def get_config(self):
        config = super().get_config()
        config.pop("synchronized")
        return config


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
            raise ValueError(f"{self.name}: expected [batch, {NUM_JOINTS * 3}], got {tuple(input_shape)}")
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
                raise ValueError(f"{name}: expected finite [{NUM_JOINTS}, 3], got {value.shape} {value.ravel()[:3]}")
        if (std < 0).any():
            raise ValueError(f"std: expected values >= 0, got {std.min()}")
        if not self.built:
            self.build((None, NUM_JOINTS * 3))
        self.mean.assign(mean)
        self.std.assign(std)

    def call(self, standardised):
        pose = ops.reshape(standardised, (-1, NUM_JOINTS, 3))
        return pose * self.std + self.mean

    def compute_output_shape(self, input_shape):
        return (input_shape[0], NUM_JOINTS, 3)
