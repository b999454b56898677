"""Pictures of a sequence folder, one camera at a time: `hdImgs/PP_NN/PP_NN_00000000.jpg` or `hdVideos/hd_PP_NN.mp4`.

Frame n of a video belongs to the hand file numbered n. Videos are decoded in order and never sought: a seek in H.264
can slip a frame, and then every label is a little wrong.

A picture gives the parts that are asked for. Turning all of a video's picture into BGR takes as long as half of its
decoding, and crops show a small part of it. Colours follow ITU-R BT.601 whatever the file says, as OpenCV's reader has
it, with which pictures are predicted on.
"""

import fractions
import pathlib
import re

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
_IMAGE = re.compile(r"(\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)


def find_sources(sequence_dir, cameras, skipped):
    """{camera name: path}, an image folder (preferred: exact frame numbers) or a video; cameras without are counted."""
    sequence_dir, sources = pathlib.Path(sequence_dir), {}
    for camera in cameras:
        images, video = sequence_dir / "hdImgs" / camera.name, sequence_dir / "hdVideos" / f"hd_{camera.name}.mp4"
        if images.is_dir() and any(images.iterdir()):
            sources[camera.name] = images
        elif video.is_file():
            sources[camera.name] = video
        else:
            skipped.add("cameras: listed, but no video and no images", f"{sequence_dir.name} camera {camera.name}")
    return sources


class Image:
    """A picture in memory."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.size = pixels.shape[1], pixels.shape[0]

    def part(self, window):
        """BGR uint8 [height, width, 3] of `window`: left, top, right, bottom px, exclusive ends."""
        left, top, right, bottom = window
        return self._pixels[top:bottom, left:right]

    def whole(self):
        """All of it."""
        return self.part((0, 0, *self.size))


class Planes(Image):
    """A picture of a video (8-bit YUV 4:2:0) whose brightness and colours lie in planes of their own."""

    def __init__(self, frame):
        self.size = frame.width, frame.height
        self._planes = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]

    def part(self, window):
        """As `Image.part`."""
        x, y, right, bottom = window
        # A colour belongs to two by two pixels: the part grows to even borders, and is cut again.
        left, top = x // 2 * 2, y // 2 * 2
        width, height = (right + 1) // 2 * 2 - left, (bottom + 1) // 2 * 2 - top
        part = np.empty((height * 3 // 2, width), np.uint8)
        part[:height] = self._planes[0][top : top + height, left : left + width]
        colours = part[height:].reshape(2, height // 2, width // 2)
        rows, columns = slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2)
        for colour, plane in zip(colours, self._planes[1:], strict=True):
            colour[...] = plane[rows, columns]
        return cv2.cvtColor(part, cv2.COLOR_YUV2BGR_I420)[y - top : bottom - top, x - left : right - left]


def _picture(frame, reformatter):
    """The picture of a PyAV frame."""
    even = frame.width % 2 == frame.height % 2 == 0
    if frame.format.name == "yuv420p" and frame.color_range != _FULL_RANGE and even and not frame.rotation:
        return Planes(frame)
    colours = {"src_colorspace": "ITU601", "dst_colorspace": "ITU601"}
    pixels = reformatter.reformat(frame, format="bgr24", threads=1, **colours).to_ndarray()
    # FFmpeg says how a player has to turn a picture, counter-clockwise; OpenCV's reader does so, too.
    return Image(np.rot90(pixels, round(frame.rotation / 90)))


def _open(path):
    return av.open(str(path), metadata_errors="replace")  # a title in Latin-1 is no reason to stop


def fps(source):
    """Frames per second of a video, None for an image folder. Raises ValueError if the video cannot be opened."""
    if source.is_dir():
        return None
    try:
        with _open(source) as video:
            stream = video.streams.video[0]
            # The guess holds for a camera that left frames out, too.
            rate = (stream.guessed_rate or stream.average_rate) if stream.codec_context else None
    except (av.FFmpegError, IndexError) as error:
        if isinstance(error, OSError):  # no permission, say
            raise
        rate = None
    if not 0 < (rate or fractions.Fraction()) < 1000:
        raise ValueError(f"{source}: not a video that FFmpeg can read")
    return float(rate)


def _check_size(picture, camera, path):
    width, height = picture.size
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f"{path}: pictures are {width}x{height} px, "
            f"camera {camera.name} is calibrated for {camera.width}x{camera.height}"
        )


def _image_paths(folder, name):
    """{frame: path} of an image folder; files may be numbered `PP_NN_00000000.jpg` or `00000000.jpg`."""
    named = ((_IMAGE.fullmatch(path.name.removeprefix(f"{name}_")), path) for path in sorted(folder.iterdir()))
    return {int(match[1]): path for match, path in named if match}


def _decode(path):
    """The picture in a file as BGR, None if it is damaged. A JPEG cut short decodes to half a picture: not accepted."""
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-1024:]:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None


def _read_images(folder, camera, wanted, skipped):
    paths = _image_paths(folder, camera.name)
    for frame in wanted:
        if frame not in paths:
            skipped.add("frames: no image of that number", f"{folder} frame {frame}")
            yield frame, None
            continue
        image = _decode(paths[frame])
        if image is None:
            skipped.add("frames: damaged image", paths[frame])
        yield frame, None if image is None else Image(image)


def _decoded(path, threads):
    """Yields the frames of a video in order, up to the first that cannot be decoded: later numbers may be wrong."""
    with _open(path) as video:
        stream = video.streams.video[0]
        stream.thread_type = "AUTO" if threads > 1 else "NONE"
        stream.codec_context.thread_count = threads
        try:
            for frame in video.decode(stream):
                if frame.is_corrupt:
                    return
                yield frame
        except av.FFmpegError as error:
            if isinstance(error, (OSError, MemoryError)):  # not the video's fault: nothing may be taken for its end
                raise


def _read_video(path, wanted, skipped, threads):
    found, position, reformatter = _decoded(path, threads), -1, VideoReformatter()
    for number in wanted:
        frame = None
        while position < number:
            frame, position = next(found, None), position + 1
        if frame is None:
            skipped.add("frames: beyond the end of the video, or not decodable", f"{path.name} frame {number}")
        yield number, None if frame is None else _picture(frame, reformatter)
    found.close()


def read(source, camera, wanted, skipped, threads=1):
    """Yields (frame, `Image` or None if it cannot be had) for the ascending numbers `wanted`.

    Pictures are BGR, as OpenCV encodes them. `threads` decode a video; image folders are read by one.

    Raises ValueError if a picture has another size than the camera's calibration says.
    """
    if source.is_dir():
        pictures = _read_images(source, camera, wanted, skipped)
    else:
        pictures = _read_video(source, wanted, skipped, threads)
    for frame, picture in pictures:
        if picture is not None:
            _check_size(picture, camera, source)
        yield frame, picture
