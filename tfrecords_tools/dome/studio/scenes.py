"""What a camera of the dome sees when nobody is there, and the noise of its sensor.

    scene = blur(clip(gain * room)),   picture = scene with people + noise,   noise ~ N(0, sigma) per pixel and channel

Ray-casting the room takes seconds for a large picture. So a view is made once, saved, and mapped into memory by every
process that draws pictures.
"""

import collections
import os
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from hand_tf.core import geometry
from tfrecords_tools.dome.studio import rig, room

# camera, sensor; scene [h, w, 3] uint8 RGB without noise; depth [h, w] float32 mm; noise [h + s, w + s, 3] int8
View = collections.namedtuple("View", "camera sensor scene depth noise")
_SPARE = 48  # px by which the noise is larger than a picture: each frame uses another part of it
_ARRAYS = ("scene", "depth", "noise")


def make(studio_room: room.Room, camera: geometry.Camera, sensor: rig.Sensor, key: Sequence[int]) -> View:
    """The `View` of a camera; the integers `key` decide its noise."""
    image, depth = room.picture(studio_room, camera)
    scene = cv2.convertScaleAbs(np.clip(image * (255 * sensor.gain), 0, 255).astype(np.float32))
    if sensor.blur:
        scene = cv2.GaussianBlur(scene, (0, 0), sensor.blur)
    shape = (camera.height + _SPARE, camera.width + _SPARE, 3)
    noise = np.random.default_rng(key).standard_normal(shape, np.float32)
    noise = np.clip(np.rint(noise * sensor.noise), -127, 127).astype(np.int8)
    return View(camera, sensor, scene, depth, noise)


def save(view: View, folder: str | os.PathLike) -> None:
    """Saves the arrays of `view` in `folder`, replacing what a stopped run may have left there.

    Raises OSError if a file cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        path = folder / f"{view.camera.name}.{name}.npy"
        try:
            np.save(path, getattr(view, name), allow_pickle=False)
        except OSError as error:  # for a full disk NumPy does not name the file
            raise OSError(f"{path}: cannot be written ({error})") from error


def load(folder: str | os.PathLike, camera: geometry.Camera, sensor: rig.Sensor) -> View:
    """The `View` that `save` wrote to `folder`; its arrays are mapped into memory."""
    paths = (pathlib.Path(folder) / f"{camera.name}.{name}.npy" for name in _ARRAYS)
    # Plain arrays over the maps, because slicing an np.memmap is slow.
    return View(camera, sensor, *(np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)) for path in paths))
