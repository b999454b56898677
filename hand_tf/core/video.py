"""Reads videos frame by frame with FFmpeg; records and predictions use the same reader.

    video.read_clock(path)                                     frames per second, and when the first frame is shown
    for position, frame in enumerate(video.read_frames(path)): every frame in order, up to the first damaged one
        frame.time                                             s, when the frame is shown
        frame.part((left, top, right, bottom))                 BGR uint8, only this part is converted
        frame.whole()

The position of a frame in a video is not its number in the recording: a camera may leave frames out, or start late. Its
presentation time tells.

Videos are decoded from the start and never sought: a seek in H.264 can be a frame off, and then every label belongs to
another picture. For the same reason reading stops at the first frame that cannot be decoded.

A frame converts the part that is asked for and no more: converting a whole frame to BGR takes half as long as decoding
it, and crops show a small part of it. Colours follow ITU-R BT.601 whatever the file says, as in OpenCV's own reader.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from hand_tf.core.errors import InputError
from hand_tf.core.images import Window

_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
_UNTIMED = ("avi",)  # formats without presentation times: what FFmpeg gives for them is the order of the packets


class Clock(NamedTuple):
    """When the frames of a video are shown, as the file says.

    `frames_per_second` is the rate of frames that follow each other, `mean_rate` their number over the whole time:
    lower if frames were left out. `start` is when the first frame is shown and `seconds` how long the video lasts, s.
    """

    frames_per_second: float
    mean_rate: float
    start: float
    seconds: float


class Frame:
    """One frame of a video, `size` its width and height in px once it is upright.

    `time` is when it is shown, in s, and None where the video does not tell.
    """

    def __init__(self, frame: av.VideoFrame, reformatter: VideoReformatter, timed: bool = True):
        self._frame, self._reformatter = frame, reformatter
        self.time = frame.time if timed else None
        # FFmpeg states by how many degrees a player has to turn the frame, counter-clockwise.
        self._quarter_turns = round(frame.rotation / 90)
        self.size = (frame.height, frame.width) if self._quarter_turns % 2 else (frame.width, frame.height)

    def part(self, window: Window) -> np.ndarray:
        """The pixels of `window`, BGR uint8 [height, width, 3]."""
        left, top, right, bottom = window
        if self._planes is None:
            return self._pixels[top:bottom, left:right]
        return _part_of_planes(self._planes, window)

    def whole(self) -> np.ndarray:
        """All pixels, BGR uint8 [height, width, 3]."""
        return self.part((0, 0, *self.size))

    @functools.cached_property
    def _planes(self):
        """Brightness and the two colour planes of an 8-bit YUV 4:2:0 frame; None for any other format."""
        frame = self._frame
        even = frame.width % 2 == frame.height % 2 == 0
        if frame.format.name != "yuv420p" or frame.color_range == _FULL_RANGE or frame.rotation or not even:
            return None
        return [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]

    @functools.cached_property
    def _pixels(self):
        """All pixels of a frame of any other format."""
        colours = {"src_colorspace": "ITU601", "dst_colorspace": "ITU601"}
        converted = self._reformatter.reformat(self._frame, format="bgr24", threads=1, **colours)
        return np.rot90(converted.to_ndarray(), self._quarter_turns)


def _part_of_planes(planes, window):
    """The pixels of `window` of a frame that consists of three planes, BGR uint8 [height, width, 3]."""
    x, y, right, bottom = window
    # Two by two pixels share a colour: the part grows to even borders, and is cut to size at the end.
    left, top = x // 2 * 2, y // 2 * 2
    width, height = (right + 1) // 2 * 2 - left, (bottom + 1) // 2 * 2 - top
    part = np.empty((height * 3 // 2, width), np.uint8)
    part[:height] = planes[0][top : top + height, left : left + width]
    colours = part[height:].reshape(2, height // 2, width // 2)
    rows, columns = slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2)
    for colour, plane in zip(colours, planes[1:], strict=True):
        colour[...] = plane[rows, columns]
    return cv2.cvtColor(part, cv2.COLOR_YUV2BGR_I420)[y - top : bottom - top, x - left : right - left]


@contextlib.contextmanager
def _opened(path):
    """The container in a file and its first video stream. Raises ValueError if there is none that FFmpeg can read."""
    message = f"{path}: not a video that FFmpeg can read"
    try:
        container = av.open(str(path), metadata_errors="replace")  # a title in Latin-1 is no reason to stop
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # the file is missing or may not be read
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise InputError(message) from error
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None:
            raise InputError(message)
        yield container, stream


def read_clock(path: str | os.PathLike) -> Clock:
    """When the frames of a video are shown. Raises ValueError if it is not a video that can be read, OSError without
    it.
    """
    with _opened(path) as (container, stream):
        rate, start = _rate(stream), float((stream.start_time or 0) * stream.time_base)
        seconds, mean_rate = _seconds(container, stream), float(stream.average_rate or rate)
    if not 0 < rate < 1000:
        raise InputError(f"{path}: not a video that FFmpeg can read: it states no frames per second")
    return Clock(rate, mean_rate, start, seconds)


def mean_rate(path: str | os.PathLike) -> float:
    """Frames per second over the whole of a video, 30 where the file does not tell. Errors as in `read_clock`."""
    with _opened(path) as (_, stream):
        found = float(stream.average_rate or 0)
    return found if 0 < found <= 240 else 30.0


def _rate(stream):
    # The guess is right for a camera that left frames out, too.
    return float(stream.guessed_rate or stream.average_rate or 0)


def _seconds(container, stream):
    """How long the video lasts, 0 if the file does not tell."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def num_frames(path: str | os.PathLike) -> int:
    """The number of frames that the container promises, 0 if it does not tell; errors as in `read_clock`.

    Matroska and WebM, which state no number, do not tell: frames need not be evenly spaced.
    """
    with _opened(path) as (_, stream):
        return stream.frames


def read_frames(path: str | os.PathLike, threads: int = 1) -> Iterator[Frame]:
    """Yields the frames of a video in order, up to the first that cannot be decoded; `threads` decode them.

    Raises ValueError if it is not a video that can be read, OSError if the file cannot be read.
    """
    reformatter = VideoReformatter()
    with _opened(path) as (container, stream):
        timed = container.format.name not in _UNTIMED
        stream.thread_type = "AUTO" if threads > 1 else "NONE"
        stream.codec_context.thread_count = threads
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return
                yield Frame(frame, reformatter, timed)
        except av.FFmpegError as error:
            # A disk or memory that fails is not the end of the video.
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(path)) from error
            if isinstance(error, MemoryError):
                raise
