"""The empty scene of one camera: a temporal median that leaves hands out.

    background(p) = median over frames t of image_t(p), where p lies outside every dilated hand box of frame t

and the plain median over all frames where fewer than `MIN_FREE` such frames exist (these pixels are counted). Without
the boxes, a hand that rests would leave a ghost, and the decoder would find the answer painted on the background.
"""

import json
import os
import pathlib

import cv2
import numpy as np

from hand_tf import geometry, skeleton

MAX_SAMPLES, SAMPLE_BYTES = 240, 400e6  # frames a camera, and what a worker may hold of them: 64 of 1920x1080
MIN_FREE = 10
# Choice: joints lie inside the flesh, so a box of joints grows by this share of its longer side; and it reaches one
# palm length up the forearm, which moves with the hand and would leave the same ghost.
DILATION, FOREARM = 0.25, 1.0
_ROWS = 64  # rows worked on at a time, which bounds the memory of the sort


def sample_frames(frames, camera):
    """As many of `frames` as the bounds above allow for this camera, evenly spread over the sequence, ascending."""
    frames = sorted(frames)
    count = min(MAX_SAMPLES, int(SAMPLE_BYTES / (3 * camera.width * camera.height)), len(frames))
    picks = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    return [frames[pick] for pick in picks]


def _hand_points(joints, accepted):
    """Points [n, 3] mm that bound a hand and the near end of its forearm."""
    ends = [skeleton.ROOT, skeleton.MIDDLE_KNUCKLE]
    if not accepted[ends].all():
        return joints[accepted]
    wrist, knuckle = joints[ends]
    return np.vstack([joints[accepted], wrist + FOREARM * (wrist - knuckle)])


def hand_rectangles(camera, hands, boxes):
    """Dilated rectangles (left, top, right, bottom) px, exclusive ends, of all hands in one picture.

    Args:
        hands: list of (joints [21, 3] mm, accepted [21]). boxes: list of (x, y, width, height) px.
    """
    rectangles = []
    corners = [(np.array(box[:2]), np.array(box[:2]) + box[2:] - 1) for box in boxes]
    for joints, accepted in (hand for hand in hands if hand[1].any()):
        pixels = geometry.project(_hand_points(joints, accepted), camera)
        pixels = pixels[np.isfinite(pixels).all(1)]
        if len(pixels):
            corners.append((pixels.min(0), pixels.max(0)))
    for low, high in corners:
        grow = DILATION * (high - low).max()
        low, high = np.floor(low - grow), np.ceil(high + grow) + 1
        limit = [camera.width, camera.height]
        rectangles.append(tuple(int(value) for value in (*np.clip(low, 0, limit), *np.clip(high, 0, limit))))
    return rectangles


def _masked(values, covered, free):
    """Lower median [n, 3] of `values` [n, 3, frames] where not `covered` [n, frames]; `free` [n] counts those."""
    # Covered values become the largest, so that the free ones are the first in ascending order.
    ascending = np.sort(np.where(covered[:, None], np.uint8(255), values), axis=-1)
    return np.take_along_axis(ascending, (free[:, None, None] - 1) // 2, axis=-1)[..., 0]


def masked_median(images, rectangles):
    """The background of `images` (n of [height, width, 3] uint8) whose hands lie in `rectangles` (n lists).

    Returns:
        The background [height, width, 3] uint8, and how many pixels fell back to the plain median.
    """
    height, middle = len(images[0]), (len(images) - 1) // 2
    background, fallback = np.empty_like(images[0]), 0
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        values = np.stack([image[rows] for image in images], axis=-1)
        covered = np.zeros((*values.shape[:2], len(images)), bool)
        for i, (x0, y0, x1, y1) in ((i, box) for i, boxes in enumerate(rectangles) for box in boxes):
            covered[max(y0 - top, 0) : max(y1 - top, 0), x0:x1, i] = True
        free = len(images) - covered.sum(-1)
        background[rows] = np.partition(values, middle, axis=-1)[..., middle]
        fallback += int((free < MIN_FREE).sum())
        some = (free >= MIN_FREE) & (free < len(images))
        background[rows][some] = _masked(values[some], covered[some], free[some])
    return background, fallback


def load(path):
    """A cached background [height, width, 3] RGB and its statistics, or None if `path` (a PNG) is not there."""
    path = pathlib.Path(path)
    if not path.is_file():
        return None
    image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return image, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def save(path, background, statistics):
    """Caches a background as the PNG `path`, which appears last and whole."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(statistics), encoding="utf-8")
    _, data = cv2.imencode(".png", cv2.cvtColor(background, cv2.COLOR_RGB2BGR))
    partial = pathlib.Path(f"{path}.partial")
    partial.write_bytes(data.tobytes())
    os.replace(partial, path)
