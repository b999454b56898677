"""The way of each hand through a video, for the formats of motion capture.

    lines of predictions.partial.jsonl --VideoTracks--> Trajectory, one per track --trc, c3d--> files

The hands of a video are mixed in the lines. They go through temporary files on the disk, from which each track is read
for itself, so that memory holds a few frames at a time, however long the video is.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from hand_tf.core import skeleton, video

_HAND = np.dtype([("track", "<i4"), ("left", "?"), ("row", "<i8"), ("points", "<f8", (skeleton.NUM_JOINTS, 3))])
_TIME = np.dtype("<f8")
_CHUNK = 1000  # frames


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """One hand from the first frame in which it was seen to the last.

    `hand` is its side and `track` its number. `rate` is how many frames per second were looked at, `start` the place of
    its first frame among them, from 0, and `length` how many there are from there to its last one.
    """

    hand: str
    track: int
    rate: float
    start: int
    length: int
    _times: np.ndarray  # [frames of the video]
    _seen: np.ndarray  # of dtype _HAND: all hands of the video
    _own: np.ndarray  # the indices of this hand in _seen

    @property
    def name(self) -> str:
        """The name of a file of this hand, without a suffix."""
        return f"{self.hand}_{self.track}"

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields the frames from `start` to `end` (exclusive; places as in the attribute `start`) some at a time.

        Each time the place of the first of them, their times [n], s, and their joints [n, 21, 3], mm, relative to the
        wrist; NaN for a frame in which the hand was not seen, and for joints that are not known.
        """
        rows = self._seen["row"][self._own]
        for low in range(start, end, _CHUNK):
            high = min(low + _CHUNK, end)
            first, last = np.searchsorted(rows, (low, high))
            points = np.full((high - low, skeleton.NUM_JOINTS, 3), np.nan)
            points[rows[first:last] - low] = self._seen["points"][self._own[first:last]]
            times = np.array(self._times[low:high])
            yield low, np.where(np.isnan(times), np.arange(low, high) / self.rate, times), points


def of_videos(
    lines: Iterable[str], frame_stride: int, scratch: pathlib.Path
) -> Iterator[tuple[str, Iterator[Trajectory]]]:
    """Yields the name of each video and the trajectories in it, to be used before the next video is asked for.

    Args:
        lines: of predictions.partial.jsonl; those of pictures are passed over.
        frame_stride: each line is about a frame, and this many frames of the video lie between two of them.
        scratch: the folder for temporary files.
    """
    by_file = itertools.groupby(map(json.loads, lines), key=lambda entry: (entry["file"], entry["frame"] is None))
    for (file, is_picture), entries in by_file:
        if is_picture:
            continue
        with contextlib.ExitStack() as stack:
            spools = [stack.enter_context(_scratch_file(scratch)) for _ in range(2)]
            if _spool(entries, *spools):
                times, seen = (np.memmap(spool, kind, "r") for spool, kind in zip(spools, (_TIME, _HAND), strict=True))
                yield file, _trajectories(seen, times, _rate(file, times, frame_stride))


def _spool(entries, times, hands):
    """Writes the times of the frames and the hands in them to two files; whether there is any hand."""
    row, frame, count = -1, None, 0
    for entry in entries:
        if entry["frame"] != frame:
            row, frame = row + 1, entry["frame"]
            time = math.nan if entry["time_s"] is None else entry["time_s"]
            times.write(np.array(time, _TIME).tobytes())
        if entry["hand"] is not None and entry["track"] is not None:
            points = [point or [math.nan] * 3 for point in entry["pose_mm"]]
            record = (entry["track"], entry["hand"] == "left", row, points)
            hands.write(np.array(record, _HAND).tobytes())
            count += 1
    times.flush()
    hands.flush()
    return count > 0


@contextlib.contextmanager
def _scratch_file(folder):
    """A temporary file. An OSError, such as that of a full disk, names the folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def _trajectories(seen, times, rate):
    """The trajectories of a video, by their number."""
    tracks = np.array(seen["track"])
    for track in np.unique(tracks):
        own = np.flatnonzero(tracks == track)
        first, last = (int(seen["row"][index]) for index in own[[0, -1]])
        side = "left" if seen["left"][own[0]] else "right"
        yield Trajectory(side, int(track), rate, first, last - first + 1, times, seen, own)


def _rate(file, times, stride):
    """Frames per second among those that were looked at: by their times, or else what the file says."""
    seconds = float(times[-1] - times[0])
    if seconds > 0:  # and a number
        return (len(times) - 1) / seconds
    return video.mean_rate(file) / stride if os.path.isfile(file) else 30.0
