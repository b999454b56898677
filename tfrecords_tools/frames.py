"""Pictures of a sequence folder, one camera at a time: `hdImgs/PP_NN/PP_NN_00000000.jpg` or `hdVideos/hd_PP_NN.mp4`.

Frame n of a video belongs to the hand file numbered n. Videos are decoded in order and never sought: a seek in H.264
can slip a frame, and then every label is a little wrong.
"""

import pathlib
import re

import cv2
import numpy as np

_IMAGE = re.compile(r"(\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)


def find_sources(sequence_dir, cameras, tally):
    """{camera name: path}, an image folder (preferred: exact frame numbers) or a video; cameras without are counted."""
    sequence_dir, sources = pathlib.Path(sequence_dir), {}
    for camera in cameras:
        images, video = sequence_dir / "hdImgs" / camera.name, sequence_dir / "hdVideos" / f"hd_{camera.name}.mp4"
        if images.is_dir() and any(images.iterdir()):
            sources[camera.name] = images
        elif video.is_file():
            sources[camera.name] = video
        else:
            tally.add("cameras: listed, but no video and no images", f"{sequence_dir.name} camera {camera.name}")
    return sources


def fps(source):
    """Frames per second of a video, None for an image folder. Raises ValueError if the video cannot be opened."""
    if source.is_dir():
        return None
    video = cv2.VideoCapture(str(source))
    try:
        rate = video.get(cv2.CAP_PROP_FPS) if video.isOpened() else 0.0
    finally:
        video.release()
    if not 0 < rate < 1000:
        raise ValueError(f"{source}: not a video that OpenCV can read")
    return rate


def _check_size(image, camera, path):
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"{path}: pictures are {image.shape[1]}x{image.shape[0]} px, "
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


def _read_images(folder, camera, wanted, tally):
    paths = _image_paths(folder, camera.name)
    for frame in wanted:
        if frame not in paths:
            tally.add("frames: no image of that number", f"{folder} frame {frame}")
            yield frame, None
            continue
        image = _decode(paths[frame])
        if image is None:
            tally.add("frames: damaged image", paths[frame])
        yield frame, image


def _read_video(path, wanted, tally, threads):
    # `grab` decodes, `retrieve` makes a picture of it: frames in between cost only half.
    video = cv2.VideoCapture(str(path), cv2.CAP_ANY, [cv2.CAP_PROP_N_THREADS, threads])
    position, alive = -1, True
    try:
        for frame in wanted:
            while alive and position < frame:
                alive, position = video.grab(), position + 1
            image = video.retrieve()[1] if alive else None
            if image is None:
                tally.add("frames: beyond the end of the video, or not decodable", f"{path.name} frame {frame}")
            yield frame, image
    finally:
        video.release()


def read(source, camera, wanted, tally, threads=1):
    """Yields (frame, image [height, width, 3] BGR or None if it cannot be had) for the ascending numbers `wanted`.

    Pictures stay BGR, as OpenCV decodes and encodes them: whoever wants a crop turns the crop, not six megabytes.
    `threads` decode a video; image folders are read by one.

    Raises ValueError if a picture has another size than the camera's calibration says.
    """
    if source.is_dir():
        pictures = _read_images(source, camera, wanted, tally)
    else:
        pictures = _read_video(source, wanted, tally, threads)
    for frame, image in pictures:
        if image is not None:
            _check_size(image, camera, source)
        yield frame, image
