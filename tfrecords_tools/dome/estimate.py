"""Estimates the size of a capture on disk and the time it takes, from a small sample of it."""

import dataclasses
import time
from collections.abc import Sequence

import cv2
import numpy as np

from hand_tf.core.errors import InputError
from tfrecords_tools.dome import capture, records
from tfrecords_tools.dome.dump import DumpSettings
from tfrecords_tools.dome.studio import render
from tfrecords_tools.records import crop_views
from tfrecords_tools.records.settings import RecordsSettings

_INSTANTS, _CAMERAS = 4, 4  # size of the sample


@dataclasses.dataclass(frozen=True)
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


def _encoded_size(view, mesh, hand_instant, settings, key):
    """Bytes of one picture of a dump, or of one crop of records with its background."""
    if isinstance(settings, RecordsSettings):
        crop = crop_views.crop_of(hand_instant, view.camera, settings.margin, settings.crop_size)
        return sum(map(len, records.pictures_of(view, mesh, crop, settings, key)))
    quality = settings.jpeg_quality or view.sensor.jpeg_quality
    return len(cv2.imencode(".jpg", render.draw(view, mesh, key), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _sample(sequence, settings):
    """Measures a few instants from a few cameras."""
    nodes = list(range(len(capture.studio(sequence).cameras)))[:_CAMERAS]
    scene, views = _timed(lambda: [capture.make_view(sequence, node) for node in nodes])
    instants, poses, pictures, sizes = records.Instants(sequence), [], [], []
    capture.instant(sequence, capture.FIRST_FRAME)  # makes the first subject, which is not part of posing
    for step in np.linspace(0, len(sequence.frame_numbers) - 1, _INSTANTS).astype(int).tolist():
        frame, position = capture.FIRST_FRAME + step, step * len(sequence.sides)
        seen_by = np.ones((len(nodes), 1), bool)
        if isinstance(settings, RecordsSettings):
            seen_by, _ = records.choose_views(sequence, settings, position, position + 1)
        seconds, instant = _timed(capture.instant, sequence, frame)
        poses.append(seconds)
        for node, view in zip(nodes, views, strict=True):
            if not seen_by[node, 0]:
                continue
            key = [sequence.seed, sequence.index, node, frame]
            seconds, size = _timed(_encoded_size, view, instant.mesh, instants[position], settings, key)
            pictures.append(seconds)
            sizes.append(size)
    if not pictures:
        raise InputError("no camera of the sample sees the hand: choose a larger --reach or another --calibration")
    return _Sample(scene / len(nodes), np.median(poses), np.median(pictures), np.mean(sizes))


def describe(
    sequences: Sequence[capture.CaptureSequence], settings: DumpSettings | RecordsSettings, processes: int
) -> str:
    """Some lines of text: counts, and disk space and time extrapolated from a sample of the first sequence.

    Raises ValueError if no camera of the sample sees the hand.
    """
    direct = isinstance(settings, RecordsSettings)
    videos = not direct and settings.format == "videos"
    first = sequences[0]
    sides, sample = len(first.sides), _sample(first, settings)
    instants, pictures, seconds = 0, 0, 0.0
    for sequence in sequences:
        count, cameras = len(sequence.frame_numbers), len(capture.studio(sequence).cameras)
        shots, poses, busy = count * cameras, count, processes
        if videos:  # one process per camera, each of which poses all instants; videos begin with empty frames
            shots, poses, busy = shots + cameras * capture.FIRST_FRAME, shots, min(processes, cameras)
        hands = sides if direct else 1  # records hold one crop per hand
        instants, pictures = instants + count, pictures + shots * hands
        seconds += (cameras * sample.scene + poses * hands * sample.instant + shots * hands * sample.picture) / busy
    subjects, cameras = sum(len(each.subjects) for each in sequences), len(capture.studio(first).cameras)
    what = "crops" if direct else "images"
    if videos:
        what = "video frames (at the size of a JPEG)"
    return "\n".join(
        [
            f"{len(sequences)} sequences, {subjects} subjects, {cameras} cameras of {first.width}x{first.height} px",
            f"{instants} instants, {instants * sides} hands, up to {pictures} {what}",
            f"about {pictures * sample.size / 1e9:.2f} GB ({sample.size / 1e3:.1f} kB each)",
            f"about {seconds / 60:.1f} minutes on {processes} processes (on one of them {1e3 * sample.instant:.1f} ms "
            f"per instant and {1e3 * sample.picture:.1f} ms per picture)",
        ]
    )
