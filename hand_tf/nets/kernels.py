"""Kernels of a backend that `keras.ops` does not offer; the only model code that knows its backend.

`keras.ops` normalises a batch in about twenty passes over the map, forward and backward together. XLA (JAX) fuses them
into two; TensorFlow runs them one by one, unless it is told to use its own kernel, which computes the same.
"""

from collections.abc import Sequence
from typing import Any

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def has_batch_norm(x: Any) -> bool:
    """Whether `batch_norm` applies: a map, on TensorFlow, with one replica (the kernel sees no other replicas)."""
    if keras.backend.backend() != "tensorflow" or len(x.shape) != 4:
        return False
    return tf.distribute.get_strategy().num_replicas_in_sync == 1


def batch_norm(
    x: "tf.Tensor",
    gamma: "tf.Tensor",
    beta: "tf.Tensor",
    epsilon: float,
    statistics: Sequence["tf.Tensor"] | None = None,
) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor"]:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, as one kernel forward and one backward.

    Args:
        x: [batch, H, W, channels]; may be in half precision, sums are in float32.
        gamma, beta: [channels] float32.
        statistics: (mean, variance) [channels] float32, for inference; None for those of the batch, through which the
            gradient flows.

    Returns:
        The map as `x`, mean and variance [channels].
    """
    given = statistics or (tf.zeros([0]), tf.zeros([0]))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=given[0], variance=given[1], epsilon=epsilon, is_training=statistics is None
    )
    if statistics is None:
        # The kernel returns an estimate of the population's variance, Keras keeps that of the batch.
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
        variance = variance * ((count - 1.0) / count)
    return y, mean, variance
