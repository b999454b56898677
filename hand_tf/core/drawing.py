"""Draws skeletons, latent points, captions and grids, in NumPy and OpenCV. Images are RGB uint8 [H, W, 3]."""

import os
import pathlib

import cv2
import numpy as np

from hand_tf.core import atomic, skeleton
from hand_tf.core.errors import InputError

# RGB, one colour per finger; the wrist is white.
FINGER_COLOURS = {
    "thumb": (240, 80, 70),
    "index": (250, 180, 40),
    "middle": (90, 200, 80),
    "ring": (60, 160, 250),
    "little": (190, 100, 240),
}
JOINT_COLOURS = ((255, 255, 255), *(FINGER_COLOURS[finger] for finger in skeleton.FINGERS for _ in range(4)))


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """The image with every pixel `factor` times as wide and high."""
    return np.repeat(np.repeat(image, factor, 0), factor, 1)


def draw_joints(
    image: np.ndarray, pixels: np.ndarray, accepted: np.ndarray | None = None, thickness: int = 1
) -> np.ndarray:
    """A copy of `image` with the hand's skeleton at `pixels` [21, 2].

    Joints that are not finite, or not `accepted` [21] (above 0), are left out.
    """
    image = np.ascontiguousarray(image).copy()
    drawn = np.isfinite(pixels).all(-1)
    if accepted is not None:
        drawn = drawn & (np.asarray(accepted) > 0)
    # Positions between pixels: OpenCV takes integers whose last four bits are the fraction.
    points = np.round(np.nan_to_num(pixels) * 16).astype(int)
    for parent, joint in skeleton.BONES:
        if drawn[parent] and drawn[joint]:
            ends = tuple(map(int, points[parent])), tuple(map(int, points[joint]))
            cv2.line(image, *ends, JOINT_COLOURS[joint], thickness, cv2.LINE_AA, 4)
    for joint in np.flatnonzero(drawn):
        centre = tuple(map(int, points[joint]))
        cv2.circle(image, centre, 16 * (thickness + 1), JOINT_COLOURS[joint], -1, cv2.LINE_AA, 4)
    return image


def weak_perspective(pose: np.ndarray, size: int, extent: float | None = None) -> np.ndarray:
    """Pixels [21, 2] of a `pose` [21, 3] mm seen along z, in the middle of a square of `size` px.

    The square is `extent` mm wide, by default 1.3 times the pose's own width or height.
    """
    flat = np.asarray(pose)[:, :2]
    centre = (flat.min(0) + flat.max(0)) / 2
    extent = extent or 1.3 * max(float((flat.max(0) - flat.min(0)).max()), 1e-6)
    return (flat - centre) * size / extent + (size - 1) / 2


def draw_points(points: np.ndarray, size: int, extent: float) -> np.ndarray:
    """Latent `points` [N, 3] seen along z in a square of `size` px that is `extent` wide; near points are bright."""
    image = np.full((size, size, 3), 24, np.uint8)
    pixels = np.asarray(points)[:, :2] * size / extent + (size - 1) / 2
    depth = np.clip(0.5 - np.asarray(points)[:, 2] / extent, 0, 1)
    for index in np.argsort(depth):
        colour = cv2.applyColorMap(np.uint8([[255 * depth[index]]]), cv2.COLORMAP_VIRIDIS)[0, 0, ::-1]
        centre = tuple(int(v) for v in np.round(np.clip(pixels[index], -size, 2 * size) * 16))
        cv2.circle(image, centre, 24, tuple(map(int, colour)), -1, cv2.LINE_AA, 4)
    return image


def caption(image: np.ndarray, text: str, height: int = 16) -> np.ndarray:
    """The image with a line of text above it, `height` px high."""
    bar = np.full((height, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (2, height - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def grid(rows: list[list[np.ndarray]], gap: int = 2) -> np.ndarray:
    """One image of `rows`, lists of images, `gap` px apart.

    All cells are as large as the largest image; what an image does not fill, or a row lacks, is white.
    """
    height = max(image.shape[0] for row in rows for image in row)
    width = max(image.shape[1] for row in rows for image in row)
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = gap + y * (height + gap), gap + x * (width + gap)
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def save(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes an RGB image in the format of the suffix of `path`.

    Raises ValueError for a suffix that names no image format, OSError if the file cannot be written.
    """
    try:
        _, encoded = cv2.imencode(pathlib.Path(path).suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise InputError(f"{path}: not the name of an image file, such as picture.png") from error
    with atomic.replacing(path, "wb") as file:
        file.write(encoded.tobytes())
