"""From instants to encoded crops of one camera: which views are kept, how they are cut, and where they wait.

Every crop is the picture of a virtual camera (`hand_tf.geometry`) with one metric side for all views of an instant:

    side = 2 * margin * radius,   radius = max_k |J_k - c| over accepted joints,   c their mean

The background goes through the very same map, so that image and background differ in the hand alone. A view is
dropped where the hand leaves the frame. One job reads one camera of one sequence once, in order, and leaves a
*spool*: `<camera>.bin` with encoded pictures and `<camera>.json` that says where they are; records, which come in
random order, are put together from the spools.
"""

import collections
import dataclasses
import json
import math
import os
import pathlib

import cv2
import numpy as np

from hand_tf import geometry, manifest
from tfrecords_tools import backgrounds, frames, panoptic, tally

MIN_COVERAGE = 0.7  # share of the crop's pixels that must lie in the frame
_MAX_SHRINK = 4
SLACK = 4  # px about the border of a crop that count as its own


@dataclasses.dataclass(frozen=True)
class CameraJob:
    """All that a worker needs for one camera of one sequence.

    `instants` is everything of the sequence, so that positions in it mean the same for all cameras; `samples` maps
    frames for the background to their hand rectangles.
    """

    camera: geometry.Camera
    source: pathlib.Path
    instants: list[panoptic.HandInstant]
    samples: dict[int, list[tuple[int, int, int, int]]]
    crop_size: int
    margin: float
    jpeg_quality: int
    spool: pathlib.Path
    background: pathlib.Path
    threads: int = 1  # that decode the video


def crop_of(instant, camera, margin, size):
    """The virtual view of `instant` from `camera`: `geometry.Crop`. Left hands come mirrored."""
    side = 2 * margin * instant.radius
    return geometry.virtual_crop(camera, instant.centre, side, size, mirrored=instant.side == "left")


def _reason_to_drop(instant, camera, pixels, margin):
    """Why `camera` cannot show `instant`, whose joints lie at `pixels` [21, 2], or None."""
    position = camera.R @ instant.centre + camera.t
    if position[2] <= 0 or np.linalg.norm(position) < 2 * margin * instant.radius:
        return "views: hand behind the camera or nearer than the crop is wide"
    if not geometry.inside(pixels[instant.accepted], camera).all():
        return "views: a joint leaves the frame"
    return None


def plan_views(instants, camera, margin, size, tally):
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
            tally.add(reason, f"{instants[i].name} camera {camera.name}")
        else:
            views.append((i, crop_of(instants[i], camera, margin, size)))
    return views


def sampling_maps(crop, whole=False):
    """The crop's maps, `k` times finer in both directions where one crop pixel spans about `k` pixels of the picture.

    `whole` as in `geometry.crop_maps`. Choice: averaging k x k bilinear samples is anti-aliasing; a single sample a
    pixel would alias in large pictures.
    """
    shrink = math.sqrt(crop.camera.K[0, 0] * crop.camera.K[1, 1]) / crop.K[0, 0]
    k = min(max(round(shrink), 1), _MAX_SHRINK)
    if k == 1:
        return geometry.crop_maps(crop, whole)
    # Pixel centres agree: the mean position of the k fine pixels of pixel i is k i + (k-1)/2, as in `intrinsics`.
    fine = dataclasses.replace(crop, K=geometry.intrinsics(crop.K[0, 0] * k, crop.size * k), size=crop.size * k)
    return geometry.crop_maps(fine, whole)


def window_maps(crop, whole, window):
    """The crop's maps into the part `window` of the picture, which `window_of` its border."""
    map_x, map_y = sampling_maps(crop, whole)
    return map_x - np.float32(window[0]), map_y - np.float32(window[1])


def coverage(maps):
    """The share of a crop's pixels that lie in the frame."""
    return float(np.mean(maps[0] > geometry.OUTSIDE))


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


def is_covered(crop, name, tally, maps=None):
    """Whether enough of a crop lies in the frame; if not, it is counted under the `name` of its instant."""
    covered = coverage(maps or sampling_maps(crop)) >= MIN_COVERAGE
    if not covered:
        reason = f"views: less than {MIN_COVERAGE:.0%} of the crop lies in the frame"
        tally.add(reason, f"{name} camera {crop.camera.name}")
    return covered


def render(image, maps, size):
    """`image` [height, width, 3] through `maps`: [size, size, 3] uint8, 0 outside the frame."""
    crop = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return crop if len(crop) == size else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def encode_bgr(image, quality):
    """BGR [height, width, 3] uint8 to JPEG bytes, without chroma subsampling: at 64 px it would blur the fingers."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def encode(image, quality):
    """As `encode_bgr`, of an RGB image."""
    return encode_bgr(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)


def _append(file, data):
    """Appends `data` to the spool; returns (offset, length)."""
    offset = file.tell()
    file.write(data)
    return offset, len(data)


def _cut_frame(job, image, views, file, skipped):
    """Crops all `views` of one picture into the spool; returns [(position, Crop, whole, offset, length)]."""
    entries = []
    for i, crop, whole, window in views:
        maps = window_maps(crop, whole, window)
        if not whole and not is_covered(crop, job.instants[i].name, skipped, maps):
            continue
        picture = encode_bgr(render(image.part(window), maps, crop.size), job.jpeg_quality)
        entries.append((i, crop, whole, *_append(file, picture)))
    return entries


def _read_once(job, views, file, skipped):
    """One pass over the camera's pictures: crops into the spool, the background into its cache.

    Returns the entries of `_cut_frame`, the background, and its statistics.
    """
    by_frame, border = collections.defaultdict(list), borders(views, job.camera)
    for n, ((i, crop), whole) in enumerate(zip(views, are_whole(border, job.camera).tolist(), strict=True)):
        by_frame[job.instants[i].frame].append((i, crop, whole, window_of(border[n : n + 1], job.camera)))
    cached = backgrounds.load(job.background)
    samples = job.samples if views and not cached else {}
    left, top, right, bottom = window = window_of(border, job.camera) if views else (0, 0, 0, 0)
    entries, scenes, rectangles = [], [], []
    for frame, image in frames.read(job.source, job.camera, sorted({*by_frame, *samples}), skipped, job.threads):
        if image is None:
            skipped.add("views: picture missing", f"{job.source} frame {frame}", len(by_frame.get(frame, ())))
            continue
        if frame in samples:
            scenes.append(image.part(window).copy())  # and let the rest go
            rectangles.append(backgrounds.shift(samples[frame], window))
        entries += _cut_frame(job, image, by_frame.get(frame, ()), file, skipped)
    if cached is None and scenes:
        found, fallback = backgrounds.masked_median(scenes, rectangles)
        scene = np.zeros((job.camera.height, job.camera.width, 3), np.uint8)
        scene[top:bottom, left:right] = found
        cached = scene, {"frames": len(scenes), "plain_median_share": fallback / max(found[..., 0].size, 1)}
        backgrounds.save(job.background, *cached)
    return entries, *(cached or (None, {"frames": 0, "plain_median_share": 0.0}))


def run_job(job):
    """Fills the spool of one camera, unless an earlier run finished it."""
    index = job.spool.with_suffix(".json")
    if index.is_file():
        return
    skipped = tally.Tally()
    views = plan_views(job.instants, job.camera, job.margin, job.crop_size, skipped)
    partial = job.spool.with_suffix(".bin.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(partial, "wb") as file:
            entries, scene, statistics = _read_once(job, views, file, skipped)
            rows = []
            for i, crop, whole, *place in entries:
                picture = encode_bgr(render(scene, sampling_maps(crop, whole), crop.size), job.jpeg_quality)
                rows.append((i, *place, *_append(file, picture)))
        os.replace(partial, job.spool)
        manifest.write_text(
            index, json.dumps({"views": rows, "background": statistics, "skipped": dataclasses.asdict(skipped)})
        )
    except OSError as error:
        error.filename = error.filename or str(partial)  # a full disk is reported without a name
        raise


class Spool:
    """Reads a finished spool: `shows` [n] bool says which instants the camera shows; `skipped` and `background`."""

    def __init__(self, path, instants):
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.background = content["background"]
        self.skipped = tally.Tally(**content["skipped"])
        self._table = np.full((instants, 4), -1, np.int64)  # a row an instant: offset and length of both pictures
        rows = np.asarray(content["views"], np.int64).reshape(-1, 5)
        self._table[rows[:, 0]] = rows[:, 1:]
        self.shows = self._table[:, 0] >= 0
        self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)

    def pictures(self, position):
        """The encoded crop and background crop of the instant at `position`."""
        result = []
        for offset, length in self._table[position].reshape(2, 2):
            self._file.seek(offset)
            result.append(self._file.read(length))
        return result

    def close(self):
        """Closes the file."""
        self._file.close()


class SpooledViews:
    """The views of one sequence, read from the spools of its cameras; see `shards.write_group`."""

    def __init__(self, instants, cameras, paths):
        self.instants, self._cameras = instants, cameras
        self.spools = [Spool(path, len(instants)) for path in paths]

    @property
    def shows(self):
        """[cameras, instants] bool: which camera shows which instant."""
        return np.stack([spool.shows for spool in self.spools])

    def cameras_of(self, position):
        """The cameras that show the instant at `position`."""
        return [c for c, spool in zip(self._cameras, self.spools, strict=True) if spool.shows[position]]

    def pictures(self, positions):
        """Yields the encoded (crop, background) pairs of each of `positions`."""
        for position in positions:
            yield [spool.pictures(position) for spool in self.spools if spool.shows[position]]

    def close(self):
        """Closes the files."""
        for spool in self.spools:
            spool.close()
