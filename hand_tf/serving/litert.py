"""Runs LiteRT models (.tflite), for phones and small computers.

    image       uint8   [batch, size, size, 3]   RGB
    pose        float32 [batch, 21, 3]           mm
    joints_2d   float32 [batch, 21, 2]           px of the crop; not from runs of version 0.2.0
    joint_error float32 [batch, 21]              mm; only from runs that have learned it

The batch is 1 until the input is resized; models of versions before 0.3.0 know no other.

Running a model needs no TensorFlow. `litert_converter` makes them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from hand_tf.core.errors import InputError

# Crops in one call. More would save little time, and memory grows with them.
BATCH = 8


def interpreter(content: bytes, threads: int = 1) -> Any:
    """The `ai_edge_litert` interpreter of a model. Raises InputError if ai-edge-litert cannot be loaded."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise InputError(f"LiteRT models need ai-edge-litert ({error}): pip install ai-edge-litert") from error
    return Interpreter(model_content=content, num_threads=threads)


def network(content: bytes, threads: int = 1) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """A model of one input without signature as a function: array -> its outputs, in the order of the file.

    Raises InputError without ai-edge-litert, ValueError for another content.
    """
    found = interpreter(content, threads)
    found.allocate_tensors()
    (given,), outputs = found.get_input_details(), found.get_output_details()

    def run(values):
        found.set_tensor(given["index"], values)
        found.invoke()
        return tuple(found.get_tensor(output["index"]) for output in outputs)

    return run


class LiteRTModel:
    """A model as a function: crops uint8 [n, size, size, 3] RGB -> a dict of its outputs, see above.

    `shape` is the shape of the model's own input, [1, size, size, 3].
    """

    def __init__(self, content: bytes, threads: int = 1, batches: bool = True):
        """`content` is that of the .tflite file; `batches` says whether its input can be resized.

        Raises ValueError without ai-edge-litert or for another content.
        """
        runner = interpreter(content, threads).get_signature_runner()
        try:
            self.shape = [int(length) for length in runner.get_input_details()["image"]["shape"]]
            runner.get_output_details()["pose"]
        except KeyError as error:
            raise InputError(f"not a model of hand_tf: it has no {error}") from error
        self._runner, self._together = runner, BATCH if batches else 1

    def __call__(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """`pose`, and `joints_2d` and `joint_error` if the model has them, of the crops."""
        if not len(crops):  # the runtime refuses an empty batch
            outputs = self._runner.get_output_details()
            return {name: np.zeros((0, *each["shape"][1:]), each["dtype"]) for name, each in outputs.items()}
        found = [self._runner(image=crops[i : i + self._together]) for i in range(0, len(crops), self._together)]
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
