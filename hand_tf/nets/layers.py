"""Layers on pictures and maps that Keras does not have.

    CompositeBackground   I = alpha * foreground + (1 - alpha) * background
    NormalizeImage        x = (rgb / 255 - mean) / std
    BatchNorm             batch normalisation whose statistics agree across replicas

Like those of `point_layers` and `pose_layers`, they are written in `keras.ops`, so they run on TensorFlow and on JAX;
`kernels` holds the one shortcut.
"""

import keras
import numpy as np
from keras import ops

from hand_tf.nets import kernels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
