"""What TensorFlow says when it cannot write or read, in the words of the other errors."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def as_os_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turns errors of TensorFlow's own writers, such as that of a full disk, into an OSError that names `path`."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"{path}: cannot be written ({error.message.splitlines()[0]})") from error
