"""Finds the hands in the pictures that are predicted on: in images each time anew, in videos from frame to frame."""

from hand_tf.serving.boxes import HandBox
from hand_tf.serving.hand_detector import HandDetector
from hand_tf.serving.hand_tracker import HandTracker
from hand_tf.serving.pictures import InputPicture


class HandFinder:
    """A function from a picture to the hands in it; the frames of a video have to come one after the other."""

    def __init__(self, detector: HandDetector, every: int, side: str | None = None, upright: bool = True):
        """`every` is that of `HandTracker`; with a `side`, hands of the other side are left out; `upright` is that of
        `DetectedHand.hand_box`.
        """
        self._detector, self._every, self._side, self._upright = detector, every, side, upright
        self._file = self._tracker = None

    def __call__(self, picture: InputPicture) -> list[HandBox]:
        if picture.frame is None:
            found = [each.hand_box(self._upright) for each in self._detector.detect(picture.image)]
        else:
            if picture.file != self._file:
                self._file, self._tracker = picture.file, HandTracker(self._detector, self._every)
            tracked = self._tracker.follow(picture.image)
            found = [each.hand.hand_box(self._upright, each.track) for each in tracked]
        return [hand for hand in found if self._side in (None, hand.side)]
