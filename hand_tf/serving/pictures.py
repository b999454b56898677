"""Pictures to estimate poses in, from image files and videos.

Images are RGB uint8 [height, width, 3], upright as their EXIF data says.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from hand_tf.core.images import read_image
from hand_tf.core.processors import usable_cores
from hand_tf.serving.boxes import HandBox

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


@dataclasses.dataclass(frozen=True, eq=False)
class InputPicture:
    """An image [height, width, 3] RGB uint8 of `file`; `frame` is its number in a video, None for an image file."""

    file: pathlib.Path
    frame: int | None
    image: np.ndarray
    hands: list[HandBox]

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
            raise ValueError(f"{path}: a folder without images ({' '.join(IMAGES)})")
        files += found
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        if path.suffix.lower() not in IMAGES + VIDEOS:
            raise ValueError(f"{path}: neither an image ({' '.join(IMAGES)}) nor a video ({' '.join(VIDEOS)})")
    return list(dict.fromkeys(files))


def read_pictures(
    hands: dict[pathlib.Path, list[HandBox]], problems: list[str], frame_stride: int = 1
) -> Iterator[InputPicture]:
    """Yields each image and every `frame_stride`-th frame of each video.

    Args:
        hands: the hands to look at in each file; in a video, in all frames.
        problems: receives one line for each file that cannot be read, or not to its end.
    """
    for path, boxes in hands.items():
        if path.suffix.lower() in VIDEOS:
            yield from _read_video(path, boxes, frame_stride, problems)
            continue
        image = read_image(path)
        if image is None:
            problems.append(f"{path}: not an image that can be read, or cut short; left out")
        else:
            yield InputPicture(path, None, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), boxes)


def _read_video(path, hands, stride, problems):
    """Every `stride`-th frame, up to the first that is damaged."""
    from hand_tf.core import video  # loading PyAV would double the time that --help takes

    count = 0
    try:
        promised = video.num_frames(path)
        for frame in video.read_frames(path, threads=usable_cores()):
            if count % stride == 0:
                yield InputPicture(path, count, cv2.cvtColor(frame.whole(), cv2.COLOR_BGR2RGB), hands)
            count += 1
    except ValueError as error:
        problems.append(f"{error}; left out")
        return
    if count < promised:
        problems.append(f"{path}: only the first {count} of {promised} frames can be read")
