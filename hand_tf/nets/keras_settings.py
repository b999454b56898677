"""Keras as this project needs it, whatever the user's own configuration (`~/.keras/keras.json`) says."""

import contextlib
from collections.abc import Iterator

import keras

IMAGE_DATA_FORMAT, FLOATX, EPSILON = "channels_last", "float32", 1e-7  # Keras' own defaults


@contextlib.contextmanager
def ours(precision: str = "float32") -> Iterator[None]:
    """Inside the block, layers are made and run with our settings; afterwards those of the user are back.

    Args:
        precision: Keras dtype policy.
    """
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy()
    _set(IMAGE_DATA_FORMAT, FLOATX, EPSILON, precision)
    try:
        yield
    finally:
        _set(*before)


def _set(image_data_format, floatx, epsilon, policy):
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_dtype_policy(policy)
