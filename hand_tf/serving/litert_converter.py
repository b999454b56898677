"""Converts SavedModels to LiteRT models, in float32 or in 8-bit integers, with TensorFlow's converter.

Batch norms are folded into the convolutions. In int8 all convolutions, sums and fully connected layers have 8-bit
weights (one scale per channel) and 8-bit activations (one scale per tensor, from the smallest and the largest value on
the calibration images):

    real = scale (integer - zero point)
"""

import os
import re
import warnings

import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from hand_tf.serving import litert

# Layers that compute in float32 under every training policy, too. Points have no scale of their own, and rounding their
# mean square to 8 bits would change it by a percent; a joint of the linear head is a sum of points that nearly cancel.
# All of them together take a few microseconds.
FLOAT_LAYERS = re.compile(
    r"/(heatmaps|heatmap_points|normalize(_points)?|centre_points|pose|joints_2d|joint_error)(_\d+)?/"
)


def convert(saved_model: str | os.PathLike) -> bytes:
    """A LiteRT model in float32, the content of its file, from a SavedModel for batches of any size."""
    return _start_with_one(_converter(saved_model).convert())


def _start_with_one(content):
    """`content` without the mark that its batch is unknown: the batch is 1 until somebody resizes the input.

    The interpreter resizes such a model just the same. LiteRT's compiled models, as browsers run them, refuse crops for
    an input whose shape has an unknown length.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        tensor.shapeSignature = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _converter(saved_model):
    return tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])


def quantize(saved_model: str | os.PathLike, float_model: bytes, images: np.ndarray) -> bytes:
    """A LiteRT model in int8, the content of its file, from a SavedModel for batches of any size.

    Args:
        float_model: what `convert` made of the same SavedModel.
        images: uint8 [n, size, size, 3], like those that the model will see; they set the ranges of the activations.
    """

    def dataset():
        return ([image[None]] for image in images)

    converter = _converter(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    model = litert.interpreter(float_model)
    results = {tensor["name"] for tensor in model.get_output_details()}  # what the last layer computes has this name
    names = [tensor["name"] for tensor in model.get_tensor_details()]
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=[name for name in names if FLOAT_LAYERS.search(name) or name in results]
    )
    with warnings.catch_warnings():
        # The debugger is TensorFlow's only way to leave single operations in float. It uses a deprecated interpreter.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs", category=UserWarning)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=dataset, debug_options=options
        )
        return _start_with_one(debugger.get_nondebug_quantized_model())
