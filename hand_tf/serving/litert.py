"""LiteRT models (.tflite), for phones and small computers: conversion from a SavedModel, and running them.

    image    uint8   [1, size, size, 3]   RGB
    pose     float32 [1, 21, 3]           mm

The converter is TensorFlow's. Batch norms are folded into the convolutions. In int8 all convolutions, sums and fully
connected layers have 8-bit weights (a scale a channel) and 8-bit activations (a scale a tensor, from the least and the
largest value on the calibration images):

    real = scale (integer - zero point)

Running a model needs ai-edge-litert alone: `pip install hand_tf[litert]`.
"""

import re
import warnings

import numpy as np

FILE = "model.tflite"
# The layers that compute in float32 under every training policy, too. Points have no scale of their own, and their
# mean square in 8 bits would change it by a percent; on pictures it is a few microseconds.
FLOAT_LAYERS = re.compile(r"/normalize(_points)?(_\d+)?/")


def interpreter(content, threads=1):
    """An interpreter of the model `content` (bytes) on so many threads. Raises ValueError without the runtime."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ValueError(f"LiteRT models need ai-edge-litert ({error}): pip install hand_tf[litert]") from error
    return Interpreter(model_content=content, num_threads=threads)


class Estimator:
    """The model `content` (bytes) as a function: crops uint8 [n, size, size, 3] RGB -> poses float32 [n, 21, 3] mm.

    `shape` is what the model itself reads, [1, size, size, 3].
    Raises ValueError without the runtime, or for something that is no such model.
    """

    def __init__(self, content, threads=1):
        self._runner = interpreter(content, threads).get_signature_runner()
        self.shape = [int(length) for length in self._runner.get_input_details()["image"]["shape"]]

    def __call__(self, crops):
        return np.concatenate([self._runner(image=crop[None])["pose"] for crop in crops])


def convert(saved_model):
    """A SavedModel of batch 1 (see above) as a LiteRT model in float32, bytes."""
    return _converter(saved_model).convert()


def _converter(saved_model):
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])


def quantize(saved_model, float_model, images):
    """A SavedModel of batch 1 as a LiteRT model in int8, bytes.

    Args:
        float_model: what `convert` made of it.
        images: uint8 [n, size, size, 3], what the model will see: they set the ranges of the activations.
    """
    import tensorflow as tf

    def dataset():
        return ([image[None]] for image in images)

    converter = _converter(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    names = [tensor["name"] for tensor in interpreter(float_model).get_tensor_details()]
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=[name for name in names if FLOAT_LAYERS.search(name)]
    )
    with warnings.catch_warnings():
        # The debugger is TensorFlow's one way to leave single operations in float; it holds an old interpreter.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs", category=UserWarning)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=dataset, debug_options=options
        )
        return debugger.get_nondebug_quantized_model()
