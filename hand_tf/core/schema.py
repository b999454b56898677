"""The record: one `tf.train.Example` for one hand at one instant, seen by V cameras.

Names are the vocabulary of the whole project. Lengths are mm; `rotations` are world to virtual camera (R'), `joints`
are world points. Records of left hands are stored mirrored (`mirrored` = 1): crops flipped, rotations `M R' M`,
joints and camera centres `M X`, so that `pose = (joints - joints[0]) @ rotation^T` holds for every record.
"""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from hand_tf.core import atomic, skeleton, tensorflow_errors
from hand_tf.core.errors import InputError

_STRINGS = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
_MATRICES = tf.io.FixedLenSequenceFeature([3, 3], tf.float32, allow_missing=True)
FEATURES = {
    "key": tf.io.FixedLenFeature([], tf.string),  # sequence/subject/side/frame: unique in a data set
    "sequence": tf.io.FixedLenFeature([], tf.string),
    "subject": tf.io.FixedLenFeature([], tf.string),
    "side": tf.io.FixedLenFeature([], tf.string),  # anatomical: left or right
    "frame": tf.io.FixedLenFeature([], tf.int64),
    "mirrored": tf.io.FixedLenFeature([], tf.int64),
    "cameras": _STRINGS,  # [V] names
    "crops": _STRINGS,  # [V] encoded RGB images, [size, size, 3]
    "backgrounds": _STRINGS,  # [V] the empty scene through the same map
    "rotations": _MATRICES,  # [V, 3, 3]
    "intrinsics": _MATRICES,  # [V, 3, 3] px, of the virtual camera
    # [V, 3] mm, optical centres in the world: a point X is seen at K' R' (X - C)
    "camera_centres": tf.io.FixedLenSequenceFeature([3], tf.float32, allow_missing=True),
    "joints": tf.io.FixedLenFeature([skeleton.NUM_JOINTS, 3], tf.float32),  # mm, world
    "joint_validity": tf.io.FixedLenFeature([skeleton.NUM_JOINTS], tf.float32),  # 1 accepted, 0 not
}
# One entry per view: these agree in their first dimension, V.
PER_VIEW = ("cameras", "crops", "backgrounds", "rotations", "intrinsics", "camera_centres")


def record_key(sequence: str, subject: str, side: str, frame: int) -> str:
    """The unique name of a record; keys of one group sort by time."""
    return f"{sequence}/{subject}/{side}/{frame:08d}"


def _feature(value, dtype):
    if dtype == tf.string:
        values = [value] if isinstance(value, str | bytes) else list(value)
        values = [item.encode() if isinstance(item, str) else item for item in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    flat = np.asarray(value, dtype.as_numpy_dtype).ravel()
    if dtype == tf.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=flat))
    return tf.train.Feature(float_list=tf.train.FloatList(value=flat))


def encode(record: dict[str, Any]) -> bytes:
    """Serialises `record`, a dict with exactly the names and shapes of `FEATURES` (NumPy, str, bytes, lists).

    Raises ValueError if a name is missing or unknown, or if the fields of `PER_VIEW` differ in length.
    """
    if record.keys() != FEATURES.keys():
        raise InputError(f"record has fields {sorted(record)}, expected {sorted(FEATURES)}")
    counts = {name: len(record[name]) for name in PER_VIEW}
    if len(set(counts.values())) != 1:
        raise InputError(f"record {record['key']}: one entry per view expected, got {counts}")
    features = {name: _feature(record[name], spec.dtype) for name, spec in FEATURES.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse(serialized: tf.Tensor | bytes, names: Iterable[str] = tuple(FEATURES)) -> dict[str, tf.Tensor]:
    """The fields `names` of a serialised record, with the shapes of `FEATURES`; images stay encoded."""
    return tf.io.parse_single_example(serialized, {name: FEATURES[name] for name in names})


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """An encoded image of a record, scalar string, to RGB uint8 [H, W, 3].

    The accurate transform gives exactly the pixels that OpenCV decodes. TensorFlow's default is up to a grey level off,
    and slower where processors have AVX2.
    """
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def write_shard(path: str | os.PathLike, serialized: Iterable[bytes]) -> None:
    """Writes serialised records to the TFRecord file `path`, which appears whole or not at all.

    Raises OSError if it cannot be written.
    """
    with (
        atomic.renaming(path, f"{path}.partial") as partial,
        tensorflow_errors.as_os_errors(path),
        tf.io.TFRecordWriter(str(partial)) as writer,
    ):
        for record in serialized:
            writer.write(record)
