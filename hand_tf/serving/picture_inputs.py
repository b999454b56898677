"""What prediction looks at: pictures, the boxes of the hands in them, and the camera's intrinsics.

A box is x, y, width, height in pixels, x and y of its first pixel, so that its centre is x + (width - 1) / 2. Images
are RGB uint8 [height, width, 3], turned upright as their EXIF data says. All errors are ValueError or OSError with one
line that names file and field.
"""

import csv
import dataclasses
import json
import os
import pathlib

import cv2
import numpy as np

from hand_tf.core import geometry, skeleton

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
BOX_FIELDS = ("x", "y", "width", "height")


@dataclasses.dataclass(frozen=True)
class Hand:
    """A hand to look at: its `box` (x, y, width, height) px, None if unknown, and its `side`, right or left."""

    box: tuple[float, ...] | None
    side: str


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An image [height, width, 3] RGB uint8 of `file`; `frame` is its number in a video, None for an image."""

    file: pathlib.Path
    frame: int | None
    image: np.ndarray
    hands: list[Hand]

    @property
    def name(self):
        """What an error calls this picture."""
        return str(self.file) if self.frame is None else f"{self.file} frame {self.frame}"


def list_files(inputs):
    """Paths of images and videos, each once; folders are replaced by their images, sorted by name."""
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


# --- boxes ----------------------------------------------------------------------------------------------------------


def parse_box(values, where):
    """Strings x, y, width, height as four numbers. Errors start with `where`."""
    try:
        box = tuple(float(value) for value in values)
    except ValueError:
        box = ()
    if len(box) != 4 or not np.all(np.isfinite(box)):
        raise ValueError(f"{where}: four numbers x,y,width,height expected")
    if min(box[2:]) <= 0:
        raise ValueError(f"{where}: width and height above 0 expected")
    return box


def read_boxes(path, side):
    """{file: [Hand]} of a table with the columns file, x, y, width, height and perhaps hand (else `side`)."""
    path, hands = pathlib.Path(path), {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in ("file", *BOX_FIELDS) if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: column {missing[0]}: missing; expected file,{','.join(BOX_FIELDS)}[,hand]")
        for row in reader:
            where = f"{path}: line {reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"{where}: {len(reader.fieldnames)} fields expected")
            hand = Hand(parse_box([row[name] for name in BOX_FIELDS], where), row.get("hand") or side)
            if hand.side not in skeleton.SIDES:
                raise ValueError(f"{where}: field hand: {hand.side!r}, expected right or left")
            hands.setdefault(pathlib.Path(os.path.normpath(path.parent / row["file"])), []).append(hand)
    if not hands:
        raise ValueError(f"{path}: no boxes; nothing to do")
    return hands


def locate(hand, picture, margin, camera=None):
    """The box of `hand` in `picture`; without one, the box whose crop of `margin` is the square in the centre."""
    height, width = picture.image.shape[:2]
    if camera and (width, height) != (camera.width, camera.height):
        raise ValueError(f"{picture.name}: {width}x{height} px, the intrinsics are for {camera.width}x{camera.height}")
    if hand.box is None:
        side = min(width, height) / margin
        return (width - side) / 2, (height - side) / 2, side, side
    x, y, box_width, box_height = hand.box
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        raise ValueError(f"{picture.name}: the box {hand.box} lies outside of the image ({width}x{height} px)")
    if camera:
        centre = np.array([[x + (box_width - 1) / 2, y + (box_height - 1) / 2]])
        seen = geometry.project(np.append(geometry.undistort(centre, camera), [[1.0]], axis=1), camera)
        if not np.allclose(seen, centre, atol=0.5):
            raise ValueError(f"{picture.name}: the box {hand.box} lies where the lens distortion cannot be undone")
    return hand.box


# --- intrinsics -----------------------------------------------------------------------------------------------------


def read_json(path):
    """The JSON object in a file, a dict."""
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a JSON object expected")
    return content


def _numbers(entry, field, shape, where):
    try:
        values = np.asarray(entry[field], np.float64).reshape(shape)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{where}: field {field}: {shape} numbers expected") from None
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{where}: field {field}: finite numbers expected")
    return values


def read_camera(path, name=None):
    """The camera of an intrinsics file, with its own frame as the world: `geometry.Camera` with R = 1 and t = 0.

    Args:
        path: {"K", "distCoef" (optional), "resolution"}, or a Panoptic calibration file.
        name: which camera, in a Panoptic calibration file.
    """
    entry, where = read_json(path), str(path)
    if isinstance(entry.get("cameras"), list):
        cameras = {camera.get("name"): camera for camera in entry["cameras"] if isinstance(camera, dict)}
        if name not in cameras:
            few = ", ".join(map(str, list(cameras)[:3]))
            raise ValueError(f"{path}: --camera={name}: expected one of the {len(cameras)} names there, such as {few}")
        entry, where = cameras[name], f"{path}: camera {name}"
    elif name:
        raise ValueError(f"{path}: --camera={name}: not a calibration file with a list of cameras")
    K, (width, height) = _numbers(entry, "K", (3, 3), where), _numbers(entry, "resolution", (2,), where)
    pinhole = np.array([[K[0, 0], 0, K[0, 2]], [0, K[1, 1], K[1, 2]], [0, 0, 1]])
    if min(K[0, 0], K[1, 1]) <= 0 or not np.allclose(K, pinhole):
        raise ValueError(f"{where}: field K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] expected")
    dist = _numbers(entry, "distCoef", (5,), where) if "distCoef" in entry else np.zeros(5)
    return geometry.Camera(name or str(path), int(width), int(height), K, dist, np.eye(3), np.zeros(3))


# --- pictures -------------------------------------------------------------------------------------------------------


def read_image(path):
    """An image file; None if it is damaged or cut short."""
    data = pathlib.Path(path).read_bytes()
    # OpenCV decodes a JPEG that was cut short to half a picture.
    if not data or (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-1024:]):
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_video(path, hands, stride, problems):
    """Every `stride`-th frame, decoded in order."""
    video, count = cv2.VideoCapture(str(path)), 0
    promised = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    try:
        while video.grab():
            if count % stride == 0:
                decoded, image = video.retrieve()
                if not decoded:
                    break
                yield Picture(path, count, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), hands)
            count += 1
    finally:
        video.release()
    if count == 0:
        problems.append(f"{path}: not a video that can be read; left out")
    elif count < promised:
        problems.append(f"{path}: only the first {count} of {promised} frames can be read")


def read(work, problems, frame_stride=1):
    """Yields a `Picture` for each image and each `frame_stride`-th frame of each video of `work`, {file: [Hand]}.

    What cannot be read is left out and described by a line in `problems`.
    """
    for path, hands in work.items():
        if path.suffix.lower() in VIDEOS:
            yield from _read_video(path, hands, frame_stride, problems)
            continue
        image = read_image(path)
        if image is None:
            problems.append(f"{path}: not an image that can be read, or cut short; left out")
        else:
            yield Picture(path, None, image, hands)
