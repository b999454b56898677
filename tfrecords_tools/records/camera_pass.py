"""One pass over the pictures of one camera: its crops go into a spool, its background into a cache.

One job reads one camera of one sequence once, in order, and leaves a *spool*: `<camera>.bin` with encoded pictures and
`<camera>.json` that says where they are; records, which come in random order, are put together from the spools.
"""

import collections
import dataclasses
import json
import os
import pathlib

import numpy as np

from hand_tf.core import atomic, crops, geometry
from tfrecords_tools.dump import frames, panoptic
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import backgrounds, crop_views


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


def _append(file, data):
    """Appends `data` to the spool; returns (offset, length)."""
    offset = file.tell()
    file.write(data)
    return offset, len(data)


def _cut_frame(job, image, views, file, skipped):
    """Crops all `views` of one picture into the spool; returns [(position, Crop, whole, offset, length)]."""
    entries = []
    for i, crop, whole, window in views:
        maps = crop_views.window_maps(crop, whole, window)
        if not whole and not crop_views.is_covered(crop, job.instants[i].name, skipped, maps):
            continue
        picture = crop_views.encode_bgr(crops.render(image.part(window), maps, crop.size), job.jpeg_quality)
        entries.append((i, crop, whole, *_append(file, picture)))
    return entries


def _read_once(job, views, file, skipped):
    """One pass over the camera's pictures: crops into the spool, the background into its cache.

    Returns the entries of `_cut_frame`, the background, and its statistics.
    """
    by_frame, border = collections.defaultdict(list), crop_views.borders(views, job.camera)
    for n, ((i, crop), whole) in enumerate(zip(views, crop_views.are_whole(border, job.camera).tolist(), strict=True)):
        by_frame[job.instants[i].frame].append((i, crop, whole, crop_views.window_of(border[n : n + 1], job.camera)))
    cached = backgrounds.load(job.background)
    samples = job.samples if views and not cached else {}
    left, top, right, bottom = window = crop_views.window_of(border, job.camera) if views else (0, 0, 0, 0)
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
    skipped = Skipped()
    views = crop_views.plan_views(job.instants, job.camera, job.margin, job.crop_size, skipped)
    partial = job.spool.with_suffix(".bin.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(partial, "wb") as file:
            entries, scene, statistics = _read_once(job, views, file, skipped)
            rows = []
            for i, crop, whole, *place in entries:
                picture = crop_views.encode_bgr(
                    crops.render(scene, crops.sampling_maps(crop, whole), crop.size), job.jpeg_quality
                )
                rows.append((i, *place, *_append(file, picture)))
        os.replace(partial, job.spool)
        atomic.write_text(
            index, json.dumps({"views": rows, "background": statistics, "skipped": dataclasses.asdict(skipped)})
        )
    except OSError as error:
        error.filename = error.filename or str(partial)  # a full disk is reported without a name
        raise
