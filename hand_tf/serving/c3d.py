"""Trajectories as C3D, the files of biomechanics, written by ezc3d: a residual of -1 for what is missing."""

import errno
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from hand_tf.core import atomic, skeleton
from hand_tf.serving.trajectories import Trajectory

LONGEST = 65535  # frames: the format counts them in 16 bits


def write(folder: pathlib.Path, trajectory: Trajectory) -> None:
    """Writes a trajectory: one point per joint, in mm.

    Frames are numbered from 1 as in the video, counting those that were looked at. What lies behind the first `LONGEST`
    frames of the video goes to a file of its own, and so on; there the numbers in the header start again, and
    TRIAL:ACTUAL_START_FIELD has the one in the video. Raises OSError if a file cannot be written.
    """
    for part, start, points in _parts(trajectory):
        path = folder / f"{trajectory.name}{f'_part{part + 1}' if part else ''}.c3d"
        with atomic.renaming(path) as partial:  # with the suffix that ezc3d wants
            _write(partial, points, trajectory.rate, start)


def _parts(trajectory) -> Iterator[tuple[int, int, np.ndarray]]:
    """The number of each part, its first frame in the video, and its joints [n, 21, 3]."""
    end = trajectory.start + trajectory.length
    for part in range(trajectory.start // LONGEST, (end - 1) // LONGEST + 1):
        start, stop = max(trajectory.start, part * LONGEST), min(end, (part + 1) * LONGEST)
        points = np.empty((stop - start, skeleton.NUM_JOINTS, 3), np.float32)
        for low, _, chunk in trajectory.chunks(start, stop):
            points[low - start : low - start + len(chunk)] = chunk
        yield part, start, points


def _write(path, points, rate, start):
    """Writes points [n, 21, 3] as a C3D file."""
    import ezc3d  # an extra

    content = ezc3d.c3d()
    labels = content["parameters"]["POINT"]
    labels["LABELS"]["value"], labels["UNITS"]["value"] = list(skeleton.JOINT_NAMES), ["mm"]
    labels["RATE"]["value"] = np.array([rate])
    for name, number in (("ACTUAL_START_FIELD", start + 1), ("ACTUAL_END_FIELD", start + len(points))):
        content.add_parameter("TRIAL", name, 0)
        # Whole numbers, two words of 16 bits; add_parameter would make real ones of them.
        content["parameters"]["TRIAL"][name]["value"] = np.array([number % 2**16, number // 2**16])
    content["header"]["points"]["first_frame"] = start % LONGEST  # from 0 here, from 1 in the file
    content["data"]["points"] = np.ones((4, skeleton.NUM_JOINTS, len(points)))
    content["data"]["points"][:3] = points.transpose(2, 1, 0)
    missing = np.isnan(points).any(-1).T
    content["data"]["meta_points"]["residuals"] = np.where(missing, -1.0, 0.0)[None]
    content.write(str(path))
    if not path.is_file() or path.stat().st_size < points.nbytes * 4 // 3:  # ezc3d does not say that a disk is full
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
