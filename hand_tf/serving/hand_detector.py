"""Finds hands in pictures: where they are, and whether they are left or right.

    picture and overlapping tiles of it --palms--> regions --landmarks--> hands, each once

The two networks are MediaPipe's, under LiteRT; `hand-tf fetch detector` brings them (`detector_files`). The estimator
of poses only gets the box and the side of a hand: these landmarks come from a model that was trained with supervision
elsewhere, and are not part of any prediction.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from hand_tf.core import geometry
from hand_tf.serving import landmarks, palms
from hand_tf.serving.boxes import Box, HandBox

MIN_SCORE = 0.5
TILES = 3
# Two boxes show one hand, found twice, if they overlap more than this (intersection over union), or if so much of the
# smaller one lies in the other and both are of one side: a tile may show a part of a hand as a hand.
SAME_HAND, SAME_PART = 0.45, 0.6


@dataclasses.dataclass(frozen=True, eq=False)
class DetectedHand:
    """A hand: `box` (x, y, width, height) px tight around its `points` [21, 2] px, its `side`, and `score` 0..1.

    The score is how sure the landmark model is that it looks at a hand.
    """

    box: Box
    side: str
    score: float
    points: np.ndarray

    def hand_box(self, upright: bool = True, track: int | None = None) -> HandBox:
        """What the estimator of poses is to look at; `upright` turns the crop so that the hand points up in it."""
        if not upright:
            return HandBox(self.box, self.side, self.score, track)
        angle = landmarks.turn_of(self.points)
        crop_box = _tight_box(self.points, angle)
        return HandBox(self.box, self.side, self.score, track, crop_box, angle)


def _tight_box(points, angle):
    """The box around `points` [n, 2] px that is tight once the picture is turned back by `angle` about its centre."""
    turn = geometry.turn(angle)
    turned = points @ turn
    low, high = turned.min(0), turned.max(0)
    size = high - low + 1
    corner = turn @ ((low + high) / 2) - (size - 1) / 2
    return tuple(float(value) for value in (*corner, *size))


def from_landmarks(found: landmarks.Landmarks) -> DetectedHand:
    """The hand that the landmark model has found."""
    return DetectedHand(
        _tight_box(found.points, 0.0), "right" if found.right >= 0.5 else "left", found.presence, found.points
    )


def tiles_of(width: int, height: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Squares (left, top, right, bottom) px, `count` along the longer side if they did not overlap; half of each does.

    With a `count` of 1 there are none, because the picture as a whole is looked at in any case.
    """
    side = math.ceil(max(width, height) / count)
    if count < 2:
        return
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield left, top, min(left + side, width), min(top + side, height)


def _starts(length, side):
    """Where tiles of `side` px begin along `length` px, half a tile apart or less."""
    if side >= length:
        return [0]
    steps = math.ceil((length - side) / (side / 2))
    return np.linspace(0, length - side, steps + 1).round().astype(int).tolist()


class HandDetector:
    """Finds the hands in pictures. `hand_tf.load_detector` makes one.

    Attributes:
        palm_network, landmark_network: see `palms.find` and `landmarks.find`.
        min_score: hands with a lower score are left out.
        tiles: see `tiles_of`; small hands are found in tiles alone.
    """

    def __init__(
        self,
        palm_network: palms.Network,
        landmark_network: landmarks.Network,
        min_score: float = MIN_SCORE,
        tiles: int = TILES,
    ):
        self.palm_network, self.landmark_network = palm_network, landmark_network
        self.min_score, self.tiles = min_score, tiles

    def detect(self, image: np.ndarray, tiles: int | None = None) -> list[DetectedHand]:
        """The hands in a picture, uint8 [height, width, 3] RGB, the surest first; `tiles` overrides the attribute."""
        found = []
        for palm in self._palms(image, tiles or self.tiles):
            region = landmarks.of_palm(palm.square, *palm.keypoints[[palms.WRIST, palms.MIDDLE_KNUCKLE]])
            hand = self.look(image, region)
            # A second look from the landmarks: the palm's square is a rough guess of the hand's place and turn.
            hand = hand and self.look(image, landmarks.of_landmarks(hand.points))
            if hand:
                found.append(hand)
        return each_once(found)

    def look(self, image: np.ndarray, region: landmarks.Region) -> DetectedHand | None:
        """The hand in a region of the picture; None if there is none."""
        hand = from_landmarks(landmarks.find(image, region, self.landmark_network))
        return hand if hand.score >= self.min_score else None

    def _palms(self, image, tiles):
        """The palms in the picture and in its tiles, each once, best first."""
        height, width = image.shape[:2]
        windows = [(0, 0, width, height), *tiles_of(width, height, tiles)]
        found = []
        for left, top, right, bottom in windows:
            for palm in palms.find(image[top:bottom, left:right], self.palm_network, MIN_SCORE):
                corner = np.array([left, top])
                square = np.concatenate([palm.square[:2] + corner, palm.square[2:]])
                found.append(palms.Palm(palm.score, square, palm.keypoints + corner))
        found.sort(key=lambda palm: -palm.score)
        kept = []
        for palm in found:
            if not kept or palms.overlap(palm.square, np.array([each.square for each in kept])).max() < palms.OVERLAP:
                kept.append(palm)
        return kept


def is_among(hand: DetectedHand, others: Sequence[DetectedHand]) -> bool:
    """Whether one of `others` is the same hand, by where they are."""
    for other in others:
        one, two = np.array(hand.box), np.array(other.box)
        union = palms.overlap(one, two[None])[0]
        # Of two boxes with areas a and b, the intersection is u (a + b) / (1 + u).
        areas = np.prod(one[2:]), np.prod(two[2:])
        part = union / (1 + union) * sum(areas) / min(areas)
        if union > SAME_HAND or (part > SAME_PART and hand.side == other.side):
            return True
    return False


def each_once(hands: Sequence[DetectedHand]) -> list[DetectedHand]:
    """The hands without those that are found again, the surest first."""
    kept = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        if not is_among(hand, kept):
            kept.append(hand)
    return kept
