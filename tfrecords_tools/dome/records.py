"""Renders a capture straight into records: the crops that `dump` and then `tfrecords_tools.build` would give, sooner.

Only the part of a picture that its crop needs is drawn, then cut by the same maps, with the same choice of views, the
same file names and, if `build` gets the same seed, the same order. What differs from the long way: pictures are not
stored as JPEG in between (the crop is, once, at its camera's quality if that is lower), and the background is the
true empty scene, where `build` has a median over time in which people leave traces.

A stopped run continues when started again with the same settings: whole shards are kept. Memory does not grow with the
number of subjects; each process holds whole motions, about 1 kB an instant and hand.
"""

import dataclasses
import os
import pathlib
import shutil
import time

import numpy as np

from hand_tf.core import crops, records_folder, skeleton
from tfrecords_tools.dome import capture
from tfrecords_tools.dome.studio import render
from tfrecords_tools.dump import panoptic
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import crop_views, work_folder, workers

CHUNK, _PLAN = 8, 512  # records per job that draws; instants per job that chooses views


@dataclasses.dataclass(frozen=True)
class Options:
    """How records are written; the names are those of `tfrecords_tools.build`."""

    output: pathlib.Path
    crop_size: int = 128
    margin: float = 1.3
    jpeg_quality: int = 95
    min_views: int = 2
    records_per_shard: int = 1000
    seed: int = 0


class Instants:
    """The `panoptic.HandInstant`s of a sequence, as `build` would read them from the dump, made when asked for."""

    def __init__(self, sequence):
        self._sequence = sequence

    def __len__(self):
        return len(self._sequence.frame_numbers) * len(self._sequence.sides)

    def __getitem__(self, position):
        if not 0 <= position < len(self):
            raise IndexError(position)
        step, which = divmod(int(position), len(self._sequence.sides))
        frame, side = capture.FIRST_FRAME + step, self._sequence.sides[which]
        number, step = self._sequence.place(frame)
        joints = capture.rounded(capture.joints_of(self._sequence, number, side)[step])
        accepted = np.ones(skeleton.NUM_JOINTS, bool)
        return panoptic.instant_of(self._sequence.name, f"S{number}", frame, number, side, joints, accepted)


def choose_views(sequence, options, start, stop):
    """Which of the instants `start`..`stop` each camera shows ([cameras, instants] bool), and what it does not."""
    every, skipped, cameras = Instants(sequence), Skipped(), capture.studio(sequence).cameras
    instants = [every[position] for position in range(start, min(stop, len(every)))]
    chosen = np.zeros((len(cameras), len(instants)), bool)
    for node, camera in enumerate(cameras):
        for position, crop in crop_views.plan_views(instants, camera, options.margin, options.crop_size, skipped):
            chosen[node, position] = crop_views.is_covered(crop, instants[position].name, skipped)
    return chosen, skipped


def maps_of(crop):
    """The maps of a crop into the part of the picture that it needs, and that window: left, top, width, height px."""
    border = crop_views.borders([(0, crop)], crop.camera)
    left, top, right, bottom = window = crop_views.window_of(border, crop.camera)
    whole = bool(crop_views.are_whole(border, crop.camera)[0])
    return crop_views.window_maps(crop, whole, window), (left, top, right - left, bottom - top)


def pictures_of(view, mesh, crop, options, key):
    """The encoded crop and background crop of one view."""
    maps, window = maps_of(crop)
    left, top, width, height = window
    image = render.draw(view, mesh, key, window)
    scene = np.ascontiguousarray(view.scene[top : top + height, left : left + width])
    quality = min(view.sensor.jpeg_quality, options.jpeg_quality)
    return (
        crop_views.encode(crops.render(image, maps, crop.size), quality),
        crop_views.encode(crops.render(scene, maps, crop.size), options.jpeg_quality),
    )


def draw_records(sequence, options, scenes, positions, shows):
    """For each of `positions` the encoded pictures of the cameras that show it (`shows` [cameras, positions])."""
    instants, result = Instants(sequence), []
    for column, position in enumerate(positions):
        instant = instants[position]
        mesh, pictures = capture.instant(sequence, instant.frame).mesh, []
        for node in np.flatnonzero(shows[:, column]).tolist():
            view = capture.load_view(sequence, node, scenes)
            crop = crop_views.crop_of(instant, view.camera, options.margin, options.crop_size)
            key = [sequence.seed, sequence.index, node, instant.frame]
            pictures.append(pictures_of(view, mesh, crop, options, key))
        result.append(pictures)
    return result


class RenderedViews:
    """The views of one sequence, drawn by `run` (see `workers.pool`) when asked for; see `shards.write_group`."""

    def __init__(self, sequence, options, run, scenes, shows):
        self.instants, self.shows = Instants(sequence), shows
        self._sequence, self._options, self._run, self._scenes = sequence, options, run, scenes

    def cameras_of(self, position):
        """The cameras that show the instant at `position`."""
        return [capture.studio(self._sequence).cameras[node] for node in np.flatnonzero(self.shows[:, position])]

    def pictures(self, positions):
        """Yields the encoded (crop, background) pairs of each of `positions`."""
        if not self._scenes.is_dir():  # not before: a resumed run may have nothing left to draw
            partial = self._scenes.with_suffix(".partial")
            nodes = range(len(capture.studio(self._sequence).cameras))
            list(self._run((capture.write_scene, self._sequence, node, partial) for node in nodes))
            os.replace(partial, self._scenes)
        chunks = [positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK)]
        job = draw_records, self._sequence, self._options, self._scenes
        for result in self._run((*job, chunk, self.shows[:, chunk]) for chunk in chunks):
            yield from result


def _write_sequence(sequence, options, run, skipped):
    """Writes the shards of one sequence; returns its groups and index rows."""
    from tfrecords_tools.records import shards  # brings TensorFlow, which the workers can do without

    scenes = options.output / "work" / "scenes" / sequence.name
    starts = range(0, len(Instants(sequence)), _PLAN)
    chosen = list(run((choose_views, sequence, options, start, start + _PLAN) for start in starts))
    for _, each in chosen:
        skipped.merge(each)
    drawn = RenderedViews(sequence, options, run, scenes, np.concatenate([shows for shows, _ in chosen], 1))
    written = shards.write_groups(drawn, sequence.name, options, skipped)
    shutil.rmtree(scenes, ignore_errors=True)
    return written


def write(sequences, options, processes=1):
    """Writes `sequences` into records, unless they are there already; returns the manifest's report.

    Raises ValueError if the folder was begun with other settings or nothing is seen, OSError for a full disk.
    """
    from tfrecords_tools.records import shards

    start, skipped = time.monotonic(), Skipped()
    settings = {name: value for name, value in dataclasses.asdict(options).items() if name != "output"}
    settings["sequences"] = [capture.settings_of(sequence) for sequence in sequences]
    work_folder.claim(options.output, settings)
    if (options.output / records_folder.MANIFEST).is_file():
        return records_folder.load_manifest(options.output).report
    groups, index = [], []
    with workers.pool(processes) as run:
        for sequence in sequences:
            more, rows = _write_sequence(sequence, options, run, skipped)
            groups, index = groups + more, index + rows
    shards.check_left(groups, skipped)
    instants = sum(len(sequence.frame_numbers) * len(sequence.sides) for sequence in sequences)
    report = shards.report(groups, instants, skipped, time.monotonic() - start)
    cameras = {sequence.name: capture.studio(sequence).cameras for sequence in sequences}
    settings = {"output": str(options.output)} | settings
    shards.write_manifest(options, sequences[0].fps, cameras, settings, report, groups, index)
    return report
