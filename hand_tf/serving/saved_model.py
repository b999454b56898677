"""Writes and reads models in TensorFlow's SavedModel format.

The signature `serving_default` takes and gives

    image    uint8   [batch, size, size, 3]   RGB
    pose     float32 [batch, 21, 3]           mm
"""

import os

import keras
import numpy as np
import tensorflow as tf


def write_saved_model(folder: str | os.PathLike, model: keras.Model, batch: int | None = None) -> None:
    """Writes a pose estimator (source -> pose) to `folder`; `batch` fixes the batch size, None leaves it free."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec([batch, *model.inputs[0].shape[1:]], tf.uint8, name="image")]
    # Choice: the input is called `image`, a name that needs no knowledge of how the model was trained.
    archive.add_endpoint("serve", lambda image: {"pose": model({"source": image}, training=False)["pose"]}, signature)
    archive.write_out(folder, verbose=False)


class SavedModel:
    """A model as a function: crops uint8 [n, size, size, 3] RGB -> poses float32 [n, 21, 3] mm.

    `shape` is the shape of the model's own input, [None, size, size, 3].
    """

    def __init__(self, folder: str | os.PathLike):
        """Raises ValueError if `folder` holds something else, or is damaged."""
        try:
            self._signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
            self.shape = self._signature.structured_input_signature[1]["image"].shape.as_list()
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ValueError((str(error) or type(error).__name__).splitlines()[0]) from error

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Poses of the crops."""
        return self._signature(image=tf.constant(crops))["pose"].numpy()
