"""Encoded crops and backgrounds as `camera_pass` left them, read in the random order of the records."""

import json

import numpy as np

from tfrecords_tools.dump.skipped import Skipped


class Spool:
    """Reads a finished spool: `shows` [n] bool says which instants the camera shows; `skipped` and `background`."""

    def __init__(self, path, instants):
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.background = content["background"]
        self.skipped = Skipped(**content["skipped"])
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
