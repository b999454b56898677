"""Crops around boxes, and the way back: places in a crop to places in the picture, and poses laid over boxes.

The crop is a square around the centre of the box, `margin` times its longer side wide. With the camera's intrinsics it
is what a virtual camera sees that looks straight at that centre (R_virtual), free of distortion; otherwise it is cut
out of the picture as it is. It may be turned by an `angle` (radians, clockwise in the picture), so that a hand points
up in it: R_z(angle) maps directions in the crop to directions in the picture, and R_virtual contains its inverse.
"""

import dataclasses
import functools

import cv2
import numpy as np

from hand_tf.core import crops, geometry
from hand_tf.serving.boxes import Box


def cut(
    image: np.ndarray,
    box: Box,
    size: int,
    margin: float,
    camera: geometry.Camera | None = None,
    angle: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The crop [size, size, 3] around `box`, and its R_virtual [3, 3]: without a `camera` the inverse of R_z(angle).

    Args:
        image: uint8 [height, width, 3]; size: px; margin: side of the crop over the longer side of the box.
        angle: of the crop, radians.
    """
    x, y, width, height = box
    side = margin * max(width, height)
    k = crops.samples_per_pixel(side / size)
    if camera is not None:
        R_virtual, maps = _virtual_view(camera, box, k * size, margin, angle)
        return crops.render(image, maps, size), R_virtual
    turn, middle = side / (k * size) * geometry.turn(angle), np.full(2, (k * size - 1) / 2)
    centre = np.array([x + (width - 1) / 2, y + (height - 1) / 2])
    to_image = np.column_stack([turn, centre - turn @ middle])
    crop = cv2.warpAffine(image, to_image, (k * size, k * size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return (crop if k == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)), _back(angle)


def _back(angle):
    """The inverse of R_z(angle), [3, 3]."""
    found = np.eye(3)
    found[:2, :2] = geometry.turn(angle).T
    return found


def to_picture(
    places: np.ndarray,
    box: Box,
    size: int,
    margin: float,
    camera: geometry.Camera | None = None,
    angle: float = 0.0,
) -> np.ndarray:
    """Pixels [n, 2] of the picture that `cut` shows at the pixels `places` [n, 2] of its crop; the inverse of `cut`."""
    if camera is None:
        x, y, width, height = box
        step = margin * max(width, height) / size
        return (places - (size - 1) / 2) * step @ geometry.turn(angle).T + [x + (width - 1) / 2, y + (height - 1) / 2]
    crop = _turned_crop(camera, box, size, margin, angle)
    rays = np.concatenate([places, np.ones((len(places), 1))], axis=1) @ np.linalg.inv(crop.K).T
    return geometry.project(rays @ crop.R_virtual, camera)


@functools.lru_cache(maxsize=8)
def _virtual_view(camera, box, size, margin, angle):
    """R_virtual and the maps of a box's virtual view; cached because a video asks for the same one in every frame."""
    crop = _turned_crop(camera, box, size, margin, angle)
    return crop.R_virtual, crops.crop_maps(crop)


def _turned_crop(camera, box, size, margin, angle):
    crop = crops.box_crop(camera, box, size, margin)
    return dataclasses.replace(crop, R_virtual=_back(angle) @ crop.R_virtual)


def lay_over_box(
    pose: np.ndarray, box: Box, camera: geometry.Camera | None = None, R_virtual: np.ndarray | None = None
) -> np.ndarray:
    """Pixels [21, 2] of a pose in the picture, by weak perspective: as large as the longer side of the box, centred.

    Args:
        pose: [21, 3] mm, in the virtual camera's frame.
        camera: if given, directions across the line of sight are mapped to the picture as they are at the centre of the
            box, with the `R_virtual` [3, 3] that `cut` returned.
    """
    x, y, width, height = box
    flat, centre = pose[:, :2], np.array([x + (width - 1) / 2, y + (height - 1) / 2])
    if camera is not None:
        step = 0.5 / camera.K[0, 0]  # about half a pixel
        rays = np.array([[step, 0, 1], [-step, 0, 1], [0, step, 1], [0, -step, 1]])
        right, left, down, up = geometry.project(rays @ R_virtual, camera)
        flat = flat @ np.array([right - left, down - up])
    low, high = flat.min(0), flat.max(0)
    scale = (max(width, height) - 1) / max((high - low).max(), 1e-6)
    return (flat - (low + high) / 2) * scale + centre
