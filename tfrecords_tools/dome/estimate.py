"""What a capture would take, from a sample of it: counts, disk, time."""

import time

import cv2
import numpy as np

from tfrecords_tools import crops
from tfrecords_tools.dome import capture, dump, records, render

_INSTANTS, _CAMERAS = 4, 4  # how much is drawn to know


def _sampled_pictures(sequence, options, nodes, made):
    """(seconds, bytes) a picture of a few instants from the cameras `nodes`, whose views are `made`."""
    start, sizes = time.perf_counter(), []
    for frame in np.linspace(0, len(sequence.frame_numbers) - 1, _INSTANTS).astype(int) + capture.FIRST_FRAME:
        instant = capture.instant(sequence, int(frame))
        for node, view in zip(nodes, made, strict=True):
            key = [sequence.seed, sequence.index, node, int(frame)]
            if isinstance(options, dump.Options):
                quality = options.jpeg_quality or view.sensor.jpeg_quality
                image = render.draw(view, instant.mesh, key)
                sizes.append(len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]))
                continue
            shown = records.Instants(sequence)[(int(frame) - capture.FIRST_FRAME) * len(sequence.sides)]
            crop = crops.crop_of(shown, view.camera, options.margin, options.crop_size)
            sizes.append(sum(map(len, records.pictures_of(view, instant.mesh, crop, options, key))))
    return (time.perf_counter() - start) / len(sizes), np.mean(sizes)


def describe(sequences, options, processes):
    """A few lines: counts, and disk and time extrapolated from a sample of the first sequence on this machine."""
    first, direct = sequences[0], isinstance(options, records.Options)
    nodes = list(range(len(capture.studio(first).cameras)))[:_CAMERAS]
    start = time.perf_counter()
    made = [capture.make_view(first, node) for node in nodes]
    scene_seconds = (time.perf_counter() - start) / len(nodes)
    capture.instant(first, capture.FIRST_FRAME)  # makes the subject
    seconds, size = _sampled_pictures(first, options, nodes, made)
    instants = [len(each.frame_numbers) for each in sequences]
    cameras = [len(capture.studio(each).cameras) for each in sequences]
    hands = len(first.sides)
    pictures = sum(n * c for n, c in zip(instants, cameras, strict=True)) * (hands if direct else 1)
    total = (pictures * seconds + sum(cameras) * scene_seconds) / processes
    subjects = sum(len(each.subjects) for each in sequences)
    what = (
        "records' crops"
        if direct
        else ("video frames (at the size of JPEG)" if options.format == "videos" else "images")
    )
    return "\n".join(
        [
            f"{len(sequences)} sequences, {subjects} subjects, {cameras[0]} cameras of {first.width}x{first.height} px",
            f"{sum(instants)} instants, {sum(instants) * hands} hands, {pictures} {what}",
            f"about {pictures * size / 1e9:.2f} GB ({size / 1e3:.1f} kB each)",
            f"about {total / 60:.1f} minutes on {processes} processes ({1e3 * seconds:.1f} ms each, one process)",
        ]
    )
