"""Reads the pictures of one camera once, in order: its crops go into a spool, its background into a cache.

One job leaves `<camera>.bin`, the encoded pictures one after the other, and `<camera>.json`, which says where they are.
Records, which come in random order, are put together from the spools of all cameras.
"""

import collections
import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from hand_tf.core import atomic, crops, geometry, images, video
from tfrecords_tools.dump import frames, panoptic
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import backgrounds, crop_views


@dataclasses.dataclass(frozen=True)
class CameraJob:
    """Everything that a worker needs for one camera of one sequence.

    Attributes:
        source: the camera's image folder or video.
        instants: all instants of the sequence, so that positions in it mean the same for all cameras.
        samples: {frame: hand rectangles} of the frames that the background is computed from.
        crop_size: side of a crop, px.
        margin: side of a crop divided by the hand's diameter.
        spool: file for the encoded pictures.
        background: file for the background.
        clock: of a video.
        threads: number of threads that decode a video.
    """

    camera: geometry.Camera
    source: pathlib.Path
    instants: list[panoptic.HandInstant]
    samples: dict[int, list[images.Window]]
    crop_size: int
    margin: float
    jpeg_quality: int
    spool: pathlib.Path
    background: pathlib.Path
    clock: video.Clock | None = None
    threads: int = 1


class _View(NamedTuple):
    """A crop of the instant at `position`, cut out of the part `window` of its picture."""

    position: int
    crop: crops.Crop
    whole: bool  # all of it surely lies in the frame
    window: images.Window


def run_job(job: CameraJob) -> None:
    """Fills the spool of one camera, unless an earlier run has done so. Raises OSError for a full disk."""
    index = job.spool.with_suffix(".json")
    if index.is_file() and job.spool.is_file():
        return
    skipped = Skipped()
    planned = crop_views.plan_views(job.instants, job.camera, job.margin, job.crop_size, skipped)
    job.spool.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(job.spool, "wb") as file:
        timeline = frames.Timeline(job.clock) if job.clock else None
        cut, background, statistics = _read_pictures(job, planned, file, skipped, timeline)
        rows = []
        for view, *place in cut:
            maps = crops.sampling_maps(view.crop, view.whole)
            rows.append((view.position, *place, *_append(file, _encoded(job, background, maps))))
    content = {"views": rows, "background": statistics, "skipped": dataclasses.asdict(skipped)}
    content["measured"] = timeline.measured() if timeline else None
    atomic.write_sealed_json(index, content)


def _read_pictures(job, planned, file, skipped, timeline):
    """Goes through the camera's pictures once: writes the crops `planned` to `file`, and finds the background.

    Returns:
        cut: [(_View, offset, length)] of the crops that were written.
        background: [height, width, 3] BGR, None without any picture.
        statistics: what the report says of the background.
    """
    border = crop_views.borders(planned, job.camera)
    by_frame = _views_by_frame(job, planned, border)
    cached = backgrounds.load(job.background)
    samples = job.samples if planned and not cached else {}
    # The background is computed where some crop shows it, and nowhere else.
    window = crop_views.window_of(border, job.camera) if planned else (0, 0, 0, 0)
    cut, scenes, rectangles = [], [], []
    wanted = sorted({*by_frame, *samples})
    for frame, picture in frames.read(job.source, job.camera, wanted, skipped, timeline, job.threads):
        views = by_frame.get(frame, ())
        if picture is None:
            skipped.add("views: picture missing", f"{job.source} frame {frame}", len(views))
            continue
        if frame in samples:
            scenes.append(picture.part(window).copy())  # a copy, so that the rest of the picture can be freed
            rectangles.append(backgrounds.shift(samples[frame], window))
        cut += _cut_crops(job, picture, views, file, skipped)
    if cached:
        return cut, *cached
    if not scenes:
        return cut, None, {"frames": 0, "plain_median_share": 0.0}
    background, statistics = _find_background(job.camera, scenes, rectangles, window)
    backgrounds.save(job.background, background, statistics)
    return cut, background, statistics


def _views_by_frame(job, planned, border):
    """{frame: [_View]} of the crops `planned`, whose borders lie at `border` [views, n, 2] px."""
    by_frame = collections.defaultdict(list)
    whole = crop_views.are_whole(border, job.camera).tolist()
    for n, (position, crop) in enumerate(planned):
        window = crop_views.window_of(border[n : n + 1], job.camera)
        by_frame[job.instants[position].frame].append(_View(position, crop, whole[n], window))
    return by_frame


def _cut_crops(job, picture, views, file, skipped):
    """Writes the crops of one picture to `file`; returns [(_View, offset, length)]."""
    cut = []
    for view in views:
        maps = crop_views.window_maps(view.crop, view.whole, view.window)
        name = job.instants[view.position].name
        if view.whole or crop_views.is_covered(view.crop, name, skipped, maps):
            cut.append((view, *_append(file, _encoded(job, picture.part(view.window), maps))))
    return cut


def _find_background(camera, scenes, rectangles, window):
    """The background [height, width, 3] BGR, 0 outside of `window`, and what the report says of it."""
    left, top, right, bottom = window
    found, num_plain = backgrounds.masked_median(scenes, rectangles)
    background = np.zeros((camera.height, camera.width, 3), np.uint8)
    background[top:bottom, left:right] = found
    share = num_plain / max(found[..., 0].size, 1)
    return background, {"frames": len(scenes), "plain_median_share": share}


def _encoded(job, image, maps):
    return crop_views.encode_bgr(crops.render(image, maps, job.crop_size), job.jpeg_quality)


def _append(file, data):
    """Appends `data` to the spool; returns (offset, length)."""
    offset = file.tell()
    file.write(data)
    return offset, len(data)
