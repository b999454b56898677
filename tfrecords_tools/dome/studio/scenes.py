"""What one camera of the dome sees when nobody is there, and the noise of its sensor.

    scene = blur(clip(gain * room)),   picture = scene with people + noise,   noise ~ N(0, sigma) a pixel and channel

Ray-casting a room takes seconds for a large picture, so a view is made once, saved, and mapped into memory by every
process that draws.
"""

import collections
import pathlib

import cv2
import numpy as np

from tfrecords_tools.dome.studio import room

# camera, sensor; scene [h, w, 3] uint8 RGB without noise; depth [h, w] float32 mm; noise [h + s, w + s, 3] int8
View = collections.namedtuple("View", "camera sensor scene depth noise")
_SPARE = 48  # px by which the field of noise is larger than the picture: where it is cut differs from frame to frame
_ARRAYS = ("scene", "depth", "noise")


def make(studio_room, camera, sensor, key):
    """The `View` of a camera; `key` (integers) decides its noise."""
    image, depth = room.picture(studio_room, camera)
    scene = cv2.convertScaleAbs(np.clip(image * (255 * sensor.gain), 0, 255).astype(np.float32))
    if sensor.blur:
        scene = cv2.GaussianBlur(scene, (0, 0), sensor.blur)
    shape = (camera.height + _SPARE, camera.width + _SPARE, 3)
    noise = np.random.default_rng(key).standard_normal(shape, np.float32)
    noise = np.clip(np.rint(noise * sensor.noise), -127, 127).astype(np.int8)
    return View(camera, sensor, scene, depth, noise)


def save(view, folder):
    """Saves the arrays of `view` below `folder`, over whatever a stopped run left there."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        path = folder / f"{view.camera.name}.{name}.npy"
        try:
            np.save(path, getattr(view, name), allow_pickle=False)
        except OSError as error:  # a full disk: NumPy does not name the file
            raise OSError(f"{path}: cannot be written ({error})") from error


def load(folder, camera, sensor):
    """The `View` that `save` left in `folder`, its arrays mapped, not read."""
    paths = (pathlib.Path(folder) / f"{camera.name}.{name}.npy" for name in _ARRAYS)
    # Plain arrays over the maps: slicing np.memmap itself is slow.
    return View(camera, sensor, *(np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)) for path in paths))
