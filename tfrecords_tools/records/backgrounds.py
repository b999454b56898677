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

from hand_tf.core import geometry, skeleton

MAX_SAMPLES, SAMPLE_BYTES = 240, 400e6  # frames a camera, and what a worker may hold of them: 64 of 1920x1080
MIN_FREE = 10
# Choice: joints lie inside the flesh, so a box of joints grows by this share of its longer side; and it reaches one
# palm length up the forearm, which moves with the hand and would leave the same ghost.
DILATION, FOREARM = 0.25, 1.0
_TILE = 1 << 15  # bytes of a picture worked on at a time, so that all samples of a tile stay in the cache


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


def shift(rectangles, window):
    """`rectangles` of a picture as they lie in its part `window`, both (left, top, right, bottom); empty ones go."""
    left, top, right, bottom = window
    cut = [(max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)) for x0, y0, x1, y1 in rectangles]
    return [(x0 - left, y0 - top, x1 - left, y1 - top) for x0, y0, x1, y1 in cut if x0 < x1 and y0 < y1]


def _smallest(values, rank):
    """The value [...] with `rank` [...] others before it in ascending order; `values` [n, ...] uint8.

    Built bit by bit from the highest: a bit is set if no more than `rank` values lie below. Eight counts of a small
    tile beat sorting it several times over, since comparing and adding bytes is what processors do best.
    """
    found, count = np.zeros(rank.shape, np.uint8), np.empty_like(rank)
    less = np.empty(rank.shape, bool)
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        candidate = found | np.uint8(bit)
        count[...] = 0
        for value in values:
            np.less(value, candidate, out=less)
            np.add(count, less.view(np.uint8), out=count)
        np.copyto(found, candidate, where=count <= rank)
    return found


def _free(rectangles, shape):
    """In how many pictures each pixel of `shape` [height, width] lies outside of all rectangles."""
    free = np.full(shape, len(rectangles), np.min_scalar_type(len(rectangles)))
    for boxes in filter(None, rectangles):
        covered = np.zeros(shape, bool)  # boxes of one picture may overlap
        for x0, y0, x1, y1 in boxes:
            covered[y0:y1, x0:x1] = True
        free -= covered
    return free


def masked_median(images, rectangles):
    """The background of `images` (n of [height, width, 3] uint8) whose hands lie in `rectangles` (n lists).

    Returns:
        The background [height, width, 3] uint8 (the lower of two middle values), and how many pixels fell back to the
        plain median.
    """
    height, width = images[0].shape[:2]
    free = _free(rectangles, (height, width))
    masked, background = free >= MIN_FREE, np.empty_like(images[0])
    # A hidden value becomes the largest, so that the free ones are the first in ascending order.
    rank = (np.where(masked, free, len(images)).astype(free.dtype) - 1) // 2
    step = max(1, _TILE // (3 * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        values = np.stack([image[rows] for image in images])
        for value, boxes in zip(values, rectangles, strict=True):
            for x0, y0, x1, y1 in boxes:
                hidden = slice(max(y0 - top, 0), max(y1 - top, 0)), slice(x0, x1)
                np.copyto(value[hidden], 255, where=masked[rows][hidden][..., None])
        background[rows] = _smallest(values, np.repeat(rank[rows, :, None], 3, -1))
    return background, int((~masked).sum())


def load(path):
    """A cached background [height, width, 3] BGR and its statistics, or None if `path` (a PNG) is not there."""
    path = pathlib.Path(path)
    if not path.is_file():
        return None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return image, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def save(path, background, statistics):
    """Caches a background (BGR) as the PNG `path`, which appears last and whole."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(statistics), encoding="utf-8")
    _, data = cv2.imencode(".png", background)
    partial = pathlib.Path(f"{path}.partial")
    partial.write_bytes(data.tobytes())
    os.replace(partial, path)
