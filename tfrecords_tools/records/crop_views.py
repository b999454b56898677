"""Which views of the instants are kept, and which part of the picture each crop needs.

Every crop is the picture of a virtual camera (`hand_tf.core.crops`) with one metric side for all views of an instant:

    side = 2 * margin * radius,   radius = max_k |J_k - c| over accepted joints,   c their mean

The background goes through the very same map, so that image and background differ in the hand alone. A view is
dropped where the hand leaves the frame.
"""

import cv2
import numpy as np

from hand_tf.core import crops, geometry

MIN_COVERAGE = 0.7  # share of the crop's pixels that must lie in the frame
SLACK = 4  # px about the border of a crop that count as its own


def crop_of(instant, camera, margin, size):
    """The virtual view of `instant` from `camera`: `crops.Crop`. Left hands come mirrored."""
    side = 2 * margin * instant.radius
    return crops.virtual_crop(camera, instant.centre, side, size, mirrored=instant.side == "left")


def _reason_to_drop(instant, camera, pixels, margin):
    """Why `camera` cannot show `instant`, whose joints lie at `pixels` [21, 2], or None."""
    position = camera.R @ instant.centre + camera.t
    if position[2] <= 0 or np.linalg.norm(position) < 2 * margin * instant.radius:
        return "views: hand behind the camera or nearer than the crop is wide"
    if not geometry.inside(pixels[instant.accepted], camera).all():
        return "views: a joint leaves the frame"
    return None


def plan_views(instants, camera, margin, size, skipped):
    """[(position in `instants`, Crop)] of the views worth reading a picture for, by frame; others are counted."""
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


def window_maps(crop, whole, window):
    """The crop's maps into the part `window` of the picture, which `window_of` its border."""
    map_x, map_y = crops.sampling_maps(crop, whole)
    return map_x - np.float32(window[0]), map_y - np.float32(window[1])


def coverage(maps):
    """The share of a crop's pixels that lie in the frame."""
    return float(np.mean(maps[0] > crops.OUTSIDE))


def borders(views, camera):
    """Where the borders of crops lie in the picture: [views, 36, 2] px, nan where the camera cannot say."""
    if not views:
        return np.empty((0, 36, 2))
    size = views[0][1].size
    steps, first = np.linspace(-0.5, size - 0.5, 9), np.full(9, -0.5)
    u, v = np.concatenate([steps, steps, first, first + size]), np.concatenate([first, first + size, steps, steps])
    border = np.stack([u, v, np.ones_like(u)], -1)
    rays = np.stack([border @ np.linalg.inv(crop.K).T @ crop.R_virtual for _, crop in views])
    return geometry.project(rays.reshape(-1, 3) @ camera.R + camera.centre, camera).reshape(-1, 36, 2)


def window_of(border, camera):
    """(left, top, right, bottom) px, exclusive ends, of the part of the picture that crops with `border`s show.

    Nothing else is ever looked at: not of the background, whose median is most of the work of a short video, and not of
    a picture of the dome.
    """
    limit = np.array([camera.width, camera.height])
    if not np.isfinite(border).all():  # a ray that the lens folds: no telling where it ends
        return 0, 0, *limit.tolist()
    # Choice: some px more, for what a curved border and the neighbours of a sample may add.
    low, high = np.floor(border.min((0, 1))) - SLACK, np.ceil(border.max((0, 1))) + SLACK + 1
    return *np.clip(low, 0, limit).astype(int).tolist(), *np.clip(high, 0, limit).astype(int).tolist()


def are_whole(border, camera):
    """Which crops, of those with `border`s, surely lie in the frame, [views] bool."""
    return (geometry.inside(border - SLACK, camera) & geometry.inside(border + SLACK, camera)).all(1)


def is_covered(crop, name, skipped, maps=None):
    """Whether enough of a crop lies in the frame; if not, it is counted under the `name` of its instant."""
    covered = coverage(maps or crops.sampling_maps(crop)) >= MIN_COVERAGE
    if not covered:
        reason = f"views: less than {MIN_COVERAGE:.0%} of the crop lies in the frame"
        skipped.add(reason, f"{name} camera {crop.camera.name}")
    return covered


def encode_bgr(image, quality):
    """BGR [height, width, 3] uint8 to JPEG bytes, without chroma subsampling: at 64 px it would blur the fingers."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def encode(image, quality):
    """As `encode_bgr`, of an RGB image."""
    return encode_bgr(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
