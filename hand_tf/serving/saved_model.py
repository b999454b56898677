"""Writes and reads models in TensorFlow's SavedModel format.

The signature `serving_default` takes and gives

    image       uint8   [batch, size, size, 3]   RGB
    pose        float32 [batch, 21, 3]           mm
    joints_2d   float32 [batch, 21, 2]           px of the crop; not from runs of version 0.2.0
    joint_error float32 [batch, 21]              mm; only from runs that have learned it
"""

import os

import keras
import numpy as np
import tensorflow as tf

from hand_tf.core import tensorflow_errors
from hand_tf.core.errors import InputError


def write_saved_model(folder: str | os.PathLike, model: keras.Model, allow_empty: bool = True) -> None:
    """Writes a pose estimator (source -> its outputs) for batches of any size to `folder`.

    `allow_empty`: also for batches of no crop, which takes a branch that LiteRT models had better not have.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec([None, *model.inputs[0].shape[1:]], tf.uint8, name="image")]

    def estimate(image):
        return dict(model({"source": image}, training=False))

    def serve(image):
        """TensorFlow's convolutions refuse an empty batch."""

        def nothing():
            return {name: tf.zeros([0, *output.shape[1:]], output.dtype) for name, output in model.output.items()}

        return tf.cond(tf.shape(image)[0] > 0, lambda: estimate(image), nothing)

    # Choice: the input is called `image`, a name that needs no knowledge of how the model was trained.
    archive.add_endpoint("serve", serve if allow_empty else estimate, signature)
    with tensorflow_errors.as_os_errors(folder):
        archive.write_out(folder, verbose=False)


class SavedModel:
    """A model as a function: crops uint8 [n, size, size, 3] RGB -> a dict of its outputs, see above.

    `shape` is the shape of the model's own input, [None, size, size, 3].
    """

    def __init__(self, folder: str | os.PathLike):
        """Raises ValueError if `folder` holds something else, or is damaged."""
        try:
            self._signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
            self.shape = self._signature.structured_input_signature[1]["image"].shape.as_list()
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise InputError((str(error) or type(error).__name__).splitlines()[0]) from error

    def __call__(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """`pose`, and `joints_2d` and `joint_error` if the model has them, of the crops."""
        return {name: value.numpy() for name, value in self._signature(image=tf.constant(crops)).items()}
