"""Pictures of a webcam, as they are taken."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator

import cv2

from hand_tf.core.errors import InputError
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.left_out import LeftOut
from hand_tf.serving.pictures import InputPicture, numbered


@contextlib.contextmanager
def opened(number: int) -> Iterator[cv2.VideoCapture]:
    """The webcam that OpenCV counts as `number`, from 0, until the block ends. Raises InputError if there is none."""
    with _quiet():
        capture = _capture(number)
    try:
        if not capture.isOpened():
            raise InputError(f"--webcam={number}: there is no such camera, or it is in use or may not be read")
        # OpenCV's reader keeps some pictures, so that a slow consumer would get old ones.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        yield capture
    finally:
        capture.release()


def _capture(number):
    return cv2.VideoCapture(number)


@contextlib.contextmanager
def _quiet():
    """Without OpenCV's own lines about a camera that is not there."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def name_of(number: int) -> pathlib.Path:
    """What results call the recording of a webcam."""
    return pathlib.Path(f"webcam_{number}")


def read_pictures(
    capture: cv2.VideoCapture,
    file: pathlib.Path,
    hands: list[HandBox],
    left_out: LeftOut,
    stop: Callable[[], bool],
    seconds: float | None = None,
) -> Iterator[InputPicture]:
    """Yields a picture whenever one is asked for: those that the camera takes in the meantime are passed over.

    Times are in s since the first picture, by a clock that nobody sets. It ends when `stop` says so, after `seconds`,
    or when the camera gives no more pictures, which `left_out` receives.

    Args:
        file: the name of the recording, `name_of`.
        hands: the hands to look at, in all pictures.
    """
    hands, start, count = numbered(hands), None, 0
    while not stop():
        there, now = capture.grab(), time.monotonic()  # `retrieve` decodes, which takes time
        there, image = capture.retrieve() if there else (False, None)
        if not there:
            left_out.add(f"{file}: the camera gave no more pictures after {count}", hands=0)
            return
        start = now if start is None else start
        if seconds is not None and now - start >= seconds:
            return
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        yield InputPicture(file, count, rgb, hands, round(now - start, 6), live=True)
        count += 1
    if not count:
        left_out.add(f"{file}: stopped before the first picture", hands=0)
