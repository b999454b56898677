"""Renders a capture straight into records: the crops that a dump and `hand-tf build` would give, but sooner.

Only the part of a picture that its crop needs is drawn. It is then cut by the same maps as in `build`, with the same
choice of views and the same file names and, if `build` gets the same seed, in the same order. Two things differ:
pictures are not stored as JPEG in between (the crop is compressed once, with the quality of its camera if that is
lower), and the background is the true empty scene, where `build` takes a median over time in which people leave traces.

A stopped run continues when started again with the same settings: complete shards are kept. Memory does not grow with
the number of subjects; each process holds the whole motion of a few, about 1 kB per instant and hand.
"""

import dataclasses
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hand_tf.core import crops, geometry, skeleton
from tfrecords_tools.dome import capture
from tfrecords_tools.dome.studio import render, scenes
from tfrecords_tools.dump import panoptic
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import crop_views, work_folder, workers
from tfrecords_tools.records.settings import RecordsSettings

CHUNK = 8  # records per job that draws
_PLAN = 512  # instants per job that chooses views


class Instants:
    """The `panoptic.HandInstant`s of a sequence as `build` would read them from a dump, each made when asked for."""

    def __init__(self, sequence: capture.CaptureSequence) -> None:
        self._sequence = sequence

    def __len__(self) -> int:
        return len(self._sequence.frame_numbers) * len(self._sequence.sides)

    def __getitem__(self, position: int) -> panoptic.HandInstant:
        if not 0 <= position < len(self):
            raise IndexError(position)
        index, which = divmod(int(position), len(self._sequence.sides))
        frame, side = capture.FIRST_FRAME + index, self._sequence.sides[which]
        number, step = self._sequence.place(frame)
        joints = capture.rounded(capture.joints_of(self._sequence, number, side)[step])
        accepted = np.ones(skeleton.NUM_JOINTS, bool)
        return panoptic.instant_of(self._sequence.name, f"S{number}", frame, number, side, joints, accepted)


def choose_views(
    sequence: capture.CaptureSequence, settings: RecordsSettings, start: int, stop: int
) -> tuple[np.ndarray, Skipped]:
    """Which instants, from `start` up to `stop`, each camera shows, [cameras, instants] bool; and what is left out."""
    every, skipped, cameras = Instants(sequence), Skipped(), capture.studio(sequence).cameras
    instants = [every[position] for position in range(start, min(stop, len(every)))]
    chosen = np.zeros((len(cameras), len(instants)), bool)
    for node, camera in enumerate(cameras):
        for position, crop in crop_views.plan_views(instants, camera, settings.margin, settings.crop_size, skipped):
            chosen[node, position] = crop_views.is_covered(crop, instants[position].name, skipped)
    if sequence.varied.min_visible:
        _leave_out_hidden(sequence, instants, chosen, skipped)
    return chosen, skipped


def _leave_out_hidden(sequence, instants, chosen, skipped):
    """Takes those views out of `chosen` [cameras, instants] that show too little of their hand."""
    cameras, least = capture.studio(sequence).cameras, sequence.varied.min_visible
    for position, instant in enumerate(instants):
        everything = capture.instant(sequence, instant.frame)
        own = capture.vertices_of(everything, instant.side)
        for node in np.flatnonzero(chosen[:, position]):
            if render.visible_share(everything.mesh, own, cameras[node]) < least:
                chosen[node, position] = False
                skipped.add(
                    f"views: less than {least:.0%} of the hand is visible",
                    f"{instant.name} camera {cameras[node].name}",
                )


def maps_of(crop: crops.Crop) -> tuple[tuple[np.ndarray, np.ndarray], tuple[int, int, int, int]]:
    """The maps of a crop into the part of the picture that it needs, and that part: (left, top, width, height) px."""
    border = crop_views.borders([(0, crop)], crop.camera)
    window = crop_views.window_of(border, crop.camera)
    whole = bool(crop_views.are_whole(border, crop.camera)[0])
    left, top, right, bottom = window
    return crop_views.window_maps(crop, whole, window), (left, top, right - left, bottom - top)


def pictures_of(
    view: scenes.View, mesh: render.Mesh, crop: crops.Crop, settings: RecordsSettings, key: Sequence[int]
) -> tuple[bytes, bytes]:
    """One view's crop with `mesh` in it and its background crop, both encoded; `key` decides the sensor noise."""
    maps, window = maps_of(crop)
    left, top, width, height = window
    image = render.draw(view, mesh, key, window)
    scene = np.ascontiguousarray(view.scene[top : top + height, left : left + width])
    quality = min(view.sensor.jpeg_quality, settings.jpeg_quality)
    return (
        crop_views.encode(crops.render(image, maps, crop.size), quality),
        crop_views.encode(crops.render(scene, maps, crop.size), settings.jpeg_quality),
    )


def draw_records(
    sequence: capture.CaptureSequence,
    settings: RecordsSettings,
    folder: str | os.PathLike,
    positions: Iterable[int],
    shows: np.ndarray,
) -> list[list[tuple[bytes, bytes]]]:
    """For each of `positions`, the encoded crop and background crop of every camera that shows it.

    `shows` [cameras, positions] bool says which cameras do; `folder` holds their empty scenes.
    """
    instants, result = Instants(sequence), []
    for column, position in enumerate(positions):
        instant = instants[position]
        mesh, pictures = capture.instant(sequence, instant.frame).mesh, []
        for node in np.flatnonzero(shows[:, column]).tolist():
            view = capture.load_view(sequence, node, folder)
            crop = crop_views.crop_of(instant, view.camera, settings.margin, settings.crop_size)
            key = [sequence.seed, sequence.index, node, instant.frame]
            pictures.append(pictures_of(view, mesh, crop, settings, key))
        result.append(pictures)
    return result


class RenderedViews:
    """The views of one sequence, rendered when they are asked for; see `shards.write_group`.

    `run` executes jobs (see `workers.pool`); `folder` is where the empty scenes are kept meanwhile; `shows` [cameras,
    instants] bool says which camera shows which instant.
    """

    def __init__(
        self,
        sequence: capture.CaptureSequence,
        settings: RecordsSettings,
        run: Callable[[Iterable[tuple]], Iterator],
        folder: pathlib.Path,
        shows: np.ndarray,
    ) -> None:
        self.instants, self.shows = Instants(sequence), shows
        self._sequence, self._settings, self._run, self._folder = sequence, settings, run, folder

    def cameras_of(self, position: int) -> list[geometry.Camera]:
        """The cameras that show the instant at `position`."""
        return [capture.studio(self._sequence).cameras[node] for node in np.flatnonzero(self.shows[:, position])]

    def pictures(self, positions: Sequence[int]) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yields the encoded (crop, background) pairs of each of `positions`."""
        if not self._folder.is_dir():  # made only now, because a resumed run may have nothing left to draw
            partial = self._folder.with_suffix(".partial")
            nodes = range(len(capture.studio(self._sequence).cameras))
            list(self._run((capture.write_scene, self._sequence, node, partial) for node in nodes))
            os.replace(partial, self._folder)
        chunks = [positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK)]
        job = draw_records, self._sequence, self._settings, self._folder
        for result in self._run((*job, chunk, self.shows[:, chunk]) for chunk in chunks):
            yield from result


def _write_sequence(sequence, settings, run, skipped):
    """Writes the shards of one sequence; returns its groups and its rows of the index."""
    from tfrecords_tools.records import shards  # imports TensorFlow, which the workers do not need

    folder = settings.output / "work" / "scenes" / sequence.name
    starts = range(0, len(Instants(sequence)), _PLAN)
    planned = list(run((choose_views, sequence, settings, start, start + _PLAN) for start in starts))
    for _, left_out in planned:
        skipped.merge(left_out)
    shows = np.concatenate([chosen for chosen, _ in planned], 1)
    views = RenderedViews(sequence, settings, run, folder, shows)
    written = shards.write_groups(views, sequence.name, settings, skipped)
    shutil.rmtree(folder, ignore_errors=True)
    return written


def write(sequences: Sequence[capture.CaptureSequence], settings: RecordsSettings, processes: int) -> dict:
    """Writes the records of `sequences` on `processes` processes, unless they are complete.

    Returns the report that the manifest holds. Raises ValueError if the folder was begun with other settings or if no
    instant is seen by enough cameras, OSError for a full disk.
    """
    start, skipped = time.monotonic(), Skipped()
    identity = {name: value for name, value in dataclasses.asdict(settings).items() if name != "output"}
    identity["sequences"] = [capture.settings_of(sequence) for sequence in sequences]
    with work_folder.claimed(settings.output, identity) as finished:
        if finished:
            return finished.report
        return _write_sequences(sequences, settings, processes, skipped, identity, start)


def _write_sequences(sequences, settings, processes, skipped, identity, start):
    """Writes the records into a folder that is this command's; returns the report."""
    from tfrecords_tools.records import shards

    groups, index = [], []
    with workers.pool(processes) as run:
        for sequence in sequences:
            more, rows = _write_sequence(sequence, settings, run, skipped)
            groups, index = groups + more, index + rows
    shards.check_left(groups, skipped)
    instants = sum(len(Instants(sequence)) for sequence in sequences)
    report = shards.report(groups, instants, skipped, time.monotonic() - start)
    cameras = {sequence.name: capture.studio(sequence).cameras for sequence in sequences}
    made_with = {"output": str(settings.output)} | identity
    shards.write_manifest(settings, sequences[0].fps, cameras, made_with, report, groups, index)
    return report
