"""Pictures of a sequence folder, one camera at a time: `hdImgs/PP_NN/PP_NN_00000000.jpg` or `hdVideos/hd_PP_NN.mp4`.

The number of an image is that of the hand file. A frame of a video has the number at which it is shown:

    number = (presentation time - start of the earliest video) * frames per second

so a camera that left frames out or started late keeps its labels. Other files in these folders, such as `.DS_Store`,
mean nothing.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from hand_tf.core import images, video
from hand_tf.core.errors import InputError
from hand_tf.core.geometry import Camera
from tfrecords_tools.dump.skipped import Skipped

_IMAGE = re.compile(r"(\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)
_VIDEO = re.compile(r"hd_(\d+_\d+)\.mp4")
# How far from its place a frame may be shown, in frames. Half a frame away it could be either of two.
TOLERANCE = 0.4
_UNKNOWN = (
    "which hand file it belongs to cannot be told; write the video anew with a constant frame rate, or bring images"
    " (hdImgs)"
)
# Frames may be missing, but where a third of them would be, the rate is no longer that of the camera.
_UNEVEN = 1.5
_PULL, _MANY = 0.1, 50  # of a `Timeline`
_SAMPLES, _SAMPLE_BYTES = 16, 4096  # of a file, for its fingerprint
# Frame rates that differ by this share are the same number, rounded twice.
_SAME_RATE = 1e-5


def find_sources(sequence_dir: pathlib.Path, cameras: Iterable[Camera], skipped: Skipped) -> dict[str, pathlib.Path]:
    """{camera name: path} of an image folder, preferred because its frame numbers are exact, or of a video.

    Cameras that have neither are counted.
    """
    sources, videos = {}, _find_videos(sequence_dir)
    for camera in cameras:
        images_dir, video_file = sequence_dir / "hdImgs" / camera.name, videos.get(camera.name)
        if images_dir.is_dir() and _image_paths(images_dir, camera.name):
            sources[camera.name] = images_dir
        elif video_file:
            sources[camera.name] = video_file
        else:
            skipped.add("cameras: listed, but no video and no images", f"{sequence_dir.name} camera {camera.name}")
    return sources


def fingerprint(source: pathlib.Path, camera: Camera, wanted: Iterable[int]) -> bytes:
    """A hash that tells whether a video, or the images numbered `wanted`, are those of an earlier call.

    It is quick: of each file it reads the size and `_SAMPLES` short samples, or all of a small file.
    """
    content, files = hashlib.sha256(), [source]
    if source.is_dir():
        paths = _image_paths(source, camera.name)
        files = [paths[number] for number in wanted if number in paths]
    for path in files:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            content.update(f"{path.name} {size} ".encode())
            count = _SAMPLES if size > _SAMPLES * _SAMPLE_BYTES else 1
            length = _SAMPLE_BYTES if count > 1 else size
            for number in range(count):
                file.seek((size - length) * number // max(count - 1, 1))
                content.update(file.read(length))
    return content.digest()


def _find_videos(sequence_dir):
    """{camera name: path} of all videos of a sequence folder."""
    folder = sequence_dir / "hdVideos"
    matches = [(_VIDEO.fullmatch(path.name.lower()), path) for path in folder.iterdir()] if folder.is_dir() else []
    return {match[1]: path for match, path in matches if match}


def read_clocks(sequence_dir: pathlib.Path, sources: Mapping[str, pathlib.Path]) -> dict[str, video.Clock]:
    """{camera name: clock} of those `sources` that are videos; `start` is when frame 0 of the recording was shown.

    The recording starts with the earliest of all videos of the folder, whether it is in `sources` or not.

    The rate of a video with uneven times cannot be told from neighbouring frames; if its mean rate is that of the other
    cameras, it counts as theirs.

    Raises ValueError for a video that cannot be read, and if the cameras would be half a frame apart at the end.
    """
    clocks = {name: video.read_clock(path) for name, path in sources.items() if not path.is_dir()}
    if not clocks:
        return {}
    starts = [clock.start for clock in clocks.values()]
    for path in (path for name, path in _find_videos(sequence_dir).items() if name not in clocks):
        with contextlib.suppress(OSError, InputError):  # its pictures are not wanted
            starts.append(video.read_clock(path).start)
    common = statistics.median_low(clock.frames_per_second for clock in clocks.values())
    for name, clock in clocks.items():
        if abs(clock.frames_per_second / common - 1) > 0.01 > abs(clock.mean_rate / common - 1):
            clocks[name] = clock._replace(frames_per_second=common)
    _check_rates({sources[name]: clock for name, clock in clocks.items()})
    return {name: clock._replace(start=min(starts)) for name, clock in clocks.items()}


def _check_rates(clocks):
    """Raises InputError if the rate of a video, {path: clock}, cannot be told or is another than that of the others."""
    for path, clock in clocks.items():
        if clock.frames_per_second > _UNEVEN * clock.mean_rate:
            raise InputError(
                f"{path}: the presentation times are uneven ({clock.frames_per_second:.6g} frames per second where they"
                f" follow each other, {clock.mean_rate:.6g} on average): the frame rate cannot be told; write the video"
                " anew with a constant frame rate"
            )
    slow, fast = (choose(clocks, key=lambda path: clocks[path].frames_per_second) for choose in (min, max))
    rates = clocks[slow].frames_per_second, clocks[fast].frames_per_second
    apart = (rates[1] - rates[0]) * min(clocks[slow].seconds, clocks[fast].seconds)  # frames, at the end
    if rates[1] > 1.01 * rates[0] or (apart > 0.5 and rates[1] > (1 + _SAME_RATE) * rates[0]):
        raise InputError(
            f"{fast}: {rates[1]:.6g} frames per second, {slow.name} has {rates[0]:.6g}: the cameras differ in frames"
            " per second, so their frames cannot be matched by number"
        )


class Timeline:
    """Gives the frames of a video their numbers, by when they are shown, one after the other.

    The rate that a file states may be a standard one near the true one, and frames may be shown a little too early or
    too late. So the place of a frame is reckoned from those before it: their places follow the times slowly, and after
    `_MANY` frames the rate is the measured one.
    """

    def __init__(self, clock: video.Clock):
        """`clock` is that of `read_clocks`: its `start` is when number 0 is shown."""
        self.frames_per_second, self._start = clock.frames_per_second, clock.start
        self._place = self._first = self._last = None

    def place(self, time: float) -> tuple[int, float]:
        """The number of the next frame, shown at `time` s, and how far from the place of that number, in frames."""
        if self._first is None:
            place = (time - self._start) * self.frames_per_second
        else:
            place = self._place + (time - self._last[1]) * self.frames_per_second
        number = round(place)
        off = place - number
        if self._last is not None and number <= self._last[0]:
            number, off = self._last[0] + 1, place - self._last[0] - 1  # two frames at one place
        self._place = place - (_PULL * off if abs(off) <= TOLERANCE else 0.0)
        self._last = number, time
        self._first = self._first or self._last
        if number - self._first[0] >= _MANY:
            self.frames_per_second = (number - self._first[0]) / (time - self._first[1])
        return number, off

    def measured(self) -> tuple[float, float] | None:
        """The measured frames per second, and over how many s; None of too few frames."""
        if self._first is None or self._last[0] - self._first[0] < _MANY:
            return None
        return self.frames_per_second, self._last[1] - self._first[1]


def check_measured(measured: Mapping[str, tuple[float, float] | None]) -> None:
    """Raises InputError if cameras, {name: `Timeline.measured`}, drift half a frame apart while they record."""
    known = {name: each for name, each in measured.items() if each}
    if not known:
        return
    slow, fast = (choose(known, key=lambda name: known[name][0]) for choose in (min, max))
    seconds = min(known[slow][1], known[fast][1])
    if (known[fast][0] - known[slow][0]) * seconds > 0.5 and known[fast][0] > (1 + _SAME_RATE) * known[slow][0]:
        raise InputError(
            f"{fast}: {known[fast][0]:.6g} frames per second by its presentation times, {slow} has"
            f" {known[slow][0]:.6g}: after {seconds:.0f} s the cameras are half a frame apart or more, so their frames"
            " cannot be matched by number"
        )


def read(
    source: pathlib.Path,
    camera: Camera,
    wanted: Sequence[int],
    skipped: Skipped,
    timeline: "Timeline | None" = None,
    threads: int = 1,
) -> Iterator[tuple[int, images.Image | video.Frame | None]]:
    """Yields (frame number, picture) for the ascending numbers `wanted`, the picture None where it is missing.

    Pictures have `size`, `part(window)` and `whole()`, in BGR as OpenCV encodes them. `threads` threads decode a video,
    whose `timeline` starts from the clock of `read_clocks`; image folders are read by one.

    Raises ValueError if a picture has another size than the camera's calibration says, and for a video whose
    presentation times do not tell which frame has which number.
    """
    if source.is_dir():
        pictures = _read_images(source, camera, wanted, skipped)
    else:
        pictures = _read_video(source, wanted, skipped, timeline or Timeline(video.read_clock(source)), threads)
    for number, picture in pictures:
        if picture is not None:
            _check_size(picture.size, camera, source)
        yield number, picture


def _check_size(size, camera, path):
    width, height = size
    if (width, height) != (camera.width, camera.height):
        raise InputError(
            f"{path}: pictures are {width}x{height} px, "
            f"camera {camera.name} is calibrated for {camera.width}x{camera.height}"
        )


def _image_paths(folder, camera_name):
    """{frame number: path} of an image folder, whose files are named `PP_NN_00000000.jpg` or `00000000.jpg`."""
    paths = {}
    for path in sorted(folder.iterdir()):
        match = _IMAGE.fullmatch(path.name.removeprefix(f"{camera_name}_"))
        if match:
            paths[int(match[1])] = path
    return paths


def _read_images(folder, camera, wanted, skipped):
    paths = _image_paths(folder, camera.name)
    for number in wanted:
        if number not in paths:
            skipped.add("frames: no image of that number", f"{folder} frame {number}")
            yield number, None
            continue
        try:
            pixels = images.read_image(paths[number], 4 * camera.width * camera.height)
        except images.TooLarge as error:
            raise InputError(
                f"{paths[number]}: {error.pixels / 1e6:.3g} million pixels, camera {camera.name} is calibrated for"
                f" {camera.width}x{camera.height}"
            ) from error
        if pixels is None:
            skipped.add("frames: damaged image", paths[number])
        yield number, None if pixels is None else images.Image(pixels)


def _read_video(path, wanted, skipped, timeline, threads):
    frames = _numbered_frames(path, timeline, threads)
    number, position, frame, off = -1, -1, None, 0.0
    for want in wanted:
        while number < want:
            number, position, frame, off = next(frames, (np.inf, -1, None, 0.0))
        if number == want and abs(off) > TOLERANCE:
            raise InputError(
                f"{path}: frame {position} is shown at {frame.time:.4f} s, halfway between two numbers"
                f" ({number + off:.2f} at {timeline.frames_per_second:.6g} frames per second): {_UNKNOWN}"
            )
        if np.isinf(number):
            skipped.add("frames: beyond the end of the video, or not decodable", f"{path.name} frame {want}")
        elif number > want:
            skipped.add("frames: left out by the camera, or before its start", f"{path.name} frame {want}")
        yield want, frame if number == want else None
    frames.close()


def _numbered_frames(path, timeline, threads):
    """Yields (number, position, frame, off): which number a frame has, and how far it is shown from its place."""
    last = None
    for position, frame in enumerate(video.read_frames(path, threads)):
        if frame.time is None or (last is not None and frame.time <= last.time):
            fault = "has no presentation time" if frame.time is None else "is shown no later than the frame before it"
            raise InputError(f"{path}: frame {position} {fault}: {_UNKNOWN}")
        last = frame
        number, off = timeline.place(frame.time)
        yield number, position, frame, off
