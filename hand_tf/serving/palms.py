"""Palms in a picture, found by MediaPipe's palm detector, a single-shot detector (Bazarevsky and Zhang, 2019).

Each of its 2016 anchors lies in the middle of a cell of a grid, 2 per cell of 8 px and 6 per cell of 16 px. The network
answers, relative to an anchor, with the square of a palm and seven key points, and with a score before its sigmoid.
The numbers of this module are those of MediaPipe's graphs `palm_detection` and `palm_detection_detection_to_roi`
(google-ai-edge/mediapipe, Apache-2.0).
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

SIZE = 192  # px, side of the network's input
CELLS = ((8, 2), (16, 6))  # px of a cell, anchors in it
NUM_KEYPOINTS = 7
WRIST, MIDDLE_KNUCKLE = 0, 2  # of the key points of a palm
OVERLAP = 0.3  # two squares that overlap more (intersection over union) are one palm

Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Palm:
    """A palm: `score` 0..1, `square` (x, y, width, height) and `keypoints` [7, 2] px of the picture."""

    score: float
    square: np.ndarray
    keypoints: np.ndarray


def anchors() -> np.ndarray:
    """The centres of all anchors, [2016, 2] in 0..1 of the network's input, in the order of its answers."""
    found = []
    for cell, count in CELLS:
        middle = (np.arange(SIZE // cell) + 0.5) * cell / SIZE
        x, y = np.meshgrid(middle, middle)
        found.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), count, axis=0))
    return np.concatenate(found)


def letterbox(image: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The picture in a black square of `SIZE` px; how many px of the picture a px of it is, and its corner in px.

    `image` is uint8 [height, width, 3] RGB; the square is float32 in 0..1.
    """
    height, width = image.shape[:2]
    scale = max(height, width) / SIZE
    size = max(round(width / scale), 1), max(round(height / scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    left, top = (SIZE - size[0]) // 2, (SIZE - size[1]) // 2
    square = np.zeros((SIZE, SIZE, 3), np.float32)
    square[top : top + size[1], left : left + size[0]] = small / np.float32(255)
    return square, scale, np.array([left, top], float)


def find(image: np.ndarray, network: Network, min_score: float) -> list[Palm]:
    """The palms in a picture, best first.

    Args:
        image: uint8 [height, width, 3] RGB.
        network: float32 [1, 192, 192, 3] -> (boxes and key points [1, 2016, 18], scores [1, 2016, 1]).
        min_score: in 0..1.
    """
    square, scale, corner = letterbox(image)
    answers, scores = network(square[None])
    scores = 1 / (1 + np.exp(-np.clip(scores[0, :, 0].astype(float), -100, 100)))
    chosen = np.flatnonzero(scores >= min_score)
    middles, values = anchors()[chosen] * SIZE, answers[0, chosen].astype(float)
    centres, sides = values[:, :2] + middles, values[:, 2:4]
    keypoints = values[:, 4:].reshape(-1, NUM_KEYPOINTS, 2) + middles[:, None]
    squares = np.concatenate([centres - sides / 2, sides], 1)
    found = []
    for members in _groups(squares, scores[chosen]):
        weights = scores[chosen][members] / scores[chosen][members].sum()
        box, points = weights @ squares[members], np.tensordot(weights, keypoints[members], 1)
        box = np.concatenate([(box[:2] - corner) * scale, box[2:] * scale])
        found.append(Palm(float(scores[chosen][members].max()), box, (points - corner) * scale))
    return found


def _groups(squares, scores):
    """Indices of squares that show one palm, best first: each is the best one left and all that overlap it."""
    left = np.argsort(-scores)
    while left.size:
        same = overlap(squares[left[0]], squares[left]) >= OVERLAP
        yield left[same]
        left = left[~same]


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union [n] of a box (x, y, width, height) with `boxes` [n, 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    return common / np.maximum(np.prod(box[2:]) + np.prod(boxes[:, 2:], axis=1) - common, 1e-9)
