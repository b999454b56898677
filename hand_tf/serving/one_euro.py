"""Smooths the hands of a video with the one-euro filter (Casiez, Roussel and Vogel, CHI 2012).

It is a low-pass filter whose cut-off frequency rises with the speed of what it follows: a still hand loses its jitter,
and a fast one is hardly late. With dt the time since the frame before, for a point x and its filtered value y:

    a(f) = 1 / (1 + 1 / (2 pi f dt))           the weight of a new value in a low pass of f Hz
    v <- v + a(1 Hz) ((x - y) / dt - v)        the velocity
    y <- y + a(f) (x - y)                      with f = min_cutoff + beta |v|

All coordinates of a point share one cut-off, so that what is filtered turns with the hand. Speeds are in mm/s; places
in the picture count as if the longer side of the hand's box were `_BOX_MM`, so that the size of the picture does not
matter.
"""

import dataclasses
import math

import numpy as np

from hand_tf.core import video
from hand_tf.serving.estimator import HandPose
from hand_tf.serving.pictures import InputPicture

MIN_CUTOFF, BETA = 1.0, 0.005  # Hz; Hz per mm/s
MAX_GAP = 0.5  # s between two frames; the filter starts anew after a longer gap
_SPEED_CUTOFF = 1.0  # Hz
_BOX_MM = 150.0  # about that of an open hand


class OneEuro:
    """The filter of some points; `time` is that of the last ones, in s."""

    def __init__(self, min_cutoff: float = MIN_CUTOFF, beta: float = BETA):
        """`min_cutoff` is the cut-off of points at rest, Hz, and `beta` by how much it rises with speed."""
        self._min_cutoff, self._beta = min_cutoff, beta
        self.time, self._points, self._velocity = -math.inf, np.empty(0), np.empty(0)

    def __call__(self, points: np.ndarray, time: float, unit: float = 1.0) -> np.ndarray:
        """The filtered points [n, d] at `time`, s, which must be later than that of the last ones.

        `unit` is what a unit of the points is in mm. The first points come back as they are, and so does one that was
        not known (NaN) at the time before.
        """
        if self._points.size:
            step = time - self.time
            last = np.where(np.isnan(self._points), points, self._points)
            moved = np.nan_to_num((points - last) / step)
            self._velocity = self._velocity + _weight(_SPEED_CUTOFF, step) * (moved - self._velocity)
            speed = unit * np.linalg.norm(self._velocity, axis=-1, keepdims=True)
            self._points = last + _weight(self._min_cutoff + self._beta * speed, step) * (points - last)
        else:
            self._points, self._velocity = points, np.zeros_like(points)
        self.time = time
        return self._points


def _weight(cutoff, step):
    """The weight of a new value in a low pass of `cutoff` Hz, after `step` s."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))


class TrackSmoother:
    """Filters the poses and the places of the hands in videos, each track of a video for itself; pictures stay.

    The pictures of a video have to come one after the other. Times are those at which frames are shown: frames that are
    skipped count as time that has passed.
    """

    def __init__(self, min_cutoff: float = MIN_CUTOFF, beta: float = BETA):
        self._new_filter = lambda: OneEuro(min_cutoff, beta)
        self._file, self._rate = None, 0.0
        self._filters: dict[int, tuple[OneEuro, OneEuro]] = {}

    def __call__(self, picture: InputPicture, hands: list[HandPose]) -> list[HandPose]:
        """The hands of a picture, filtered with those of the frames before."""
        if picture.frame is None:
            return hands
        if picture.file != self._file:
            self._file, self._filters = picture.file, {}
            if picture.time_s is None:  # a format without times, such as AVI
                self._rate = video.mean_rate(picture.file)
        now = picture.frame / self._rate if picture.time_s is None else picture.time_s
        self._filters = {track: each for track, each in self._filters.items() if 0 < now - each[0].time <= MAX_GAP}
        return [self._smoothed(hand, now) for hand in hands]

    def _smoothed(self, hand, now):
        pose, places = self._filters.setdefault(hand.track, (self._new_filter(), self._new_filter()))
        return dataclasses.replace(
            hand,
            pose_mm=pose(hand.pose_mm, now),
            joints_2d=places(hand.joints_2d, now, _BOX_MM / max(hand.box[2:])),
        )
