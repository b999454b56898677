"""Landmarks of a hand, found by MediaPipe's hand landmark model in a square that is turned with the hand.

The square stands on the palm: it is turned so that the hand points up, moved by half its height towards the fingers,
and 2.6 times as large as the palm. The next square of a video can come from the landmarks instead. The numbers of this
module are those of MediaPipe's graphs `palm_detection_detection_to_roi`, `hand_landmarks_to_roi` and `hand_landmark`
(google-ai-edge/mediapipe, Apache-2.0). Reference: Zhang et al., MediaPipe Hands, 2020 (arXiv:2006.10214).
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from hand_tf.core import geometry

SIZE = 224  # px, side of the network's input
PALM_SCALE, PALM_SHIFT = 2.6, 0.5  # the square of a palm
TRACK_SCALE, TRACK_SHIFT = 2.0, 0.1  # the square of landmarks
_PALM_JOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)  # the joints that `of_landmarks` looks at

Network = Callable[[np.ndarray], tuple[np.ndarray, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """A square of the picture: `centre` [2] px, `side` px, and the `angle` (radians), clockwise, of its turn."""

    centre: np.ndarray
    side: float
    angle: float

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Points [n, 2] in 0..1 of the square as px of the picture."""
        return (points - 0.5) * self.side @ geometry.turn(self.angle).T + self.centre


@dataclasses.dataclass(frozen=True, eq=False)
class Landmarks:
    """A hand: `points` [21, 2] px of the picture, `presence` 0..1, and how sure it is a right hand, 0..1."""

    points: np.ndarray
    presence: float
    right: float


def _turn(wrist, knuckle):
    """The angle of a square in which the way from wrist to knuckle points up."""
    x, y = knuckle - wrist
    return float(np.arctan2(x, -y))


def turn_of(points: np.ndarray) -> float:
    """The angle (radians, clockwise) of a hand with landmarks [21, 2] px: 0 if it points up."""
    return _turn(points[0], points[9])


def of_palm(square: np.ndarray, wrist: np.ndarray, knuckle: np.ndarray) -> Region:
    """The region of a palm: its `square` (x, y, width, height), wrist and middle knuckle, in px."""
    angle = _turn(wrist, knuckle)
    up = np.array([np.sin(angle), -np.cos(angle)])
    centre = square[:2] + square[2:] / 2 + up * PALM_SHIFT * square[3]
    return Region(centre, float(PALM_SCALE * square[2:].max()), angle)


def of_landmarks(points: np.ndarray) -> Region:
    """The region in which the next frame is to be looked at, from the landmarks [21, 2] px of this one."""
    knuckle = 0.5 * (points[9] + 0.5 * (points[5] + points[13]))
    angle = _turn(points[0], knuckle)
    turn, palm = geometry.turn(angle), points[list(_PALM_JOINTS)]
    upright = (palm - palm.mean(0)) @ turn
    low, high = upright.min(0), upright.max(0)
    middle = (low + high) / 2 - [0, TRACK_SHIFT * (high - low)[1]]
    centre = palm.mean(0) + turn @ middle
    return Region(centre, float(TRACK_SCALE * (high - low).max()), angle)


def find(image: np.ndarray, region: Region, network: Network) -> Landmarks:
    """The hand in a region of the picture.

    Args:
        image: uint8 [height, width, 3] RGB.
        network: float32 [1, 224, 224, 3] -> (landmarks [1, 63] px, presence [1, 1], handedness [1, 1], ...).
    """
    corners = region.to_picture(np.array([[0, 0], [1, 0], [0, 1]]))
    to_square = cv2.getAffineTransform(np.float32(corners), np.float32([[0, 0], [SIZE, 0], [0, SIZE]]))
    crop = cv2.warpAffine(image, to_square, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points, presence, handedness, *_ = network((crop / np.float32(255))[None])
    points = region.to_picture(points.reshape(21, 3)[:, :2].astype(float) / SIZE)
    return Landmarks(points, float(presence.squeeze()), float(handedness.squeeze()))
