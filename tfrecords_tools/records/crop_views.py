"""Which views of an instant become crops, and which part of a picture a crop needs.

A crop is the picture of a virtual camera (`hand_tf.core.crops`), with one metric side for all views of an instant:

    side = 2 * margin * radius,   radius = max_k |J_k - c| over accepted joints,   c their mean

The background goes through the same maps, so that crop and background crop differ by the hand alone. Views in which the
hand leaves the frame are left out.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from hand_tf.core import crops, geometry
from hand_tf.core.images import Window
from tfrecords_tools.dump.panoptic import HandInstant
from tfrecords_tools.dump.skipped import Skipped

MIN_COVERAGE = 0.7  # share of the crop's pixels that must lie in the frame
SLACK = 4  # px around the border of a crop that are treated as part of it

Maps = tuple[np.ndarray, np.ndarray]  # map_x, map_y of `crops.crop_maps`


def crop_of(instant: HandInstant, camera: geometry.Camera, margin: float, size: int) -> crops.Crop:
    """The virtual view of `instant` from `camera`, `size` px wide; mirrored for left hands."""
    side = 2 * margin * instant.radius
    return crops.virtual_crop(camera, instant.centre, side, size, mirrored=instant.side == "left")


def _reason_to_drop(instant, camera, pixels, margin):
    """Why `camera` cannot show `instant`, whose joints lie at `pixels` [21, 2]; None if it can."""
    position = camera.R @ instant.centre + camera.t
    if position[2] <= 0 or np.linalg.norm(position) < 2 * margin * instant.radius:
        return "views: hand behind the camera or nearer than the crop is wide"
    placed_by_joints = instant.cameras is None  # otherwise a box says that the camera sees the hand
    if placed_by_joints and not geometry.inside(pixels[instant.accepted], camera).all():
        return "views: a joint leaves the frame"
    return None


def plan_views(
    instants: Sequence[HandInstant], camera: geometry.Camera, margin: float, size: int, skipped: Skipped
) -> list[tuple[int, crops.Crop]]:
    """[(position in `instants`, Crop)] of the views for which a picture is read, by frame; others are counted."""
    if not instants:
        return []
    joints = np.stack([instant.joints for instant in instants])
    pixels = geometry.project(joints.reshape(-1, 3), camera).reshape(*joints.shape[:2], 2)
    views = []
    for i in sorted(range(len(instants)), key=lambda i: instants[i].frame):
        if instants[i].cameras is not None and camera.name not in instants[i].cameras:
            continue
        reason = _reason_to_drop(instants[i], camera, pixels[i], margin)
        if reason:
            skipped.add(reason, f"{instants[i].name} camera {camera.name}")
        else:
            views.append((i, crop_of(instants[i], camera, margin, size)))
    return views


def window_maps(crop: crops.Crop, whole: bool, window: Window) -> Maps:
    """`crops.sampling_maps` for the part `window` of the picture instead of all of it; see `window_of`."""
    map_x, map_y = crops.sampling_maps(crop, whole)
    return map_x - np.float32(window[0]), map_y - np.float32(window[1])


def coverage(maps: Maps) -> float:
    """The share of a crop's pixels that lie in the frame."""
    return float(np.mean(maps[0] > crops.OUTSIDE))


def borders(views: Sequence[tuple[int, crops.Crop]], camera: geometry.Camera) -> np.ndarray:
    """36 points on the border of each crop of `plan_views`, in the picture: [views, 36, 2] px; NaN if not visible."""
    if not views:
        return np.empty((0, 36, 2))
    size = views[0][1].size
    steps, first = np.linspace(-0.5, size - 0.5, 9), np.full(9, -0.5)
    u, v = np.concatenate([steps, steps, first, first + size]), np.concatenate([first, first + size, steps, steps])
    border = np.stack([u, v, np.ones_like(u)], -1)
    rays = np.stack([border @ np.linalg.inv(crop.K).T @ crop.R_virtual for _, crop in views])
    return geometry.project(rays.reshape(-1, 3) @ camera.R + camera.centre, camera).reshape(-1, 36, 2)


def window_of(border: np.ndarray, camera: geometry.Camera) -> Window:
    """The part of the picture (left, top, right, bottom) that crops with these `borders` show.

    The rest is never needed: neither of the background, whose median takes most of the time of a short video, nor of a
    picture that the dome renders.
    """
    limit = np.array([camera.width, camera.height])
    if not np.isfinite(border).all():  # the lens folds a ray back, which may end anywhere
        return 0, 0, *limit.tolist()
    # Choice: SLACK px more on each side, because the border is curved and samples are interpolated.
    low, high = np.floor(border.min((0, 1))) - SLACK, np.ceil(border.max((0, 1))) + SLACK + 1
    return *np.clip(low, 0, limit).astype(int).tolist(), *np.clip(high, 0, limit).astype(int).tolist()


def are_whole(border: np.ndarray, camera: geometry.Camera) -> np.ndarray:
    """Which crops with these `borders` surely lie in the frame as a whole, [views] bool."""
    return (geometry.inside(border - SLACK, camera) & geometry.inside(border + SLACK, camera)).all(1)


def is_covered(crop: crops.Crop, name: str, skipped: Skipped, maps: Maps | None = None) -> bool:
    """Whether enough of a crop lies in the frame; if not, it is counted, with the `name` of its instant.

    `maps` are those of the crop, if they are known already.
    """
    covered = coverage(maps or crops.sampling_maps(crop)) >= MIN_COVERAGE
    if not covered:
        reason = f"views: less than {MIN_COVERAGE:.0%} of the crop lies in the frame"
        skipped.add(reason, f"{name} camera {crop.camera.name}")
    return covered


def encode_bgr(image: np.ndarray, quality: int) -> bytes:
    """BGR uint8 [height, width, 3] as JPEG, without chroma subsampling, which would blur fingers at 64 px."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def encode(image: np.ndarray, quality: int) -> bytes:
    """RGB uint8 [height, width, 3] as `encode_bgr` does it."""
    return encode_bgr(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
