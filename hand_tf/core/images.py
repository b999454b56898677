"""Images in memory and in files: BGR uint8 [height, width, 3], the order in which OpenCV reads and encodes them."""

import io
import os
import pathlib
import re
import struct
import warnings

import cv2
import numpy as np
import PIL.Image

from hand_tf.core.errors import InputError

MAX_PIXELS = 200_000_000  # of one picture, unless the caller says otherwise; three bytes each in memory
Window = tuple[int, int, int, int]  # left, top, right, bottom px of a part of an image; right and bottom are exclusive


class Image:
    """An image in memory, `size` its width and height in px. A frame of a video (`video.Frame`) offers the same."""

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        self.size = pixels.shape[1], pixels.shape[0]

    def part(self, window: Window) -> np.ndarray:
        """The pixels of `window`, BGR uint8 [height, width, 3]; a view, which must not be written to."""
        left, top, right, bottom = window
        return self._pixels[top:bottom, left:right]

    def whole(self) -> np.ndarray:
        """All pixels, BGR uint8 [height, width, 3]."""
        return self._pixels


class TooLarge(InputError):
    """A picture of more `pixels` than the caller allows."""

    def __init__(self, message: str, pixels: int):
        super().__init__(message)
        self.pixels = pixels


def check_pixels(pixels: int, max_pixels: int, path: str | os.PathLike) -> None:
    """Raises TooLarge for a picture of so many `pixels` in the file `path`."""
    if pixels > max_pixels:
        raise TooLarge(
            f"{path}: {pixels / 1e6:.3g} million pixels, at most {max_pixels / 1e6:g} million expected (--max_pixels)",
            pixels,
        )


def _stated_pixels(data):
    """The number of pixels by the head of an image file, 0 where Pillow cannot tell. Nothing is decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(io.BytesIO(data)) as image:
                return image.width * image.height
        except PIL.Image.DecompressionBombError as error:  # Pillow's own limit; its message begins with the number
            return int(re.search(r"\d+", str(error))[0])
        except (EOFError, OSError, SyntaxError, ValueError, struct.error):
            return 0


def read_image(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray | None:
    """The image in a file, BGR uint8 [height, width, 3], turned upright as its EXIF data says.

    Of 16 bits per value, the upper 8 are taken; if no value needs more than 12 bits, as many cameras write them, the
    upper 8 of these.

    None if the file is not an image that OpenCV can read, or is damaged. Raises OSError if it cannot be opened, and
    TooLarge for one of more than `max_pixels` pixels before it is decoded: 400 kB may hold a picture of 4 GB.
    """
    data = pathlib.Path(path).read_bytes()
    # OpenCV decodes a JPEG that was cut short to half a picture. Such a file lacks the marker of its end.
    if not data or (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-1024:]):
        return None
    check_pixels(_stated_pixels(data), max_pixels, path)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # larger than OpenCV allows
        return None
    if pixels is not None and pixels.dtype == np.uint16:
        return (pixels >> (4 if pixels.max(initial=0) < 4096 else 8)).astype(np.uint8)
    return pixels if pixels is None or pixels.dtype == np.uint8 else None
