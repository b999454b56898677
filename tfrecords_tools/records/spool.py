"""Encoded crops and background crops as `camera_pass` left them, read in the random order of the records."""

import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hand_tf.core import geometry, reading
from tfrecords_tools.dump.panoptic import HandInstant
from tfrecords_tools.dump.skipped import Skipped


class Spool:
    """A finished spool of one camera, for a sequence of `num_instants`.

    Attributes:
        shows: [num_instants] bool, which instants the camera shows.
        skipped: what was left out when it was made.
        background: how the background was found.
        measured: `frames.Timeline.measured` of a video.
    """

    def __init__(self, path: pathlib.Path, num_instants: int):
        content = reading.read_json_object(path.with_suffix(".json"), ["background", "skipped", "views"])
        self.background = content["background"]
        self.skipped = Skipped(**content["skipped"])
        self.measured = content.get("measured")  # which a build that 0.2.0 began does not have
        # One row per instant: offset and length of the crop and of the background crop.
        self._places = np.full((num_instants, 4), -1, np.int64)
        rows = np.asarray(content["views"], np.int64).reshape(-1, 5)
        self._places[rows[:, 0]] = rows[:, 1:]
        self.shows = self._places[:, 0] >= 0
        self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)

    def pictures(self, position: int) -> tuple[bytes, bytes]:
        """The encoded crop and background crop of the instant at `position`."""
        crop_start, crop_length, background_start, background_length = self._places[position]
        return self._read(crop_start, crop_length), self._read(background_start, background_length)

    def _read(self, start, length):
        self._file.seek(start)
        return self._file.read(length)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class SpooledViews:
    """The views of one sequence, read from the spools of its cameras; see `shards.write_group`."""

    def __init__(
        self, instants: Sequence[HandInstant], cameras: Sequence[geometry.Camera], paths: Iterable[pathlib.Path]
    ):
        self.instants, self._cameras = instants, cameras
        self.spools = [Spool(path, len(instants)) for path in paths]

    @property
    def shows(self) -> np.ndarray:
        """[cameras, instants] bool: which camera shows which instant."""
        return np.stack([spool.shows for spool in self.spools])

    def cameras_of(self, position: int) -> list[geometry.Camera]:
        """The cameras that show the instant at `position`."""
        return [camera for camera, spool in zip(self._cameras, self.spools, strict=True) if spool.shows[position]]

    def pictures(self, positions: Iterable[int]) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yields the encoded (crop, background crop) pairs of each of `positions`."""
        for position in positions:
            yield [spool.pictures(position) for spool in self.spools if spool.shows[position]]

    def close(self) -> None:
        """Closes the files."""
        for spool in self.spools:
            spool.close()
