"""Pictures to estimate poses in, from image files and videos.

Images are RGB uint8 [height, width, 3], upright as their EXIF data says.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from hand_tf.core import images
from hand_tf.core.errors import InputError
from hand_tf.core.processors import usable_cores
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.left_out import LeftOut

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


@dataclasses.dataclass(frozen=True, eq=False)
class InputPicture:
    """An image [height, width, 3] RGB uint8 of `file`.

    Of a video, `frame` is its position and `time_s` when it is shown, in s, None where the video does not tell; both
    are None for an image file. A picture of a camera is `live`: `time_s` is when it was taken, and `file` is only a
    name.
    """

    file: pathlib.Path
    frame: int | None
    image: np.ndarray
    hands: list[HandBox]
    time_s: float | None = None
    live: bool = False

    @property
    def name(self) -> str:
        """What an error calls this picture."""
        return str(self.file) if self.frame is None else f"{self.file} frame {self.frame}"


def list_files(inputs: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """Paths of images and videos, each once; a folder stands for the images in it, sorted by name.

    Raises FileNotFoundError for a path that does not exist, ValueError for a file of another kind or an empty folder.
    """
    files = []
    for path in map(pathlib.Path, inputs):
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: a folder without images ({' '.join(IMAGES)})")
        files += found
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        if path.suffix.lower() not in IMAGES + VIDEOS:
            raise InputError(f"{path}: neither an image ({' '.join(IMAGES)}) nor a video ({' '.join(VIDEOS)})")
    return list(dict.fromkeys(files))


def is_video(path: pathlib.Path) -> bool:
    """Whether a file is a video, by its name."""
    return path.suffix.lower() in VIDEOS


def numbered(hands: Iterable[HandBox]) -> list[HandBox]:
    """Hands that are given for all frames of a video, each with a number as its track."""
    return [dataclasses.replace(hand, track=number) for number, hand in enumerate(hands)]


def read_pictures(
    hands: dict[pathlib.Path, list[HandBox]],
    left_out: LeftOut,
    frame_stride: int = 1,
    max_pixels: int = images.MAX_PIXELS,
) -> Iterator[InputPicture]:
    """Yields each image and every `frame_stride`-th frame of each video.

    Args:
        hands: the hands to look at in each file; in a video, in all frames.
        left_out: receives files that cannot be read, or not to their end, or have more than `max_pixels` pixels.
    """
    for path, boxes in hands.items():
        if is_video(path):
            yield from _read_video(path, numbered(boxes), frame_stride, left_out, max_pixels)
            continue
        try:
            image, problem = images.read_image(path, max_pixels), f"{path}: not an image that can be read, or cut short"
        except (OSError, images.TooLarge) as error:
            image, problem = None, f"{error}"
        if image is None:
            left_out.add(f"{problem}; left out", len(boxes))
        else:
            yield InputPicture(path, None, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), boxes)


def _read_video(path, hands, stride, left_out, max_pixels):
    """Every `stride`-th frame, up to the first that is damaged."""
    from hand_tf.core import video  # loading PyAV would double the time that --help takes

    count = 0
    try:
        promised = video.num_frames(path)
        for frame in video.read_frames(path, threads=usable_cores()):
            images.check_pixels(frame.size[0] * frame.size[1], max_pixels, path)
            if count % stride == 0:
                yield InputPicture(path, count, cv2.cvtColor(frame.whole(), cv2.COLOR_BGR2RGB), hands, frame.time)
            count += 1
    except (OSError, ValueError) as error:
        left_out.add(f"{error}; left out", len(hands))
        return
    if not count:
        left_out.add(f"{path}: a video without a frame that can be read; left out", len(hands))
    elif count < promised:
        missing = (promised - 1) // stride - (count - 1) // stride
        left_out.add(f"{path}: only the first {count} of {promised} frames can be read", missing * len(hands))
