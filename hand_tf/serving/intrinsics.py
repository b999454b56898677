"""Intrinsics of a camera, from a file.

    {"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "distCoef": [k1, k2, p1, p2, k3], "resolution": [width, height]}

K is in px, and distCoef is optional. Of a Panoptic calibration file, with a list of cameras, one is chosen by name.
"""

import os

import numpy as np

from hand_tf.core import geometry, reading
from hand_tf.core.errors import InputError


def read_camera(path: str | os.PathLike, name: str | None = None) -> geometry.Camera:
    """The camera of an intrinsics file; its own frame is the world (R = 1, t = 0).

    Args:
        path: see the module's docstring.
        name: which camera, in a Panoptic calibration file.

    Raises OSError without the file, ValueError for a wrong one or an unknown name.
    """
    entry, where = reading.read_json_object(path), str(path)
    if isinstance(entry.get("cameras"), list):
        cameras = {str(camera.get("name")): camera for camera in entry["cameras"] if isinstance(camera, dict)}
        if name not in cameras:
            few = ", ".join(map(str, list(cameras)[:3]))
            raise InputError(f"{path}: --camera={name}: expected one of the {len(cameras)} names there, such as {few}")
        entry, where = cameras[name], f"{path}: camera {name}"
    elif name:
        raise InputError(f"{path}: --camera={name}: not a calibration file with a list of cameras")
    K, (width, height) = reading.numbers(entry, "K", (3, 3), where), reading.numbers(entry, "resolution", (2,), where)
    dist = reading.numbers(entry, "distCoef", (5,), where) if "distCoef" in entry else np.zeros(5)
    return camera_of(K, dist, int(width), int(height), name or str(path), where)


def camera_of(
    K: np.ndarray, dist: np.ndarray, width: int, height: int, name: str = "camera", where: str = "intrinsics"
) -> geometry.Camera:
    """A camera whose own frame is the world. Raises ValueError, which starts with `where`, if K is not a pinhole's.

    Args:
        K: [3, 3] px; dist: [5] k1, k2, p1, p2, k3; width, height: px.
    """
    pinhole = np.array([[K[0, 0], 0, K[0, 2]], [0, K[1, 1], K[1, 2]], [0, 0, 1]])
    if min(K[0, 0], K[1, 1]) <= 0 or not np.allclose(K, pinhole):
        raise InputError(f"{where}: field K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] expected")
    return geometry.Camera(name, width, height, K, dist, np.eye(3), np.zeros(3))
