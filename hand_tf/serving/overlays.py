"""Pictures with boxes and skeletons: a picture for each image, a video for each video."""

import contextlib
import fractions
import os
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from hand_tf.core import atomic, drawing
from hand_tf.serving.pictures import InputPicture

_MILLISECOND = fractions.Fraction(1, 1000)


def draw(image: np.ndarray, entries: Sequence[dict]) -> np.ndarray:
    """A copy of `image`, uint8 [height, width, 3] RGB, with the hands of `entries` of predictions.json."""
    image, thickness = image.copy(), max(1, round(max(image.shape) / 500))
    for entry in entries:
        x, y, width, height = entry["box"]
        corners = np.round([[x, y], [x + width - 1, y + height - 1]]).astype(int).tolist()
        cv2.rectangle(image, *corners, (255, 255, 255), thickness)
        image = drawing.draw_joints(image, _places(entry), thickness=thickness)
    return image


def _places(entry):
    """The places [21, 2] px of an entry, NaN for joints that the model does not know."""
    return np.array([place or (np.nan, np.nan) for place in entry["joints_2d"]])


class Overlays:
    """Writes overlays to a folder, under the names that the files have below `base`; videos as MP4 (H.264).

    A context manager, which finishes the last video at its end. After an error, nothing is left of a video.
    """

    def __init__(self, folder: pathlib.Path, base: str, frame_stride: int):
        self._folder, self._base, self._stride = folder, base, frame_stride
        self._video: _Video | None = None

    def add(self, picture: InputPicture, entries: Sequence[dict]) -> None:
        """Draws the entries of a picture; the frames of a video have to come one after the other."""
        path = self._folder / os.path.relpath(picture.file, self._base)
        if picture.frame is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic.renaming(path) as partial:  # OpenCV tells the format by the suffix, which `partial` keeps
                drawing.save(partial, draw(picture.image, entries))
            return
        if self._video is None or self._video.file != picture.file:
            self._finish()
            if path.suffix.lower() != ".mp4":  # a.mov and a.mp4 may lie side by side
                path = path.with_name(f"{path.name}.mp4")
            self._video = _Video(picture, path, self._stride)
        self._video.write(draw(picture.image, entries), picture.time_s)

    def _finish(self):
        if self._video:
            self._video.close()
        self._video = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._finish()
        elif self._video:
            self._video.discard()


class _Video:
    """The overlay of one video, at its mean frame rate over the stride; of a camera, at the times of its pictures."""

    def __init__(self, picture, path, stride):
        import av  # loading it would double the time that --help takes

        from hand_tf.core import video

        self.file, self._path, self._live = picture.file, path, picture.live
        self._partial = path.with_name(f"partial.{path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = fractions.Fraction(30)  # of a camera only a guess, because its pictures have times
        if not self._live:
            rate = fractions.Fraction(video.mean_rate(picture.file) / stride).limit_denominator(1001)
        self._container = av.open(str(self._partial), "w")
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        height, width = picture.image.shape[:2]
        # Two by two pixels share a colour: an odd last row or column is left out.
        self._stream.width, self._stream.height, self._stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        if self._live:
            self._stream.codec_context.time_base = _MILLISECOND
        self._new_frame, self._last = av.VideoFrame.from_ndarray, -1

    def write(self, image, time_s):
        """Appends a frame, uint8 [height, width, 3] RGB; one of a camera is shown at `time_s`."""
        frame = self._new_frame(np.ascontiguousarray(image[: self._stream.height, : self._stream.width]), "rgb24")
        if self._live:
            self._last = max(self._last + 1, round(time_s / _MILLISECOND))  # no two frames at one time
            frame.pts, frame.time_base = self._last, _MILLISECOND
        self._container.mux(self._stream.encode(frame))

    def close(self):
        """Ends the video, which has its name from now on; after an error nothing is left of it."""
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
            os.replace(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def discard(self):
        """Leaves nothing of the video."""
        try:
            with contextlib.suppress(OSError):  # a full disk, for instance, which is why it is discarded
                self._container.close()
        finally:
            self._partial.unlink(missing_ok=True)
