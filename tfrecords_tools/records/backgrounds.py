"""The empty scene of one camera: a temporal median that leaves out the hands.

    background(p) = median over frames t of image_t(p), where p lies outside of every dilated hand box of frame t

Where fewer than `MIN_FREE` such frames exist, it is the plain median over all frames, and these pixels are counted.
Without the boxes, a hand that rests for long would remain in the background, where the decoder could simply copy it.
"""

import json
import pathlib
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from hand_tf.core import atomic, geometry, images, reading, skeleton
from hand_tf.core.images import Window

MAX_SAMPLES = 240  # frames per camera
SAMPLE_BYTES = 400e6  # of these frames, which a worker holds in memory: 64 frames of 1920x1080
MIN_FREE = 10
# Choice: joints lie inside the flesh, so the box of a hand's joints grows by this share of its longer side in each
# direction.
DILATION = 0.25
# Choice: the box reaches this many palm lengths up the forearm, which moves with the hand and would remain like it.
FOREARM = 1.0
_TILE = 1 << 15  # bytes of a picture that are processed at a time, so that all samples of a tile stay in the cache


def sample_frames(frames: Iterable[int], camera: geometry.Camera) -> list[int]:
    """As many of `frames` as the limits above allow for this camera, evenly spread over the sequence, ascending."""
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


def hand_rectangles(
    camera: geometry.Camera, hands: Iterable[tuple[np.ndarray, np.ndarray]], boxes: Iterable[Sequence[float]]
) -> list[Window]:
    """Dilated rectangles (left, top, right, bottom) px, right and bottom exclusive, of all hands in one picture.

    Args:
        hands: (joints [21, 3] mm, accepted [21]) of hands with joints.
        boxes: (x, y, width, height) px of hands without joints.
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


def shift(rectangles: Iterable[Window], window: Window) -> list[Window]:
    """`rectangles` of a picture in the pixels of its part `window`; those that lie outside are left out."""
    left, top, right, bottom = window
    cut = [(max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)) for x0, y0, x1, y1 in rectangles]
    return [(x0 - left, y0 - top, x1 - left, y1 - top) for x0, y0, x1, y1 in cut if x0 < x1 and y0 < y1]


def _smallest(values, rank):
    """The value [...] that has `rank` [...] others before it in ascending order; `values` [n, ...] uint8.

    It is found bit by bit from the highest: a bit is set if at most `rank` values lie below the number it makes. Eight
    rounds of comparing and counting bytes are several times faster than sorting.
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
    """[height, width]: in how many pictures a pixel lies outside of all rectangles, of which each has a list."""
    free = np.full(shape, len(rectangles), np.min_scalar_type(len(rectangles)))
    for boxes in filter(None, rectangles):
        covered = np.zeros(shape, bool)  # rectangles of one picture may overlap
        for x0, y0, x1, y1 in boxes:
            covered[y0:y1, x0:x1] = True
        free -= covered
    return free


def masked_median(pictures: Sequence[np.ndarray], rectangles: Sequence[Sequence[Window]]) -> tuple[np.ndarray, int]:
    """The background of `pictures` [height, width, 3] uint8, in each of which hands lie in a list of `rectangles`.

    Returns:
        The background [height, width, 3] uint8 (of two middle values the lower), and the number of pixels that have the
        plain median.
    """
    height, width = pictures[0].shape[:2]
    free = _free(rectangles, (height, width))
    masked, background = free >= MIN_FREE, np.empty_like(pictures[0])
    # Hidden values are set to the largest possible one, so that the free ones come first in ascending order.
    rank = (np.where(masked, free, len(pictures)).astype(free.dtype) - 1) // 2
    step = max(1, _TILE // (3 * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        values = np.stack([picture[rows] for picture in pictures])
        for value, boxes in zip(values, rectangles, strict=True):
            for x0, y0, x1, y1 in boxes:
                hidden = slice(max(y0 - top, 0), max(y1 - top, 0)), slice(x0, x1)
                np.copyto(value[hidden], 255, where=masked[rows][hidden][..., None])
        background[rows] = _smallest(values, np.repeat(rank[rows, :, None], 3, -1))
    return background, int((~masked).sum())


def load(path: pathlib.Path) -> tuple[np.ndarray, dict] | None:
    """A cached background [height, width, 3] BGR and its statistics; None without a whole PNG `path`."""
    background = images.read_image(path) if path.is_file() else None
    if background is None:
        return None
    return background, reading.read_json_object(path.with_suffix(".json"))


def save(path: pathlib.Path, background: np.ndarray, statistics: dict) -> None:
    """Caches a background (BGR) as the PNG `path`, which is written last, and its statistics beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path.with_suffix(".json"), json.dumps(statistics))
    _, encoded = cv2.imencode(".png", background)
    with atomic.replacing(path, "wb") as file:
        file.write(encoded.tobytes())
