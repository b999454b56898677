"""Pictures of a sequence folder, one camera at a time: `hdImgs/PP_NN/PP_NN_00000000.jpg` or `hdVideos/hd_PP_NN.mp4`.

Frame n of a video belongs to the hand file numbered n. Other files in these folders, such as `.DS_Store`, mean nothing.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from hand_tf.core import images, video
from hand_tf.core.geometry import Camera
from tfrecords_tools.dump.skipped import Skipped

_IMAGE = re.compile(r"(\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)


def find_sources(sequence_dir: pathlib.Path, cameras: Iterable[Camera], skipped: Skipped) -> dict[str, pathlib.Path]:
    """{camera name: path} of an image folder, preferred because its frame numbers are exact, or of a video.

    Cameras that have neither are counted.
    """
    sources, videos_dir = {}, sequence_dir / "hdVideos"
    videos = {path.name.lower(): path for path in videos_dir.iterdir()} if videos_dir.is_dir() else {}
    for camera in cameras:
        images_dir, video_file = sequence_dir / "hdImgs" / camera.name, videos.get(f"hd_{camera.name}.mp4")
        if images_dir.is_dir() and _image_paths(images_dir, camera.name):
            sources[camera.name] = images_dir
        elif video_file:
            sources[camera.name] = video_file
        else:
            skipped.add("cameras: listed, but no video and no images", f"{sequence_dir.name} camera {camera.name}")
    return sources


def frames_per_second(source: pathlib.Path) -> float | None:
    """Frames per second of a video, None for an image folder. Raises ValueError for a video that cannot be read."""
    return None if source.is_dir() else video.frames_per_second(source)


def read(
    source: pathlib.Path, camera: Camera, wanted: Sequence[int], skipped: Skipped, threads: int = 1
) -> Iterator[tuple[int, images.Image | video.Frame | None]]:
    """Yields (frame number, picture) for the ascending numbers `wanted`, the picture None where it is missing.

    Pictures have `size`, `part(window)` and `whole()`, in BGR as OpenCV encodes them. `threads` threads decode a video;
    image folders are read by one.

    Raises ValueError if a picture has another size than the camera's calibration says.
    """
    if source.is_dir():
        pictures = _read_images(source, camera, wanted, skipped)
    else:
        pictures = _read_video(source, wanted, skipped, threads)
    for number, picture in pictures:
        if picture is not None:
            _check_size(picture.size, camera, source)
        yield number, picture


def _check_size(size, camera, path):
    width, height = size
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
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
        pixels = images.read_image(paths[number])
        if pixels is None:
            skipped.add("frames: damaged image", paths[number])
        yield number, None if pixels is None else images.Image(pixels)


def _read_video(path, wanted, skipped, threads):
    frames, position = video.read_frames(path, threads), -1
    for number in wanted:
        frame = None
        while position < number:
            frame, position = next(frames, None), position + 1
        if frame is None:
            skipped.add("frames: beyond the end of the video, or not decodable", f"{path.name} frame {number}")
        yield number, frame
    frames.close()
