"""What a capture would take, from a sample of it: counts, disk, time."""

import dataclasses
import time

import cv2
import numpy as np

from tfrecords_tools.dome import capture, dump, records
from tfrecords_tools.dome.studio import render
from tfrecords_tools.records import crop_views

_INSTANTS, _CAMERAS = 4, 4  # how much is drawn to know


@dataclasses.dataclass
class _Sample:
    """Seconds for the empty scene of a camera, for posing an instant, for a picture; bytes of a picture."""

    scene: float
    instant: float
    picture: float
    size: float


def _timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def _encoded(view, mesh, shown, options, key):
    """Bytes of one picture of a dump, or of one crop of records with its background."""
    if isinstance(options, records.Options):
        crop = crop_views.crop_of(shown, view.camera, options.margin, options.crop_size)
        return sum(map(len, records.pictures_of(view, mesh, crop, options, key)))
    quality = options.jpeg_quality or view.sensor.jpeg_quality
    return len(cv2.imencode(".jpg", render.draw(view, mesh, key), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _sample(sequence, options):
    """A `_Sample` of a few instants from a few cameras."""
    nodes = list(range(len(capture.studio(sequence).cameras)))[:_CAMERAS]
    scene, views = _timed(lambda: [capture.make_view(sequence, node) for node in nodes])
    every, poses, pictures, sizes = records.Instants(sequence), [], [], []
    capture.instant(sequence, capture.FIRST_FRAME)  # makes the subject, which happens once
    for frame in np.linspace(0, len(sequence.frame_numbers) - 1, _INSTANTS).astype(int) + capture.FIRST_FRAME:
        position = (int(frame) - capture.FIRST_FRAME) * len(sequence.sides)
        shown, seen_by = every[position], np.ones((len(nodes), 1), bool)
        if isinstance(options, records.Options):
            seen_by, _ = records.choose_views(sequence, options, position, position + 1)
        seconds, instant = _timed(capture.instant, sequence, int(frame))
        poses.append(seconds)
        for node, view in zip(nodes, views, strict=True):
            if not seen_by[node, 0]:
                continue
            key = [sequence.seed, sequence.index, node, int(frame)]
            seconds, size = _timed(_encoded, view, instant.mesh, shown, options, key)
            pictures.append(seconds)
            sizes.append(size)
    if not pictures:
        raise ValueError("no camera of the sample sees the hand: give it a larger --reach, or another --calibration")
    return _Sample(scene / len(nodes), np.median(poses), np.median(pictures), np.mean(sizes))


def describe(sequences, options, processes):
    """A few lines: counts, and disk and time extrapolated from a sample of the first sequence on this machine."""
    first, direct = sequences[0], isinstance(options, records.Options)
    sample, sides = _sample(first, options), len(first.sides)
    instants, pictures, seconds = 0, 0, 0.0
    for sequence in sequences:
        count, cameras = len(sequence.frame_numbers), len(capture.studio(sequence).cameras)
        shots, poses, hands = count * cameras, count, sides if direct else 1
        busy = processes
        if isinstance(options, dump.Options) and options.format == "videos":  # one process a camera, which poses all
            shots, poses = shots + cameras * capture.FIRST_FRAME, shots
            busy = min(processes, cameras)
        instants, pictures = instants + count, pictures + shots * hands
        seconds += (cameras * sample.scene + poses * hands * sample.instant + shots * hands * sample.picture) / busy
    subjects, cameras = sum(len(each.subjects) for each in sequences), len(capture.studio(first).cameras)
    what = "crops" if direct else "images" if options.format == "images" else "video frames (at the size of a JPEG)"
    return "\n".join(
        [
            f"{len(sequences)} sequences, {subjects} subjects, {cameras} cameras of {first.width}x{first.height} px",
            f"{instants} instants, {instants * sides} hands, up to {pictures} {what}",
            f"about {pictures * sample.size / 1e9:.2f} GB ({sample.size / 1e3:.1f} kB each)",
            f"about {seconds / 60:.1f} minutes on {processes} processes ({1e3 * sample.instant:.1f} ms an instant, "
            f"{1e3 * sample.picture:.1f} ms a picture on one of them)",
        ]
    )
