"""Hands in a video: found once, then followed from frame to frame, each with a number of its own.

A hand that was seen in one frame is looked for where its landmarks were, which takes one network instead of the whole
detector. The detector looks again when no hand is followed, and every `every` frames for further hands. It looks at the
picture as a whole; at its tiles, which take many times as long, every `every` frames while no hand is followed, and
`_THOROUGH` times more rarely otherwise.
"""

import dataclasses

import numpy as np

from hand_tf.serving import landmarks
from hand_tf.serving.hand_detector import DetectedHand, HandDetector, each_once, is_among

EVERY = 10  # frames
_THOROUGH = 5


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedHand:
    """A hand of a frame; hands of several frames with the same `track` are one hand without a gap between them."""

    track: int
    hand: DetectedHand


class HandTracker:
    """Follows the hands of one video; `every` is how often, in frames, further hands are looked for."""

    def __init__(self, detector: HandDetector, every: int = EVERY):
        self._detector, self._every = detector, every
        self._hands: dict[int, DetectedHand] = {}
        self._frame, self._next = 0, 0

    def follow(self, image: np.ndarray) -> list[TrackedHand]:
        """The hands of the next frame, uint8 [height, width, 3] RGB."""
        looks = {track: self._again(image, hand) for track, hand in self._hands.items()}
        kept = each_once([hand for hand in looks.values() if hand])
        self._hands = {track: hand for track, hand in looks.items() if any(hand is each for each in kept)}
        if not self._hands or self._frame % self._every == 0:
            thorough = self._frame % (self._every * (_THOROUGH if self._hands else 1)) == 0
            for hand in self._detector.detect(image, tiles=None if thorough else 1):
                if not is_among(hand, list(self._hands.values())):
                    self._hands[self._next] = hand
                    self._next += 1
        self._frame += 1
        return [TrackedHand(track, hand) for track, hand in sorted(self._hands.items())]

    def _again(self, image, hand):
        """A hand of the frame before in this frame, on the side that it had; None if it is not there."""
        found = self._detector.look(image, landmarks.of_landmarks(hand.points))
        return found and dataclasses.replace(found, side=hand.side)
